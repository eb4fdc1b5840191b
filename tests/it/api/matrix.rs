//! Every route of the description × every state of a token: who gets in, and who does not.
//!
//! What is expected is written here a second time, on purpose: the table in the code and this one must
//! agree, and a route that stands in neither fails. Invariant: the routes come from the description
//! that is served, not from this file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use strum::VariantArray as _;

use axum::body::Body;
use http::{Method, Request};
use serde_json::Value;
use shoal::access::{NewToken, Role, TokenOrigin};
use shoal::api::Access;

use super::{Answer, Fixture, keep_token};

/// Whom a route lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Anonymous,
    /// A secret or a token of its own decides, and no bearer token.
    OwnProof,
    Viewers,
    Operators,
    Admins,
}

const EXPECTED: [(&str, For); 58] = [
    ("GET /healthz", For::Anonymous),
    ("GET /readyz", For::Anonymous),
    ("GET /openapi.json", For::Anonymous),
    ("GET /api/v1/recipe.schema.json", For::Anonymous),
    ("GET /metrics", For::Viewers),
    ("POST /api/v1/servers", For::Operators),
    ("GET /api/v1/servers", For::Viewers),
    ("GET /api/v1/servers/{serial}", For::Viewers),
    ("PATCH /api/v1/servers/{serial}", For::Operators),
    ("PUT /api/v1/servers/{serial}", For::Operators),
    ("DELETE /api/v1/servers/{serial}", For::Operators),
    ("POST /api/v1/import/servers", For::Operators),
    ("POST /api/v1/servers/{serial}/check", For::Operators),
    ("POST /api/v1/servers/{serial}/release", For::Operators),
    ("POST /api/v1/servers/{serial}/inspect", For::Operators),
    ("POST /api/v1/jobs", For::Operators),
    ("GET /api/v1/jobs", For::Viewers),
    ("GET /api/v1/jobs/{job_id}", For::Viewers),
    ("GET /api/v1/jobs/{job_id}/reads", For::Viewers),
    ("POST /api/v1/jobs/{job_id}/cancel", For::Operators),
    ("POST /api/v1/jobs/{job_id}/retry", For::Operators),
    ("GET /api/v1/jobs/{job_id}/events", For::Viewers),
    ("GET /api/v1/events", For::Viewers),
    ("POST /api/v1/batches", For::Operators),
    ("GET /api/v1/batches", For::Viewers),
    ("GET /api/v1/batches/{batch_id}", For::Viewers),
    ("POST /api/v1/batches/{batch_id}/pause", For::Operators),
    ("POST /api/v1/batches/{batch_id}/resume", For::Operators),
    ("POST /api/v1/batches/{batch_id}/cancel", For::Operators),
    ("POST /api/v1/batches/{batch_id}/retry", For::Operators),
    ("GET /api/v1/images", For::Viewers),
    ("POST /api/v1/images", For::Admins),
    ("POST /api/v1/images/fetch", For::Admins),
    ("DELETE /api/v1/images/{image}", For::Admins),
    ("POST /api/v1/kickstart/lint", For::Viewers),
    ("POST /api/v1/kickstart/render", For::Operators),
    ("GET /api/v1/tokens", For::Admins),
    ("POST /api/v1/tokens", For::Admins),
    ("DELETE /api/v1/tokens/{id}", For::Admins),
    ("GET /api/v1/audit", For::Admins),
    ("GET /api/v1/audit/verify", For::Admins),
    ("POST /api/v1/status-webhook/{serial}", For::OwnProof),
    ("GET /api/v1/status-webhook/{serial}/{token}", For::OwnProof),
    ("POST /api/v1/status-webhook/{serial}/{token}", For::OwnProof),
    ("GET /media/tasks/{job_id}/task.iso", For::Operators),
    ("HEAD /media/tasks/{job_id}/task.iso", For::Operators),
    ("GET /media/tasks/{job_id}.{token}/task.iso", For::OwnProof),
    ("HEAD /media/tasks/{job_id}.{token}/task.iso", For::OwnProof),
    ("GET /media/tasks/{job_id}/task.img", For::Operators),
    ("HEAD /media/tasks/{job_id}/task.img", For::Operators),
    ("GET /media/tasks/{job_id}.{token}/task.img", For::OwnProof),
    ("HEAD /media/tasks/{job_id}.{token}/task.img", For::OwnProof),
    ("GET /media/images/{job_id}.{token}/image", For::OwnProof),
    ("HEAD /media/images/{job_id}.{token}/image", For::OwnProof),
    ("GET /media/probes/{token}/probe.iso", For::OwnProof),
    ("HEAD /media/probes/{token}/probe.iso", For::OwnProof),
    ("GET /media/installers/{job_id}.{token}/esxi.iso", For::OwnProof),
    ("HEAD /media/installers/{job_id}.{token}/esxi.iso", For::OwnProof),
];

