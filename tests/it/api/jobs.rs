//! Jobs: submitted, refused, repeated, listed, cancelled, tried again.

use http::{Method, header};
use serde_json::{Value, json};
use shoal::domain::{FailureCode, Status, Step};
use shoal::engine::DryRunReport;

use super::{Fixture, recipe};

async fn count(fixture: &Fixture) -> usize {
    fixture.get("/api/v1/jobs?refused=true").await.ok(200)["jobs"].as_array().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_recipe_becomes_a_queued_job() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let answer = fixture.post("/api/v1/jobs", recipe("A1")).await;
    let job = answer.ok(202);
    let id = job["job_id"].as_str().unwrap();
    assert_eq!(answer.headers[header::LOCATION], format!("/api/v1/jobs/{id}"));
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    let expected = json!({
        "job_id": id, "server_serial": "A1", "task_target": "install-esxi.target", "status": "queued",
        "step": "validate-recipe", "failed_step": null, "failure_code": null, "reason": null, "deadline": null, "verdict": null,
        "progress": {"installer_bytes_read": 0, "installer_bytes_total": 0, "ks_read": false},
        "cleanup": "pending", "cleanup_left": [], "retry_of": null, "batch_id": null, "created_at": "2026-11-22T12:00:00Z",
        "last_update": "2026-11-22T12:00:00Z", "finished_at": null, "installed": null, "metadata": null, "events": [],
        "erases": ["install --firstdisk --overwritevmfs"],
    });
    assert_eq!(job, expected);
    assert_eq!(fixture.get(&format!("/api/v1/jobs/{id}")).await.ok(200), expected);
}

