//! The total bandwidth of all media, shared by all who read.
//!
//! Each frame of a body reserves its share of the time line and leaves when that has come, so readers take turns frame
//! by frame and a small read waits for no more than what was reserved before it. It slows bodies down and changes nothing
//! else. Invariant: over any time longer than [`BURST`], no more bytes leave than were allowed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// What may leave at line speed after a pause.
const BURST: Duration = Duration::from_millis(250);

/// Bytes a second, for all bodies that share it.
#[derive(Clone, Debug)]
pub struct Bandwidth(Arc<BandwidthState>);

#[derive(Debug)]
struct BandwidthState {
    bytes_per_second: f64,
    /// Up to when the line is reserved.
    reserved: Mutex<Option<Instant>>,
}

impl Bandwidth {
    pub fn new(bytes_per_second: u64) -> Bandwidth {
        Bandwidth(Arc::new(BandwidthState {
            bytes_per_second: bytes_per_second.max(1) as f64,
            reserved: Mutex::default(),
        }))
    }

    /// When so many bytes may leave.
    fn reserve(&self, bytes: usize) -> Instant {
        let now = Instant::now();
        let mut reserved = self.0.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let from = reserved.unwrap_or(earliest).max(earliest);
        let until = from + Duration::from_secs_f64(bytes as f64 / self.0.bytes_per_second);
        *reserved = Some(until);
        until
    }
}

/// Slows every body of the routes that it is around.
pub(super) async fn slow_down(State(pace): State<Bandwidth>, request: Request, next: Next) -> Response {
    next.run(request).await.map(|body| Body::new(PacedBody { body, pace, held: None }))
}

struct PacedBody {
    body: Body,
    pace: Bandwidth,
    /// The frame whose time has not come.
    held: Option<(Frame<Bytes>, Pin<Box<Sleep>>)>,
}

impl http_body::Body for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.held.is_none() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            let at = self.pace.reserve(frame.data_ref().map_or(0, Bytes::len));
            self.held = Some((frame, Box::pin(tokio::time::sleep_until(at))));
        }
        if let Some((_, sleep)) = &mut self.held {
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(self.held.take().map(|(frame, _)| Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().and_then(|(frame, _)| frame.data_ref()).map_or(0, Bytes::len) as u64;
        let inner = self.body.size_hint();
        match inner.exact() {
            Some(rest) => SizeHint::with_exact(rest + held),
            None => inner,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    fn paced(pace: &Bandwidth, frames: usize) -> PacedBody {
        let frames = futures_util::stream::iter(vec![Bytes::from_static(&[0; 1_000]); frames]);
        let body = Body::from_stream(frames.map(Ok::<_, std::io::Error>));
        PacedBody { body, pace: pace.clone(), held: None }
    }

    async fn read(body: PacedBody) -> (usize, Duration) {
        let started = Instant::now();
        let bytes = body.collect().await.unwrap().to_bytes();
        (bytes.len(), started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn all_readers_together_keep_the_pace() {
        let pace = Bandwidth::new(10_000);
        let reads = (0..4).map(|_| read(paced(&pace, 25)));
        let reads = futures_util::future::join_all(reads).await;
        assert!(reads.iter().all(|(bytes, _)| *bytes == 25_000));
        let last = reads.iter().map(|(_, took)| *took).max().unwrap();
        assert!((9.5..10.1).contains(&last.as_secs_f64()), "{last:?}");
        let first = reads.iter().map(|(_, took)| *took).min().unwrap();
        assert!(first.as_secs_f64() > 8.5, "they take turns: {reads:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_read_does_not_wait_for_a_large_one_to_end() {
        let pace = Bandwidth::new(10_000);
        let large = tokio::spawn(read(paced(&pace, 100)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (_, took) = read(paced(&pace, 1)).await;
        assert!(took < Duration::from_millis(300), "{took:?}");
        large.await.unwrap();
    }
}
