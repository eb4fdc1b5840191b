//! A job that a newer release stored, as operators of this one meet it: listed, left alone, ended by force.

use http::Method;
use serde_json::json;
use shoal::seal::Sealer;
use shoal::store::Store;

use super::Fixture;

#[tokio::test(start_paused = true)]
async fn a_job_of_a_newer_release_is_listed_and_ends_by_force_alone() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("shoal.db");
    let store = Store::open(&database, Sealer::new([7; 32])).unwrap();
    let fixture = Fixture::with(|parts| parts.store = store.clone());
    fixture.add_server("A1").await;
    let id = fixture.add_job("A1").await;
    let newer = r#"{"version":99,"value":{}}"#;
    rusqlite::Connection::open(&database).unwrap().execute("UPDATE jobs SET facts = ?1", [newer]).unwrap();

    let job = format!("/api/v1/jobs/{id}");
    let shown = fixture.get(&job).await.ok(200);
    assert_eq!((&shown["status"], &shown["step"]), (&json!("queued"), &json!(null)));
    assert_eq!((&shown["failure_code"], &shown["cleanup"]), (&json!("unreadable_state"), &json!("pending")));
    let reason = shown["reason"].as_str().unwrap();
    for part in ["newer release (version 99", "--force", "shoal server release A1"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert_eq!(fixture.get("/api/v1/jobs").await.ok(200)["jobs"][0]["job_id"], id);
    fixture.get(&format!("{job}/events")).await.ok(200);
    let remove = async || fixture.call(Method::DELETE, "/api/v1/servers/A1", None).await;
    assert_eq!(remove().await.problem(409)["job_id"], id);
    assert_eq!(fixture.post("/api/v1/jobs", super::recipe("A1")).await.problem(409)["job_id"], id);

    let cancel = format!("{job}/cancel");
    let refused = fixture.call(Method::POST, &cancel, None).await.problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("force"), "{refused}");
    let ended = fixture.post(&cancel, json!({ "force": true })).await.ok(202);
    assert_eq!((&ended["status"], &ended["failure_code"]), (&json!("cancelled"), &json!("unreadable_state")));
    assert!(!ended["finished_at"].is_null(), "{ended}");
    assert_eq!(ended["events"].as_array().unwrap().last().unwrap()["op"], "job.end");
    assert_eq!(fixture.post(&cancel, json!({ "force": true })).await.problem(409)["job_id"], id);
    assert_eq!(remove().await.status, 204);
}
