//! What goes wrong between a client and the BMC's service, whatever the request: requests that are
//! lost, refused for the moment, or answered with something that no client can use.
//!
//! A mishap strikes before the BMC has seen the request (it had no effect) or after it was answered (it had, and the
//! client does not learn that): the two cases between which a client must distinguish by looking. Not what a
//! resource gets wrong; that is with the resource. Invariant: whether a request meets a mishap is drawn from the
//! machine's own numbers, once a request, so the same seed has the same mishaps.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, header};

use super::super::bmc::Bmc;
use super::super::faults::Fault;
use super::super::message::Message;
use super::{Refusal, render};

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    Throttled,
    ServerError {
        busy: bool,
    },
    /// No answer ever comes.
    Silence {
        done: bool,
    },
    Reset {
        done: bool,
    },
    Truncated,
    Garbled,
    Cut,
}

/// Put into an answer's extensions: the connection was reset before any of it arrived.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionReset;

/// What a proxy or a starting web server shows.
const PAGE: &str = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";

impl Bmc {
    /// Draws what becomes of the request that has just come.
    pub fn draw_mishap(&mut self) -> Option<Mishap> {
        if self.calm || !self.faults.iter().any(|fault| mishap(fault, true).is_some()) {
            return None;
        }
        let (mut draw, coin) = (self.rng.below(1000), self.rng.below(2) == 0);
        let mut met = None;
        for (fault, (permille, mishap)) in
            self.faults.iter().filter_map(|fault| Some((fault, mishap(fault, coin)?)))
        {
            if draw < permille {
                met = Some((fault.name(), mishap));
                break;
            }
            draw -= permille;
        }
        let (name, mishap) = met?;
        self.note(name);
        Some(mishap)
    }
}

/// How many requests in a thousand meet this fault, and what it is; `None` where it is another kind.
fn mishap(fault: &Fault, coin: bool) -> Option<(u64, Mishap)> {
    Some(match fault {
        Fault::Throttled429(permille) => (*permille, Mishap::Throttled),
        Fault::Flaky5xx(permille) => (*permille, Mishap::ServerError { busy: coin }),
        Fault::LostRequest(permille) => (*permille, Mishap::Silence { done: false }),
        Fault::LostAnswer(permille) => (*permille, Mishap::Silence { done: true }),
        Fault::ResetConnection(permille) => (*permille, Mishap::Reset { done: coin }),
        Fault::TruncatedJson(permille) => (*permille, Mishap::Truncated),
        Fault::GarbledJson(permille) => (*permille, Mishap::Garbled),
        Fault::CutBody(permille) => (*permille, Mishap::Cut),
        _ => return None,
    })
}

impl Mishap {
    /// What comes of a request that is not done.
    pub async fn instead(self) -> Option<Response<Body>> {
        let refusal: Refusal = match self {
            Mishap::Throttled => Message::throttled(Duration::from_secs(5)),
            Mishap::ServerError { busy: true } => Message::unavailable(Duration::from_secs(2)),
            Mishap::ServerError { busy: false } => Message::internal(),
            Mishap::Silence { done: false } => std::future::pending().await,
            Mishap::Reset { done: false } => return Some(reset()),
            _ => return None,
        };
        Some(render(refusal.into()))
    }

    /// What comes of the answer to a request that was done.
    pub async fn spoil(self, answer: Response<Body>) -> Response<Body> {
        match self {
            Mishap::Silence { .. } => std::future::pending().await,
            Mishap::Reset { .. } => reset(),
            Mishap::Truncated => truncated(answer).await,
            Mishap::Garbled => garbled(answer),
            Mishap::Cut => cut(answer).await,
            Mishap::Throttled | Mishap::ServerError { .. } => answer,
        }
    }
}

/// On a real connection the body breaks off; in process an extension of the response says so.
pub fn reset() -> Response<Body> {
    let broken =
        std::future::ready(Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
    let mut answer = Response::new(Body::from_stream(futures_util::stream::once(broken)));
    answer.extensions_mut().insert(ConnectionReset);
    answer
}

async fn truncated(answer: Response<Body>) -> Response<Body> {
    let (head, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    Response::from_parts(head, Body::from(body.slice(..body.len() / 2)))
}

/// The same answer, whose body breaks off in its middle.
pub async fn cut(answer: Response<Body>) -> Response<Body> {
    let (head, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let half = Ok(body.slice(..body.len() / 2));
    let end = Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
    Response::from_parts(head, Body::from_stream(futures_util::stream::iter([half, end])))
}

fn garbled(answer: Response<Body>) -> Response<Body> {
    let (mut head, _) = answer.into_parts();
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    Response::from_parts(head, Body::from(PAGE))
}