/// What a request shows, and the role that is worth.
const SHOWN: [(&str, Option<&str>, Option<Role>); 9] = [
    ("nothing", None, None),
    ("another scheme", Some("Basic dmlld2VyOnZpZXdlcg=="), None),
    ("malformed", Some("Bearer two words"), None),
    ("unknown", Some("Bearer shoal_unknown"), None),
    ("expired", Some("Bearer expired-admin"), None),
    ("revoked", Some("Bearer revoked-admin"), None),
    ("viewer", Some("Bearer viewer"), Some(Role::Viewer)),
    ("operator", Some("Bearer operator"), Some(Role::Operator)),
    ("admin", Some("Bearer admin"), Some(Role::Admin)),
];

/// A controller on a network, with a token of each state.
async fn site() -> Fixture {
    let fixture = Fixture::with(|parts| parts.metrics.open = false);
    for &role in Role::VARIANTS {
        keep_token(&fixture.store, &fixture.world, role.name(), role, role.name());
    }
    let now = fixture.world.clock.now();
    let expired = NewToken {
        id: shoal::api::new_token_id(&fixture.world.rng),
        name: "expired".to_owned(),
        role: Role::Admin,
        origin: TokenOrigin::Created,
        expires_at: Some(shoal_base::world::after(now, Duration::from_secs(1))),
        created_at: now,
        created_by: "test".to_owned(),
    };
    fixture.store.insert_token(expired, "expired-admin").await.unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    let revoked = keep_token(&fixture.store, &fixture.world, "revoked", Role::Admin, "revoked-admin");
    fixture.store.revoke_token(&revoked.id, now).await.unwrap();
    fixture
}

/// The routes of the description, each with its operation.
async fn described(fixture: &Fixture) -> BTreeMap<String, Value> {
    let document = fixture.get("/openapi.json").await.ok(200);
    let mut routes = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            routes.insert(format!("{} {path}", method.to_uppercase()), operation.clone());
        }
    }
    routes
}

fn request(route: &str, shown: Option<&str>) -> Request<Body> {
    let (method, path) = route.split_once(' ').unwrap();
    let path = path
        .replace("{job_id}", "0123456789abcdef0123456789abcdef")
        .replace("{batch_id}", "0123456789abcdef0123456789abcdef")
        .replace("{serial}", "UNKNOWN")
        .replace("{id}", "0123456789abcdef")
        .replace("{token}", "0123456789abcdef0123456789abcdef");
    let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if let Some(shown) = shown {
        request = request.header("authorization", shown);
    }
    request.body(Body::from("{}")).unwrap()
}

/// 401, 403, or `None` for anything that a handler has answered.
fn expected(of: For, role: Option<Role>) -> Option<u16> {
    let needed = match of {
        For::Anonymous | For::OwnProof => return None,
        For::Viewers => Role::Viewer,
        For::Operators => Role::Operator,
        For::Admins => Role::Admin,
    };
    match role {
        None => Some(401),
        Some(role) if role < needed => Some(403),
        Some(_) => None,
    }
}

fn refusal(answer: &Answer) -> Option<u16> {
    Some(answer.status.as_u16()).filter(|status| matches!(status, 401 | 403))
}

#[tokio::test(start_paused = true)]
async fn every_route_accepts_its_roles_and_no_others() {
    let fixture = site().await;
    let expected_of: BTreeMap<&str, For> = EXPECTED.into();
    let routes = described(&fixture).await;
    let mut tried = 0;
    for route in routes.keys() {
        let of = expected_of.get(route.as_str());
        let of = *of.unwrap_or_else(|| panic!("{route} is new: say above whom it is for"));
        for (state, shown, role) in SHOWN {
            let answer = fixture.send(request(route, shown)).await;
            assert_eq!(refusal(&answer), expected(of, role), "{route}, {state}: {}", answer.text);
            if let Some(status) = refusal(&answer).filter(|_| !route.starts_with("HEAD")) {
                answer.problem(status);
            }
            tried += 1;
        }
    }
    assert_eq!(tried, EXPECTED.len() * SHOWN.len(), "a route above is not described");
}

#[tokio::test(start_paused = true)]
async fn the_description_says_whom_each_route_is_for() {
    let fixture = site().await;
    let expected_of: BTreeMap<&str, For> = EXPECTED.into();
    for (route, operation) in described(&fixture).await {
        let (role, bearer) = match expected_of[route.as_str()] {
            For::Anonymous | For::OwnProof => ("none", false),
            For::Viewers => ("viewer", true),
            For::Operators => ("operator", true),
            For::Admins => ("admin", true),
        };
        assert_eq!(operation["x-required-role"], role, "{route}");
        assert_eq!(operation["security"][0].get("bearer").is_some(), bearer, "{route}: {operation}");
        for status in ["401", "403"] {
            assert_eq!(operation["responses"].get(status).is_some(), bearer, "{route} {status}");
        }
    }
}

