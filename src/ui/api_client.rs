//! Requests of the pages to the public API, inside this process.
//!
//! It adds no rule of its own. Invariants: a request carries the person who is signed in and passes the guard of the
//! API like any other; it carries no cookie; a refusal of the API is shown as it is.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt as _;

use super::refusal::{FaultRecord, PageRefusal};
use crate::access::Actor;
use crate::api::SignedIn;

/// The API as one person may use it.
#[derive(Clone)]
pub struct ApiClient {
    pub router: Router,
    /// `None` where the controller requires no token.
    pub actor: Option<Actor>,
    pub peer: Option<SocketAddr>,
    /// As the browser sent it.
    pub host: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct ProblemRecord {
    title: String,
    detail: String,
    #[serde(default)]
    errors: Vec<FaultRecord>,
    job_id: Option<String>,
}

impl ApiClient {
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, PageRefusal> {
        self.call(Method::GET, path, None, HeaderMap::new()).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T, PageRefusal> {
        self.call(Method::POST, path, Some(body), HeaderMap::new()).await
    }

    /// A request that is answered once, however often the form is sent.
    pub async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Value,
        once: &str,
    ) -> Result<T, PageRefusal> {
        let key =
            HeaderValue::from_str(once).map_err(|_| PageRefusal::bad("the form is not one of this page"))?;
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static("idempotency-key"), key)]);
        self.call(Method::POST, path, Some(body), headers).await
    }

    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: HeaderMap,
    ) -> Result<T, PageRefusal> {
        let answer = self.send(method, path, body, headers).await?;
        let bytes = answer.into_body().collect().await.map_err(|_| PageRefusal::broken())?.to_bytes();
        // An answer without a body (204) reads as `null`.
        let bytes = if bytes.is_empty() { b"null".as_slice().into() } else { bytes };
        serde_json::from_slice(&bytes).map_err(|error| {
            tracing::error!(path, %error, "the API's answer is not what the web interface expects");
            PageRefusal::broken()
        })
    }

    /// The answer, if it is a success.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: HeaderMap,
    ) -> Result<Response<Body>, PageRefusal> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(host) = &self.host {
            request = request.header(header::HOST, host);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        let mut request = request.body(body).map_err(|_| PageRefusal::not_found())?;
        request.headers_mut().extend(headers);
        if let Some(actor) = &self.actor {
            request.extensions_mut().insert(SignedIn(actor.clone()));
        }
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let Ok(answer) = self.router.clone().oneshot(request).await;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
    }
}

async fn refusal(answer: Response<Body>) -> PageRefusal {
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let problem = body.ok().and_then(|body| serde_json::from_slice::<ProblemRecord>(&body.to_bytes()).ok());
    match problem {
        Some(ProblemRecord { title, detail, errors, job_id }) => {
            PageRefusal { status, title, detail, faults: errors, job: job_id }
        }
        None => PageRefusal { status: StatusCode::INTERNAL_SERVER_ERROR, ..PageRefusal::broken() },
    }
}
