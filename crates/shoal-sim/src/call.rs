//! What the software on a simulated host sends into its network: one call at a time.
//!
//! It knows neither who calls nor why. Invariant: a call is sent once, however often the machine's
//! task looks away from it in the meantime.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tower::ServiceExt;

use super::guest::{CallEnd, HookCall};
use shoal_base::world::{HttpRequest, HttpResponse, TlsPolicy, Transport};

/// As `wget -T 30`, for the whole call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The call that is on its way, if any.
#[derive(Default)]
pub struct Calls {
    running: Option<Running>,
}

struct Running {
    /// The host's boot during which it was sent.
    boot: u64,
    call: HookCall,
    sending: Pin<Box<dyn Future<Output = CallEnd> + Send>>,
}

impl Calls {
    /// Waits for the end of a call, which is sent unless it is on its way already. May be dropped
    /// and asked again.
    pub async fn finish(&mut self, boot: u64, call: HookCall, transport: &Transport) -> CallEnd {
        if let Some(late) = call.late {
            let sending = send(call, transport.clone());
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                sending.await;
            });
            return CallEnd::Accepted;
        }
        let is_same = |running: &Running| running.boot == boot && running.call == call;
        let running = match self.running.take().filter(is_same) {
            Some(running) => running,
            None => Running { boot, sending: Box::pin(send(call.clone(), transport.clone())), call },
        };
        let running = self.running.insert(running);
        let end = running.sending.as_mut().await;
        self.running = None;
        end
    }

    /// The software that called is gone, and its connection with it.
    pub fn forget(&mut self) {
        self.running = None;
    }
}

async fn send(call: HookCall, transport: Transport) -> CallEnd {
    let Ok(request) = request(&call) else { return CallEnd::Refused };
    let end = match tokio::time::timeout(CALL_TIMEOUT, transport.oneshot(request)).await {
        Ok(Ok(response)) => match (end_of(response.status()), &call.sha256) {
            (CallEnd::Accepted, Some(sha256)) if digest(response).await.as_ref() != Some(sha256) => {
                CallEnd::Lost
            }
            (end, _) => end,
        },
        _ => CallEnd::Lost,
    };
    tracing::debug!(?end, "the software on a simulated host made a call");
    end
}

fn end_of(status: StatusCode) -> CallEnd {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => CallEnd::Lost,
        _ if status.is_success() => CallEnd::Accepted,
        _ if status.is_client_error() => CallEnd::Refused,
        _ => CallEnd::Lost,
    }
}

/// Of a body that came whole.
async fn digest(response: HttpResponse) -> Option<String> {
    let (mut body, mut hash) = (response.into_body(), Sha256::new());
    while let Some(frame) = body.frame().await {
        hash.update(frame.ok()?.into_data().unwrap_or_default());
    }
    Some(shoal_base::hex(&hash.finalize()))
}

/// As busybox and Python on ESXi, it takes any certificate.
fn request(call: &HookCall) -> Result<HttpRequest, http::Error> {
    let request = http::Request::builder().uri(&call.url).extension(TlsPolicy::Insecure);
    let request = match &call.secret {
        Some(secret) => request.header("X-Webhook-Secret", secret),
        None => request,
    };
    let Some(body) = &call.body else { return request.body(Bytes::new()) };
    // What Python and wget say of any body, as long as a script does not say otherwise.
    let content_type = if call.is_json { "application/json" } else { "application/x-www-form-urlencoded" };
    let request = request.method("POST").header(CONTENT_TYPE, content_type);
    request.body(Bytes::from(body.clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::body::Body;
    use tower::util::BoxCloneSyncService;

    use super::*;

    /// A server that takes its time, and counts what it is asked.
    fn server(answers_after: Duration) -> (Transport, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let service = tower::service_fn(move |_: HttpRequest| {
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::time::sleep(answers_after).await;
                Ok(http::Response::new(Body::empty()))
            }
        });
        (BoxCloneSyncService::new(service), asked)
    }

    fn call(number: usize) -> HookCall {
        let url = "http://controller.test/".to_owned();
        HookCall { number, url, body: None, is_json: false, secret: None, late: None, sha256: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_looked_away_from_is_not_sent_again() {
        let (transport, asked) = server(Duration::from_secs(10));
        let mut calls = Calls::default();
        for _ in 0..3 {
            let look = calls.finish(1, call(0), &transport);
            assert!(tokio::time::timeout(Duration::from_secs(2), look).await.is_err());
        }
        assert_eq!(calls.finish(1, call(0), &transport).await, CallEnd::Accepted);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(calls.finish(1, call(1), &transport).await, CallEnd::Accepted);
        assert_eq!(asked.load(Ordering::Relaxed), 2, "another act of the script is another call");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_fails_after_thirty_seconds() {
        let begun = tokio::time::Instant::now();
        let (transport, _) = server(Duration::from_secs(3600));
        assert_eq!(Calls::default().finish(1, call(0), &transport).await, CallEnd::Lost);
        assert_eq!(begun.elapsed(), CALL_TIMEOUT);
    }
}
