//! A registry as far as a pull sees it, with the manners of real ones and of hostile ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a request showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRequest {
    /// With the host.
    pub url: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
}

/// How a registry lets requests in.
#[derive(Clone, Debug, Default)]
pub enum LoginDemand {
    #[default]
    Open,
    /// `user:password`, in base64.
    Basic(&'static str),
    /// By a token of that realm, which is made for that login or for anybody.
    Bearer { realm: String, login: Option<&'static str> },
}

#[derive(Default)]
pub struct FakeState {
    /// By tag or digest: type and bytes.
    pub manifests: BTreeMap<String, (String, Bytes)>,
    pub blobs: BTreeMap<String, Bytes>,
    pub door: LoginDemand,
    /// Answers everything so.
    pub status: Option<(StatusCode, &'static str)>,
    /// Before every answer.
    pub delay: Duration,
    /// Blobs are there.
    pub redirects_to: Option<String>,
    /// The connection breaks after so many bytes of a blob.
    pub breaks_after: Option<usize>,
    /// Each token is good for so many requests.
    pub token_uses: Option<u32>,
    pub has_no_ranges: bool,
    /// Begins each part a byte late.
    pub shifts_ranges: bool,
    /// Of every manifest, instead of the true one.
    pub announces: Option<String>,
    pub seen: Vec<SeenRequest>,
    tokens: BTreeSet<String>,
    uses: BTreeMap<String, u32>,
    tokens_made: u32,
}

#[derive(Clone, Default)]
pub struct FakeRegistry(Arc<Mutex<FakeState>>);

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", shoal_base::hex(&Sha256::digest(bytes)))
}

/// A manifest of one layer with these bytes.
pub fn manifest_of(layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2 },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": digest(layer),
            "size": layer.len(),
            "annotations": { "org.opencontainers.image.title": "debian.raw.zst" },
        }],
    })
}

impl FakeRegistry {
    /// One with `repository:tag`, whose layer has these bytes.
    pub fn with(tag: &str, layer: &Bytes) -> FakeRegistry {
        let registry = FakeRegistry::default();
        registry.state().blobs.insert(digest(layer), layer.clone());
        registry.put(tag, MANIFEST, &manifest_of(layer).to_string());
        registry
    }

    /// Under its tag and its digest, which is returned.
    pub fn put(&self, tag: &str, content_type: &str, text: &str) -> String {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let named = digest(&bytes);
        for name in [tag, &named] {
            self.state().manifests.insert(name.to_owned(), (content_type.to_owned(), bytes.clone()));
        }
        named
    }

    pub fn state(&self) -> MutexGuard<'_, FakeState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn router(&self) -> Router {
        let registry = self.clone();
        Router::new().fallback(async move |request: Request| registry.answer(request).await)
    }

    async fn answer(&self, request: Request) -> Response {
        let delay = self.state().delay;
        tokio::time::sleep(delay).await;
        let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (authorization, range) = (text(AUTHORIZATION), text(RANGE));
        let mut state = self.state();
        let url = request.uri().to_string();
        state.seen.push(SeenRequest { url, authorization: authorization.clone(), range: range.clone() });
        if let Some((status, body)) = state.status {
            return plain(status, body);
        }
        let path = request.uri().path().to_owned();
        if path.ends_with("/token") {
            return state.make_token(authorization.as_deref());
        }
        if let Some(refusal) = state.refusal(authorization.as_deref()) {
            return refusal;
        }
        let Some((kind, name)) =
            path.rsplit_once('/').and_then(|(rest, name)| Some((rest.rsplit_once('/')?.1, name)))
        else {
            return plain(StatusCode::NOT_FOUND, "");
        };
        match kind {
            "manifests" => state.manifest(name),
            _ => state.blob(name, range.as_deref(), &path),
        }
    }
}

impl FakeState {
    fn refusal(&mut self, authorization: Option<&str>) -> Option<Response> {
        let (is_let_in, challenge) = match &self.door {
            LoginDemand::Open => return None,
            LoginDemand::Basic(login) => {
                (authorization == Some(&format!("Basic {login}")), "Basic realm=\"Registry\"".to_owned())
            }
            LoginDemand::Bearer { realm, .. } => {
                let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
                let is_let_in = self.tokens.contains(token);
                let uses = self.uses.entry(token.to_owned()).or_default();
                *uses += 1;
                if self.token_uses.is_some_and(|most| *uses >= most) {
                    self.tokens.remove(token);
                }
                (
                    is_let_in,
                    format!("Bearer realm=\"{realm}\",service=\"fake\",scope=\"repository:x:pull,push\""),
                )
            }
        };
        if is_let_in {
            return None;
        }
        let mut response = plain(StatusCode::UNAUTHORIZED, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        Some(response)
    }

    fn make_token(&mut self, authorization: Option<&str>) -> Response {
        if let LoginDemand::Bearer { login: Some(login), .. } = &self.door
            && authorization != Some(&format!("Basic {login}"))
        {
            return plain(StatusCode::UNAUTHORIZED, "");
        }
        self.tokens_made += 1;
        let token = format!("planted-token-{}", self.tokens_made);
        self.tokens.insert(token.clone());
        Response::new(json!({ "token": token, "expires_in": 60 }).to_string().into())
    }

    fn manifest(&self, name: &str) -> Response {
        let Some((content_type, bytes)) = self.manifests.get(name) else {
            return plain(StatusCode::NOT_FOUND, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#);
        };
        let mut response = Response::new(Body::from(bytes.clone()));
        let announced = self.announces.clone().unwrap_or_else(|| digest(bytes));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        headers.insert("docker-content-digest", announced.parse().unwrap());
        response
    }

    fn blob(&self, name: &str, range: Option<&str>, path: &str) -> Response {
        if let Some(storage) = &self.redirects_to {
            let mut response = plain(StatusCode::TEMPORARY_REDIRECT, "");
            response
                .headers_mut()
                .insert(LOCATION, format!("{storage}{path}?X-Signature=s").parse().unwrap());
            return response;
        }
        let Some(bytes) = self.blobs.get(name) else { return plain(StatusCode::NOT_FOUND, "BLOB_UNKNOWN") };
        let mut headers = HeaderMap::new();
        let range = range.filter(|_| !self.has_no_ranges);
        let (code, part) = match range
            .map(|range| range.trim_start_matches("bytes=").split_once('-').unwrap())
        {
            None => (StatusCode::OK, bytes.clone()),
            Some((from, to)) => {
                let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                let from = from + usize::from(self.shifts_ranges);
                headers.insert(CONTENT_RANGE, format!("bytes {from}-{to}/{}", bytes.len()).parse().unwrap());
                (StatusCode::PARTIAL_CONTENT, bytes.slice(from..to + 1))
            }
        };
        headers.insert(CONTENT_LENGTH, part.len().into());
        let until = self.breaks_after.unwrap_or(usize::MAX).min(part.len());
        let pieces: Vec<_> =
            part[..until].chunks(1 << 14).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let breaks = (until < part.len()).then(|| Err(std::io::Error::other("reset")));
        let mut response = Response::new(Body::from_stream(stream::iter(pieces).chain(stream::iter(breaks))));
        *response.status_mut() = code;
        *response.headers_mut() = headers;
        response
    }
}

fn plain(status: StatusCode, body: &'static str) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}
