//! Small images that are shown to a BMC for a moment, to see how it fetches them.
//!
//! They belong to no job and no store. Invariants: an image is served only while its [`Probe`] lives,
//! under an unguessable path; and what is kept of its requests is bounded.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::conditions::{RangeAnswer, answer};
use super::server::not_found;
use shoal_base::world::Rng;
use shoal_image::iso::IsoWriter;

/// Of a probe's image.
pub const PROBE_BYTES: u64 = 64 << 10;
/// Requests of one probe that are kept; all are counted.
const FETCHES_MAX: usize = 64;
/// Characters of a `User-Agent` that are kept.
const AGENT_CHARS_MAX: usize = 80;

/// The probes that are shown now. Clones share them.
#[derive(Clone, Default)]
pub struct Probes(Arc<Mutex<Shown>>);

/// By the part of the path that names them: the address of the BMC, and what was seen.
type Shown = BTreeMap<String, (Option<IpAddr>, ProbeReads)>;

/// What was asked of one probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeReads {
    pub requests: u64,
    /// The first of them.
    pub fetches: Vec<ProbeFetch>,
    /// Connections of the BMC that ended before a request came, such as those of one that does not
    /// trust our certificate.
    pub refused: u64,
    /// How the last of those ended.
    pub refused_why: Option<String>,
}

/// One request for a probe's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeFetch {
    pub is_head: bool,
    /// The requested part of the image, by `Range`.
    pub range: Option<Range<u64>>,
    pub status: u16,
    /// Who asks, by its own word.
    pub agent: Option<String>,
}

/// One shown image; gone when this is dropped.
pub struct Probe {
    probes: Probes,
    name: String,
}

impl Probes {
    /// Shows an image under a new path, to the BMC at `peer` where its address is known.
    pub fn show(&self, rng: &Rng, peer: Option<IpAddr>) -> Probe {
        // As the paths of jobs' media, so that what hides the tokens of those hides these.
        let name = format!("{}.{}", rng.hex(16), rng.hex(16));
        self.shown().insert(name.clone(), (peer, ProbeReads::default()));
        Probe { probes: self.clone(), name }
    }

    /// A connection of `peer` ended without a request.
    pub fn note_refused(&self, peer: IpAddr, why: &str) {
        let is_for = |expected: &Option<IpAddr>| {
            expected.is_some_and(|expected| expected.to_canonical() == peer.to_canonical())
        };
        for (_, seen) in self.shown().values_mut().filter(|(expected, _)| is_for(expected)) {
            seen.refused += 1;
            seen.refused_why = Some(why.to_owned());
        }
    }

    /// The one route of all probes.
    pub fn router(&self) -> Router {
        let probes = self.clone();
        let image = image();
        let serve = async move |Path(name): Path<String>, request: Request| {
            probes.serve(&name, &image, request.method(), request.headers())
        };
        Router::new().route("/media/probes/{name}/probe.iso", get(serve))
    }

