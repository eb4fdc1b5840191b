//! Jobs asked for, followed, ended and tried again.

use bytes::Bytes;
use http::header;
use serde_json::{Value, json};

use super::{Desk, assert_installed, assert_untouched, id};
use crate::process::{is_left_clean, recipe};

#[tokio::test]
async fn a_dry_run_shows_what_would_fail_and_changes_nothing() {
    let desk = Desk::open(&[], &[]).await;
    let machine = &desk.sim.machines[0];
    let dry_run = || desk.served.post("/api/v1/jobs?dry_run=true", recipe("SIM0001"));
    let (status, report) = dry_run().await;
    assert_eq!((status, &report["ok"]), (200, &json!(true)), "{report:#}");
    let wrong = json!({ "bmc_password": "not the password" });
    assert_eq!(desk.served.patch("/api/v1/servers/SIM0001", wrong).await.0, 200);
    let (_, report) = dry_run().await;
    assert_eq!(
        (&report["ok"], &report["failed_step"]),
        (&json!(false), &json!("resolve-server")),
        "{report:#}"
    );
    assert!(report["reason"].as_str().unwrap().contains("refused the account"), "{report:#}");
    assert_untouched(machine).await;
    assert_eq!(desk.served.get("/api/v1/jobs").await.1["jobs"], json!([]), "a dry run is no job");
}

#[tokio::test]
async fn a_repeated_order_is_the_same_job_and_a_stream_goes_on_where_it_broke_off() {
    let desk = Desk::open(&[], &["--install-seconds=1"]).await;
    let order = |recipe: Value| {
        let request = desk.served.request("POST", "/api/v1/jobs").header("idempotency-key", "order-1");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        desk.served.send(request, recipe.to_string().into())
    };
    let (status, job) = order(recipe("SIM0001")).await;
    assert_eq!(status, 202, "{job}");
    let job = id(&job);

    let mut events = desk.served.events(&job).await;
    let mut received = vec![];
    while received.len() < 7 {
        received.push(events.next().await.expect("the job goes on"));
    }
    drop(events);
    let (status, again) = order(recipe("SIM0001")).await;
    assert_eq!((status, id(&again)), (200, job.clone()), "busy or not, it is the first job");
    let mut changed = recipe("SIM0001");
    changed["ks_cfg"] = json!("vmaccepteula\nreboot\n");
    assert_eq!(order(changed).await.0, 422);

    let last = received.last().unwrap()["id"].as_u64();
    let mut events = desk.served.events_after(&job, last).await;
    while let Some(event) = events.next().await {
        received.push(event);
    }
    let settled = desk.job(&job).await;
    assert_eq!(json!(received), settled["events"], "each event once, in order");
    assert!(received.iter().enumerate().all(|(at, event)| event["seq"] == at + 1), "{received:#?}");
    let (status, _) = desk
        .served
        .open_stream(&format!("/api/v1/jobs/{job}/events"), received.last().unwrap()["id"].as_u64())
        .await;
    assert_eq!(status, 204, "nothing more will come");
    let (status, again) = order(recipe("SIM0001")).await;
    assert_eq!((status, &again["status"]), (200, &json!("succeeded")));
    let state = assert_installed(&settled, &desk.sim.machines[0]).await;
    assert_eq!(state["installs"], 1);
}

#[tokio::test]
async fn a_cancel_lets_the_installer_end_and_the_job_can_be_tried_again() {
    let desk = Desk::open(&[], &["--install-seconds=3"]).await;
    let machine = &desk.sim.machines[0];
    let job = desk.submit(recipe("SIM0001")).await;
    machine.until(|state| state["guest"] == "installing").await;
    let cancel = desk.served.request("POST", &format!("/api/v1/jobs/{job}/cancel"));
    assert_eq!(desk.served.send(cancel, Bytes::new()).await.0, 202);
    let cancelled = desk.served.settled(&job).await;
    assert_eq!(
        (&cancelled["status"], &cancelled["cleanup"]),
        (&json!("cancelled"), &json!("done")),
        "{cancelled:#}"
    );
    let state = machine.state().await;
    assert!(is_left_clean(&state), "{state:#}");
    assert_eq!((&state["installs"], &state["interrupted_installs"]), (&json!(1), &json!(0)), "{state:#}");
    assert_eq!(state["resets"], json!({ "On": 1 }), "the host is left for inspection");
    let too_late = desk.served.post(&format!("/api/v1/jobs/{job}/cancel"), json!({})).await;
    assert_eq!(too_late.0, 409, "{}", too_late.1);

    machine.until(|state| state["guest"] == "installed").await;
    let state = assert_installed(&desk.retried(&job).await, machine).await;
    assert_eq!((&state["installs"], &state["starts"]), (&json!(2), &json!(2)), "{state:#}");
}

#[tokio::test]
async fn a_forced_cancel_ejects_from_under_the_installer() {
    let desk = Desk::open(&[], &["--fault=guest-hangs"]).await;
    let machine = &desk.sim.machines[0];
    let job = desk.submit(recipe("SIM0001")).await;
    machine.until(|state| state["guest"] == "installing").await;
    let path = format!("/api/v1/jobs/{job}/cancel");
    assert_eq!(desk.served.post(&path, json!({})).await.0, 202);
    let mut events = desk.served.events(&job).await;
    events.until(|event| event["step"] == "cleanup.unmount-task" && event["status"] == "started").await;
    assert_eq!(machine.state().await["media"]["CD2"]["inserted"], true, "the installer may be running");
    let (status, answer) = desk.served.post(&path, json!({ "force": true })).await;
    assert_eq!(status, 202, "{answer}");
    let job = desk.served.settled(&job).await;
    assert_eq!((&job["status"], &job["cleanup"]), (&json!("cancelled"), &json!("done")), "{job:#}");
    let events = job["events"].to_string();
    assert!(events.contains("forced"), "a forced eject is recorded as such: {events}");
    let state = machine.state().await;
    assert!(is_left_clean(&state), "{state:#}");
    assert_eq!((&state["starts"], &state["resets"]), (&json!(1), &json!({ "On": 1 })), "{state:#}");
}
