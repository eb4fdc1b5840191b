//! The routes under `/media`: images by range, to BMCs that are slow, odd, and gone in the middle.
//!
//! It opens no listener and sets no deadline: a BMC may read small pieces for hours, so the body is
//! pulled and no more than one slice waits for a reader. No redirect is ever sent, because it is
//! unknown which BMCs follow one. Invariant: a path with a wrong token, one of an ended job and one of
//! a job that never was answer alike, as does one that another than the job's BMC asks for where
//! media are bound to it; one of a job that goes on never says 404, not even while a
//! restarted controller takes its jobs up.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any, get};
use bytes::Bytes;
use futures_util::future::{BoxFuture, poll_fn};
use http::header::{ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Frame, SizeHint};
use metrics::counter;
use shoal_base::with_causes;
use tokio::time::Instant;

use super::conditions::{RangeAnswer, answer};
use super::job_media::JobMedia;
use super::token::parse_name;
use super::{Image, Media, content_type};
use crate::domain::{Drive, JobId, Medium};
use crate::problem::Problem;
use crate::store::StoreError;

/// In a request's extensions: it was authenticated as an operator's. Without one, only the
/// paths that hold a token are served.
#[derive(Clone, Copy, Debug)]
pub struct OperatorPass;

/// How long a request is held for an image that is to be published; most BMCs wait longer for an answer.
pub(super) const HELD: Duration = Duration::from_secs(10);
pub(super) const HELD_LOOK: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub(super) struct Routes {
    media: Media,
}

/// What each path below `/media` leads to: a folder, a job's name in between, a file.
const IMAGES: [(&str, &str, Medium, Drive); 3] = [
    ("tasks", "task.iso", Medium::Task, Drive::Cd),
    ("tasks", "task.img", Medium::Task, Drive::Usb),
    ("installers", "esxi.iso", Medium::Boot, Drive::Cd),
];

pub fn router(media: Media) -> axum::Router {
    let mut router = axum::Router::new();
    for (folder, file, medium, drive) in IMAGES {
        router = router.route(&format!("/media/{folder}/{{name}}/{file}"), image_route(medium, drive));
    }
    router.route("/media/{*rest}", any(async || not_found())).with_state(Routes { media })
}

fn image_route(medium: Medium, drive: Drive) -> MethodRouter<Routes> {
    let serve = move |State(routes): State<Routes>, Path(name): Path<String>, request: Request| async move {
        routes.answer((medium, drive), &name, &request.into_parts().0).await
    };
    get(serve).fallback(async || method_not_allowed())
}

/// The image behind a path, and the name in it.
pub(super) fn image_behind(path: &str) -> Option<((Medium, Drive), &str)> {
    let (folder, rest) = path.strip_prefix("/media/")?.split_once('/')?;
    let (name, file) = rest.split_once('/')?;
    let image = IMAGES.into_iter().find(|image| (image.0, image.1) == (folder, file))?;
    Some(((image.2, image.3), name))
}

impl Routes {
    pub(super) fn of(media: Media) -> Routes {
        Routes { media }
    }

    /// Answers, and counts the answer.
    pub(super) async fn answer(&self, image: (Medium, Drive), name: &str, request: &Parts) -> Response {
        let response = self.serve(image, name, request).await;
        let (kind, code) = (image.0.name(), code_label(response.status()));
        counter!("shoal_provisioner_media_requests_total", "kind" => kind, "code" => code).increment(1);
        response
    }

    async fn serve(&self, (medium, drive): (Medium, Drive), name: &str, request: &Parts) -> Response {
        let Some((job, token)) = parse_name(name) else {
            count_refused(medium, "malformed");
            return not_found();
        };
        let fetch = match token {
            Some(token) => return self.serve_bmc((medium, drive), job, token, request).await,
            None if medium == Medium::Task && request.extensions.get::<OperatorPass>().is_some() => {
                self.for_operator(medium, drive, job)
            }
            None => None,
        };
        match fetch {
            Some(fetch) => fetch.answer(&request.method, &request.headers).await,
            None => not_found(),
        }
    }

    async fn serve_bmc(
        &self,
        (medium, drive): (Medium, Drive),
        job: JobId,
        token: &str,
        request: &Parts,
    ) -> Response {
        if self.media.is_behind(job) && self.media.is_path(job, medium, token) {
            self.media.catch_up(job).await;
        }
        let mut opened = self.for_bmc((medium, drive), job, token, request);
        // A BMC that hears 404 may drop the medium from under a running installer.
        if matches!(opened, Err(refused) if refused != FOREIGN)
            && self.media.is_expected(job, medium, drive, token).await
        {
            self.await_image(medium, drive, job).await;
            opened = self.for_bmc((medium, drive), job, token, request);
            if opened.is_err() {
                return not_yet();
            }
        }
        match opened {
            Ok(fetch) => fetch.answer(&request.method, &request.headers).await,
            Err(refused) => {
                count_refused(medium, refused);
                not_found()
            }
        }
    }

