//! Batches: submitted whole, refused whole, shown, and changed.

use http::{Method, header};
use serde_json::{Value, json};
use shoal::domain::{Status, Step};
use shoal::engine::DryRunReport;

use super::{Fixture, KICKSTART, server_json};

const PATH: &str = "/api/v1/batches";

fn template() -> Value {
    json!({"task_target": "install-esxi.target", "ks_cfg": KICKSTART})
}

fn batch(servers: &[&str]) -> Value {
    json!({"recipe": template(), "servers": servers})
}

async fn site(serials: &[&str]) -> Fixture {
    let fixture = Fixture::new();
    for serial in serials {
        fixture.add_server(serial).await;
    }
    fixture
}

fn path(batch: &Value, then: &str) -> String {
    format!("{PATH}/{}{then}", batch["batch_id"].as_str().unwrap())
}

fn states(batch: &Value) -> Vec<(&str, &str)> {
    let rows = batch["rows"].as_array().unwrap();
    rows.iter().map(|row| (row["server_serial"].as_str().unwrap(), row["state"].as_str().unwrap())).collect()
}

fn faults(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().unwrap().iter();
    errors
        .map(|e| format!("{}: {}", e["pointer"].as_str().unwrap(), e["message"].as_str().unwrap()))
        .collect()
}

