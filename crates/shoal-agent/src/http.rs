//! HTTP as the agent needs it: reports out, one image in.
//!
//! Connections go through `shoal_base::world`. Invariants: every wait has a time-out, and a download has one as a
//! whole; an image whose connection breaks goes on at the byte where it broke, from the URL that was given, or fails, and
//! never starts in the middle of another file.

use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED,
    LOCATION, RANGE,
};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use shoal_base::with_causes;
use shoal_base::world::{HttpResponse, TlsPolicy, Transport, real_transport};
use shoal_recipe::Job;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tower::ServiceExt;
use url::Url;

const POST_TIMEOUT: Duration = Duration::from_secs(15);
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const LIMITS: Limits = Limits {
    silence: Duration::from_secs(120),
    window: Duration::from_secs(600),
    window_bytes: 1 << 20,
    whole: Duration::from_secs(24 * 3600),
};
const REDIRECTS_MAX: usize = 5;
/// Connections in a row that bring nothing.
const TRIES: u32 = 8;
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The web as the agent uses it; tests have one of their own.
pub trait Web: Sync {
    /// The status of the answer.
    fn post(&self, url: &Url, body: &[u8]) -> Result<u16, String>;
    /// The file at `url`, and its size where the server names it.
    fn open(&self, url: &Url) -> Result<(Box<dyn Read + Send>, Option<u64>), String>;
}

/// How long an image may take, in time that is spent waiting for it.
#[derive(Clone, Copy)]
struct Limits {
    /// The longest silence. A registry that fetches first may need a while.
    silence: Duration,
    /// In so long, so many bytes at least.
    window: Duration,
    window_bytes: u64,
    whole: Duration,
}

/// How peers are trusted.
#[derive(Clone)]
pub struct Client {
    limits: Limits,
    roots: Vec<CertificateDer<'static>>,
    /// Host and port of the controller, and how its certificate is judged.
    controller: Option<((String, u16), TlsPolicy)>,
}

impl Client {
    pub fn new(job: &Job) -> Client {
        let pem = job.ca_pem.as_deref().unwrap_or_default();
        let roots = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect();
        let controller = job.controller_url.as_ref().or(job.report_url.as_ref());
        let controller = controller.map(|url| (authority(url), job.tls.clone()));
        Client { limits: LIMITS, roots, controller }
    }

    fn policy(&self, url: &Url) -> TlsPolicy {
        match &self.controller {
            Some((controller, policy)) if *controller == authority(url) => policy.clone(),
            _ => TlsPolicy::Verify,
        }
    }

    fn connection(&self) -> Result<Connection, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        Ok(Connection { runtime, transport: real_transport(&self.roots), client: self.clone() })
    }
}

fn authority(url: &Url) -> (String, u16) {
    (url.host_str().unwrap_or_default().to_owned(), url.port_or_known_default().unwrap_or_default())
}

/// Where a request goes, for an operator: paths hold tokens.
fn shown(url: &Url) -> String {
    let (host, port) = authority(url);
    format!("{}://{host}:{port}", url.scheme())
}

/// One thread's connections.
struct Connection {
    runtime: Runtime,
    transport: Transport,
    client: Client,
}

impl Connection {
    fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<HttpResponse, String> {
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() =
            url.as_str().parse().map_err(|_| format!("{} is not a usable address", shown(url)))?;
        *request.headers_mut() = headers;
        request.extensions_mut().insert(self.client.policy(url));
        let transport = self.transport.clone();
        let wait = if request.method() == Method::POST { POST_TIMEOUT } else { HEAD_TIMEOUT };
        let answer = async { tokio::time::timeout(wait, transport.oneshot(request)).await };
        match self.runtime.block_on(answer) {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(format!("{}: {}", shown(url), with_causes(&error))),
            Err(_) => Err(format!("{} did not answer within {} s", shown(url), wait.as_secs())),
        }
    }
}

impl Web for Client {
    fn post(&self, url: &Url, body: &[u8]) -> Result<u16, String> {
        let connection = self.connection()?;
        let headers =
            [(CONTENT_TYPE, http::HeaderValue::from_static("application/json"))].into_iter().collect();
        let response = connection.send(Method::POST, url, headers, Bytes::copy_from_slice(body))?;
        Ok(response.status().as_u16())
    }

