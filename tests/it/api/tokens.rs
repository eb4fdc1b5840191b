//! Tokens from their making to their end, through the API.

use http::Method;
use serde_json::{Value, json};

use super::{Answer, Fixture, TOKEN};

async fn create(fixture: &Fixture, body: Value) -> Answer {
    fixture.post("/api/v1/tokens", body).await
}

pub async fn get_with(fixture: &Fixture, path: &str, token: &str) -> u16 {
    let mut request = super::request(Method::GET, path, None, &[]);
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    fixture.send(request).await.status.as_u16()
}

#[tokio::test(start_paused = true)]
async fn a_token_is_shown_once_and_works_until_it_is_revoked() {
    let fixture = Fixture::new();
    let made = create(&fixture, json!({"name": "ci", "role": "viewer"})).await;
    assert_eq!(made.headers["location"], format!("/api/v1/tokens/{}", made.json()["id"].as_str().unwrap()));
    let made = made.ok(201);
    let text = made["token"].as_str().unwrap().to_owned();
    assert!(text.starts_with("shoal_") && text.len() == 70, "{text}");
    assert_eq!(get_with(&fixture, "/api/v1/jobs", &text).await, 200);

    let list = fixture.get("/api/v1/tokens").await;
    assert!(!list.text.contains(&text), "{}", list.text);
    let tokens = list.ok(200)["tokens"].as_array().unwrap().clone();
    let listed = tokens.iter().find(|token| token["name"] == "ci").unwrap();
    assert_eq!((&listed["status"], &listed["role"]), (&"live".into(), &"viewer".into()));
    assert_eq!(listed["last_used_at"], "2026-11-22T12:00:00Z");
    let maker = tokens.iter().find(|token| token["name"] == "test").unwrap();
    assert_eq!(listed["created_by"], format!("token:{}", maker["id"].as_str().unwrap()));

    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(fixture.call(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(get_with(&fixture, "/api/v1/jobs", &text).await, 401);
    assert_eq!(fixture.call(Method::DELETE, &path, None).await.status, 204, "again changes nothing");
    let unknown = "/api/v1/tokens/0123456789abcdef";
    fixture.call(Method::DELETE, unknown, None).await.problem(404);
}

#[tokio::test(start_paused = true)]
async fn a_token_expires() {
    let fixture = Fixture::new();
    let body = json!({"name": "ci", "role": "viewer", "expires_at": "2026-11-22T13:00:00Z"});
    let text = create(&fixture, body).await.ok(201)["token"].as_str().unwrap().to_owned();
    tokio::time::advance(std::time::Duration::from_secs(3_599)).await;
    assert_eq!(get_with(&fixture, "/api/v1/jobs", &text).await, 200);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(get_with(&fixture, "/api/v1/jobs", &text).await, 401);
    let again = json!({"name": "ci", "role": "viewer"});
    create(&fixture, again).await.ok(201);
}

#[tokio::test(start_paused = true)]
async fn two_live_tokens_have_two_names_and_the_last_admin_stays() {
    let fixture = Fixture::new();
    create(&fixture, json!({"name": "ci", "role": "operator"})).await.ok(201);
    create(&fixture, json!({"name": "ci", "role": "viewer"})).await.problem(409);
    create(&fixture, json!({"name": "c i", "role": "root"})).await.problem(422);
    let tokens = fixture.get("/api/v1/tokens").await.ok(200);
    let admin = tokens["tokens"].as_array().unwrap().iter().find(|token| token["role"] == "admin").unwrap();
    let path = format!("/api/v1/tokens/{}", admin["id"].as_str().unwrap());
    fixture.call(Method::DELETE, &path, None).await.problem(409);
    assert_eq!(get_with(&fixture, "/api/v1/tokens", TOKEN).await, 200);
    create(&fixture, json!({"name": "other", "role": "admin"})).await.ok(201);
    assert_eq!(fixture.call(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(get_with(&fixture, "/api/v1/tokens", TOKEN).await, 401);
}
