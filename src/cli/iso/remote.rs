//! An image that lies on a web server, read piece by piece.
//!
//! Not a download: of 600 MB some hundred KiB are fetched. Invariant: pieces, redirects and waiting
//! are limited, and an image that changes meanwhile is an error.

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use http_body_util::{BodyExt, Limited};
use tower::ServiceExt;
use url::Url;

use super::inspect::{Inspection, inspect};
use shoal_base::world::{HttpRequest, HttpResponse, TransportError, World};
use shoal_image::iso::{IsoError, PartialImage};

const PIECE_BYTES: usize = 64 * 1024;
const PIECES_MAX: usize = 1024;
const REDIRECTS_MAX: usize = 5;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why an image could not be read from its server. URLs are shown without query: it may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("cannot reach {url}")]
    Unreachable {
        url: String,
        #[source]
        source: TransportError,
    },
    #[error("{url} has not answered within {} s", TIMEOUT.as_secs())]
    TimedOut { url: String },
    #[error("{url} answers {status}")]
    Refused { url: String, status: StatusCode },
    #[error("{url} redirects more than {REDIRECTS_MAX} times, or to no http(s) URL")]
    Redirects { url: String },
    #[error("{url} does not serve byte ranges ({what}): download the image and inspect the file")]
    NoRanges { url: String, what: &'static str },
    #[error("{url} has changed while it was read")]
    Changed { url: String },
    #[error("{url} cannot be read to its end")]
    Broken {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{url} is not a readable ISO image")]
    Image {
        url: String,
        #[source]
        source: IsoError,
    },
    #[error("{url} needs more than {} MiB to be understood", PIECES_MAX * PIECE_BYTES / (1024 * 1024))]
    TooMuch { url: String },
}

pub async fn inspect_url(world: &World, url: Url) -> Result<Inspection, RemoteError> {
    let mut source = RemoteImage { world, url };
    let (first, size) = source.fetch(0, PIECE_BYTES as u64).await?;
    let mut image = PartialImage::new(size, PIECE_BYTES);
    image.insert(0, first);
    for _ in 0..PIECES_MAX {
        let error = match inspect(&source.shown(), &image) {
            Ok(inspection) => return Ok(inspection),
            Err(error) => error,
        };
        let Some(wanted) = image.take_wanted() else {
            return Err(RemoteError::Image { url: source.shown(), source: error });
        };
        let (piece, size_now) = source.fetch(wanted.start, wanted.end).await?;
        if size_now != size || piece.len() as u64 != wanted.end - wanted.start {
            return Err(RemoteError::Changed { url: source.shown() });
        }
        image.insert(wanted.start, piece);
    }
    Err(RemoteError::TooMuch { url: source.shown() })
}

struct RemoteImage<'a> {
    world: &'a World,
    url: Url,
}

impl RemoteImage<'_> {
    /// The bytes from `start` to `end` (or to the image's own end), and the image's size.
    async fn fetch(&mut self, start: u64, end: u64) -> Result<(Bytes, u64), RemoteError> {
        let fetched = tokio::time::timeout(TIMEOUT, self.fetch_slowly(start, end)).await;
        match fetched {
            Ok(fetched) => fetched,
            Err(_) => Err(RemoteError::TimedOut { url: self.shown() }),
        }
    }

    async fn fetch_slowly(&mut self, start: u64, end: u64) -> Result<(Bytes, u64), RemoteError> {
        let no_ranges = |url: String, what| Err(RemoteError::NoRanges { url, what });
        let response = self.follow(start, end).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK => return no_ranges(self.shown(), "it sends the whole"),
            status => return Err(RemoteError::Refused { url: self.shown(), status }),
        }
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let Some((first, size)) = range.and_then(content_range) else {
            return no_ranges(self.shown(), "without a Content-Range");
        };
        if first != start {
            return no_ranges(self.shown(), "it sends another range");
        }
        let body = Limited::new(response.into_body(), PIECE_BYTES);
        let body = body.collect().await;
        let body = body.map_err(|source| RemoteError::Broken { url: self.shown(), source })?;
        Ok((body.to_bytes(), size))
    }

    /// Sends the request, wherever the image has moved to; later ones go there directly.
    async fn follow(&mut self, start: u64, end: u64) -> Result<HttpResponse, RemoteError> {
        for _ in 0..=REDIRECTS_MAX {
            let request = self.request(start, end)?;
            let response = self.world.transport.clone().oneshot(request).await;
            let response =
                response.map_err(|source| RemoteError::Unreachable { url: self.shown(), source })?;
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !is_redirect {
                return Ok(response);
            }
            let target = response.headers().get(header::LOCATION).and_then(|target| target.to_str().ok());
            match target.and_then(|target| self.url.join(target).ok()) {
                Some(url) if matches!(url.scheme(), "http" | "https") => self.url = url,
                _ => break,
            }
        }
        Err(RemoteError::Redirects { url: self.shown() })
    }

    fn request(&self, start: u64, end: u64) -> Result<HttpRequest, RemoteError> {
        http::Request::get(self.url.as_str())
            .header(header::RANGE, format!("bytes={start}-{}", end.saturating_sub(1)))
            .body(Bytes::new())
            .map_err(|source| RemoteError::Broken { url: self.shown(), source: Box::new(source) })
    }

    fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        let _no_host = url.set_password(None).and_then(|()| url.set_username(""));
        url.to_string()
    }
}

