//! Jobs as every released version stored them, one for each step, phase and open intent, taken up by this one.
//!
//! `stored/version_N.jsonl` holds what release N wrote of a job, a moment a line. For each, a site is driven to the
//! same moment, its controller is killed, the job's stored values are replaced by those of the release, and a new
//! controller goes on. What depends on the run and not on the release (times, values of the BMC's own properties,
//! the session) is that of the site. Invariant: the host is started and installed once, and the verdict is the one
//! that the release came to.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shoal::domain::{Job, JobId, Status};
use shoal::flow::policy::FinalReset;
use shoal::seal::Sealer;
use shoal::store::{Side, Sqlite, Store, Tap};
use shoal_sim::{Fault, SimConfig, Timings};
use tokio::sync::Notify;

use crate::site::{Site, machine};

const VERSION_1: &str = include_str!("stored/version_1.jsonl");

/// A job at one moment, as a release stored it.
#[derive(Clone, Debug, Deserialize)]
struct Golden {
    scenario: String,
    /// Of the release's own verdict.
    confidence: String,
    moment: Moment,
    last_update: i64,
    status: String,
    failed_step: Option<String>,
    reason: Option<String>,
    verdict: Option<Value>,
    cursor: Value,
    facts: Value,
    traces: Map<String, Value>,
    report: Option<Value>,
    /// Sealed, in hex.
    spec: String,
    memory: Option<Value>,
}

/// What identifies a moment of a job.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Moment {
    phase: Value,
    step: String,
    entered: bool,
    act: Option<Value>,
    receipt: bool,
    ks_read: bool,
    second_boot: bool,
}

impl Moment {
    fn of(job: &Job) -> Moment {
        let intent = job.cursor.intent.as_ref();
        Moment {
            phase: json!(job.cursor.phase),
            step: job.cursor.step.name().to_owned(),
            entered: job.cursor.entered_at.is_some(),
            act: intent.map(|intent| json!(intent.act)),
            receipt: intent.is_some_and(|intent| intent.receipt_at.is_some()),
            ks_read: job.facts.esxi().progress.ks_read,
            second_boot: job.facts.esxi().watch.second_boot.is_some(),
        }
    }

    /// Whether the job is where a release has stored one at this moment. 0.1.0 wrote the start of a step after the end of
    /// the one before it; today they are one write.
    fn is_of(&self, job: &Job) -> bool {
        let now = Moment::of(job);
        now == *self || (!self.entered && now == Moment { entered: true, ..self.clone() })
    }
}

/// Host On at the start, faults, and what the recipe adds.
fn scenario(name: &str) -> (bool, Vec<Fault>, Value) {
    match name {
        "off" => (false, vec![], json!({})),
        "on" => (true, vec![], json!({})),
        "forced" => (true, vec![Fault::GracefulIgnored], json!({})),
        "hook" => (false, vec![], json!({ "completion_hook": "poweroff" })),
        "webhook" => (false, vec![], json!({ "completion_hook": "webhook" })),
        "single" => (false, vec![Fault::OneCd], json!({})),
        other => panic!("no scenario {other}"),
    }
}

async fn site(on: bool, mut faults: Vec<Fault>) -> Site {
    let timings =
        Timings { post: Duration::from_secs(60), install: Duration::from_secs(300), ..Timings::default() };
    faults.push(Fault::NoEject);
    let mut site = Site::new(3, vec![SimConfig { power_on: on, timings, ..machine(faults) }]).await;
    site.policy.poll_interval = Duration::from_secs(30);
    if on {
        site.policy.final_reset = FinalReset::Always;
        tokio::time::sleep(Duration::from_secs(120)).await;
    }
    site
}

