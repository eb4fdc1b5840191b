//! Networks on which chosen requests to BMCs meet another end than the BMC's. It holds no test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use shoal_base::world::{HttpRequest, HttpResponse, Transport, TransportError, TransportErrorKind};
use shoal_sim::SimConfig;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::site::machine;

/// This network, but the first requests of an action meet what `answer` makes of them.
pub fn struck<F>(
    network: &Transport,
    action: &'static str,
    times: usize,
    answer: impl Fn(HttpRequest) -> F + Clone + Send + Sync + 'static,
) -> Transport
where
    F: Future<Output = Result<HttpResponse, TransportError>> + Send + 'static,
{
    let (network, seen) = (network.clone(), Arc::new(AtomicUsize::new(0)));
    BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
        let is_struck = request.uri().path().ends_with(action) && seen.fetch_add(1, Ordering::SeqCst) < times;
        let (network, answer) = (network.clone(), answer.clone());
        async move { if is_struck { answer(request).await } else { network.oneshot(request).await } }
    }))
}

/// The BMC does what the request asks for after so long, whatever it answers.
pub fn done_later(
    network: Transport,
    wait: Duration,
    answer: impl Fn() -> Result<HttpResponse, TransportError> + Clone + Send + Sync + 'static,
) -> impl Fn(HttpRequest) -> std::future::Ready<Result<HttpResponse, TransportError>> + Clone + Send + Sync {
    move |mut request| {
        let network = network.clone();
        // It has taken the request in: that the client logs out meanwhile changes nothing.
        request.headers_mut().remove("x-auth-token");
        request.headers_mut().insert("authorization", basic());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            network.oneshot(request).await
        });
        std::future::ready(answer())
    }
}

/// The account of the simulated machine.
fn basic() -> http::HeaderValue {
    let SimConfig { username, password, .. } = machine(vec![]);
    let credentials = BASE64_STANDARD.encode(format!("{username}:{password}"));
    format!("Basic {credentials}").parse().unwrap()
}

pub fn lost() -> Result<HttpResponse, TransportError> {
    Err(TransportError::new(TransportErrorKind::Broken))
}

pub fn answered(status: u16) -> Result<HttpResponse, TransportError> {
    Ok(http::Response::builder().status(status).body(axum::body::Body::empty()).unwrap())
}

/// A success whose message says that it is none.
pub fn reported_in_use() -> Result<HttpResponse, TransportError> {
    let body = r#"{"@Message.ExtendedInfo": [{"MessageId": "Base.1.8.ResourceInUse", "Severity": "Critical",
        "Message": "The slot is in use."}]}"#;
    Ok(http::Response::builder().status(200).body(body.into()).unwrap())
}