    fn serve(&self, name: &str, image: &Bytes, method: &Method, headers: &HeaderMap) -> Response {
        let mut shown = self.shown();
        let Some((_, seen)) = shown.get_mut(name) else { return not_found() };
        let public = name.split('.').next().unwrap_or_default();
        let tag = HeaderValue::from_str(&format!("\"{public}\"")).expect("a probe's name is plain ASCII");
        let (response, range) = respond(image, method, headers, tag);
        seen.requests += 1;
        if seen.fetches.len() < FETCHES_MAX {
            let (is_head, status) = (method == Method::HEAD, response.status().as_u16());
            seen.fetches.push(ProbeFetch { is_head, range, status, agent: agent(headers) });
        }
        response
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe {
    /// The path given to the BMC, of the form of jobs' media.
    pub fn path(&self) -> String {
        format!("/media/probes/{}/probe.iso", self.name)
    }

    pub fn seen(&self) -> ProbeReads {
        self.probes.shown().get(&self.name).map(|(_, seen)| seen.clone()).unwrap_or_default()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.probes.shown().remove(&self.name);
    }
}

fn respond(
    image: &Bytes,
    method: &Method,
    headers: &HeaderMap,
    tag: HeaderValue,
) -> (Response, Option<Range<u64>>) {
    let (mut response, range) = match answer(method, headers, PROBE_BYTES, &tag) {
        RangeAnswer::NotModified => (empty(StatusCode::NOT_MODIFIED), None),
        RangeAnswer::Failed => (empty(StatusCode::PRECONDITION_FAILED), None),
        RangeAnswer::Unsatisfiable => (empty(StatusCode::RANGE_NOT_SATISFIABLE), None),
        RangeAnswer::Whole if method == Method::HEAD => {
            (with_body(StatusCode::OK, PROBE_BYTES, Bytes::new()), None)
        }
        RangeAnswer::Whole => (with_body(StatusCode::OK, PROBE_BYTES, image.clone()), None),
        RangeAnswer::Part(range) => {
            let bytes = image.slice(range.start as usize..range.end as usize);
            let mut response = with_body(StatusCode::PARTIAL_CONTENT, range.end - range.start, bytes);
            let content_range = format!("bytes {}-{}/{PROBE_BYTES}", range.start, range.end - 1);
            let content_range =
                HeaderValue::from_str(&content_range).expect("digits and dashes are a header value");
            response.headers_mut().insert(CONTENT_RANGE, content_range);
            (response, Some(range))
        }
    };
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(ETAG, tag);
    (response, range)
}

fn with_body(status: StatusCode, length: u64, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-iso9660-image"));
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(USER_AGENT)?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.chars().take(AGENT_CHARS_MAX).collect())
}

/// An ISO 9660 image of exactly [`PROBE_BYTES`] with one file, which nothing boots.
fn image() -> Bytes {
    let written = |bytes: usize| {
        let mut writer = IsoWriter::new("SHOAL_PROBE");
        writer.file("/probe.txt", vec![b'\n'; bytes]);
        writer.write().expect("one small file with a valid name fits")
    };
    let rest = PROBE_BYTES.saturating_sub(written(1).image.size) + 1;
    let image = written(usize::try_from(rest).unwrap_or(1)).image;
    let mut bytes = vec![0; PROBE_BYTES as usize];
    for piece in &image.pieces {
        let at = piece.offset as usize;
        bytes[at..at + piece.bytes.len()].copy_from_slice(&piece.bytes);
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use shoal_image::iso::{TreeKind, Volume};

    async fn ask(probes: &Probes, method: Method, path: &str, range: Option<&str>) -> (u16, usize) {
        let mut request = http::Request::builder().method(method).uri(path).header(USER_AGENT, "bmc/1");
        if let Some(range) = range {
            request = request.header(http::header::RANGE, range);
        }
        let response = probes.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes().len())
    }

    #[test]
    fn the_image_is_a_volume_of_its_size() {
        let image = image();
        assert_eq!(image.len() as u64, PROBE_BYTES);
        let volume = Volume::open(&image).unwrap();
        assert_eq!(volume.size_blocks * shoal_image::iso::BLOCK, PROBE_BYTES);
        assert!(volume.find_exact(&image, TreeKind::Primary, "/PROBE.TXT").unwrap().is_some());
    }

    #[tokio::test]
    async fn every_request_is_seen_and_the_image_goes_with_its_probe() {
        let probes = Probes::default();
        let probe = probes.show(&Rng::from_seed(1), None);
        let path = probe.path();
        assert!(path.len() < 120 && !path.contains('-'));
        assert_eq!(ask(&probes, Method::HEAD, &path, None).await, (200, 0));
        assert_eq!(ask(&probes, Method::GET, &path, Some("bytes=0-2047")).await, (206, 2048));
        assert_eq!(ask(&probes, Method::GET, &path, None).await, (200, PROBE_BYTES as usize));
        let seen = probe.seen();
        assert_eq!((seen.requests, seen.fetches.len()), (3, 3));
        assert!(seen.fetches[0].is_head && seen.fetches[1].range == Some(0..2048));
        assert_eq!(seen.fetches[2].agent.as_deref(), Some("bmc/1"));
        drop(probe);
        assert_eq!(ask(&probes, Method::GET, &path, None).await.0, 404);
    }

    #[tokio::test]
    async fn a_name_of_whatever_characters_is_none() {
        let name = "%C3%A9".repeat(40);
        let path = format!("/media/probes/a{name}/probe.iso");
        assert_eq!(ask(&Probes::default(), Method::GET, &path, None).await.0, 404);
    }

    #[tokio::test]
    async fn what_is_kept_of_requests_is_bounded() {
        let probes = Probes::default();
        let probe = probes.show(&Rng::from_seed(1), None);
        for _ in 0..FETCHES_MAX + 5 {
            ask(&probes, Method::HEAD, &probe.path(), None).await;
        }
        assert_eq!(
            (probe.seen().requests, probe.seen().fetches.len()),
            (FETCHES_MAX as u64 + 5, FETCHES_MAX)
        );
    }

    #[test]
    fn a_failed_connection_is_noted_by_the_probe_of_that_bmc_alone() {
        let (probes, rng) = (Probes::default(), Rng::from_seed(1));
        let [one, other] = ["10.0.0.5", "10.0.0.6"].map(|peer| probes.show(&rng, peer.parse().ok()));
        probes.note_refused("::ffff:10.0.0.5".parse().unwrap(), "UnknownCA");
        assert_eq!((one.seen().refused, one.seen().refused_why.as_deref()), (1, Some("UnknownCA")));
        assert_eq!(other.seen().refused, 0);
    }
}
