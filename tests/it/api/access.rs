//! Who is let in: the token, the open mode on loopback, the webhook's secret.

use axum::body::Body;
use http::{Method, Request, header};
use serde_json::json;
use shoal::api::{Access, Hooks};

use super::{Fixture, HOOK_KEY, TOKEN, recipe};

fn bare(method: &Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_a_valid_token_learns_how() {
    let fixture = Fixture::new();
    let wrong = format!("Bearer {TOKEN}x");
    for headers in [&[][..], &[("authorization", wrong.as_str())], &[("authorization", "Basic dDp0")]] {
        let answer = fixture.send(bare(&Method::GET, "/api/v1/jobs", headers)).await;
        answer.problem(401);
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"shoal\"");
    }
}

#[tokio::test(start_paused = true)]
async fn health_and_the_description_are_for_all() {
    let fixture = Fixture::with(|parts| parts.metrics.open = false);
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        fixture.send(bare(&Method::GET, path, &[])).await.ok(200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_of_its_own_serves_media_and_says_which_instance_it_is() {
    let fixture = Fixture::new();
    let media = shoal::media::Media::new(fixture.world.clock.clone(), [7; 32], fixture.store.clone());
    let hooks = Hooks { store: fixture.store.clone(), clock: fixture.world.clock.clone(), key: HOOK_KEY };
    let router = |access| shoal::api::media_router(&media, hooks.clone(), access, "abc".to_owned());
    let tokens = Access::Tokens(super::tokens(&fixture.store, &fixture.world));
    let fixture = Fixture { router: router(tokens), ..fixture };
    assert_eq!(fixture.get("/healthz").await.ok(200)["instance_id"], "abc");
    let path = "/media/tasks/0123456789abcdef0123456789abcdef/task.iso";
    fixture.send(bare(&Method::GET, path, &[])).await.problem(401);
    fixture.get(path).await.problem(404);
    fixture.get("/api/v1/jobs").await.problem(404);
    fixture.get("/api/v1/status-webhook/A1/token").await.problem(404);
    let fixture = Fixture { router: router(Access::Open), ..fixture };
    fixture.send(bare(&Method::GET, path, &[("host", "localhost")])).await.problem(403);
}

#[tokio::test(start_paused = true)]
async fn the_open_mode_requires_a_loopback_host_and_json() {
    let fixture = Fixture::with(|parts| parts.access = Access::Open);
    let host = ("host", "localhost:8080");
    let get = async |headers: &[(&str, &str)]| {
        fixture.send(bare(&Method::GET, "/api/v1/jobs", headers)).await.status.as_u16()
    };
    assert_eq!(get(&[host]).await, 200);
    assert_eq!(get(&[("host", "rebound.example")]).await, 403);
    assert_eq!(get(&[]).await, 403);
    assert_eq!(get(&[host, ("origin", "http://localhost:8080")]).await, 200);
    assert_eq!(get(&[host, ("origin", "https://evil.example")]).await, 403);
    let path = "/api/v1/jobs/0123456789abcdef0123456789abcdef/cancel";
    fixture.send(bare(&Method::POST, path, &[host])).await.problem(415);
    fixture.send(bare(&Method::POST, path, &[host, ("content-type", "text/plain")])).await.problem(415);
    fixture.send(bare(&Method::POST, path, &[host, ("content-type", "application/json")])).await.problem(404);
}

#[tokio::test(start_paused = true)]
async fn the_webhook_is_not_there_without_a_secret() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let call = async |fixture: &Fixture, headers: &[(&str, &str)]| {
        let body = Some(json!({"status": "success"}));
        fixture.call_with(Method::POST, "/api/v1/status-webhook/A1", body, headers).await
    };
    call(&fixture, &[("x-webhook-secret", "")]).await.problem(404);
    let fixture = Fixture::with(|parts| parts.webhook_secrets = vec!["new".into(), "old".into()]);
    fixture.add_server("A1").await;
    fixture.post("/api/v1/jobs", recipe("A1")).await.ok(202);
    call(&fixture, &[]).await.problem(403);
    call(&fixture, &[("x-webhook-secret", "wrong")]).await.problem(403);
    for secret in ["new", "old"] {
        call(&fixture, &[("x-webhook-secret", secret)]).await.problem(404);
    }
    fixture.post("/api/v1/status-webhook/A1/sometoken", json!({"status": "success"})).await.problem(404);
}

/// Issue 15, kind 26: with userinfo a foreign name was read as a loopback one.
#[tokio::test(start_paused = true)]
async fn a_host_with_userinfo_or_named_twice_is_refused_in_every_mode() {
    let open = Fixture::with(|parts| parts.access = Access::Open);
    let tokens = Fixture::new();
    let token = ("authorization", "Bearer test-token");
    for fixture in [&open, &tokens] {
        let get = async |path: &str, headers: &[(&str, &str)]| {
            let headers = [&[token], headers].concat();
            fixture.send(bare(&Method::GET, path, &headers)).await
        };
        assert_eq!(get("/api/v1/jobs", &[("host", "localhost:8080")]).await.status, 200);
        for bad in
            ["evil.example@localhost", "evil.example:80@localhost:8080", "@localhost", "localhost, localhost"]
        {
            for path in ["/api/v1/jobs", "/healthz", "/nowhere"] {
                get(path, &[("host", bad)]).await.problem(400);
            }
        }
        get("/api/v1/jobs", &[("host", "localhost"), ("host", "localhost")]).await.problem(400);
        get("/api/v1/jobs", &[("host", "localhost"), ("host", "evil.example")]).await.problem(400);
        get("http://evil.example/api/v1/jobs", &[("host", "localhost")]).await.problem(400);
        get("http://u@localhost/api/v1/jobs", &[("host", "localhost")]).await.problem(400);
    }
}
