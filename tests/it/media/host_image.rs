//! The image that a host reads, from a source that is not the controller's own.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use shoal::media::{HostImage, HostImageError, HostImageSource, ImageBytes, Media, MediaSettings};
use shoal_base::world::Clock;
use tower::ServiceExt as _;

use super::bench::{Bench, job, pattern};

const SIZE: u64 = 300_000;

/// What a source does when it is read.
#[derive(Clone, Copy)]
enum Manners {
    Good,
    Refuses,
    /// Fails after so many bytes.
    Breaks(u64),
    /// Ends after so many bytes, as if that were all.
    Ends(u64),
    /// Gives a byte that was not asked for.
    Exceeds,
}

impl HostImageSource for Manners {
    fn read(&self, range: Range<u64>) -> BoxFuture<'static, Result<ImageBytes, HostImageError>> {
        let manners = *self;
        let error = || HostImageError("the registry is on fire".to_owned());
        let pieces = move |range: Range<u64>| {
            let bytes = pattern(SIZE + 1).slice(range.start as usize..range.end as usize);
            let pieces: Vec<_> =
                bytes.chunks(1 << 16).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            stream::iter(pieces)
        };
        async move {
            Ok(match manners {
                Manners::Refuses => return Err(error()),
                Manners::Good => pieces(range).boxed(),
                Manners::Ends(after) => pieces(range.start..range.start + after).boxed(),
                Manners::Exceeds => pieces(range.start..range.end + 1).boxed(),
                Manners::Breaks(after) => {
                    let failed = stream::once(async move { Err(error()) });
                    pieces(range.start..range.start + after).chain(failed).boxed()
                }
            })
        }
        .boxed()
    }
}

fn image(manners: Manners) -> HostImage {
    HostImage { size: SIZE, sha256: "ab".repeat(32), source: Arc::new(manners) }
}

async fn bench(manners: Manners) -> (Bench, String) {
    let bench = Bench::new().await;
    bench.media.publish_image(job(1), image(manners));
    let path = bench.media.image_path(job(1));
    (bench, path)
}

#[tokio::test]
async fn an_image_is_read_whole_by_range_and_by_head() {
    let (bench, path) = bench(Manners::Good).await;
    let (status, headers, body) = bench.get(&path).await;
    assert_eq!((status, body), (StatusCode::OK, pattern(SIZE)));
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(headers["etag"], format!("\"{}\"", "ab".repeat(32)));
    assert_eq!(bench.range(&path, 70_001..200_000).await, pattern(SIZE).slice(70_001..200_000));
    let request = |method: Method| Request::builder().method(method).uri(&path);
    let (status, headers, body) = bench.send(request(Method::HEAD).body(Body::empty()).unwrap()).await;
    assert_eq!(
        (status, body.len(), &headers["content-length"]),
        (StatusCode::OK, 0, &"300000".parse().unwrap())
    );
    let other = request(Method::GET).header("range", "bytes=5-").header("if-range", "\"other\"");
    let (status, _, body) = bench.send(other.body(Body::empty()).unwrap()).await;
    assert_eq!((status, body.len() as u64), (StatusCode::OK, SIZE), "another image is not continued");
    let beyond = request(Method::GET).header("range", "bytes=300000-");
    let (status, headers, _) = bench.send(beyond.body(Body::empty()).unwrap()).await;
    assert_eq!((status.as_u16(), &headers["content-range"]), (416, &"bytes */300000".parse().unwrap()));
    assert_eq!(bench.send(request(Method::POST).body(Body::empty()).unwrap()).await.0, 405);
}

#[tokio::test]
async fn only_the_jobs_own_token_opens_its_image() {
    let (bench, path) = bench(Manners::Good).await;
    bench.media.publish_image(job(2), image(Manners::Good));
    let token = path.split(['.', '/']).nth(4).unwrap();
    bench.media.retire(job(3));
    let (status, _, dead) = bench.get(&bench.media.image_path(job(3))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    for other in [
        path.replace(token, &"0".repeat(32)),
        path.replace(token, ""),
        path.replace(&format!(".{token}"), ""),
        path.replace(&job(1).to_string(), &job(2).to_string()),
        path.replace("images", "tasks").replace("/image", "/task.iso"),
        "/media/images/x/image".to_owned(),
    ] {
        let (status, _, body) = bench.get(&other).await;
        assert_eq!((status, body), (StatusCode::NOT_FOUND, dead.clone()), "{other}");
    }
    bench.media.retire(job(1));
    assert_eq!(bench.get(&path).await.0, StatusCode::NOT_FOUND);
}

/// The host is not the BMC.
#[tokio::test]
async fn the_host_may_have_another_address_than_its_bmc() {
    let first = Bench::new().await;
    let media = Media::with(
        Clock::system(),
        [9; 32],
        first.store.clone(),
        MediaSettings { binds_peers: true, ..Default::default() },
    );
    media.publish_image(job(1), image(Manners::Good));
    let bench = Bench::of(media, first.store.clone());
    assert_eq!(bench.get(&bench.media.image_path(job(1))).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_source_that_fails_is_502_or_a_broken_connection_and_leaves_its_reason() {
    for (manners, reason) in [
        (Manners::Refuses, "the registry is on fire"),
        (Manners::Breaks(70_000), "the registry is on fire"),
        (Manners::Ends(70_000), "230000 bytes are missing"),
        (Manners::Exceeds, "more bytes came than were asked for"),
    ] {
        let (bench, path) = bench(manners).await;
        let request = Request::get(&path).body(Body::empty()).unwrap();
        let response = bench.router.clone().oneshot(request).await.unwrap();
        match manners {
            Manners::Refuses => assert_eq!(response.status(), StatusCode::BAD_GATEWAY),
            _ => {
                assert_eq!(response.status(), StatusCode::OK);
                response.into_body().collect().await.unwrap_err();
            }
        }
        assert_eq!(bench.media.image_fault(job(1)).as_deref(), Some(reason));
    }
}

#[tokio::test]
async fn so_many_readers_at_a_time_are_answered() {
    let (bench, path) = bench(Manners::Good).await;
    let get = || bench.router.clone().oneshot(Request::get(&path).body(Body::empty()).unwrap());
    let mut open = Vec::new();
    for _ in 0..8 {
        let response = get().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        open.push(response);
    }
    let refused = get().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    open.pop();
    assert_eq!(get().await.unwrap().status(), StatusCode::OK);
}

/// A host that hears 404 gives up.
#[tokio::test(start_paused = true)]
async fn after_a_restart_a_host_waits_for_its_image() {
    let (first, path) = bench(Manners::Good).await;
    let bench = first.restarted().await;
    let (status, headers, _) = bench.get(&path).await;
    assert_eq!((status.as_u16(), &headers["retry-after"]), (503, &"1".parse().unwrap()));
    let publish = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        bench.media.publish_image(job(1), image(Manners::Good));
    };
    let ((status, _, body), ()) = tokio::join!(bench.get(&path), publish);
    assert_eq!((status, body.len() as u64), (StatusCode::OK, SIZE));
}