/// Drives a site to the moment, kills its controller, and hands over what the release stored.
async fn taken_over(golden: &Golden, database: &Path) -> (Site, JobId) {
    let (on, faults, with) = scenario(&golden.scenario);
    let mut site = site(on, faults).await;
    let reached = Arc::new(Notify::new());
    let store = until(&site.store, golden.moment.clone(), reached.clone());
    site.start_on(store, site.world.transport.clone());
    let id = site.submit(0, with).await;
    tokio::select! {
        biased;
        () = reached.notified() => {}
        _ = site.settle(id) => panic!("{:?} is not passed", golden.moment),
    }
    site.crash().await;
    site.database.back_up(database, site.world.clock.now()).await.unwrap();
    put(golden, database, id);
    site.set_database(Sqlite::open(database, Sealer::new([7; 32])).unwrap());
    (site, id)
}

/// The store of a controller that stands still for good once the job is at the moment.
fn until(store: &Store, moment: Moment, reached: Arc<Notify>) -> Store {
    let (behind, stopped) = (store.clone(), Arc::new(Mutex::new(false)));
    let tap: Tap = Arc::new(move |_, side| {
        let (store, moment, reached, stopped) =
            (behind.clone(), moment.clone(), reached.clone(), stopped.clone());
        Box::pin(async move {
            let jobs = store.jobs(&shoal::store::JobFilter { limit: 1, ..Default::default() }).await?;
            if let (Side::After, Some(job)) = (side, jobs.first()) {
                let job = store.job(job.id()).await?;
                if job.is_some_and(|job| moment.is_of(&job)) {
                    *stopped.lock().unwrap() = true;
                    reached.notify_one();
                }
            }
            if *stopped.lock().unwrap() {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    });
    store.tapped(tap)
}

/// Replaces the job's stored values by those of the release.
fn put(golden: &Golden, database: &Path, id: JobId) {
    let connection = Connection::open(database).unwrap();
    let sql = "SELECT cursor, facts, last_update FROM jobs";
    let (cursor, facts, last_update) = connection
        .query_row(sql, [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })
        .unwrap();
    let later = SignedDuration::from_millis(last_update - golden.last_update);
    let current = |text: &str| serde_json::from_str::<Value>(text).unwrap()["value"].take();
    let sql = "UPDATE jobs SET cursor = ?1, facts = ?2";
    let cursor = adopted(&golden.cursor, &current(&cursor), later);
    let facts = adopted(&golden.facts, &current(&facts), later);
    connection.execute(sql, params![cursor.to_string(), facts.to_string()]).unwrap();
    assert_eq!(
        connection.query_row("SELECT status FROM jobs", [], |row| row.get::<_, String>(0)).unwrap(),
        golden.status
    );
    assert_eq!((&golden.failed_step, &golden.reason), (&None, &None));
    let verdict =
        connection.query_row("SELECT verdict FROM jobs", [], |row| row.get::<_, Option<String>>(0)).unwrap();
    assert_eq!(verdict.is_some(), golden.verdict.is_some());
    connection.execute("UPDATE recipes SET spec = unhex(?1)", [&golden.spec]).unwrap();
    for (medium, trace) in &golden.traces {
        let found = "SELECT trace FROM traces WHERE medium = ?1";
        let now = connection.query_row(found, [medium], |row| row.get::<_, String>(0)).unwrap();
        let trace = adopted(trace, &current(&now), later);
        let sql = "UPDATE traces SET trace = ?2 WHERE medium = ?1";
        connection.execute(sql, params![medium, trace.to_string()]).unwrap();
    }
    if let Some(report) = &golden.report {
        let report = adopted(report, &Value::Null, later).to_string();
        let sql = "INSERT OR REPLACE INTO hook_reports (job, report) VALUES (?1, ?2)";
        connection.execute(sql, params![id.to_string(), report]).unwrap();
    }
    if let Some(memory) = &golden.memory {
        connection.execute("UPDATE bmc_memories SET memory = ?1", [memory.to_string()]).unwrap();
    }
}

/// The release's value, with times and the BMC's own values of this run.
fn adopted(golden: &Value, current: &Value, later: SignedDuration) -> Value {
    match (golden, current) {
        (Value::Object(golden), _) => {
            let field = |(key, value): (&String, &Value)| {
                let here = &current[key];
                let of_run = matches!(key.as_str(), "sources" | "session" | "last") && !here.is_null();
                let is_map_of_texts = here.as_object().is_none_or(|map| map.values().all(Value::is_string));
                let value =
                    if of_run && is_map_of_texts { here.clone() } else { adopted(value, here, later) };
                (key.clone(), value)
            };
            Value::Object(golden.iter().map(field).collect())
        }
        (Value::Array(golden), _) => {
            let item = |(index, value): (usize, &Value)| adopted(value, &current[index], later);
            golden.iter().enumerate().map(item).collect()
        }
        (Value::String(text), _) => match (text.parse::<Timestamp>(), current) {
            (Ok(_), Value::String(now)) => json!(now),
            (Ok(at), _) => json!(at + later),
            (Err(_), _) => golden.clone(),
        },
        _ => golden.clone(),
    }
}

async fn resume_all(share: usize, shares: usize) {
    let all: Vec<Golden> = VERSION_1.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(all.len() > 80, "{}", all.len());
    for golden in all.iter().skip(share).step_by(shares) {
        let folder = tempfile::tempdir().unwrap();
        let (mut site, id) = taken_over(golden, &folder.path().join("shoal.db")).await;
        site.start();
        let job = site.settle(id).await;
        let story = format!("{} {:?}\n{}", golden.scenario, golden.moment, site.story(id).await);
        assert_eq!(job.status, Status::Succeeded, "{:?}\n{story}", job.reason);
        let verdict = job.verdict.unwrap();
        assert_eq!(verdict.confidence.unwrap().name(), golden.confidence, "{:?}\n{story}", verdict.evidence);
        let state = site.machines[0].state();
        assert_eq!((state.installs, state.interrupted_installs), (1, 0), "{story}");
        assert_eq!(state.media.values().filter(|medium| medium.inserted).count(), 0, "{story}");
        site.shut_down().await;
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_of_version_1_go_on_to_their_verdict_first_third() {
    resume_all(0, 3).await;
}

#[tokio::test(start_paused = true)]
async fn jobs_of_version_1_go_on_to_their_verdict_second_third() {
    resume_all(1, 3).await;
}

#[tokio::test(start_paused = true)]
async fn jobs_of_version_1_go_on_to_their_verdict_last_third() {
    resume_all(2, 3).await;
}

/// What an upgrade that renames a field would do: the job stays as it is, and so does its host.
#[tokio::test(start_paused = true)]
async fn a_job_with_a_renamed_field_is_left_alone_with_its_host() {
    let all: Vec<Golden> = VERSION_1.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let installing = |golden: &&Golden| golden.moment.step == "esxi.poll_power" && golden.moment.ks_read;
    let mut golden = all.iter().find(installing).unwrap().clone();
    let started_at = golden.facts["reset"].as_object_mut().unwrap().remove("started_at").unwrap();
    golden.facts["reset"]["begun_at"] = started_at;
    let folder = tempfile::tempdir().unwrap();
    let (mut site, id) = taken_over(&golden, &folder.path().join("shoal.db")).await;
    let (before, events) = (site.machines[0].state(), site.events(id).await.len());
    site.start();
    tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
    let state = site.machines[0].state();
    assert_eq!(
        (state.starts, &state.resets, state.installs),
        (before.starts, &before.resets, 1),
        "{state:?}"
    );
    assert_eq!(state.redfish_requests, before.redfish_requests, "the BMC was asked");
    assert_eq!(site.events(id).await.len(), events);
    let Some(shoal::store::StoredJob::Unreadable(job)) = site.store.stored_job(id).await.unwrap() else {
        panic!("the job was read")
    };
    assert!(job.is_active && job.why.contains("/reset/begun_at"), "{}", job.why);
    site.shut_down().await;
}
