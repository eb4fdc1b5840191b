//! Requests to the identity provider: bounded in size and time, and not redirected.
//!
//! It knows no meaning of an answer. Invariant: no error holds any part of a body, which may be a token.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use tower::ServiceExt;
use url::Url;

use shoal_base::is_loopback;
use shoal_base::world::{Transport, TransportError};

const ANSWER_BYTES_MAX: usize = 256 * 1024;
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no answer; for the log.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{url} is not reached")]
    Unreachable { url: Url, source: TransportError },
    #[error("{url} did not answer in {} s", FETCH_TIMEOUT.as_secs())]
    TimedOut { url: Url },
    #[error("{url} answered {status}")]
    Status { url: Url, status: StatusCode },
    #[error("{url} returned an invalid response: {problem}")]
    Garbled { url: Url, problem: String },
}

impl FetchError {
    pub fn garbled(url: &Url, problem: &str) -> FetchError {
        FetchError::Garbled { url: url.clone(), problem: problem.to_owned() }
    }
}

/// Whether what is sent there or comes from there can be trusted.
pub fn is_secure(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

/// The provider's document, of whatever version.
pub fn document_url(issuer: &Url) -> Url {
    let base = issuer.as_str().trim_end_matches('/');
    format!("{base}/.well-known/openid-configuration").parse().expect("a path after a URL is a URL")
}

pub async fn get(transport: &Transport, url: &Url) -> Result<Bytes, FetchError> {
    let request = Request::get(url.as_str()).header(header::ACCEPT, "application/json");
    send(transport, url, request.body(Bytes::new()).expect("the parts of the request are sound")).await
}

pub async fn send(transport: &Transport, url: &Url, request: Request<Bytes>) -> Result<Bytes, FetchError> {
    let answered = async {
        let unreachable = |source| FetchError::Unreachable { url: url.clone(), source };
        let response = transport.clone().oneshot(request).await.map_err(unreachable)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(FetchError::Status { url: url.clone(), status });
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|_| FetchError::garbled(url, "too much, or broken off"))
    };
    let timed_out = |_| FetchError::TimedOut { url: url.clone() };
    tokio::time::timeout(FETCH_TIMEOUT, answered).await.map_err(timed_out)?
}