async fn jobs(fixture: &Fixture) -> usize {
    fixture.get("/api/v1/jobs").await.ok(200)["jobs"].as_array().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_batch_becomes_a_held_job_for_each_server() {
    let fixture = site(&["A", "B"]).await;
    let mut body = batch(&["B", "A"]);
    body["name"] = json!("rack 12");
    body["max_parallel"] = json!(1);
    let answer = fixture.post(PATH, body).await;
    let batch = answer.ok(202);
    assert_eq!(answer.headers[header::LOCATION], path(&batch, "").as_str());
    assert_eq!(states(&batch), [("B", "waiting"), ("A", "waiting")]);
    assert_eq!((&batch["status"], &batch["name"]), (&json!("running"), &json!("rack 12")));
    assert_eq!(batch["created_by"], "test");
    assert_eq!(batch["counts"]["total"], 2);
    fixture.end_job(Status::Succeeded, Vec::new()).await;
    let (_, job) = fixture.claim().await;
    assert_eq!(job.server.as_str(), "A", "it starts when the one before it has ended");
    let shown = fixture.get(&path(&batch, "")).await.ok(200);
    assert_eq!(states(&shown), [("B", "succeeded"), ("A", "running")]);
    let id = shown["batch_id"].as_str().unwrap();
    let listed = fixture.get(&format!("/api/v1/jobs?batch_id={id}")).await.ok(200);
    assert!(listed["jobs"].as_array().unwrap().iter().all(|job| job["batch_id"] == id));
    let list = fixture.get(PATH).await.ok(200);
    assert_eq!(list["batches"][0]["counts"]["succeeded"], 1);
    assert!(list["batches"][0].get("rows").is_none());
}

#[tokio::test(start_paused = true)]
async fn every_bad_row_is_reported_and_nothing_is_added() {
    let fixture = site(&["A", "B", "C", "D"]).await;
    fixture.add_job("B").await;
    fixture.call(Method::PATCH, "/api/v1/servers/C", Some(json!({"protected": true}))).await.ok(200);
    let rows = json!(["A", "B", "C", {"serial": "D", "recipe": {"completion_hook": "call"}}, "E"]);
    let body = json!({"recipe": template(), "servers": rows});
    let problem = fixture.post(PATH, body.clone()).await.problem(422);
    assert_eq!(faults(&problem), ["/servers/4: no server has the serial number E"]);
    fixture.add_server("E").await;
    let problem = fixture.post(PATH, body).await.problem(422);
    let faults = faults(&problem);
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[0].starts_with("/servers/1: server B is busy with job "), "{faults:?}");
    assert!(faults[1].starts_with("/servers/2: server C is protected"), "{faults:?}");
    assert!(faults[2].starts_with("/servers/3/completion_hook: server D: "), "{faults:?}");
    assert_eq!(jobs(&fixture).await, 1);
    assert_eq!(fixture.get(PATH).await.ok(200)["batches"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_template_is_reported_once() {
    let fixture = site(&["A", "B"]).await;
    let mut body = batch(&["A", "B"]);
    body["recipe"]["ks_cgf"] = json!("x");
    let problem = fixture.post(PATH, body).await.problem(422);
    let faults = faults(&problem);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("/recipe/ks_cgf: unknown key"), "{faults:?}");
}

#[tokio::test(start_paused = true)]
async fn rows_have_variables_of_their_own_over_those_of_the_recipe() {
    let fixture = site(&["A", "B"]).await;
    let text = "vmaccepteula\ninstall --firstdisk\nnetwork --ip={{ ip }} --gateway={{ gateway }}\nreboot\n";
    let recipe = json!({"task_target": "install-esxi.target", "ks_cfg": text, "templated": true,
        "variables": {"gateway": "10.0.0.1"}});
    let a = json!({"serial": "A", "variables": {"ip": "10.0.0.2"}});
    let problem = fixture.post(PATH, json!({"recipe": recipe, "servers": [a, "B"]})).await.problem(422);
    let missing = faults(&problem);
    assert!(missing.len() == 1 && missing[0].starts_with("/servers/1/ks_cfg: server B: "), "{missing:?}");
    let b = json!({"serial": "B", "variables": {"ip": "10.0.0.3", "gateway": "10.0.0.254"}});
    fixture.post(PATH, json!({"recipe": recipe, "servers": [a, b]})).await.ok(202);
    let claimed =
        fixture.store.claim("me", fixture.world.clock.now(), std::time::Duration::from_secs(9), 9).await;
    let claimed = claimed.unwrap();
    let text_of = |serial: &str| {
        let mut jobs = claimed.iter().map(|(_, job)| job).filter(|job| job.server.as_str() == serial);
        jobs.next().unwrap().spec.as_ref().unwrap().esxi().unwrap().kickstart.expose().to_owned()
    };
    assert!(text_of("A").contains("--ip=10.0.0.2 --gateway=10.0.0.1"));
    assert!(text_of("B").contains("--ip=10.0.0.3 --gateway=10.0.0.254"));
}

#[tokio::test(start_paused = true)]
async fn servers_are_selected_by_label() {
    let fixture = site(&["X"]).await;
    for (serial, rack) in [("A", "1"), ("B", "2"), ("C", "3")] {
        let mut server = server_json(serial);
        server["labels"] = json!({"rack": rack, "site": "here"});
        fixture.post("/api/v1/servers", server).await.ok(201);
    }
    let body = |labels: Value| json!({"recipe": template(), "labels": labels});
    let problem = fixture.post(PATH, body(json!(["rack=9"]))).await.problem(422);
    assert!(faults(&problem)[0].starts_with("/labels: no server has these labels"), "{problem}");
    let batch = fixture.post(PATH, body(json!(["rack=1", "rack=3", "site=here"]))).await.ok(202);
    assert_eq!(states(&batch), [("A", "waiting"), ("C", "waiting")]);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_asks_each_bmc_and_changes_nothing() {
    let fixture = Fixture::with(|parts| {
        parts.dry_run = std::sync::Arc::new(|serial, _| {
            let ok = serial.as_str() != "B";
            let reason = (!ok).then(|| "the BMC refuses the login".to_owned());
            let failed_step = (!ok).then_some(Step::ResolveServer);
            Box::pin(async move {
                if serial.as_str() == "C" {
                    std::future::pending::<()>().await;
                }
                DryRunReport { ok, failed_step, failure_code: None, reason, events: Vec::new() }
            })
        });
    });
    for serial in ["A", "B", "C"] {
        fixture.add_server(serial).await;
    }
    let report = fixture.post(&format!("{PATH}?dry_run=true"), batch(&["A", "B", "C"])).await.ok(200);
    let rows = report["rows"].as_array().unwrap();
    let shown: Vec<(bool, &Value)> =
        rows.iter().map(|row| (row["ok"].as_bool().unwrap(), &row["reason"])).collect();
    let slow = json!("the BMC did not answer in time: check its address and its load");
    let refused = json!("the BMC refuses the login");
    assert_eq!(shown, [(true, &Value::Null), (false, &refused), (false, &slow)]);
    assert_eq!(report["ok"], false);
    assert_eq!((jobs(&fixture).await, &fixture.get(PATH).await.ok(200)["batches"]), (0, &json!([])));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_halted_resumed_and_its_failed_rows_are_tried_again() {
    let fixture = site(&["A", "B", "C"]).await;
    let mut body = batch(&["A", "B", "C"]);
    body["canary"] = json!(1);
    let batch = fixture.post(PATH, body).await.ok(202);
    assert_eq!(fixture.get(&path(&batch, "")).await.ok(200)["waits_for"], "0 of 1 canary rows");
    fixture.end_job(Status::Failed, Vec::new()).await;
    let claimed =
        fixture.store.claim("me", fixture.world.clock.now(), std::time::Duration::from_secs(9), 9).await;
    assert!(claimed.unwrap().is_empty());
    let halted = fixture.get(&path(&batch, "")).await.ok(200);
    assert_eq!((&halted["status"], &halted["reason"]), (&json!("halted"), &json!("a canary row failed")));
    fixture.post(&path(&batch, "/pause"), json!({})).await.problem(409);
    fixture.post(&path(&batch, "/retry"), json!({"servers": ["B"]})).await.problem(422);
    let retried = fixture.post(&path(&batch, "/retry"), json!({})).await.ok(202);
    assert_eq!(states(&retried)[0], ("A", "waiting"));
    assert_eq!(retried["rows"][0]["attempts"], 2);
    let problem = fixture.post(&path(&batch, "/retry"), json!({})).await.problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("no row has failed"), "{problem}");
    let resumed =
        fixture.post(&path(&batch, "/resume"), json!({"not_after": "2030-01-01T00:00:00Z"})).await.ok(200);
    assert_eq!(
        (&resumed["status"], &resumed["limits"]["not_after"]),
        (&json!("running"), &json!("2030-01-01T00:00:00Z"))
    );
    fixture.end_job(Status::Succeeded, Vec::new()).await;
    fixture.end_job(Status::Succeeded, Vec::new()).await;
    fixture.end_job(Status::Succeeded, Vec::new()).await;
    let _nothing =
        fixture.store.claim("me", fixture.world.clock.now(), std::time::Duration::from_secs(9), 9).await;
    let finished = fixture.get(&path(&batch, "")).await.ok(200);
    assert_eq!((&finished["status"], &finished["counts"]["succeeded"]), (&json!("finished"), &json!(3)));
    fixture.post(&path(&batch, "/cancel"), json!({})).await.problem(409);
}

#[tokio::test(start_paused = true)]
async fn events_can_be_those_of_one_batch() {
    let fixture = site(&["A", "B"]).await;
    let batch = fixture.post(PATH, batch(&["A"])).await.ok(202);
    fixture.add_job("B").await;
    let event = |message: &str| shoal::domain::NewEvent {
        time: fixture.world.clock.now(),
        level: shoal::domain::Level::Info,
        step: Step::Reset,
        op: "reset".to_owned(),
        status: shoal::domain::EventStatus::Progress,
        attempt: 1,
        duration_ms: None,
        message: message.to_owned(),
        detail: Value::Null,
    };
    fixture.end_job(Status::Failed, vec![event("one")]).await;
    fixture.end_job(Status::Failed, vec![event("two")]).await;
    let id = batch["batch_id"].as_str().unwrap();
    let events = fixture.get(&format!("/api/v1/events?batch_id={id}")).await.ok(200);
    let servers: Vec<&Value> =
        events["events"].as_array().unwrap().iter().map(|event| &event["server_serial"]).collect();
    assert_eq!(servers, ["A"]);
    fixture.get("/api/v1/events?batch_id=x").await.problem(400);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_names_what_runs_only_if_asked() {
    let fixture = site(&["A", "B"]).await;
    let mut body = batch(&["A", "B"]);
    body["max_parallel"] = json!(1);
    let batch = fixture.post(PATH, body).await.ok(202);
    let (_, job) = fixture.claim().await;
    fixture.post(&path(&batch, "/cancel"), json!({"runnin": true})).await.problem(422);
    fixture.post(&path(&batch, "/cancel"), json!({})).await.ok(202);
    let cancel = async |id| fixture.store.job(id).await.unwrap().unwrap().cancel;
    assert!(cancel(job.id).await.is_none());
    fixture.post(&path(&batch, "/cancel"), json!({"running": true})).await.ok(202);
    assert!(cancel(job.id).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_makes_one_batch() {
    let fixture = site(&["A"]).await;
    let key = [("idempotency-key", "tuesday")];
    let first = fixture.call_with(Method::POST, PATH, Some(batch(&["A"])), &key).await.ok(202);
    let again = fixture.call_with(Method::POST, PATH, Some(batch(&["A"])), &key).await.ok(200);
    assert_eq!(first["batch_id"], again["batch_id"]);
    fixture.call_with(Method::POST, PATH, Some(batch(&["B"])), &key).await.problem(422);
    assert_eq!(fixture.get(PATH).await.ok(200)["batches"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_done_to_a_batch_is_in_the_audit() {
    let fixture = site(&["A"]).await;
    let batch = fixture.post(PATH, batch(&["A"])).await.ok(202);
    for then in ["/pause", "/resume", "/cancel"] {
        fixture.post(&path(&batch, then), json!({})).await;
    }
    let audit = fixture.get("/api/v1/audit").await.ok(200);
    let actions: Vec<&str> =
        audit["entries"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions[..4], ["batch.cancel", "batch.resume", "batch.pause", "batch.submit"]);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_rows_are_taken_and_more_are_refused() {
    let fixture = Fixture::new();
    let rows = |count: usize| json!({"recipe": template(), "servers": (0..count).map(|n| format!("S{n}")).collect::<Vec<_>>()});
    let problem = fixture.post(PATH, rows(5_001)).await.problem(422);
    assert!(faults(&problem)[0].contains("1 to 5000"), "{problem}");
    let problem = fixture.post(PATH, rows(5_000)).await.problem(422);
    let faults = faults(&problem);
    assert_eq!((faults.len(), faults.last().unwrap().as_str()), (201, ": 4800 more faults"));
}