    fn open(&self, url: &Url) -> Result<(Box<dyn Read + Send>, Option<u64>), String> {
        let mut image = Download {
            connection: self.connection()?,
            url: url.clone(),
            file: None,
            body: None,
            chunk: Bytes::new(),
            at: 0,
            failures: 0,
            waited: Duration::ZERO,
            window: (Duration::ZERO, 0),
        };
        image.connect_patiently()?;
        let size = image.file.as_ref().and_then(|file| file.size);
        Ok((Box::new(image), size))
    }
}

/// A file that is being downloaded.
struct Download {
    connection: Connection,
    /// As it was given. Where it redirects to may differ for each connection, or be valid for a while only.
    url: Url,
    file: Option<RemoteFile>,
    body: Option<axum_core::body::Body>,
    chunk: Bytes,
    at: u64,
    failures: u32,
    /// The time spent here. What the disk takes is not the server's.
    waited: Duration,
    /// Where the window of [`Limits`] began, in time spent and in bytes.
    window: (Duration, u64),
}

/// What its server said of the file at first.
struct RemoteFile {
    size: Option<u64>,
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

/// Whether another try may help.
enum Refusal {
    Transient(String),
    Final(String),
}

impl Download {
    /// Connects, and again where that may help.
    fn connect_patiently(&mut self) -> Result<(), String> {
        loop {
            let message = match self.connect() {
                Ok(()) => return Ok(()),
                Err(Refusal::Final(message)) => return Err(message),
                Err(Refusal::Transient(message)) => message,
            };
            self.failures += 1;
            if self.failures >= TRIES {
                return Err(format!("{message} ({TRIES} tries)"));
            }
            let wait = Duration::from_secs(1 << (self.failures - 1)).min(WAIT_MAX);
            self.connection.runtime.block_on(async { tokio::time::sleep(wait).await });
        }
    }

    fn connect(&mut self) -> Result<(), Refusal> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.connection.send(Method::GET, &url, self.range(), Bytes::new());
            let response = response.map_err(Refusal::Transient)?;
            if response.status().is_redirection() {
                url = redirected(&url, &response).map_err(Refusal::Final)?;
                continue;
            }
            self.check(&response, &shown(&url))?;
            self.body = Some(response.into_body());
            return Ok(());
        }
        Err(Refusal::Final(format!("{} redirects more than {REDIRECTS_MAX} times", shown(&self.url))))
    }

    /// Asks for the rest of the file that was begun, if it is still that one.
    fn range(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.at > 0 {
            let range = format!("bytes={}-", self.at);
            headers.insert(RANGE, range.parse().expect("digits are a header's value"));
            let file = self.file.as_ref();
            if let Some(version) = file.and_then(|file| file.etag.as_ref().or(file.modified.as_ref())) {
                headers.insert(IF_RANGE, version.clone());
            }
        }
        headers
    }

    /// Whether the answer is the file, or the rest of it.
    fn check(&mut self, response: &HttpResponse, from: &str) -> Result<(), Refusal> {
        let status = response.status();
        let changed = || {
            let at = self.at;
            Err(Refusal::Final(format!(
                "the connection to {from} broke at byte {at} and the file has changed since"
            )))
        };
        match (status, &self.file) {
            (StatusCode::OK, None) => {
                self.file = Some(RemoteFile::of(response));
                Ok(())
            }
            // Its first connection broke before the first byte.
            (StatusCode::OK, Some(file)) if self.at == 0 => match file.is_same(&RemoteFile::of(response)) {
                true => Ok(()),
                false => changed(),
            },
            (StatusCode::PARTIAL_CONTENT, Some(file)) if self.at > 0 => {
                let Some((_, size)) = content_range(response).filter(|(start, _)| *start == self.at) else {
                    return Err(Refusal::Final(format!("{from} does not continue at byte {}", self.at)));
                };
                let rest = RemoteFile { size: size.or(file.size), ..RemoteFile::of(response) };
                match file.is_same(&rest) {
                    true => Ok(()),
                    false => changed(),
                }
            }
            (StatusCode::OK, Some(file)) if file.is_same(&RemoteFile::of(response)) => {
                Err(Refusal::Final(format!(
                    "the connection to {from} broke at byte {}, and the server cannot continue there: it has no ranges",
                    self.at
                )))
            }
            (StatusCode::OK | StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => changed(),
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Refusal::Transient(format!("{from} answers with status {}", status.as_u16())))
            }
            _ => Err(Refusal::Final(format!("{from} answers with status {}", status.as_u16()))),
        }
    }

    /// The next bytes of the connection; none at its end.
    fn next(&mut self) -> Result<Option<Bytes>, String> {
        let Some(body) = &mut self.body else { return Err("the connection broke".to_owned()) };
        let silence = self.connection.client.limits.silence;
        let frame = async { tokio::time::timeout(silence, body.frame()).await };
        match self.connection.runtime.block_on(frame) {
            Err(_) => Err(format!("nothing came for {} s", silence.as_secs())),
            Ok(Some(Err(error))) => Err(with_causes(&error)),
            Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
            Ok(None) => Ok(None),
        }
    }

    fn is_whole(&self) -> bool {
        self.file.as_ref().and_then(|file| file.size).is_none_or(|size| self.at >= size)
    }
}

