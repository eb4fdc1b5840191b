//! HTTP as the agent needs it: reports out, one image in.
//!
//! Connections go through `shoal_base::world`. Invariants: every wait has a time-out; an image whose connection
//! breaks goes on at the byte where it broke, or fails, and never starts in the middle of another file.

use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LOCATION, RANGE};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use shoal_base::world::{HttpResponse, TlsPolicy, Transport, real_transport};
use shoal_recipe::Job;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use url::Url;

const POST_TIMEOUT: Duration = Duration::from_secs(15);
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest silence within an image. A BMC or a registry that fetches first may need a while.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);
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

/// How peers are trusted.
#[derive(Clone)]
pub struct Client {
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
        Client { roots, controller }
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
            Ok(Err(error)) => Err(format!("{}: {}", shown(url), chain(&error))),
            Err(_) => Err(format!("{} did not answer within {} s", shown(url), wait.as_secs())),
        }
    }
}

/// An error and what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
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
        };
        image.connect_patiently()?;
        let size = image.file.as_ref().and_then(|file| file.size);
        Ok((Box::new(image), size))
    }
}

/// A file that is being downloaded.
struct Download {
    connection: Connection,
    /// Behind its redirects.
    url: Url,
    file: Option<RemoteFile>,
    body: Option<axum_core::body::Body>,
    chunk: Bytes,
    at: u64,
    failures: u32,
}

/// What its server said of the file at first.
struct RemoteFile {
    size: Option<u64>,
    etag: Option<http::HeaderValue>,
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
        for _ in 0..=REDIRECTS_MAX {
            let headers = self.range();
            let response = self.connection.send(Method::GET, &self.url, headers, Bytes::new());
            let response = response.map_err(Refusal::Transient)?;
            if response.status().is_redirection() {
                self.url = self.redirected(&response).map_err(Refusal::Final)?;
                continue;
            }
            self.check(&response)?;
            self.body = Some(response.into_body());
            return Ok(());
        }
        Err(Refusal::Final(format!("{} redirects more than {REDIRECTS_MAX} times", shown(&self.url))))
    }

    /// Asks for the rest of the file that was begun.
    fn range(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.at > 0 {
            headers
                .insert(RANGE, format!("bytes={}-", self.at).parse().expect("digits are a header's value"));
            if let Some(etag) = self.file.as_ref().and_then(|file| file.etag.clone()) {
                headers.insert(IF_RANGE, etag);
            }
        }
        headers
    }

    fn redirected(&self, response: &HttpResponse) -> Result<Url, String> {
        let to = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let to = to.and_then(|location| self.url.join(location).ok());
        match to {
            Some(to) if to.scheme() == "https" || (to.scheme() == "http" && self.url.scheme() == "http") => {
                Ok(to)
            }
            _ => Err(format!("{} redirects to an address that cannot be used", shown(&self.url))),
        }
    }

    /// Whether the answer is the file, or the rest of it.
    fn check(&mut self, response: &HttpResponse) -> Result<(), Refusal> {
        let status = response.status();
        let text =
            |name| response.headers().get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let from = shown(&self.url);
        match status {
            StatusCode::OK if self.at == 0 => {
                let strong = |etag: &&http::HeaderValue| !etag.as_bytes().starts_with(b"W/");
                self.file = Some(RemoteFile {
                    size: text(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
                    etag: response.headers().get(ETAG).filter(strong).cloned(),
                });
                Ok(())
            }
            StatusCode::PARTIAL_CONTENT if self.at > 0 => {
                let begins = text(CONTENT_RANGE)
                    .is_some_and(|range| range.starts_with(&format!("bytes {}-", self.at)));
                match begins {
                    true => Ok(()),
                    false => Err(Refusal::Final(format!("{from} does not continue at byte {}", self.at))),
                }
            }
            StatusCode::OK => Err(Refusal::Final(format!(
                "the connection to {from} broke at byte {} and the file has changed, or the server has no ranges",
                self.at
            ))),
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Refusal::Transient(format!("{from} answers with status {}", status.as_u16())))
            }
            _ => Err(Refusal::Final(format!("{from} answers with status {}", status.as_u16()))),
        }
    }

    /// The next bytes of the connection; none at its end.
    fn next(&mut self) -> Result<Option<Bytes>, String> {
        let Some(body) = &mut self.body else { return Err("the connection broke".to_owned()) };
        let frame = async { tokio::time::timeout(STALL_TIMEOUT, body.frame()).await };
        match self.connection.runtime.block_on(frame) {
            Err(_) => Err(format!("nothing came for {} s", STALL_TIMEOUT.as_secs())),
            Ok(Some(Err(error))) => Err(chain(&error)),
            Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
            Ok(None) => Ok(None),
        }
    }

    fn is_whole(&self) -> bool {
        self.file.as_ref().and_then(|file| file.size).is_none_or(|size| self.at >= size)
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let message = match self.next() {
                Ok(Some(chunk)) => {
                    self.chunk = chunk;
                    continue;
                }
                Ok(None) if self.is_whole() => return Ok(0),
                Ok(None) => "the connection ended early".to_owned(),
                Err(message) => message,
            };
            self.body = None;
            self.failures += 1;
            if self.failures >= TRIES {
                return Err(io::Error::other(format!(
                    "{}: {message}, at byte {}",
                    shown(&self.url),
                    self.at
                )));
            }
            self.connect_patiently().map_err(io::Error::other)?;
        }
        let length = self.chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        self.at += length as u64;
        self.failures = 0;
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
