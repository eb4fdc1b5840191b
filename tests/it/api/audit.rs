//! Who did what is told, in the write that it tells of, and without secrets.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use http::Method;
use serde_json::{Value, json};
use shoal::access::Role;

use super::{Fixture, keep_token, recipe, server_json};

async fn entries(fixture: &Fixture, query: &str) -> Vec<Value> {
    let page = fixture.get(&format!("/api/v1/audit{query}")).await.ok(200);
    page["entries"].as_array().unwrap().clone()
}

fn actions(entries: &[Value]) -> Vec<&str> {
    entries.iter().rev().map(|entry| entry["action"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_act_is_told_once_and_no_secret_is() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let tls = json!({"tls": "insecure", "bmc_password": "another-hunter2"});
    fixture.call(Method::PATCH, "/api/v1/servers/A1", Some(tls)).await.ok(200);
    let job = fixture.add_job("A1").await;
    fixture.post(&format!("/api/v1/jobs/{job}/cancel"), json!({"force": true})).await.ok(202);
    fixture.end_job(shoal::job::Status::Cancelled, Vec::new()).await;
    let retried = fixture.post(&format!("/api/v1/jobs/{job}/retry"), json!({})).await.ok(202);
    fixture.end_job(shoal::job::Status::Failed, Vec::new()).await;
    fixture.post("/api/v1/jobs", json!({"server_serial": "A1", "ks_cfg": ""})).await.problem(422);
    fixture.post("/api/v1/servers/A1/check", json!({})).await.ok(200);
    fixture.post("/api/v1/servers/A1/check", json!({"probe_media": true})).await.ok(200);
    let made = fixture.post("/api/v1/tokens", json!({"name": "ci", "role": "viewer"})).await.ok(201);
    let token = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    fixture.call(Method::DELETE, &token, None).await;
    fixture.call(Method::DELETE, &token, None).await;
    fixture.call(Method::DELETE, "/api/v1/servers/A1", None).await;

    let told = entries(&fixture, "").await;
    let expected = [
        "server.add",
        "server.change",
        "job.submit",
        "job.cancel",
        "job.retry",
        "job.submit",
        "server.probe",
        "token.create",
        "token.revoke",
        "server.remove",
    ];
    assert_eq!(actions(&told), expected);
    let change = &told[8];
    assert_eq!(change["detail"], json!({"changed": ["bmc_password"], "tls": ["verify", "insecure"]}));
    assert_eq!(
        (&change["server_serial"], &change["actor_name"], &change["role"]),
        (&"A1".into(), &"test".into(), &"admin".into())
    );
    assert_eq!(
        (&told[5]["job_id"], &told[5]["detail"]["retry_of"]),
        (&retried["job_id"], &job.clone().into())
    );
    assert_eq!((&told[4]["detail"]["refused"], &told[7]["detail"]["refused"]), (&true.into(), &false.into()));
    let text = fixture.get("/api/v1/audit").await.text;
    for secret in ["hunter2", "vmaccepteula", made["token"].as_str().unwrap(), super::TOKEN] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let verdict = fixture.get("/api/v1/audit/verify").await.ok(200);
    assert_eq!((&verdict["ok"], &verdict["entries"]), (&true.into(), &10.into()));
    assert_eq!(verdict["last_hash"], told[0]["hash"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_or_repeated_is_no_act() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    fixture.post("/api/v1/servers", server_json("A1")).await.problem(409);
    for status in [202, 200] {
        let key = [("idempotency-key", "once")];
        fixture.call_with(Method::POST, "/api/v1/jobs", Some(recipe("A1")), &key).await.ok(status);
    }
    fixture.post("/api/v1/jobs", recipe("A1")).await.problem(409);
    fixture.post("/api/v1/jobs?dry_run=true", recipe("NOBODY")).await.problem(404);
    assert_eq!(actions(&entries(&fixture, "").await), ["server.add", "job.submit"]);
}

#[tokio::test(start_paused = true)]
async fn who_tried_what_their_role_does_not_allow_is_told_and_from_where() {
    let fixture = Fixture::new();
    let viewer = keep_token(&fixture.store, &fixture.world, "eve", Role::Viewer, "eve");
    let peer: SocketAddr = "10.0.0.66:1234".parse().unwrap();
    for (method, path) in [(Method::DELETE, "/api/v1/servers/A1"), (Method::GET, "/api/v1/audit")] {
        let mut request = super::request(method, path, None, &[]);
        request.headers_mut().insert("authorization", "Bearer eve".parse().unwrap());
        request.extensions_mut().insert(ConnectInfo(peer));
        fixture.send(request).await.problem(403);
    }
    let told = entries(&fixture, "").await;
    assert_eq!(actions(&told), ["access.denied"], "a read that is refused changes nothing");
    assert_eq!(told[0]["actor"], format!("token:{}", viewer.id));
    assert_eq!(
        (&told[0]["source"], &told[0]["detail"]["path"]),
        (&"10.0.0.66".into(), &"/api/v1/servers/A1".into())
    );
}

#[tokio::test(start_paused = true)]
async fn pages_and_filters_find_an_act() {
    let fixture = Fixture::new();
    for number in 0..5 {
        fixture.add_server(&format!("A{number}")).await;
    }
    let page = fixture.get("/api/v1/audit?limit=2").await.ok(200);
    let serials = |page: &Value| -> Vec<String> {
        let entries = page["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["server_serial"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((serials(&page), &page["next_cursor"]), (vec!["A4".to_owned(), "A3".to_owned()], &4.into()));
    let page = fixture.get("/api/v1/audit?limit=3&cursor=4").await.ok(200);
    assert_eq!(
        (serials(&page), &page["next_cursor"]),
        (vec!["A2".to_owned(), "A1".to_owned(), "A0".to_owned()], &Value::Null)
    );
    assert_eq!(entries(&fixture, "?server_serial=A3").await.len(), 1);
    assert_eq!(entries(&fixture, "?actor=test&action=server.add").await.len(), 5);
    assert_eq!(entries(&fixture, "?actor=nobody").await.len(), 0);
    for query in ["?limit=0", "?limit=500", "?cursor=x", "?who=test"] {
        fixture.get(&format!("/api/v1/audit{query}")).await.problem(400);
    }
}