impl Download {
    /// Until there are bytes, or the file has ended.
    fn fill(&mut self) -> Result<(), String> {
        while self.chunk.is_empty() {
            let message = match self.next() {
                Ok(Some(chunk)) => {
                    self.chunk = chunk;
                    continue;
                }
                Ok(None) if self.is_whole() => return Ok(()),
                Ok(None) => "the connection ended early".to_owned(),
                Err(message) => message,
            };
            self.body = None;
            self.failures += 1;
            if self.failures >= TRIES {
                return Err(format!("{}: {message}, at byte {}", shown(&self.url), self.at));
            }
            self.connect_patiently()?;
        }
        Ok(())
    }

    /// Whether the download is fast enough, after another wait.
    fn check_pace(&mut self, waited: Duration) -> Result<(), String> {
        self.waited += waited;
        let limits = self.connection.client.limits;
        let (from, at) = (shown(&self.url), self.at);
        if self.waited > limits.whole {
            return Err(format!("{from} has not sent the image within {} h", limits.whole.as_secs() / 3600));
        }
        let (began, began_at) = self.window;
        let elapsed = self.waited - began;
        if elapsed < limits.window {
            return Ok(());
        }
        self.window = (self.waited, at);
        match at - began_at < limits.window_bytes {
            true => {
                Err(format!("{from} sent {} bytes in {} s, at byte {at}", at - began_at, elapsed.as_secs()))
            }
            false => Ok(()),
        }
    }
}

impl RemoteFile {
    fn of(response: &HttpResponse) -> RemoteFile {
        let header = |name: HeaderName| response.headers().get(name).cloned();
        RemoteFile {
            size: text_of(response, CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            etag: header(ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/")),
            modified: header(LAST_MODIFIED),
        }
    }

    /// As far as both answers say. With an ETag the time says nothing: mirrors have times of their own.
    fn is_same(&self, other: &RemoteFile) -> bool {
        fn agree<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> Option<bool> {
            Some(one.as_ref()? == other.as_ref()?)
        }
        let version = agree(&self.etag, &other.etag).or_else(|| agree(&self.modified, &other.modified));
        version.unwrap_or(true) && agree(&self.size, &other.size).unwrap_or(true)
    }
}

fn text_of(response: &HttpResponse, name: HeaderName) -> Option<&str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

/// The first byte of an answer, and the size of the whole file where it says that.
fn content_range(response: &HttpResponse) -> Option<(u64, Option<u64>)> {
    let (range, size) = text_of(response, CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()))
}

fn redirected(from: &Url, response: &HttpResponse) -> Result<Url, String> {
    let to = text_of(response, LOCATION).and_then(|location| from.join(location).ok());
    match to {
        Some(to) if to.scheme() == "https" || (to.scheme() == "http" && from.scheme() == "http") => Ok(to),
        _ => Err(format!("{} redirects to an address that cannot be used", shown(from))),
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            let begun = Instant::now();
            let filled = self.fill();
            filled.and(self.check_pace(begun.elapsed())).map_err(io::Error::other)?;
        }
        let length = self.chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        self.at += length as u64;
        if length > 0 {
            self.failures = 0;
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