/// First byte and whole size of `bytes 0-65535/629145600`.
fn content_range(value: &str) -> Option<(u64, u64)> {
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, size.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use tower::util::BoxCloneSyncService;

    use super::*;
    use shoal_base::world::{Clock, Rng};
    use shoal_sim::standin_installer;

    type RangeAnswer = http::Response<Body>;

    fn world(answer: impl Fn(&HttpRequest) -> RangeAnswer + Send + Sync + 'static) -> World {
        let answer = Arc::new(answer);
        let service = tower::service_fn(move |request: HttpRequest| {
            let answer = answer.clone();
            async move { Ok(answer(&request)) }
        });
        World { clock: Clock::system(), rng: Rng::from_seed(1), transport: BoxCloneSyncService::new(service) }
    }

    fn url() -> Url {
        "http://user:secret@vault.test/esxi.iso?signature=secret".parse().unwrap()
    }

    fn answer(status: u16) -> http::response::Builder {
        http::Response::builder().status(status)
    }

    fn range_of(image: &[u8], request: &HttpRequest) -> RangeAnswer {
        let range = request.headers()[header::RANGE].to_str().unwrap();
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        let end = (last.parse::<usize>().unwrap() + 1).min(image.len());
        let range = format!("bytes {first}-{}/{}", end - 1, image.len());
        let body = Body::from(image[first..end].to_vec());
        answer(206).header(header::CONTENT_RANGE, range).body(body).unwrap()
    }

    #[tokio::test]
    async fn a_remote_image_is_understood_from_a_part_of_it() {
        let image = standin_installer().to_vec();
        let fetched = Arc::new(AtomicUsize::new(0));
        let counter = fetched.clone();
        let world = world(move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            if request.uri().path() == "/esxi.iso" {
                return answer(302).header(header::LOCATION, "/moved.iso").body(Body::empty()).unwrap();
            }
            range_of(&image, request)
        });
        let inspection = inspect_url(&world, url()).await.unwrap();
        let json = serde_json::to_value(&inspection).unwrap();
        assert_eq!(json["installer"]["build"], "24022510");
        assert_eq!(json["image"], "http://vault.test/moved.iso");
        assert!(fetched.load(Ordering::Relaxed) < 8, "{fetched:?}");
    }

    #[tokio::test]
    async fn errors_do_not_contain_the_secrets_of_the_url() {
        async fn check(answer: impl Fn(&HttpRequest) -> RangeAnswer + Send + Sync + 'static, part: &str) {
            let error = inspect_url(&world(answer), url()).await.unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("vault.test/esxi.iso"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        check(|_| answer(404).body(Body::empty()).unwrap(), "404 Not Found").await;
        check(|_| answer(200).body(Body::empty()).unwrap(), "does not serve byte ranges").await;
        check(|_| answer(206).body(Body::empty()).unwrap(), "without a Content-Range").await;
        let away = |_: &HttpRequest| answer(301).header("location", "ftp://vault.test/").body(Body::empty());
        check(move |request| away(request).unwrap(), "redirects").await;
        let round = |_: &HttpRequest| answer(301).header("location", "/esxi.iso?secret").body(Body::empty());
        check(move |request| round(request).unwrap(), "redirects more than 5 times").await;
        check(|request| range_of(&[0; 200_000], request), "not a readable ISO image").await;
        let image = standin_installer().to_vec();
        let growing = AtomicUsize::new(image.len());
        check(
            move |request| range_of(&image[..growing.fetch_sub(1, Ordering::Relaxed)], request),
            "has changed",
        )
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_not_waited_for_without_end() {
        let service = tower::service_fn(|_: HttpRequest| std::future::pending());
        let transport = BoxCloneSyncService::new(service);
        let world = World { clock: Clock::system(), rng: Rng::from_seed(1), transport };
        let error = inspect_url(&world, url()).await.unwrap_err();
        assert!(matches!(error, RemoteError::TimedOut { .. }), "{error}");
    }
}