    /// A controller that has just started publishes what its jobs have mounted within moments. A drive takes an
    /// error for a bad medium, where it would have waited for an answer.
    async fn await_image(&self, medium: Medium, drive: Drive, job: JobId) {
        let until = Instant::now() + HELD;
        while Instant::now() < until && self.for_operator(medium, drive, job).is_none() {
            tokio::time::sleep(HELD_LOOK).await;
        }
    }

    fn for_bmc(
        &self,
        (medium, drive): (Medium, Drive),
        job: JobId,
        token: &str,
        request: &Parts,
    ) -> Result<ImageRequest, &'static str> {
        let job_media = self.media.find(job).ok_or(ENDED)?;
        // Only the right peer learns whether a token is right. A HEAD discloses the size only: it is how
        // the controller sees whether its own media are reached.
        if self.media.binds_peers() && request.method != Method::HEAD && !is_from_bmc(&job_media, request) {
            job_media.refused_peer(medium, drive, token);
            return Err(FOREIGN);
        }
        let image = job_media.open(medium, drive, token).ok_or(WRONG)?;
        Ok(ImageRequest { image, medium, drive, watch: Some(job_media) })
    }

    fn for_operator(&self, medium: Medium, drive: Drive, job: JobId) -> Option<ImageRequest> {
        let image = self.media.find(job)?.image(medium, drive)?;
        Some(ImageRequest { image, medium, drive, watch: None })
    }
}

/// Why a path with a token opens nothing: its job is over or never was, the token is not one of its
/// job's and medium's, or another than the job's BMC asks.
pub(super) const ENDED: &str = "ended";
pub(super) const WRONG: &str = "wrong";
const FOREIGN: &str = "foreign";

fn count_refused(medium: Medium, reason: &'static str) {
    let labels = [("kind", medium.name()), ("reason", reason)];
    counter!("shoal_provisioner_media_refused_total", &labels).increment(1);
}

fn is_from_bmc(job_media: &JobMedia, request: &Parts) -> bool {
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.is_some_and(|ConnectInfo(peer)| job_media.is_for(peer.ip()))
}

/// One request for one image. Reads are noted in `watch`; an operator's are not.
struct ImageRequest {
    image: Arc<Image>,
    medium: Medium,
    drive: Drive,
    watch: Option<Arc<JobMedia>>,
}

impl ImageRequest {
    async fn answer(self, method: &Method, headers: &HeaderMap) -> Response {
        let (size, etag) = (self.image.size(), self.image.etag().clone());
        let shown = ShownImage { size, etag, content_type: content_type(self.drive) };
        shown.answer(method, headers, |range, code| self.body(range, code)).await
    }

    async fn body(self, range: Range<u64>, code: StatusCode) -> Response {
        let length = range.end - range.start;
        let whole = length == self.image.size();
        let sent = bytes_counter(self.medium);
        let ImageRequest { image, medium, drive, watch } = self;
        let mut pull = ImageBody {
            image,
            medium,
            watch,
            whole,
            at: range.start,
            range,
            sent,
            next: None,
            settling: None,
        };
        // The first slice is fetched and noted here, while a failure can still have a status.
        if let Err(error) = poll_fn(|cx| pull.poll_next(cx)).await {
            tracing::error!(medium = medium.name(), error = %with_causes(&error), "an image cannot be served");
            return problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "the image cannot be read or its trace not kept just now",
            );
        }
        with_length(code, Body::new(pull), length, content_type(drive))
    }
}

/// What the head of every response about one image shows.
pub(super) struct ShownImage {
    pub size: u64,
    pub etag: HeaderValue,
    pub content_type: &'static str,
}

