//! Brings an image from its source into a part file: by HTTP, resumed after breaks, or by copying.
//!
//! It neither checks what it brought nor names it; that is the cache's. Invariant: what stands in a
//! part file is a beginning of one version of the source, since a resumed download is only appended
//! to while the source's own validator holds (`If-Range`).

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use shoal_base::with_causes;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;
use tower::ServiceExt as _;
use url::Url;

use super::disk::{CHUNK_BYTES, ImageFiles, ImageOrigin, Part, Stamp};
use super::source::shown;
use super::{Allowed, CacheError, FetchProgress};
use shoal_base::world::{HttpRequest, HttpResponse, Transport, TransportErrorKind};

/// An answer's head, and then every [`PACE_BYTES`] of its body, must come within this.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// So much of a body must come within that time, or its end: a byte a minute is a silence too.
const PACE_BYTES: usize = 64 << 10;
const REDIRECTS_MAX: usize = 5;
/// Tries in a row that bring nothing, or less than [`PACE_BYTES`].
const TRIES_MAX: u32 = 5;
/// Tries of one download, however much each brings.
const ATTEMPTS_MAX: u32 = 200;

/// Says how many bytes the part will have, so that room can be made for them.
pub type Reserve<'a> = &'a (dyn Fn(u64) -> Result<(), CacheError> + Send + Sync);

/// What a look at a source found.
pub enum SourceState {
    Same,
    Changed,
}

/// A source that answers HTTP.
pub struct Remote<'a> {
    pub transport: &'a Transport,
    pub url: &'a Url,
    pub name: String,
    pub allowed: &'a Allowed,
}

/// Where a fetch puts what it gets.
pub struct Sink<'a> {
    pub files: &'a ImageFiles,
    pub progress: &'a Mutex<Option<FetchProgress>>,
    pub reserve: Reserve<'a>,
}

