//! Retention in a controller that runs: old jobs go, the audit is exported and shortened, and the rest stays.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shoal::domain::Status;
use shoal::engine::Retention;
use shoal::store::{AuditFilter, JobFilter};
use shoal_base::hex;

use crate::site::{Site, machine};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn jobs(site: &Site) -> usize {
    site.store.jobs(&JobFilter { limit: 9, ..JobFilter::default() }).await.unwrap().len()
}

async fn recorded(site: &Site, action: &str) {
    let act = shoal::access::Act {
        at: site.world.clock.now(),
        actor: shoal::access::Actor::controller(),
        source: None,
        action: action.to_owned(),
        server: None,
        job: None,
        detail: json!({ "why": "a test" }),
    };
    site.store.record(act).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_is_removed_when_it_is_old_and_its_server_can_be_installed_again() {
    let mut site = Site::new(1, vec![machine(vec![])]).await;
    site.retention = Retention { jobs: Some(DAY), events: Some(DAY), audit_dir: None };
    site.start();
    let id = site.submit(0, json!({})).await;
    assert_eq!(site.settle(id).await.status, Status::Succeeded);
    tokio::time::sleep(DAY / 2).await;
    assert_eq!(jobs(&site).await, 1);
    tokio::time::sleep(DAY).await;
    assert_eq!(jobs(&site).await, 0);
    let id = site.submit(0, json!({})).await;
    assert_eq!(site.settle(id).await.status, Status::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nothing_is_removed() {
    let mut site = Site::new(1, vec![machine(vec![])]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.settle(id).await;
    tokio::time::sleep(10 * DAY).await;
    assert_eq!(jobs(&site).await, 1);
}

#[tokio::test(start_paused = true)]
async fn old_entries_of_the_audit_are_exported_before_they_are_removed() {
    let mut site = Site::new(1, vec![machine(vec![])]).await;
    let exports = site.dir.path().join("audit");
    std::fs::create_dir(&exports).unwrap();
    site.retention = Retention { jobs: Some(DAY), events: Some(DAY), audit_dir: Some(exports.clone()) };
    recorded(&site, "first").await;
    recorded(&site, "second").await;
    tokio::time::sleep(DAY / 2).await;
    recorded(&site, "third").await;
    site.start();
    tokio::time::sleep(DAY * 3 / 4).await;
    let all = AuditFilter { limit: 9, ..AuditFilter::default() };
    let entries = site.store.audit(&all).await.unwrap();
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["audit.export", "third"]);
    let detail: Value = serde_json::from_str(&entries[0].detail).unwrap();
    assert_eq!((&detail["first"], &detail["last"]), (&json!(1), &json!(2)));
    let text = std::fs::read_to_string(exports.join(detail["file"].as_str().unwrap())).unwrap();
    assert_eq!(detail["sha256"], hex(&Sha256::digest(&text)));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["action"], &lines[1]["action"]), (&json!("first"), &json!("second")));
    assert_eq!(lines[1]["hash"], detail["last_hash"]);
    let report = site.store.verify_audit().await.unwrap();
    assert_eq!((report.first, report.good, report.fault), (3, 4, None));
    // The export itself becomes old, and the newest entry stays.
    tokio::time::sleep(DAY * 3).await;
    let left = site.store.audit(&all).await.unwrap().len();
    assert!((1..=2).contains(&left), "{left}");
    assert!(site.store.verify_audit().await.unwrap().fault.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_export_that_cannot_be_written_removes_nothing() {
    let mut site = Site::new(1, vec![machine(vec![])]).await;
    let exports = site.dir.path().join("missing");
    site.retention = Retention { jobs: Some(DAY), events: Some(DAY), audit_dir: Some(exports) };
    recorded(&site, "first").await;
    recorded(&site, "second").await;
    site.start();
    tokio::time::sleep(2 * DAY).await;
    let report = site.store.verify_audit().await.unwrap();
    assert_eq!((report.first, report.good, report.fault), (1, 2, None));
}
