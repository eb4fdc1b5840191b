//! The short way of images: whichever way a request takes, its answer is the same.
//!
//! What the HTTP server adds on the wire is added here: the length of a body that has one, and no body after HEAD.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use shoal::api;
use shoal::domain::{Drive, Medium};
use shoal::media::MediaFirst;
use tower::ServiceExt as _;

use super::bench::{Bench, job};

type Answer = (StatusCode, Vec<(String, String)>, Bytes);

async fn ask(service: MediaFirst, (method, path, headers): &(Method, String, HeaderMap)) -> Answer {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method.clone();
    *request.uri_mut() = path.parse().unwrap();
    *request.headers_mut() = headers.clone();
    let (mut head, body) = service.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    head.headers.entry(header::CONTENT_LENGTH).or_insert(body.len().into());
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let mut headers: Vec<_> =
        head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    headers.sort();
    (head.status, headers, if method == Method::HEAD { Bytes::new() } else { body })
}

#[tokio::test]
async fn an_image_and_every_refusal_are_the_same_by_both_ways() {
    let bench = Bench::new().await;
    bench.publish_disk(4).await;
    let image = bench.media.path(job(1), Medium::Boot, Drive::Cd, 1);
    let disk = bench.media.path(job(4), Medium::Task, Drive::Usb, 1);
    let range = HeaderMap::from_iter([(header::RANGE, "bytes=900-1100".parse().unwrap())]);
    let beyond = HeaderMap::from_iter([(header::RANGE, "bytes=99999999-".parse().unwrap())]);
    let plain = HeaderMap::new();
    let mut requests = vec![
        (Method::GET, image.clone(), range.clone()),
        (Method::GET, image.clone(), beyond),
        (Method::POST, image.clone(), plain.clone()),
        (Method::GET, format!("{image}?a=b"), range.clone()),
        (Method::GET, image.replace("esxi.iso", "esxi%2Eiso"), range.clone()),
        (Method::GET, image.replace(".", "%2E").replace("esxi%2Eiso", "esxi.iso"), range),
        (Method::HEAD, "/media/installers/nothing/esxi.iso".to_owned(), plain.clone()),
        (Method::GET, "/healthz".to_owned(), plain.clone()),
    ];
    for path in [&image, &disk, &image.replace('.', ".0"), &image.replace("esxi.iso", "task.iso")] {
        requests.extend([Method::GET, Method::HEAD].map(|method| (method, path.clone(), plain.clone())));
    }
    for tls in [false, true] {
        let routes = api::finished(bench.router.clone(), tls);
        for request in &requests {
            let short = ask(api::media_first(&bench.media, tls, routes.clone()), request).await;
            let long = ask(MediaFirst::without_media(routes.clone()), request).await;
            assert_eq!(short, long, "{} {}", request.0, request.1);
        }
        let first = ask(api::media_first(&bench.media, tls, axum::Router::new()), &requests[0]).await;
        assert_eq!(first.0, StatusCode::PARTIAL_CONTENT, "without any route");
    }
}
