//! Talks to a controller: the public HTTP API, nothing more.
//!
//! Not a library for others. Invariants: answers are bounded in size and time, and no error holds
//! the token.

mod sse;

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tower::ServiceExt;
use url::Url;

pub use sse::{EventStream, StreamError};

use crate::config::{ClientArgs, ConfigError};
use shoal_base::world::{
    HttpRequest, StreamedBody, TlsPolicy, Transport, TransportError, TransportErrorKind, World,
    real_transport,
};

const ANSWER_BYTES_MAX: usize = 64 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A controller and the right to ask it.
#[derive(Clone)]
pub struct Client {
    base: Url,
    token: Option<SecretString>,
    tls: TlsPolicy,
    transport: Transport,
}

/// What a POST needs beside its path and body.
pub struct PostOptions<'a> {
    pub query: &'a [(&'a str, String)],
    /// Under one key the request has its effect once, however often it is sent.
    pub key: Option<&'a str>,
    pub timeout: Duration,
}

impl Default for PostOptions<'_> {
    fn default() -> Self {
        PostOptions { query: &[], key: None, timeout: ANSWER_TIMEOUT }
    }
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach the controller at {base}: is it running there? (--url, SHOAL_URL)")]
    Unreachable {
        base: Url,
        #[source]
        source: TransportError,
    },
    #[error(
        "the certificate of {base} is not trusted: name its root (--ca-file), or pin it (--controller-tls)"
    )]
    Untrusted {
        base: Url,
        #[source]
        source: TransportError,
    },
    #[error("the controller at {base} did not answer in {} s", timeout.as_secs())]
    TimedOut { base: Url, timeout: Duration },
    #[error("the controller at {base} broke off its answer")]
    Broken {
        base: Url,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{base} does not look like a Shoal controller: it answered {status} without JSON")]
    Garbled { base: Url, status: StatusCode },
    #[error("--idempotency-key has a character that an HTTP header cannot carry")]
    Key,
    #[error("{0}")]
    Refused(ApiRefusal),
}

/// What the controller said instead of doing it.
#[derive(Clone, Debug)]
pub struct ApiRefusal {
    pub status: StatusCode,
    pub problem: Value,
}

impl std::fmt::Display for ApiRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |key: &str| self.problem[key].as_str().unwrap_or_default();
        write!(f, "{} ({})", text("detail"), self.status.as_u16())?;
        for error in self.problem["errors"].as_array().into_iter().flatten() {
            let part = |key: &str| error[key].as_str().unwrap_or_default();
            write!(f, "\n  {}: {}", part("pointer"), part("message"))?;
        }
        match text("job_id") {
            "" => Ok(()),
            job => write!(f, "\n  job: {job}"),
        }
    }
}

/// Which events of all jobs.
pub struct EventsAfter<'a> {
    pub after: u64,
    pub query: &'a [(&'a str, String)],
}

impl Client {
    pub fn new(args: &ClientArgs, world: &World) -> Result<Client, ConfigError> {
        let transport = match args.extra_roots()?.as_slice() {
            [] => world.transport.clone(),
            roots => real_transport(roots),
        };
        Ok(Client {
            base: args.url.clone(),
            token: args.token.clone(),
            tls: args.controller_tls.clone(),
            transport,
        })
    }

    pub async fn get(&self, path: &[&str]) -> Result<Value, ClientError> {
        self.call(Method::GET, self.url(path), None).await
    }

    /// A page at the root of the server, such as `metrics`; text becomes a JSON string. Its status is not judged.
    pub async fn root(&self, name: &str) -> Result<Value, ClientError> {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("http URLs have a path").pop_if_empty().push(name);
        let request = self.request(Method::GET, &url).body(Bytes::new());
        let request = request.expect("the parts of the request are sound");
        let (_, body) = self.whole_answer(request, ANSWER_TIMEOUT).await?;
        let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
        Ok(serde_json::from_slice(&body).unwrap_or_else(|_| text()))
    }

