//! The image that a Linux or Windows job writes to its disk, for the maintenance system on the host.
//!
//! Served under `/media/images/{job_id}.{token}/image`, by range, in pieces that come from an [`HostImageSource`] while they
//! are sent: nothing of an image is kept here. Its reader is the host and not the BMC, so its reads are no milestones and
//! `MEDIA_BIND_PEER` does not apply. Invariant: as for media, what opens nothing answers alike, and the path of a job that
//! goes on never answers 404.

use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Frame, SizeHint};
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Media;
use super::server::{
    ENDED, HELD, HELD_LOOK, ShownImage, WRONG, method_not_allowed, not_found, not_yet, problem, value,
    with_length,
};
use super::token::parse_name;
use crate::domain::JobId;
use crate::token::Token;

/// Requests for one image that are answered at a time: one host reads it, and its broken connections may linger.
pub const READERS_MAX: usize = 8;
const CONTENT: &str = "application/octet-stream";

/// Where the bytes of an image come from.
pub trait HostImageSource: Send + Sync {
    /// The bytes of `range`, which is not empty and inside the image, in order and no more than these.
    fn read(&self, range: Range<u64>) -> BoxFuture<'static, Result<ImageBytes, HostImageError>>;
}

/// Pieces of an image, fetched while they are taken; the last one is the end of the range or an error.
pub type ImageBytes = BoxStream<'static, Result<Bytes, HostImageError>>;

/// Why a source has nothing to give, as a message for an operator, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HostImageError(pub String);

/// An image to be served.
#[derive(Clone)]
pub struct HostImage {
    /// In bytes, not 0.
    pub size: u64,
    /// Of all the bytes, lower-case hex: the tag that a host continues by.
    pub sha256: String,
    pub source: Arc<dyn HostImageSource>,
}

/// An image that is served.
pub(super) struct ServedImage {
    image: HostImage,
    etag: HeaderValue,
    readers: Arc<Semaphore>,
    /// Why a request ended early, last.
    fault: Mutex<Option<String>>,
}

impl ServedImage {
    pub fn new(image: HostImage) -> ServedImage {
        let etag = value(&format!("\"{}\"", image.sha256));
        ServedImage { image, etag, readers: Arc::new(Semaphore::new(READERS_MAX)), fault: Mutex::default() }
    }

    pub fn is(&self, image: &HostImage) -> bool {
        self.image.sha256 == image.sha256
    }

    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failed(&self, job: JobId, error: &HostImageError) {
        tracing::warn!(%job, error = %error, "a job's image cannot be served");
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.0.clone());
    }
}

/// The token of a job's image: one a job, since nothing caches by URL here.
pub(super) fn token(key: &[u8; 32], job: JobId) -> Token {
    Token::new(key, &format!("{job}|image"))
}

pub(super) fn path(token: &Token, job: JobId) -> String {
    format!("/media/images/{job}.{}/image", token.expose())
}

pub(super) fn router(media: Media) -> axum::Router {
    let serve = async |State(media): State<Media>, Path(name): Path<String>, request: Request| {
        let response = media.serve_image(&name, &request.into_parts().0).await;
        let code = response.status().as_str().to_owned();
        counter!("shoal_provisioner_media_requests_total", "kind" => "image", "code" => code).increment(1);
        response
    };
    let route = get(serve).fallback(async || method_not_allowed());
    axum::Router::new().route("/media/images/{name}/image", route).with_state(media)
}

impl Media {
    async fn serve_image(&self, name: &str, request: &Parts) -> Response {
        let Some((job, Some(shown))) = parse_name(name) else { return refused("malformed") };
        if !token(self.key(), job).matches(shown) {
            return refused(WRONG);
        }
        self.catch_up(job).await;
        if self.served_image(job).is_none() && self.is_active(job).await {
            self.await_published(job).await;
            if self.served_image(job).is_none() {
                return not_yet();
            }
        }
        match self.served_image(job) {
            Some(served) => served.answer(job, &request.method, &request.headers).await,
            None => refused(ENDED),
        }
    }

    /// A controller that has just started publishes what its jobs need within moments.
    async fn await_published(&self, job: JobId) {
        let until = Instant::now() + HELD;
        while Instant::now() < until && self.served_image(job).is_none() {
            tokio::time::sleep(HELD_LOOK).await;
        }
    }
}

fn refused(reason: &'static str) -> Response {
    counter!("shoal_provisioner_media_refused_total", "kind" => "image", "reason" => reason).increment(1);
    not_found()
}

fn too_many() -> Response {
    let detail = format!("{READERS_MAX} requests for this image are being answered");
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, &detail);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

impl ServedImage {
    async fn answer(self: Arc<Self>, job: JobId, method: &Method, headers: &HeaderMap) -> Response {
        let shown = ShownImage { size: self.image.size, etag: self.etag.clone(), content_type: CONTENT };
        shown.answer(method, headers, |range, code| self.body(job, range, code)).await
    }

    async fn body(self: Arc<Self>, job: JobId, range: Range<u64>, code: StatusCode) -> Response {
        let Ok(permit) = self.readers.clone().try_acquire_owned() else {
            return too_many();
        };
        let left = range.end - range.start;
        match self.image.source.read(range).await {
            // A host tries again after 502, and the reason is in the controller's log and the job's failure.
            Err(error) => {
                self.failed(job, &error);
                problem(StatusCode::BAD_GATEWAY, "the image cannot be fetched just now")
            }
            Ok(bytes) => {
                let sent = counter!("shoal_provisioner_media_bytes_total", "kind" => "image");
                let body = ImageStream { bytes, left, job, served: self, sent, _permit: permit };
                with_length(code, Body::new(body), left, CONTENT)
            }
        }
    }
}

/// One response: as many bytes as were announced, or an error, by which the connection breaks and the host continues.
struct ImageStream {
    bytes: ImageBytes,
    left: u64,
    job: JobId,
    served: Arc<ServedImage>,
    sent: metrics::Counter,
    _permit: OwnedSemaphorePermit,
}

impl ImageStream {
    fn checked(&self, piece: Option<Result<Bytes, HostImageError>>) -> Result<Bytes, HostImageError> {
        match piece {
            Some(Ok(piece)) if piece.len() as u64 <= self.left => Ok(piece),
            Some(Ok(_)) => Err(HostImageError("more bytes came than were asked for".to_owned())),
            Some(Err(error)) => Err(error),
            None => Err(HostImageError(format!("{} bytes are missing", self.left))),
        }
    }
}

impl http_body::Body for ImageStream {
    type Data = Bytes;
    type Error = HostImageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HostImageError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = ready!(self.bytes.as_mut().poll_next(cx));
        Poll::Ready(Some(match self.checked(piece) {
            Ok(piece) => {
                self.left -= piece.len() as u64;
                self.sent.increment(piece.len() as u64);
                Ok(Frame::data(piece))
            }
            Err(error) => {
                self.served.failed(self.job, &error);
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
