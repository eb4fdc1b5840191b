//! Rate limits of failures and writes, and headers for browsers.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Method, Request, header};
use serde_json::json;
use shoal::access::Role;
use shoal::api::{Access, ApiParts, Limits, Rates};

use super::{Answer, Fixture, TOKEN, change_tokens, keep_token, server_json};

fn limited(failures: u32, writes: u32) -> Fixture {
    Fixture::with(|parts| limit(parts, failures, writes))
}

/// Failures and writes a minute.
pub fn limit(parts: &mut ApiParts, failures: u32, writes: u32) {
    let [failures_per_minute, writes_per_minute] = [failures, writes].map(|n| NonZeroU32::new(n).unwrap());
    let limits = Arc::new(Limits::new(Rates { failures_per_minute, writes_per_minute }));
    change_tokens(parts, |tokens| tokens.limits = limits);
    parts.webhook_secrets = vec!["hook".into()];
}

async fn try_token(fixture: &Fixture, from: &str, token: &str) -> Answer {
    let peer: SocketAddr = from.parse().unwrap();
    let request = Request::get("/api/v1/jobs").header(header::AUTHORIZATION, format!("Bearer {token}"));
    fixture.send(request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap()).await
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_are_429_after_a_while_and_the_right_one_never_is() {
    let fixture = limited(3, 100);
    for _ in 0..3 {
        try_token(&fixture, "10.0.0.5:4711", "wrong").await.problem(401);
    }
    let refused = try_token(&fixture, "10.0.0.5:4712", "wrong").await;
    refused.problem(429);
    assert_eq!(refused.headers[header::RETRY_AFTER], "21");
    assert_eq!(try_token(&fixture, "10.0.0.5:4713", TOKEN).await.status, 200, "from the same address");
    try_token(&fixture, "10.0.0.6:4711", "wrong").await.problem(401);
    tokio::time::advance(Duration::from_secs(21)).await;
    try_token(&fixture, "10.0.0.5:4711", "wrong").await.problem(401);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_webhook_secret_counts_as_a_wrong_token() {
    let fixture = limited(2, 100);
    let call = async || {
        let body = Some(json!({"status": "success"}));
        let headers = [("x-webhook-secret", "wrong")];
        fixture.call_with(Method::POST, "/api/v1/status-webhook/A1", body, &headers).await
    };
    for _ in 0..2 {
        call().await.problem(403);
    }
    call().await.problem(429);
}

#[tokio::test(start_paused = true)]
async fn each_token_has_its_own_writes_and_reads_are_free() {
    let fixture = limited(10, 2);
    for serial in ["A1", "A2"] {
        fixture.add_server(serial).await;
    }
    let refused = fixture.post("/api/v1/servers", server_json("A3")).await;
    refused.problem(429);
    assert_eq!(refused.headers[header::RETRY_AFTER], "31");
    fixture.get("/api/v1/servers/A3").await.problem(404);
    keep_token(&fixture.store, &fixture.world, "other", Role::Operator, "other");
    let mut request = super::request(Method::POST, "/api/v1/servers", Some(server_json("A3")), &[]);
    request.headers_mut().insert("authorization", "Bearer other".parse().unwrap());
    fixture.send(request).await.ok(201);
    tokio::time::advance(Duration::from_secs(30)).await;
    fixture.post("/api/v1/servers", server_json("A4")).await.ok(201);
}

#[tokio::test(start_paused = true)]
async fn no_other_origin_may_read() {
    for open in [false, true] {
        let fixture = Fixture::with(|parts| {
            if open {
                parts.access = Access::Open;
            }
        });
        for (method, path) in
            [(Method::OPTIONS, "/api/v1/jobs"), (Method::GET, "/api/v1/jobs"), (Method::GET, "/healthz")]
        {
            let headers = [
                ("host", "localhost"),
                ("origin", "https://evil.example"),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization"),
            ];
            let answer = fixture.call_with(method, path, None, &headers).await;
            let allowed = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control"));
            assert_eq!(allowed.count(), 0, "{path}: {:?}", answer.headers);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_response_restricts_browsers() {
    let plain = Fixture::new();
    let secure = Fixture::with(|parts| parts.tls = true);
    for path in ["/healthz", "/api/v1/jobs", "/nowhere", "/media/tasks/x/task.iso"] {
        let answer = plain.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        assert!(
            !answer.headers.contains_key("strict-transport-security"),
            "{path}: without TLS it means nothing"
        );
        let answer = secure.get(path).await;
        assert_eq!(answer.headers["strict-transport-security"], "max-age=31536000", "{path}");
    }
}