    pub async fn get_with(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, ClientError> {
        self.call(Method::GET, self.url_with(path, query), None).await
    }

    /// The servers of the inventory that fit `filter`: a body as of one page, with all of them.
    pub async fn servers(&self, filter: Vec<(&'static str, String)>) -> Result<Value, ClientError> {
        let mut all = Vec::new();
        let mut query = vec![("limit", "500".to_owned())];
        query.extend(filter);
        let first = query.len();
        loop {
            let mut page = self.get_with(&["servers"], &query).await?;
            if let Some(servers) = page["servers"].as_array_mut() {
                all.append(servers);
            }
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            query.truncate(first);
            query.push(("cursor", cursor.to_owned()));
        }
        Ok(serde_json::json!({ "servers": all }))
    }

    pub async fn post(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        body: Value,
    ) -> Result<Value, ClientError> {
        self.post_with(path, body, PostOptions { query, ..PostOptions::default() }).await
    }

    /// A POST whose answer may take longer than most.
    pub async fn post_patiently(
        &self,
        path: &[&str],
        body: Value,
        timeout: Duration,
    ) -> Result<Value, ClientError> {
        self.post_with(path, body, PostOptions { timeout, ..PostOptions::default() }).await
    }

    pub async fn post_with(
        &self,
        path: &[&str],
        body: Value,
        options: PostOptions<'_>,
    ) -> Result<Value, ClientError> {
        let PostOptions { query, key, timeout } = options;
        let request = self.request(Method::POST, &self.url_with(path, query));
        let mut request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(body.to_string().into()).map_err(|_| ClientError::Key)?;
        self.answer_within(request, timeout).await
    }

    /// A POST of a file, and its JSON answer.
    pub async fn upload(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        body: StreamedBody,
        timeout: Duration,
    ) -> Result<Value, ClientError> {
        let request = self.request(Method::POST, &self.url_with(path, query)).extension(body);
        let request = request.header(header::CONTENT_TYPE, "application/octet-stream").body(Bytes::new());
        self.answer_within(request.expect("the parts of the request are sound"), timeout).await
    }

    pub async fn patch(&self, path: &[&str], body: Value) -> Result<Value, ClientError> {
        self.call(Method::PATCH, self.url(path), Some(body)).await
    }

    pub async fn delete(&self, path: &[&str]) -> Result<Value, ClientError> {
        self.call(Method::DELETE, self.url(path), None).await
    }

    /// Follows the events of a job after the one with the id `after`; `None` where the job is over
    /// and none are left.
    pub async fn follow(&self, job: &str, after: u64) -> Result<Option<EventStream>, ClientError> {
        let request = self.request(Method::GET, &self.url(&["jobs", job, "events"]));
        let request = request
            .header(header::ACCEPT, "text/event-stream")
            .header("last-event-id", after.to_string())
            .body(Bytes::new());
        let request = request.expect("the parts of the request are sound");
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok(Some(EventStream::new(response.into_body()))),
            StatusCode::NO_CONTENT => Ok(None),
            status => Err(self.refusal(status, self.read(response.into_body()).await?)),
        }
    }

    /// Follows the events of all jobs after the one with that id.
    pub async fn events(&self, from: EventsAfter<'_>) -> Result<EventStream, ClientError> {
        let mut url = self.url(&["events"]);
        url.query_pairs_mut().extend_pairs(from.query);
        let request = self.request(Method::GET, &url).header(header::ACCEPT, "text/event-stream");
        let request = request.header("last-event-id", from.after.to_string()).body(Bytes::new());
        let response = self.send(request.expect("the parts of the request are sound")).await?;
        match response.status() {
            StatusCode::OK => Ok(EventStream::new(response.into_body())),
            status => Err(self.refusal(status, self.read(response.into_body()).await?)),
        }
    }

    async fn call(&self, method: Method, url: Url, body: Option<Value>) -> Result<Value, ClientError> {
        let request = self
            .request(method, &url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.map_or(Bytes::new(), |body| body.to_string().into()));
        self.answer_within(request.expect("the parts of the request are sound"), ANSWER_TIMEOUT).await
    }

    async fn answer_within(&self, request: HttpRequest, timeout: Duration) -> Result<Value, ClientError> {
        let (status, body) = self.whole_answer(request, timeout).await?;
        if !status.is_success() {
            return Err(self.refusal(status, body));
        }
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let garbled = |_| ClientError::Garbled { base: self.base.clone(), status };
        serde_json::from_slice(&body).map_err(garbled)
    }

    /// Status and body, whatever they are.
    async fn whole_answer(
        &self,
        request: HttpRequest,
        timeout: Duration,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let answered = async {
            let response = self.send(request).await?;
            Ok((response.status(), self.read(response.into_body()).await?))
        };
        let timed_out = |_| ClientError::TimedOut { base: self.base.clone(), timeout };
        tokio::time::timeout(timeout, answered).await.map_err(timed_out)?
    }

    fn request(&self, method: Method, url: &Url) -> http::request::Builder {
        let request = http::Request::builder().method(method).uri(url.as_str()).extension(self.tls.clone());
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret())),
            None => request,
        }
    }

    async fn send(&self, request: HttpRequest) -> Result<http::Response<Body>, ClientError> {
        let base = self.base.clone();
        self.transport.clone().oneshot(request).await.map_err(|source| match source.kind {
            TransportErrorKind::Certificate => ClientError::Untrusted { base, source },
            _ => ClientError::Unreachable { base, source },
        })
    }

    async fn read(&self, body: Body) -> Result<Bytes, ClientError> {
        let broken = |source| ClientError::Broken { base: self.base.clone(), source };
        let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(broken)?;
        Ok(collected.to_bytes())
    }

    fn refusal(&self, status: StatusCode, body: Bytes) -> ClientError {
        match serde_json::from_slice::<Value>(&body) {
            Ok(problem) if problem.is_object() => ClientError::Refused(ApiRefusal { status, problem }),
            _ => ClientError::Garbled { base: self.base.clone(), status },
        }
    }

    fn url_with(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// `{base}/api/v1/` and `path`, each part of it one segment.
    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        let mut segments = url.path_segments_mut().expect("http URLs have a path");
        segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        drop(segments);
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(base: &str) -> Client {
        let transport = tower::service_fn(async |_| {
            Err::<http::Response<Body>, _>(TransportError::new(TransportErrorKind::Connect))
        });
        let transport = tower::util::BoxCloneSyncService::new(transport);
        Client {
            base: base.parse().unwrap(),
            token: Some("hunter2".into()),
            tls: TlsPolicy::Verify,
            transport,
        }
    }

    #[test]
    fn names_are_one_segment_of_the_path() {
        let url = client("https://shoal.example/x/").url(&["servers", "A 1/../b?c"]);
        assert_eq!(url.as_str(), "https://shoal.example/x/api/v1/servers/A%201%2F..%2Fb%3Fc");
    }

    #[tokio::test]
    async fn a_controller_that_is_not_there_is_named() {
        let error = client("http://127.0.0.1:1").get(&["jobs"]).await.unwrap_err();
        assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn a_refusal_shows_every_fault() {
        let problem = serde_json::json!({
            "detail": "the recipe is refused", "job_id": "ab",
            "errors": [{"pointer": "/ks_cfg", "message": "is missing"}],
        });
        let refusal = ApiRefusal { status: StatusCode::UNPROCESSABLE_ENTITY, problem };
        assert_eq!(refusal.to_string(), "the recipe is refused (422)\n  /ks_cfg: is missing\n  job: ab");
    }
}