impl Remote<'_> {
    /// Whether the source still holds the image that `origin` describes. One request, no retry.
    pub async fn look(&self, origin: &ImageOrigin) -> Result<SourceState, CacheError> {
        let mut conditions = Vec::new();
        conditions.extend(origin.etag.clone().map(|etag| (IF_NONE_MATCH, etag)));
        if origin.etag.is_none() {
            conditions.extend(origin.last_modified.clone().map(|date| (IF_MODIFIED_SINCE, date)));
        }
        let response = self.get(&conditions).await?;
        // Some servers do not support conditional requests; their headers suffice. The body is dropped unread.
        let same = response.status() == StatusCode::NOT_MODIFIED || origin_of(response.headers()) == *origin;
        Ok(if same { SourceState::Same } else { SourceState::Changed })
    }

    /// Downloads the whole image, going on where an earlier download broke off.
    pub async fn download(&self, sink: &Sink<'_>) -> Result<(Part, ImageOrigin), CacheError> {
        let files = sink.files.clone();
        let mut download = Download { part: Some(blocking(move || Part::open(&files)).await?), origin: None };
        download.origin = sink.files.load_part_origin();
        let mut fruitless = 0;
        for _ in 0..ATTEMPTS_MAX {
            let had = download.bytes();
            let error = match self.attempt(&mut download, sink).await {
                Ok(()) => return Ok(download.done()),
                Err(error) => error,
            };
            let brought = download.bytes().saturating_sub(had);
            fruitless = if brought >= PACE_BYTES as u64 { 1 } else { fruitless + 1 };
            if !error.is_passing() || fruitless >= TRIES_MAX {
                return Err(error);
            }
            tracing::warn!(source = self.name, bytes = download.bytes(), error = %with_causes(&error), "a download broke off");
            tokio::time::sleep(Duration::from_secs(1 << fruitless.min(5))).await;
        }
        Err(self.broken(&download, None))
    }

    /// One request, and as much of its body as comes.
    async fn attempt(&self, download: &mut Download, sink: &Sink<'_>) -> Result<(), CacheError> {
        let response = self.get(&download.resume()).await?;
        let resumed = response.status() == StatusCode::PARTIAL_CONTENT;
        let total = if resumed {
            match continued_total(response.headers(), download.bytes()) {
                Some(total) => Some(total),
                None => return self.begin_anew(download).await,
            }
        } else if response.status() == StatusCode::OK {
            download.restart().await?;
            let origin = origin_of(response.headers());
            sink.files.save_part_origin(&origin)?;
            let length = origin.length;
            download.origin = Some(origin);
            length
        } else {
            return self.begin_anew(download).await;
        };
        (sink.reserve)(total.unwrap_or(download.bytes()))?;
        self.drain(response, download, total, sink).await
    }

    /// What is there cannot be gone on with: the next try starts at the first byte.
    async fn begin_anew(&self, download: &mut Download) -> Result<(), CacheError> {
        download.restart().await?;
        Err(self.broken(download, None))
    }

    async fn drain(
        &self,
        response: HttpResponse,
        download: &mut Download,
        total: Option<u64>,
        sink: &Sink<'_>,
    ) -> Result<(), CacheError> {
        let mut body = response.into_body();
        let (mut pending, mut pace) = (BytesMut::new(), Pace::new());
        loop {
            let piece = next_piece(&mut body, &mut pace).await;
            if let Some(Ok(data)) = &piece {
                pending.extend_from_slice(data);
                if pending.len() < CHUNK_BYTES {
                    continue;
                }
            }
            download.append(&mut pending, total, sink).await?;
            pace = Pace::new();
            match piece {
                Some(Ok(_)) => {}
                Some(Err(Silent)) => return Err(self.broken(download, total)),
                None => break,
            }
        }
        match total {
            Some(total) if download.bytes() < total => Err(self.broken(download, Some(total))),
            Some(total) if download.bytes() > total => self.begin_anew(download).await,
            _ => Ok(()),
        }
    }

    fn broken(&self, download: &Download, total: Option<u64>) -> CacheError {
        CacheError::Broken { name: self.name.clone(), bytes: download.bytes(), total }
    }

    /// A GET, its redirects followed to places that are allowed. 200, 206, 304 and 416 come back.
    async fn get(&self, headers: &[(HeaderName, String)]) -> Result<HttpResponse, CacheError> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(&url, headers).await?;
            let status = response.status();
            let passes = [StatusCode::NOT_MODIFIED, StatusCode::RANGE_NOT_SATISFIABLE].contains(&status);
            if status.is_success() || passes {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(self.refused(status));
            }
            let redirects = || CacheError::Redirects { name: self.name.clone() };
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            url = url.join(location.ok_or_else(redirects)?).map_err(|_| redirects())?;
            let http = matches!(url.scheme(), "http" | "https");
            if !http || !(self.allowed)(&url) {
                return Err(CacheError::RedirectNotAllowed { name: self.name.clone(), to: shown(&url) });
            }
        }
        Err(CacheError::Redirects { name: self.name.clone() })
    }

    async fn send(&self, url: &Url, headers: &[(HeaderName, String)]) -> Result<HttpResponse, CacheError> {
        let request = self.request(url, headers);
        let sent = tokio::time::timeout(SILENCE_MAX, self.transport.clone().oneshot(request)).await;
        let name = self.name.clone();
        match sent {
            Err(_) => Err(CacheError::TimedOut { name, seconds: SILENCE_MAX.as_secs() }),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(fault)) if fault.kind == TransportErrorKind::Certificate => {
                Err(CacheError::Certificate { name, fault })
            }
            Ok(Err(fault)) => Err(CacheError::Unreachable { name, fault }),
        }
    }

    fn request(&self, url: &Url, headers: &[(HeaderName, String)]) -> HttpRequest {
        let mut plain = url.clone();
        let _ = plain.set_username("");
        let _ = plain.set_password(None);
        let mut request = HttpRequest::new(Bytes::new());
        *request.uri_mut() = plain.as_str().parse().expect("an http URL is a URI");
        let fields = request.headers_mut();
        fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(login) = login(url) {
            fields.insert(AUTHORIZATION, login);
        }
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                fields.insert(name, value);
            }
        }
        request
    }

    fn refused(&self, status: StatusCode) -> CacheError {
        let name = self.name.clone();
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => CacheError::NotFound { name },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => CacheError::Denied { name, status },
            _ => CacheError::Refused { name, status },
        }
    }
}

/// A part that grows. Absent from `part` only while it is with a thread that writes.
struct Download {
    part: Option<Part>,
    origin: Option<ImageOrigin>,
}

impl Download {
    fn bytes(&self) -> u64 {
        self.part.as_ref().map_or(0, |part| part.bytes)
    }

    /// The headers that ask for the rest of the same version; none where it cannot be named.
    fn resume(&self) -> Vec<(HeaderName, String)> {
        let validator = self.origin.as_ref().and_then(strong_validator);
        match (self.bytes(), validator) {
            (0, _) | (_, None) => Vec::new(),
            (bytes, Some(validator)) => vec![(RANGE, format!("bytes={bytes}-")), (IF_RANGE, validator)],
        }
    }

    async fn restart(&mut self) -> Result<(), CacheError> {
        let part = self.take();
        self.part = Some(blocking(move || part.restart()).await?);
        Ok(())
    }

    async fn append(
        &mut self,
        pending: &mut BytesMut,
        total: Option<u64>,
        sink: &Sink<'_>,
    ) -> Result<(), CacheError> {
        let chunk = pending.split().freeze();
        if total.is_none() {
            (sink.reserve)(self.bytes() + chunk.len() as u64)?;
        }
        let part = self.take();
        let part = blocking(move || part.append(&chunk)).await?;
        note(sink, part.bytes, total);
        self.part = Some(part);
        Ok(())
    }

