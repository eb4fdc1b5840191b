//! What every route refuses alike: paths, methods, types, sizes, broken bodies.

use axum::body::Body;
use http::{Method, Request, header};
use serde_json::json;

use super::{Fixture, TOKEN};

fn raw(content_type: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/api/v1/jobs").header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    let request = match content_type {
        Some(content_type) => request.header(header::CONTENT_TYPE, content_type),
        None => request,
    };
    request.body(body.into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_unknown_path_and_an_unknown_method_are_problems() {
    let fixture = Fixture::new();
    fixture.get("/api/v2/jobs").await.problem(404);
    fixture.get("/").await.problem(404);
    let answer = fixture.call(Method::PUT, "/api/v1/jobs", Some(json!({}))).await;
    answer.problem(405);
    let allow = answer.headers[header::ALLOW].to_str().unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    fixture.call(Method::DELETE, "/healthz", None).await.problem(405);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_json_is_refused_by_position_without_its_content() {
    let fixture = Fixture::new();
    let body = "{\"server_serial\": \"A1\",\n \"ks_cfg\": \"rootpw hunter2\" \"oops\"}";
    let answer = fixture.send(raw(Some("application/json"), body)).await;
    let detail = answer.problem(400)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("line 2, column 29"), "{detail}");
    assert!(!answer.text.contains("hunter2") && !answer.text.contains("oops"), "{}", answer.text);
    fixture.send(raw(Some("application/json"), "")).await.problem(400);
    fixture.send(raw(Some("application/json"), &b"\xff\xfe"[..])).await.problem(400);
    fixture.send(raw(Some("application/json"), "[".repeat(100_000))).await.problem(400);
}

#[tokio::test(start_paused = true)]
async fn another_type_than_json_is_415() {
    let fixture = Fixture::new();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        fixture.send(raw(Some(content_type), "{}")).await.problem(415);
    }
    fixture.send(raw(None, "{}")).await.problem(400);
}

#[tokio::test(start_paused = true)]
async fn a_body_has_at_most_a_mebibyte() {
    let fixture = Fixture::new();
    let text = |size: usize| format!("{{\"x\":\"{}\"}}", "x".repeat(size - 8));
    fixture.send(raw(Some("application/json"), text(1 << 20))).await.problem(400);
    fixture.send(raw(Some("application/json"), text((1 << 20) + 1))).await.problem(413);
    let chunks = (0..64).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 64 << 10])));
    let streamed = Body::from_stream(futures_util::stream::iter(chunks));
    fixture.send(raw(Some("application/json"), streamed)).await.problem(413);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_given_up() {
    let fixture = Fixture::new();
    let never = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    fixture.send(raw(Some("application/json"), never)).await.problem(408);
}
