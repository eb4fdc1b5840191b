//! Small images that are shown to a BMC for a moment, to see how it fetches them.
//!
//! They belong to no job. Any controller serves each, and what was requested of it is in the store, where the one that
//! shows it reads it. Invariant: an image is served only while its [`Probe`] lives, under an unguessable path that follows
//! from the controllers' key; the store is asked for no other.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use shoal_base::with_causes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::conditions::{RangeAnswer, answer};
use super::server::{not_found, problem};
use crate::domain::{ProbeFetch, ProbeReads};
use crate::store::{Store, StoreError};
use crate::token::Token;
use shoal_base::world::World;
use shoal_image::iso::IsoWriter;

/// Of a probe's image.
pub const PROBE_BYTES: u64 = 64 << 10;
/// Characters of a `User-Agent` that are kept.
const AGENT_CHARS_MAX: usize = 80;
/// Connections without a request that are noted at a time; those beyond are not.
const REFUSALS_AT_A_TIME: usize = 4;

/// The probes that are shown now, by any controller of the store. Clones share them.
#[derive(Clone)]
pub struct Probes {
    key: [u8; 32],
    store: Store,
    refusals: Arc<Semaphore>,
}

/// One shown image; gone when this is dropped.
pub struct Probe {
    store: Store,
    id: String,
    token: Token,
}

impl Probes {
    /// `key` makes the paths.
    pub fn new(key: [u8; 32], store: Store) -> Probes {
        Probes { key, store, refusals: Arc::new(Semaphore::new(REFUSALS_AT_A_TIME)) }
    }

    /// Shows an image under a new path, to the BMC at `peer` where its address is known.
    pub async fn show(&self, world: &World, peer: Option<IpAddr>) -> Result<Probe, StoreError> {
        let id = world.rng.hex(16);
        self.store.insert_probe(&id, peer, world.clock.now()).await?;
        Ok(Probe { store: self.store.clone(), token: self.token(&id), id })
    }

    fn token(&self, id: &str) -> Token {
        Token::new(&self.key, &format!("probe|{id}"))
    }

    /// A connection of `peer` ended without a request.
    pub fn note_refused(&self, peer: IpAddr, why: &str) {
        let Ok(turn) = self.refusals.clone().try_acquire_owned() else { return };
        let noting = self.store.note_probe_refused(peer, why);
        tokio::spawn(async move {
            if let Err(error) = noting.await {
                tracing::debug!(error = %with_causes(&error), "a connection without a request could not be noted");
            }
            drop(turn);
        });
    }

    /// The one route of all probes.
    pub fn router(&self) -> Router {
        let probes = self.clone();
        let image = image();
        let serve = async move |Path(name): Path<String>, request: Request| {
            let (parts, _) = request.into_parts();
            probes.serve(&name, &image, &parts.method, &parts.headers).await
        };
        Router::new().route("/media/probes/{name}/probe.iso", get(serve))
    }

    async fn serve(&self, name: &str, image: &Bytes, method: &Method, headers: &HeaderMap) -> Response {
        let Some((id, token)) = name.split_once('.') else { return not_found() };
        if !self.token(id).matches(token) {
            return not_found();
        }
        let tag =
            HeaderValue::from_str(&format!("\"{id}\"")).expect("the id of a right token is plain ASCII");
        let (response, range) = respond(image, method, headers, tag);
        let (is_head, status) = (method == Method::HEAD, response.status().as_u16());
        let fetch = ProbeFetch { is_head, range, status, agent: agent(headers) };
        match self.store.note_probe_fetch(id, fetch).await {
            Ok(true) => response,
            Ok(false) => not_found(),
            Err(error) => {
                tracing::warn!(error = %with_causes(&error), "a request for a test image could not be noted");
                problem(StatusCode::SERVICE_UNAVAILABLE, "the request cannot be noted just now")
            }
        }
    }
}

impl Probe {
    /// The path given to the BMC, of the form of jobs' media, so that what hides the tokens of those hides this one.
    pub fn path(&self) -> String {
        format!("/media/probes/{}.{}/probe.iso", self.id, self.token.expose())
    }

