//! Inspections: what a BMC reports of the hardware is kept with the record, and only while it is of that BMC.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::Fixture;

async fn shown(fixture: &Fixture) -> Value {
    fixture.get("/api/v1/servers/A1").await.ok(200)["hardware"].clone()
}

#[tokio::test(start_paused = true)]
async fn hardware_is_kept_with_the_record_until_the_address_changes() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    assert_eq!(shown(&fixture).await, Value::Null);
    let read = fixture.post("/api/v1/servers/A1/inspect", json!({})).await.ok(200);
    assert_eq!(
        (&read["model"], &read["memory_mib"], &read["nics"]),
        (&json!("A1"), &Value::Null, &json!([]))
    );
    assert_eq!(shown(&fixture).await, read);
    let list = fixture.get("/api/v1/servers").await.ok(200);
    assert!(list["servers"][0].get("hardware").is_none(), "a list would be megabytes");
    let entry = fixture.get("/api/v1/audit?limit=1").await.ok(200)["entries"][0].clone();
    assert_eq!((&entry["action"], &entry["server_serial"]), (&json!("server.inspect"), &json!("A1")));
    let patch = async |body| fixture.call(Method::PATCH, "/api/v1/servers/A1", Some(body)).await.ok(200);
    patch(json!({ "labels": { "rack": "7" } })).await;
    assert_eq!(shown(&fixture).await, read);
    patch(json!({ "bmc_address": "https://10.0.0.77", "bmc_password": "hunter2" })).await;
    assert_eq!(shown(&fixture).await, Value::Null);
    fixture.post("/api/v1/servers/A1/inspect", json!({ "deep": true })).await.problem(422);
    fixture.post("/api/v1/servers/Q7/inspect", json!({})).await.problem(404);
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_cannot_be_read_leaves_what_is_kept() {
    let fixture = Fixture::with(|parts| {
        parts.inspect = Arc::new(|_| Box::pin(async { Err("the BMC cannot be reached".to_owned()) }));
    });
    fixture.add_server("A1").await;
    let server = fixture.store.servers().await.unwrap().remove(0);
    let kept = shoal_redfish::Hardware { model: Some("R750".to_owned()), ..Default::default() };
    fixture.store.save_hardware(&server, kept, fixture.world.clock.now()).await.unwrap();
    let problem = fixture.post("/api/v1/servers/A1/inspect", json!({})).await.problem(502);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("hardware of server A1") && detail.contains("cannot be reached"), "{detail}");
    assert_eq!(shown(&fixture).await["model"], "R750");
}
