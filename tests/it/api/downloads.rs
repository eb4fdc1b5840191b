//! Downloads of task media by operators, which end with the token that opened them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use shoal::access::{Role, TokenRecord};
use shoal::api::{Access, Hooks, media_router};
use shoal::domain::{Drive, JobId, Medium};
use shoal::media::{Image, KickstartPlace, Media, MediumLandmarks, Watched};
use shoal_image::iso::SparseImage;
use tower::ServiceExt;

use super::{Fixture, HOOK_KEY, keep_token};

const BYTES: u64 = 8 << 20;

/// A controller with a job's task ISO, and its two listeners.
struct Site {
    fixture: Fixture,
    listeners: [Router; 2],
    path: String,
    reader: TokenRecord,
}

async fn site() -> Site {
    let mut parts: Option<(Media, Access)> = None;
    let fixture = Fixture::with(|made| parts = Some((made.media.clone(), made.access.clone())));
    let (media, access) = parts.unwrap();
    let reader = keep_token(&fixture.store, &fixture.world, "reader", Role::Operator, "reader");
    fixture.add_server("A1").await;
    let job = fixture.add_job("A1").await;
    let id: JobId = job.parse().unwrap();
    let kickstart = KickstartPlace {
        kickstart: 4 << 20..5 << 20,
        nonce: None,
        failure: None,
        started: None,
        rest_end: 1 << 20,
    };
    let watched = Watched {
        image: Arc::new(Image::sparse(SparseImage { size: BYTES, pieces: vec![] })),
        drive: Drive::Cd,
        landmarks: MediumLandmarks::task(kickstart),
    };
    media.publish(id, Medium::Task, watched, None).await.unwrap();
    let hooks = Hooks { store: fixture.store.clone(), clock: fixture.world.clock.clone(), key: HOOK_KEY };
    let listeners = [fixture.router.clone(), media_router(&media, hooks, access, "test".to_owned())];
    Site { fixture, listeners, path: format!("/media/tasks/{job}/task.iso"), reader }
}

async fn download(listener: &Router, path: &str, range: &str) -> (StatusCode, Option<String>, Body) {
    let mut request = super::request(Method::GET, path, None, &[("range", range)]);
    request.headers_mut().insert("authorization", "Bearer reader".parse().unwrap());
    let response = listener.clone().oneshot(request).await.unwrap();
    let length = response.headers().get("content-length").map(|length| length.to_str().unwrap().to_owned());
    (response.status(), length, response.into_body())
}

#[tokio::test(start_paused = true)]
async fn a_download_is_whole_while_its_token_is_good() {
    let site = site().await;
    for listener in &site.listeners {
        for (range, status, bytes) in
            [("bytes=0-", 206, BYTES), ("bytes=100-199", 206, 100), ("", 200, BYTES)]
        {
            let (found, length, body) = download(listener, &site.path, range).await;
            assert_eq!((found.as_u16(), length), (status, Some(bytes.to_string())), "{range}");
            assert_eq!(body.collect().await.unwrap().to_bytes().len() as u64, bytes, "{range}");
        }
    }
}

/// Issue 15, kind 26.
#[tokio::test(start_paused = true)]
async fn a_download_that_is_under_way_is_cut_when_its_token_is_revoked() {
    for number in 0..2 {
        let site = site().await;
        let (_, _, mut body) = download(&site.listeners[number], &site.path, "bytes=0-").await;
        assert!(body.frame().await.unwrap().is_ok());
        let other = keep_token(&site.fixture.store, &site.fixture.world, "other", Role::Operator, "other");
        let revoke = async |token: &TokenRecord| {
            let path = format!("/api/v1/tokens/{}", token.id);
            assert_eq!(site.fixture.call(Method::DELETE, &path, None).await.status, 204);
        };
        revoke(&other).await;
        assert!(body.frame().await.unwrap().is_ok(), "not its own");
        revoke(&site.reader).await;
        assert!(body.frame().await.unwrap().is_err(), "an error, so that no client takes it for whole");
        assert!(body.frame().await.is_none());
        let (status, _, _) = download(&site.listeners[number], &site.path, "bytes=0-").await;
        assert_eq!(status, 401);
    }
}

#[tokio::test(start_paused = true)]
async fn a_download_is_cut_soon_when_another_controller_revokes_its_token() {
    let site = site().await;
    let (_, _, mut body) = download(&site.listeners[0], &site.path, "bytes=0-").await;
    assert!(body.frame().await.unwrap().is_ok());
    site.fixture.store.revoke_token(&site.reader.id, site.fixture.world.clock.now()).await.unwrap();
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(body.frame().await.unwrap().is_err());
}