    /// What was requested of it so far, at any controller.
    pub async fn seen(&self) -> Result<ProbeReads, StoreError> {
        Ok(self.store.probe_reads(&self.id).await?.unwrap_or_default())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // Without a runtime nothing serves it either; the store removes what is left.
        let Ok(runtime) = Handle::try_current() else { return };
        let removing = self.store.remove_probe(&self.id);
        runtime.spawn(async move {
            if let Err(error) = removing.await {
                tracing::debug!(%error, "a test image could not be removed; it is removed with a later one");
            }
        });
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
    use crate::seal::Sealer;
    use shoal_base::world::{Clock, Rng};
    use shoal_image::iso::{TreeKind, Volume};
    use shoal_sim::Network;

    const KEY: [u8; 32] = [7; 32];

    fn bench() -> (World, Store, Probes) {
        let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
        let world = World { clock, rng: Rng::from_seed(1), transport: Network::default().transport() };
        let store = Store::in_memory(Sealer::new(KEY)).unwrap();
        (world, store.clone(), Probes::new(KEY, store))
    }

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

    #[tokio::test(start_paused = true)]
    async fn every_request_is_seen_and_the_image_goes_with_its_probe() {
        let (world, store, probes) = bench();
        let probe = probes.show(&world, None).await.unwrap();
        let path = probe.path();
        assert!(path.len() < 120 && !path.contains('-'));
        assert_eq!(ask(&probes, Method::HEAD, &path, None).await, (200, 0));
        assert_eq!(ask(&probes, Method::GET, &path, Some("bytes=0-2047")).await, (206, 2048));
        // Another controller of the same store and key.
        let other = Probes::new(KEY, store.second_handle());
        assert_eq!(ask(&other, Method::GET, &path, None).await, (200, PROBE_BYTES as usize));
        let seen = probe.seen().await.unwrap();
        assert_eq!((seen.requests, seen.fetches.len()), (3, 3));
        assert!(seen.fetches[0].is_head && seen.fetches[1].range == Some(0..2048));
        assert_eq!(seen.fetches[2].agent.as_deref(), Some("bmc/1"));
        drop(probe);
        tokio::task::yield_now().await;
        assert_eq!(ask(&probes, Method::GET, &path, None).await.0, 404);
        assert_eq!(ask(&other, Method::GET, &path, None).await.0, 404);
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_is_one_of_the_key_and_asks_the_store_for_nothing_else() {
        let (world, store, probes) = bench();
        let probe = probes.show(&world, None).await.unwrap();
        let path = probe.path();
        let id = path.trim_start_matches("/media/probes/").split('.').next().unwrap().to_owned();
        let wrong = [
            format!("/media/probes/a{}/probe.iso", "%C3%A9".repeat(40)),
            format!("/media/probes/{id}.{}/probe.iso", "0".repeat(32)),
            format!("/media/probes/{id}./probe.iso"),
            format!("/media/probes/{id}/probe.iso"),
        ];
        for path in &wrong {
            assert_eq!(ask(&probes, Method::GET, path, None).await.0, 404, "{path}");
        }
        let other_key = Probes::new([8; 32], store);
        assert_eq!(ask(&other_key, Method::GET, &path, None).await.0, 404);
        assert_eq!(probe.seen().await.unwrap(), ProbeReads::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_connection_is_noted_at_whichever_controller_it_ended() {
        let (world, store, probes) = bench();
        let probe = probes.show(&world, "10.0.0.5".parse().ok()).await.unwrap();
        let other = Probes::new(KEY, store.second_handle());
        other.note_refused("::ffff:10.0.0.5".parse().unwrap(), "UnknownCA");
        other.note_refused("10.0.0.6".parse().unwrap(), "another BMC's");
        tokio::task::yield_now().await;
        let seen = probe.seen().await.unwrap();
        assert_eq!((seen.refused, seen.refused_why.as_deref()), (1, Some("UnknownCA")));
    }
}