    fn take(&mut self) -> Part {
        self.part.take().expect("a download that lost its part to a disk error is over")
    }

    fn done(self) -> (Part, ImageOrigin) {
        let part = self.part.expect("a download that lost its part to a disk error is over");
        (part, self.origin.unwrap_or_default())
    }
}

/// Copies a local file into the part.
pub async fn copy(path: &Path, sink: &Sink<'_>) -> Result<(Part, ImageOrigin), CacheError> {
    let local = |fault| CacheError::LocalFile { path: path.to_owned(), fault };
    let mut file = std::fs::File::open(path).map_err(local)?;
    let stamp = stamp_of(path)?;
    (sink.reserve)(stamp.size)?;
    let files = sink.files.clone();
    let mut part = blocking(move || Part::open(&files)?.restart()).await?;
    loop {
        let read = blocking(move || {
            use std::io::Read as _;
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
            (file, read.map(|_| chunk))
        });
        let (back, chunk) = read.await;
        file = back;
        let chunk = chunk.map_err(local)?;
        if chunk.is_empty() {
            break;
        }
        part = blocking(move || part.append(&chunk)).await?;
        note(sink, part.bytes, Some(stamp.size));
    }
    if part.bytes != stamp.size || stamp_of(path)? != stamp {
        return Err(CacheError::Changing { path: path.to_owned() });
    }
    Ok((part, ImageOrigin { stamp: Some(stamp), ..ImageOrigin::default() }))
}

/// Whether a local file is still the one that was copied.
pub fn look_local(path: &Path, origin: &ImageOrigin) -> Result<SourceState, CacheError> {
    Ok(if origin.stamp == Some(stamp_of(path)?) { SourceState::Same } else { SourceState::Changed })
}

fn stamp_of(path: &Path) -> Result<Stamp, CacheError> {
    let metadata =
        std::fs::metadata(path).map_err(|fault| CacheError::LocalFile { path: path.to_owned(), fault })?;
    if !metadata.is_file() {
        return Err(CacheError::NotAFile { path: path.to_owned() });
    }
    Ok(Stamp::of(&metadata))
}

/// The body broke off, or nothing came for too long.
struct Silent;

/// How much of a body has come since when.
struct Pace {
    since: Instant,
    bytes: usize,
}

impl Pace {
    fn new() -> Pace {
        Pace { since: Instant::now(), bytes: 0 }
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= PACE_BYTES {
            *self = Pace::new();
        }
    }
}

async fn next_piece(body: &mut axum::body::Body, pace: &mut Pace) -> Option<Result<Bytes, Silent>> {
    match tokio::time::timeout_at(pace.since + SILENCE_MAX, body.frame()).await {
        Ok(Some(Ok(frame))) => {
            let data = frame.into_data().unwrap_or_default();
            pace.count(data.len());
            Some(Ok(data))
        }
        Ok(Some(Err(_))) | Err(_) => Some(Err(Silent)),
        Ok(None) => None,
    }
}

/// Runs what blocks on a thread for it. A runtime of one thread is a simulation: there it is done in
/// place, as another thread's pace would decide in which order things happen.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work();
    }
    tokio::task::spawn_blocking(work).await.expect("file work does not panic, and is never aborted")
}

fn note(sink: &Sink<'_>, bytes: u64, total: Option<u64>) {
    *sink.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(FetchProgress { bytes, total });
}

fn origin_of(headers: &HeaderMap) -> ImageOrigin {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let length = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
    ImageOrigin { etag: text(ETAG), last_modified: text(LAST_MODIFIED), length, stamp: None }
}

/// What `If-Range` accepts: a strong tag, else a date.
fn strong_validator(origin: &ImageOrigin) -> Option<String> {
    let strong = origin.etag.clone().filter(|etag| !etag.starts_with("W/"));
    strong.or_else(|| origin.last_modified.clone())
}

/// The whole length, where a 206 goes on at `bytes`.
fn continued_total(headers: &HeaderMap, bytes: u64) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, total) = text.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let goes_on = start.trim().parse::<u64>().ok()? == bytes;
    total.trim().parse().ok().filter(|_| goes_on)
}

/// Basic authentication for a URL that names a user.
fn login(url: &Url) -> Option<HeaderValue> {
    use base64::Engine as _;
    let password = url.password().unwrap_or_default();
    let plain = format!("{}:{}", decoded(url.username()), decoded(password));
    let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
    let mut value =
        HeaderValue::from_str(&format!("Basic {encoded}")).ok().filter(|_| !url.username().is_empty())?;
    value.set_sensitive(true);
    Some(value)
}

/// Percent-decoded, as the form parser of `url` does it.
fn decoded(text: &str) -> String {
    let plus_kept = text.replace('+', "%2B");
    url::form_urlencoded::parse(plus_kept.as_bytes())
        .next()
        .map_or(String::new(), |(key, _)| key.into_owned())
}