/// No path of the description answers a method that the description does not know.
#[tokio::test(start_paused = true)]
async fn no_route_is_served_that_is_not_described() {
    let fixture = site().await;
    let routes = described(&fixture).await;
    let paths: BTreeSet<&str> = routes.keys().map(|route| route.split_once(' ').unwrap().1).collect();
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    for path in paths {
        for method in methods.iter().chain([&Method::OPTIONS, &Method::TRACE]) {
            let known = |method: &str| routes.contains_key(&format!("{method} {path}"));
            let is_head_of_get = method == Method::HEAD && known("GET");
            if known(method.as_str()) || is_head_of_get {
                continue;
            }
            let answer = fixture.send(request(&format!("{method} {path}"), Some("Bearer admin"))).await;
            assert_eq!(answer.status, 405, "{method} {path}");
        }
    }
}

/// Without tokens, a client of the loopback listener may do everything, and pages of other sites
/// nothing.
#[tokio::test(start_paused = true)]
async fn the_open_mode_accepts_local_clients_and_no_other_site() {
    let fixture = Fixture::with(|parts| parts.access = Access::Open);
    let expected_of: BTreeMap<&str, For> = EXPECTED.into();
    let document = fixture.send(request("GET /openapi.json", None)).await.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let route = format!("{} {path}", method.to_uppercase());
            let guarded = !matches!(expected_of[route.as_str()], For::Anonymous | For::OwnProof);
            for (host, origin, is_let_in) in [
                ("localhost", None, true),
                ("localhost", Some("http://localhost"), true),
                ("rebound.example", None, false),
                ("localhost", Some("https://evil.example"), false),
            ] {
                let mut request = request(&route, None);
                request.headers_mut().insert("host", host.parse().unwrap());
                if let Some(origin) = origin {
                    request.headers_mut().insert("origin", origin.parse().unwrap());
                }
                let refused = refusal(&fixture.send(request).await).is_some();
                assert_eq!(refused, guarded && !is_let_in, "{route} {host} {origin:?}");
            }
        }
    }
}

/// Everything that a request could have changed: the audit, the inventory, the jobs and the tokens.
async fn kept(fixture: &Fixture) -> [String; 4] {
    let mut kept = [const { String::new() }; 4];
    for (kept, path) in kept.iter_mut().zip(["audit", "servers", "jobs", "tokens"]) {
        let mut list = fixture.get(&format!("/api/v1/{path}")).await.ok(200);
        // To the minute, of every request.
        for token in list["tokens"].as_array_mut().into_iter().flatten() {
            token["last_used_at"] = Value::Null;
        }
        *kept = list.to_string();
    }
    kept
}

/// Issue 15, kind 22: `DELETE ?dry_run=true` deleted, and `retry?dry_run=true` installed.
#[tokio::test(start_paused = true)]
async fn an_unknown_or_repeated_query_parameter_is_400_on_every_route_of_the_api_and_nothing_is_done() {
    let fixture = site().await;
    fixture.add_server("A1").await;
    let job = fixture.add_job("A1").await;
    let before = kept(&fixture).await;
    let mut tried = 0;
    for (route, operation) in described(&fixture).await {
        let (method, path) = route.split_once(' ').unwrap();
        if !path.starts_with("/api/v1/") {
            continue;
        }
        let path = path.replace("{serial}", "A1").replace("{job_id}", &job);
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let known: Vec<&str> = parameters
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let takes_dry_run = known.contains(&"dry_run");
        let mut queries = vec!["nonsense=1".to_owned(), "nonsense".to_owned(), "=".to_owned()];
        queries.extend((!takes_dry_run).then(|| "dry_run=true".to_owned()));
        queries.extend(known.iter().map(|name| format!("{name}=1&{name}=1")));
        queries.extend(known.iter().map(|name| format!("{name}=%FF")));
        queries.extend(known.iter().map(|name| format!("{}=1", name.to_uppercase())));
        for query in queries {
            let answer =
                fixture.send(request(&format!("{method} {path}?{query}"), Some("Bearer admin"))).await;
            let detail = answer.problem(400)["detail"].to_string();
            let name = query.split('=').next().unwrap();
            assert!(detail.contains(&format!("`{name}`")), "{route}?{query}: {detail}");
            if let (true, "nonsense", Some(_)) = (known.len() == 1, name, known.first()) {
                assert!(detail.contains(&format!("`{}`", known[0])), "{route}?{query}: {detail}");
            }
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried}");
    assert_eq!(kept(&fixture).await, before);
}

/// An OIDC callback, a health check or a BMC may send some.
#[tokio::test(start_paused = true)]
async fn elsewhere_an_unknown_query_parameter_is_ignored() {
    let fixture = site().await;
    for path in ["/healthz", "/readyz", "/openapi.json", "/metrics"] {
        let answer = fixture.send(request(&format!("GET {path}?x=1&x=2"), Some("Bearer admin"))).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}
