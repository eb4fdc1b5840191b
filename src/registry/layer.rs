//! The bytes of a layer, as a source of a host's image.
//!
//! Nothing is kept: a piece is asked for when the host has taken the one before. A connection that breaks, stalls or
//! outlives its token is opened anew at the byte where it was. Invariant: what is sent are the bytes of that range of one
//! layer, or an error; the host compares their digest.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use shoal_base::with_causes;
use shoal_base::world::HttpResponse;

use super::client::RegistryClient;
use super::{RegistryError, RepositoryName, refused};
use crate::domain::RegistryImage;
use crate::media::{HostImageError, HostImageSource, ImageBytes};

/// A piece must come within this.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections in a row that bring nothing.
const TRIES_MAX: u32 = 5;

pub struct LayerSource {
    pub client: RegistryClient,
    pub image: RegistryImage,
}

impl HostImageSource for LayerSource {
    fn read(&self, range: Range<u64>) -> BoxFuture<'static, Result<ImageBytes, HostImageError>> {
        let mut reader = LayerReader {
            client: self.client.clone(),
            repository: RepositoryName {
                registry: self.image.registry.clone(),
                name: self.image.repository.clone(),
            },
            layer: format!("sha256:{}", self.image.layer_sha256),
            size: self.image.size,
            at: range.start,
            end: range.end,
            body: None,
            skip: 0,
            fruitless: 0,
        };
        async move {
            // The host tries again sooner than a second try here would end.
            reader.open().await.map_err(|error| error_of(&error))?;
            Ok(stream::unfold(Some(reader), next_piece).boxed())
        }
        .boxed()
    }
}

fn error_of(error: &RegistryError) -> HostImageError {
    HostImageError(with_causes(error))
}

async fn next_piece(
    reader: Option<LayerReader>,
) -> Option<(Result<Bytes, HostImageError>, Option<LayerReader>)> {
    let mut reader = reader?;
    match reader.next().await? {
        Ok(piece) => Some((Ok(piece), Some(reader))),
        Err(error) => Some((Err(error_of(&error)), None)),
    }
}

/// One reading of a range.
struct LayerReader {
    client: RegistryClient,
    repository: RepositoryName,
    layer: String,
    size: u64,
    /// The next byte to give, and the end.
    at: u64,
    end: u64,
    body: Option<axum::body::Body>,
    /// Bytes before `at` that the body begins with, from a registry without ranges.
    skip: u64,
    fruitless: u32,
}

impl LayerReader {
    async fn next(&mut self) -> Option<Result<Bytes, RegistryError>> {
        while self.at < self.end {
            let piece = match &mut self.body {
                None => None,
                Some(body) => tokio::time::timeout(STALL_TIMEOUT, body.frame()).await.ok().flatten(),
            };
            // An end before the range's end is a break too.
            let Some(Ok(frame)) = piece else {
                if let Err(error) = self.reopen().await {
                    return Some(Err(error));
                }
                continue;
            };
            let piece = self.cut(frame.into_data().unwrap_or_default());
            if !piece.is_empty() {
                self.fruitless = 0;
                self.at += piece.len() as u64;
                return Some(Ok(piece));
            }
        }
        None
    }

    /// Of a piece, what belongs to the range.
    fn cut(&mut self, mut piece: Bytes) -> Bytes {
        let skipped = self.skip.min(piece.len() as u64);
        self.skip -= skipped;
        let _ = piece.split_to(skipped as usize);
        piece.truncate(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        piece
    }

    async fn reopen(&mut self) -> Result<(), RegistryError> {
        self.body = None;
        loop {
            self.fruitless += 1;
            tokio::time::sleep(Duration::from_secs(1 << self.fruitless.min(4))).await;
            match self.open().await {
                Ok(()) if self.fruitless < TRIES_MAX => return Ok(()),
                Err(error) if self.fruitless >= TRIES_MAX => return Err(error),
                Ok(()) => return Err(self.broken()),
                Err(_) => {}
            }
        }
    }

    fn broken(&self) -> RegistryError {
        RegistryError::Broken { registry: self.repository.registry.clone(), name: self.layer.clone() }
    }

    async fn open(&mut self) -> Result<(), RegistryError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if self.at > 0 || self.end < self.size {
            let range = format!("bytes={}-{}", self.at, self.end - 1);
            headers.insert(RANGE, HeaderValue::from_str(&range).expect("digits are a header's value"));
        }
        let path = format!("blobs/{}", self.layer);
        let response = self.client.get(&self.repository, &path, &headers).await?;
        self.skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if self.is_part(&response) => 0,
            StatusCode::OK if self.is_whole(&response) => self.at,
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                let (registry, layer) = (self.repository.registry.clone(), self.layer.clone());
                return Err(RegistryError::WrongPart { registry, layer });
            }
            _ => return Err(refused(&self.repository, &format!("layer {}", self.layer), response).await),
        };
        self.body = Some(response.into_body());
        Ok(())
    }

    fn is_part(&self, response: &HttpResponse) -> bool {
        let expected = format!("bytes {}-{}/{}", self.at, self.end - 1, self.size);
        let found = text(response, &CONTENT_RANGE);
        found == Some(&expected) || found == Some(&format!("bytes {}-{}/*", self.at, self.end - 1))
    }

    fn is_whole(&self, response: &HttpResponse) -> bool {
        let length = text(response, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
        length.is_none_or(|length: u64| length == self.size)
    }
}

fn text<'a>(response: &'a HttpResponse, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}
