//! Two controllers of one database: what is the same at both, and what each has for itself, as docs/postgresql.md has it.
//!
//! In memory, with a handle for each. Web sessions are in `ui::sign_in`, imports in `import`, media and BMCs in `shared`.

use http::Method;
use serde_json::json;
use shoal::domain::Status;

use super::events::{event, parse_stream, stream};
use super::limits::limit;
use super::tokens::get_with;
use super::{Fixture, recipe, server_json};

#[tokio::test(start_paused = true)]
async fn limits_are_of_each_controller() {
    let one = Fixture::with(|parts| limit(parts, 10, 2));
    let two = one.beside(|parts| limit(parts, 10, 2));
    for serial in ["A1", "A2"] {
        one.add_server(serial).await;
    }
    one.post("/api/v1/servers", server_json("A3")).await.problem(429);
    two.add_server("A3").await;
    one.get("/api/v1/servers/A3").await.ok(200);
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_at_another_controller_after_the_last_event_that_was_read() {
    let one = Fixture::new();
    let two = one.beside(|_| {});
    one.add_server("A1").await;
    let id = one.add_job("A1").await;
    let written = ["one", "two", "three"].map(|message| event(&one, message));
    one.end_job(Status::Failed, written.to_vec()).await;
    for path in [format!("/api/v1/jobs/{id}/events"), "/api/v1/events?limit=2".to_owned()] {
        let begun = one.get(&path).await.ok(200);
        let last = begun["events"][0]["id"].to_string();
        let path = path.split('?').next().unwrap();
        let rest = two.get(&format!("{path}?after={last}")).await.ok(200);
        assert_eq!(rest["events"].as_array().unwrap().len(), 2, "{path}: {rest}");
    }
    let path = format!("/api/v1/jobs/{id}/events");
    let rest = parse_stream(&stream(&two, &path, &[("last-event-id", "1")]).await.text);
    let read: Vec<_> = rest.iter().map(|(id, event)| (*id, event["message"].clone())).collect();
    assert_eq!(read, [(2, "two".into()), (3, "three".into())]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_sent_again_to_another_controller_is_carried_out_once() {
    let one = Fixture::new();
    let two = one.beside(|_| {});
    one.add_server("A1").await;
    let key = [("idempotency-key", "k")];
    let first = one.call_with(Method::POST, "/api/v1/jobs", Some(recipe("A1")), &key).await.ok(202);
    let again = two.call_with(Method::POST, "/api/v1/jobs", Some(recipe("A1")), &key).await;
    assert_eq!(again.json()["job_id"], first["job_id"], "{}", again.text);
    two.call_with(Method::POST, "/api/v1/jobs", Some(recipe("A1")), &[]).await.problem(409);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_revoked_at_one_is_refused_at_the_other() {
    let one = Fixture::new();
    let two = one.beside(|_| {});
    let body = json!({"name": "ci", "role": "viewer"});
    let made = one.post("/api/v1/tokens", body).await.ok(201);
    let text = made["token"].as_str().unwrap();
    assert_eq!(get_with(&two, "/api/v1/jobs", text).await, 200);
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(one.call(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(get_with(&two, "/api/v1/jobs", text).await, 401);
}