impl ShownImage {
    /// Answers a request by its conditions; `body` makes the response where bytes are to be sent.
    pub async fn answer<F: Future<Output = Response>>(
        self,
        method: &Method,
        headers: &HeaderMap,
        body: impl FnOnce(Range<u64>, StatusCode) -> F,
    ) -> Response {
        let size = self.size;
        let mut response = match answer(method, headers, size, &self.etag) {
            RangeAnswer::NotModified => status(StatusCode::NOT_MODIFIED),
            RangeAnswer::Failed => {
                problem(StatusCode::PRECONDITION_FAILED, "the image is not the one that If-Match names")
            }
            RangeAnswer::Unsatisfiable => unsatisfiable(size),
            RangeAnswer::Whole if method == Method::HEAD => {
                with_length(StatusCode::OK, Body::empty(), size, self.content_type)
            }
            RangeAnswer::Whole => body(0..size, StatusCode::OK).await,
            RangeAnswer::Part(range) => {
                let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                let mut response = body(range, StatusCode::PARTIAL_CONTENT).await;
                if response.status() == StatusCode::PARTIAL_CONTENT {
                    response.headers_mut().insert(CONTENT_RANGE, value(&content_range));
                }
                response
            }
        };
        let headers = response.headers_mut();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(ETAG, self.etag);
        response
    }
}

/// Without an allocation for those of every installation.
fn code_label(code: StatusCode) -> Cow<'static, str> {
    match code {
        StatusCode::OK => "200".into(),
        StatusCode::PARTIAL_CONTENT => "206".into(),
        other => other.as_str().to_owned().into(),
    }
}

/// Labels that are literals cost nothing a request.
fn bytes_counter(medium: Medium) -> metrics::Counter {
    match medium {
        Medium::Boot => counter!("shoal_provisioner_media_bytes_total", "kind" => "installer"),
        Medium::Task => counter!("shoal_provisioner_media_bytes_total", "kind" => "task"),
    }
}

pub(super) fn with_length(code: StatusCode, body: Body, bytes: u64, content_type: &'static str) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The bytes of one response, a slice at a time, each noted before it leaves.
struct ImageBody {
    image: Arc<Image>,
    medium: Medium,
    watch: Option<Arc<JobMedia>>,
    whole: bool,
    /// The requested part.
    range: Range<u64>,
    /// The first byte that has not left yet.
    at: u64,
    /// The slice that starts there, already noted.
    next: Option<Bytes>,
    settling: Option<BoxFuture<'static, Result<(), StoreError>>>,
    sent: metrics::Counter,
}

#[derive(Debug, thiserror::Error)]
#[error("what was read of the image cannot be kept")]
struct TraceError(#[source] StoreError);

impl ImageBody {
    /// Has the next slice at hand, and every milestone that it shows in the store.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TraceError>> {
        if self.next.is_none() && self.at < self.range.end {
            let slice = self.image.slice(self.at..self.range.end);
            let end = self.at + slice.len() as u64;
            if let Some(watch) = &self.watch
                && watch.note(self.medium, self.at..end, self.whole)
            {
                let watch = watch.clone();
                self.settling = Some(Box::pin(async move { watch.settle().await }));
            }
            self.next = Some(slice);
        }
        if let Some(settling) = &mut self.settling {
            let settled = ready!(settling.as_mut().poll(cx));
            self.settling = None;
            settled.map_err(TraceError)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl http_body::Body for ImageBody {
    type Data = Bytes;
    type Error = TraceError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TraceError>>> {
        if let Err(error) = ready!(self.poll_next(cx)) {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(slice) = self.next.take() else { return Poll::Ready(None) };
        self.at += slice.len() as u64;
        self.sent.increment(slice.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.range.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.end - self.at)
    }
}

impl Drop for ImageBody {
    fn drop(&mut self) {
        let Some(watch) = &self.watch else { return };
        let (sent, asked) = (self.at - self.range.start, self.range.end - self.range.start);
        if sent == asked {
            watch.completed(self.medium);
        } else {
            watch.failed(self.medium, format!("aborted after {sent} of {asked} bytes"));
        }
    }
}

pub(super) fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "there is no such image, or its job has ended")
}

pub(super) fn not_yet() -> Response {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "the controller has just started");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pub(super) fn method_not_allowed() -> Response {
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "an image can be read by GET and HEAD only");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn unsatisfiable(size: u64) -> Response {
    let mut response = problem(StatusCode::RANGE_NOT_SATISFIABLE, "the range begins beyond the image's end");
    response.headers_mut().insert(CONTENT_RANGE, value(&format!("bytes */{size}")));
    response
}

/// The codes of this module are those of HTTP ranges, which no other resource has.
pub(super) fn problem(code: StatusCode, detail: &str) -> Response {
    let problem = Problem {
        kind: "about:blank".to_owned(),
        title: code.canonical_reason().unwrap_or_default().to_owned(),
        status: code,
        detail: detail.to_owned(),
        errors: Vec::new(),
        job_id: None,
    };
    problem.into_response()
}

fn status(code: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

pub(super) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits and dashes are a header value")
}
