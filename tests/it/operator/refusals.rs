//! Requests that are refused immediately, before any request to a BMC.

use bytes::Bytes;
use http::header;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shoal_base::hex;

use super::{Desk, assert_installed, assert_untouched, id};
use crate::process::recipe;

/// The bytes that a kickstart may have.
const KS_BYTES_MAX: usize = 65_536;

#[tokio::test]
async fn a_recipe_that_fails_validation_is_a_job_that_failed_immediately() {
    let desk = Desk::open(&[], &[]).await;
    let without = |key: &str| {
        let mut recipe = recipe("SIM0001");
        recipe.as_object_mut().unwrap().remove(key);
        recipe
    };
    let with = |key: &str, value: Value| {
        let mut recipe = recipe("SIM0001");
        recipe[key] = value;
        recipe
    };
    for (recipe, pointer) in [
        (without("ks_cfg"), "/ks_cfg"),
        (without("task_target"), "/task_target"),
        (with("ks_cfg", json!("")), "/ks_cfg"),
        (with("ks_cfg", json!(kickstart(KS_BYTES_MAX + 1))), "/ks_cfg"),
        (with("ks.cfg", json!("reboot\n")), "/ks.cfg"),
        (with("completion_hok", json!("none")), "/completion_hok"),
    ] {
        let (status, problem) = desk.served.post("/api/v1/jobs", recipe).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
        let job = desk.job(&id(&problem)).await;
        assert_eq!((&job["status"], &job["failed_step"]), (&json!("failed"), &json!("validate-recipe")));
        assert!(job["reason"].as_str().is_some_and(|reason| reason.contains(&pointer[1..])), "{job:#}");
        assert!(!job["finished_at"].is_null(), "{job:#}");
    }
    assert_untouched(&desk.sim.machines[0]).await;
    assert_eq!(desk.sim.machines[0].state().await["redfish_requests"], 0, "no BMC is touched");
}

/// A kickstart of so many bytes, and fewer characters.
fn kickstart(bytes: usize) -> String {
    let start = "vmaccepteula\ninstall --firstdisk --overwritevmfs\nreboot\n# ";
    let odd = (bytes - start.len()) % 2;
    format!("{start}{}{}", "x".repeat(odd), "ü".repeat((bytes - start.len()) / 2))
}

#[tokio::test]
async fn a_kickstart_of_the_largest_size_is_installed_and_keeps_its_server_busy() {
    let desk = Desk::open(&[], &["--install-seconds=2"]).await;
    let mut largest = recipe("SIM0001");
    largest["ks_cfg"] = json!(kickstart(KS_BYTES_MAX));
    let first = desk.submit(largest).await;
    let (status, problem) = desk.served.post("/api/v1/jobs", recipe("SIM0001")).await;
    assert_eq!((status, &problem["job_id"]), (409, &json!(first)), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(&first), "{problem}");
    let refused = json!({"task_target": "install-esxi.target", "server_serial": "SIM0001"});
    assert_eq!(desk.served.post("/api/v1/jobs", refused).await.0, 422, "validation comes first");
    let removed = desk.served.request("DELETE", "/api/v1/servers/SIM0001");
    assert_eq!(desk.served.send(removed, Bytes::new()).await.0, 409);
    let state = assert_installed(&desk.served.settled(&first).await, &desk.sim.machines[0]).await;
    let sha256 = hex(&Sha256::digest(kickstart(KS_BYTES_MAX)));
    assert_eq!((&state["installs"], &state["installed_ks_sha256"]), (&json!(1), &json!(sha256)));
}

#[tokio::test]
async fn what_is_no_order_leaves_no_job() {
    let desk = Desk::open(&[], &[]).await;
    let post = |body: &'static str| {
        let request = desk.served.request("POST", "/api/v1/jobs");
        desk.served.send(request.header(header::CONTENT_TYPE, "application/json"), body.into())
    };
    for body in
        ["{\"ks_cfg\": ", "", "[]", "{\"task_target\": \"install-esxi.target\", \"ks_cfg\": \"reboot\\n\"}"]
    {
        let (status, problem) = post(body).await;
        assert_eq!(status, 400, "{body}: {problem}");
    }
    let (status, problem) = desk.served.post("/api/v1/jobs", recipe("NOBODY1")).await;
    assert_eq!(status, 404);
    assert!(problem["detail"].as_str().unwrap().contains("NOBODY1"), "{problem}");

    let protecting = desk.served.patch("/api/v1/servers/SIM0001", json!({ "protected": true })).await;
    assert_eq!(protecting.0, 200, "{}", protecting.1);
    let (status, problem) = desk.served.post("/api/v1/jobs", recipe("SIM0001")).await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().contains("protected"), "{problem}");

    for token in [None, Some("Bearer wrong"), Some("Basic YWRtaW46YWRtaW4=")] {
        let mut request = http::Request::post(format!("{}/api/v1/jobs", desk.served.url))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let (status, problem) = desk.served.send(request, recipe("SIM0001").to_string().into()).await;
        assert_eq!(status, 401, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("admin.token"), "{problem}");
    }
    let (_, jobs) = desk.served.get("/api/v1/jobs").await;
    assert_eq!(jobs["jobs"], json!([]));
    assert_untouched(&desk.sim.machines[0]).await;
}