#[tokio::test(start_paused = true)]
async fn the_other_form_of_the_body_will_do() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let mut inner = recipe("A1");
    inner.as_object_mut().unwrap().remove("server_serial");
    let job = fixture.post("/api/v1/jobs", json!({"server_serial": "A1", "recipe": inner})).await.ok(202);
    assert_eq!(job["server_serial"], "A1");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_names_no_known_server_leaves_no_job() {
    let fixture = Fixture::new();
    fixture.post("/api/v1/jobs", recipe("UNKNOWN")).await.problem(404);
    fixture.post("/api/v1/jobs", recipe("../etc")).await.problem(404);
    fixture.post("/api/v1/jobs", json!({"ks_cfg": "x"})).await.problem(400);
    fixture.post("/api/v1/jobs", json!({"server_serial": 7})).await.problem(400);
    fixture.post("/api/v1/jobs", json!([])).await.problem(400);
    assert_eq!(count(&fixture).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_recipe_is_a_job_that_failed_immediately() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let mut body = recipe("A1");
    body.as_object_mut().unwrap().remove("ks_cfg");
    let problem = fixture.post("/api/v1/jobs", body).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/ks_cfg");
    let id = problem["job_id"].as_str().unwrap();
    let job = fixture.get(&format!("/api/v1/jobs/{id}")).await.ok(200);
    assert_eq!((&job["status"], &job["failed_step"]), (&json!("failed"), &json!("validate-recipe")));
    assert_eq!((&job["cleanup"], &job["verdict"]["outcome"]), (&json!("done"), &json!("failed")));
    assert!(job["finished_at"].is_string() && job["reason"].as_str().unwrap().contains("/ks_cfg"));
    assert_eq!(
        (&job["failure_code"], &job["failed_step"]),
        (&json!("recipe_invalid"), &json!("validate-recipe"))
    );
    let events = job["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["detail"]["failure_code"], "recipe_invalid");
    let listed = async |query: &str| {
        let page = fixture.get(&format!("/api/v1/jobs{query}")).await.ok(200);
        page["jobs"].as_array().unwrap().len()
    };
    assert_eq!((listed("").await, listed("?status=failed").await, listed("?refused=true").await), (0, 0, 1));
    assert_eq!((&events[0]["status"], &events[1]["status"]), (&json!("started"), &json!("failed")));
    assert_eq!(events[1]["detail"]["errors"][0]["pointer"], "/ks_cfg");
    fixture.add_job("A1").await;
}

#[tokio::test(start_paused = true)]
async fn the_kickstart_has_a_limit_and_is_never_shown() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let mut body = recipe("A1");
    let secret = "rootpw hunter2-root\n";
    body["ks_cfg"] = json!(format!("{secret}{}", "#".repeat(65_536 - secret.len())));
    let accepted = fixture.post("/api/v1/jobs", body.clone()).await;
    accepted.ok(202);
    body["ks_cfg"] = json!(format!("{}#", body["ks_cfg"].as_str().unwrap()));
    let refused = fixture.post("/api/v1/jobs", body).await;
    refused.problem(422);
    let listed = fixture.get("/api/v1/jobs").await;
    let events = fixture.get("/api/v1/events").await;
    for answer in [accepted, refused, listed, events] {
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_has_one_active_job_and_validation_comes_first() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let first = fixture.add_job("A1").await;
    assert_eq!(fixture.post("/api/v1/jobs", recipe("A1")).await.problem(409)["job_id"], first);
    let mut bad = recipe("A1");
    bad["ks_cfg"] = json!("");
    assert_ne!(fixture.post("/api/v1/jobs", bad).await.problem(422)["job_id"], first);
}

#[tokio::test(start_paused = true)]
async fn a_protected_server_takes_no_job() {
    let fixture = Fixture::new();
    let mut server = super::server_json("A1");
    server["protected"] = json!(true);
    fixture.post("/api/v1/servers", server).await.ok(201);
    let problem = fixture.post("/api/v1/jobs", recipe("A1")).await.problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("protected"));
    fixture.post("/api/v1/jobs?dry_run=true", recipe("A1")).await.problem(409);
    assert_eq!(count(&fixture).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_recipe_names_an_installer_only_where_it_is_allowed() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let mut body = recipe("A1");
    body["esxi_installer_url"] = json!("http://169.254.169.254/latest/meta-data");
    let problem = fixture.post("/api/v1/jobs", body.clone()).await.problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/esxi_installer_url");
    assert!(problem["job_id"].is_string());
    body["esxi_installer_url"] = json!("https://images.example/esxi/8.iso");
    fixture.post("/api/v1/jobs", body).await.ok(202);
}

#[tokio::test(start_paused = true)]
async fn a_request_sent_twice_makes_one_job() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let send = async |key, body| {
        let headers = [("idempotency-key", key)];
        fixture.call_with(Method::POST, "/api/v1/jobs", Some(body), &headers).await
    };
    let first = send("k1", recipe("A1")).await.ok(202);
    assert_eq!(send("k1", recipe("A1")).await.ok(200)["job_id"], first["job_id"]);
    let mut other = recipe("A1");
    other["metadata"] = json!({"ticket": 7});
    send("k1", other).await.problem(422);
    assert_eq!(count(&fixture).await, 1);
    let mut bad = recipe("A1");
    bad["ks_cfg"] = json!(" ");
    let refused = send("k2", bad.clone()).await.problem(422);
    let again = send("k2", bad).await.problem(422);
    assert_eq!((&again["job_id"], &again["errors"]), (&refused["job_id"], &refused["errors"]));
    assert_eq!(count(&fixture).await, 2);
    send("two words", recipe("A1")).await.problem(400);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_finds_its_job_even_if_the_server_is_protected_since() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let headers = [("idempotency-key", "k")];
    let send = async || fixture.call_with(Method::POST, "/api/v1/jobs", Some(recipe("A1")), &headers).await;
    let first = send().await.ok(202);
    fixture.call(Method::PATCH, "/api/v1/servers/A1", Some(json!({"protected": true}))).await.ok(200);
    assert_eq!(send().await.ok(200)["job_id"], first["job_id"]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_reports_and_leaves_no_job() {
    let report = DryRunReport {
        ok: false,
        failed_step: Some(Step::ResolveServer),
        failure_code: Some(FailureCode::SerialMismatch),
        reason: Some("the BMC refuses the password".to_owned()),
        events: Vec::new(),
    };
    let fixture = Fixture::with(|parts| {
        parts.dry_run = std::sync::Arc::new(move |_, _| {
            let report = report.clone();
            Box::pin(async { report })
        });
    });
    fixture.add_server("A1").await;
    let found = fixture.post("/api/v1/jobs?dry_run=true", recipe("A1")).await.ok(200);
    assert_eq!((&found["ok"], &found["failed_step"]), (&json!(false), &json!("resolve-server")));
    let mut bad = recipe("A1");
    bad["task_target"] = json!("install-windows.target");
    let problem = fixture.post("/api/v1/jobs?dry_run=true", bad).await.problem(422);
    assert_eq!(problem.get("job_id"), None);
    assert_eq!(count(&fixture).await, 0);
    let first = fixture.add_job("A1").await;
    let busy = fixture.post("/api/v1/jobs?dry_run=true", recipe("A1")).await.problem(409);
    assert_eq!(busy["job_id"], first);
}

#[tokio::test(start_paused = true)]
async fn a_misspelt_parameter_is_refused_and_not_ignored() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    for path in ["/api/v1/jobs?dryrun=true", "/api/v1/jobs?dry_run=yes"] {
        fixture.post(path, recipe("A1")).await.problem(400);
    }
    for query in ["status=done", "limit=0", "limit=501", "cursor=x", "label=rack", "server=A1"] {
        fixture.get(&format!("/api/v1/jobs?{query}")).await.problem(400);
    }
    assert_eq!(count(&fixture).await, 0);
}

#[tokio::test(start_paused = true)]
async fn the_list_is_filtered_and_paged_newest_first() {
    let fixture = Fixture::new();
    let mut labelled = super::server_json("A1");
    labelled["labels"] = json!({"rack": "7"});
    fixture.post("/api/v1/servers", labelled).await.ok(201);
    fixture.add_server("B2").await;
    fixture.add_server("C3").await;
    let mut ids = Vec::new();
    for serial in ["A1", "B2", "C3"] {
        ids.push(fixture.add_job(serial).await);
    }
    fixture.end_job(Status::Succeeded, Vec::new()).await;
    let list = async |query: &str| {
        let page = fixture.get(&format!("/api/v1/jobs?{query}")).await.ok(200);
        let jobs = page["jobs"].as_array().unwrap();
        let ids: Vec<String> = jobs.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect();
        (ids, page["next_cursor"].as_str().map(str::to_owned))
    };
    let (page, cursor) = list("limit=2").await;
    assert_eq!(page, [ids[2].clone(), ids[1].clone()]);
    let (page, last) = list(&format!("limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!((page, last), (vec![ids[0].clone()], None));
    // A page that is full has a cursor, whatever its limit: the next one may be empty.
    let (page, cursor) = list("limit=3").await;
    assert_eq!(page.len(), 3);
    let (page, last) = list(&format!("limit=3&cursor={}", cursor.unwrap())).await;
    assert_eq!((page.len(), last), (0, None));
    assert_eq!(list("status=succeeded").await.0, [ids[0].clone()]);
    assert_eq!(list("label=rack%3D7").await.0, [ids[0].clone()]);
    assert_eq!(list("server_serial=B2").await.0, [ids[1].clone()]);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_recorded_and_a_job_that_is_over_refuses_it() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let id = fixture.add_job("A1").await;
    let path = format!("/api/v1/jobs/{id}/cancel");
    assert_eq!(fixture.call(Method::POST, &path, None).await.ok(202)["job_id"], id);
    fixture.post(&path, json!({"force": true})).await.ok(202);
    let job = fixture.store.job(id.parse().unwrap()).await.unwrap().unwrap();
    assert!(job.cancel.unwrap().force);
    assert_eq!(fixture.post(&path, json!({"force": 1})).await.problem(422)["errors"][0]["pointer"], "/force");
    fixture.end_job(Status::Cancelled, Vec::new()).await;
    assert_eq!(fixture.call(Method::POST, &path, None).await.problem(409)["job_id"], id);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_a_new_job_with_the_same_recipe() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let id = fixture.add_job("A1").await;
    let path = format!("/api/v1/jobs/{id}/retry");
    assert_eq!(fixture.call(Method::POST, &path, None).await.problem(409)["job_id"], id);
    fixture.end_job(Status::Failed, Vec::new()).await;
    fixture.post(&path, json!({"ks_cfg": "other"})).await.problem(422);
    let again = fixture.call(Method::POST, &path, None).await.ok(202);
    assert_eq!((&again["retry_of"], &again["status"]), (&json!(id), &json!("queued")));
    let (_, job) = fixture.claim().await;
    assert_eq!(job.spec.unwrap().esxi().unwrap().kickstart.expose(), super::KICKSTART);
    fixture.call(Method::POST, "/api/v1/jobs/0123/retry", None).await.problem(404);
}

/// Issue 15, kind 22.
#[tokio::test(start_paused = true)]
async fn a_job_that_succeeded_is_tried_again_by_force_only() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let id = fixture.add_job("A1").await;
    fixture.end_job(Status::Succeeded, Vec::new()).await;
    let path = format!("/api/v1/jobs/{id}/retry");
    for body in [None, Some(json!({})), Some(json!({"force": false})), Some(json!({"force": null}))] {
        for path in [path.clone(), format!("{path}?dry_run=true")] {
            let problem = fixture.call(Method::POST, &path, body.clone()).await.problem(409);
            assert_eq!(problem["job_id"], id);
            assert!(problem["detail"].as_str().unwrap().contains("\"force\": true"), "{problem}");
        }
    }
    assert_eq!(
        fixture.post(&path, json!({"force": "yes"})).await.problem(422)["errors"][0]["pointer"],
        "/force"
    );
    assert_eq!(count(&fixture).await, 1);
    let again = fixture.post(&path, json!({"force": true})).await.ok(202);
    assert_eq!(again["retry_of"], id);
    let entry = fixture.get("/api/v1/audit?action=job.retry").await.ok(200)["entries"][0].clone();
    assert_eq!(entry["detail"]["force"], true);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_of_a_retry_reports_and_leaves_no_job() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let id = fixture.add_job("A1").await;
    let path = format!("/api/v1/jobs/{id}/retry?dry_run=true");
    assert_eq!(fixture.call(Method::POST, &path, None).await.problem(409)["job_id"], id);
    fixture.end_job(Status::Failed, Vec::new()).await;
    let report = fixture.call(Method::POST, &path, None).await.ok(200);
    assert_eq!((&report["dry_run"], &report["ok"]), (&json!(true), &json!(true)));
    fixture.call(Method::POST, &path.replace("true", "1"), None).await.problem(400);
    assert_eq!(count(&fixture).await, 1);
}

/// A key stands for the force too: another body is another request.
#[tokio::test(start_paused = true)]
async fn a_retry_sent_twice_makes_one_job() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let id = fixture.add_job("A1").await;
    fixture.end_job(Status::Failed, Vec::new()).await;
    let path = format!("/api/v1/jobs/{id}/retry");
    let send =
        async |body| fixture.call_with(Method::POST, &path, Some(body), &[("idempotency-key", "k")]).await;
    let first = send(json!({})).await.ok(202);
    assert_eq!(send(json!({})).await.ok(200)["job_id"], first["job_id"]);
    send(json!({"force": true})).await.problem(422);
    assert_eq!(count(&fixture).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_refused_recipe_is_refused_again() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let mut body = recipe("A1");
    body["task_target"] = Value::Null;
    let first = fixture.post("/api/v1/jobs", body).await.problem(422)["job_id"].clone();
    let path = format!("/api/v1/jobs/{}/retry", first.as_str().unwrap());
    let again = fixture.call(Method::POST, &path, None).await.problem(422);
    let id = again["job_id"].as_str().unwrap();
    assert_eq!(fixture.get(&format!("/api/v1/jobs/{id}")).await.ok(200)["retry_of"], first);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_not_there_is_404_under_any_name() {
    let fixture = Fixture::new();
    for name in
        ["0123456789abcdef0123456789abcdef", "not-an-id", "%2e%2e", "0123456789ABCDEF0123456789ABCDEF"]
    {
        fixture.get(&format!("/api/v1/jobs/{name}")).await.problem(404);
        fixture.get(&format!("/api/v1/jobs/{name}/events")).await.problem(404);
        fixture.call(Method::POST, &format!("/api/v1/jobs/{name}/cancel"), None).await.problem(404);
    }
}

/// Issue 15, kind 30.
#[tokio::test(start_paused = true)]
async fn the_metadata_of_a_recipe_is_read_back_on_its_job_and_not_in_lists() {
    let fixture = Fixture::new();
    fixture.add_server("A1").await;
    let metadata = json!({"ticket": 7, "tags": ["a", null]});
    let mut body = recipe("A1");
    body["metadata"] = metadata.clone();
    let job = fixture.post("/api/v1/jobs", body).await.ok(202);
    assert_eq!(job["metadata"], metadata);
    let path = format!("/api/v1/jobs/{}", job["job_id"].as_str().unwrap());
    assert_eq!(fixture.get(&path).await.ok(200)["metadata"], metadata);
    let listed = fixture.get("/api/v1/jobs").await.ok(200)["jobs"][0].clone();
    assert_eq!((listed.get("metadata"), &listed["job_id"]), (None, &job["job_id"]));
}
