//! One controller, fifty hosts, and dozens of `kill -9` while all of them install.
//!
//! Each kill comes after a number of events that a seed gives, so it hits whatever fifty jobs do just
//! then; or where they are silent for a while, since a kill between the intents of many starts and their requests
//! makes all of those wait for a minute. Invariant: at the end each job has one installing start, one installation and one verdict,
//! nothing is left in a drive, and the database is sound.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use shoal::seal::KeySource;
use shoal::store::Store;
use shoal_base::world::Rng;
use shoal_sim::standin_installer;

use super::{SHORT, check_events, story};
use crate::process::{Served, Sim, is_left_clean, recipe, serve_at, start_command};

const HOSTS: usize = 50;
const KILLS: usize = 30;
/// Events of steps between a start and the next kill, at most. A job has 26 until its host installs, and some ten after.
const EVENTS_MAX: u64 = 130;
/// No installation ends before the kills do that come while the hosts are started. A second boot before the first look
/// at a host would not be seen, and its job would wait for it until its deadline.
const INSTALL_SECONDS: u32 = 20;
/// No kill waits longer for the next event.
const SILENCE_MAX: Duration = Duration::from_secs(5);

const LEAVE_ON: &str = "--esxi-final-reset=never";

#[tokio::test]
async fn fifty_installs_survive_dozens_of_kills() {
    let dir = tempfile::tempdir().unwrap();
    let installer = std::fs::File::create(dir.path().join("esxi.iso")).unwrap();
    standin_installer().write_to(&installer).unwrap();
    let sim =
        Sim::start(&[&format!("--count={HOSTS}"), &format!("--install-seconds={INSTALL_SECONDS}")]).await;
    // An address of its own, so that the port is still free when the same controller starts again.
    let mut served = start(dir.path(), "127.7.1.1:0").await;
    let address = served.url.strip_prefix("http://").unwrap().to_owned();
    let jobs = submit_all(&served, &sim).await;
    let (rng, mut seen) = (Rng::from_seed(21), 0);
    for _ in 0..KILLS {
        seen = pass(&served, seen, 1 + rng.below(EVENTS_MAX)).await;
        served.child.kill().await.unwrap();
        served = start(dir.path(), &address).await;
    }
    for (job, machine) in jobs.iter().zip(&sim.machines) {
        let job = served.settled(job).await;
        check(&job, &machine.state().await);
    }
    let (code, _) = served.stop("-TERM").await;
    assert_eq!(code, Some(0));
    check_database(dir.path()).await;
}

async fn start(dir: &Path, address: &str) -> Served {
    let mut command = serve_at(address, dir, &SHORT);
    command.arg(LEAVE_ON).stderr(std::fs::File::create(dir.join("last.log")).unwrap());
    start_command(dir, command).await
}

async fn submit_all(served: &Served, sim: &Sim) -> Vec<String> {
    let mut jobs = Vec::new();
    for machine in &sim.machines {
        let (status, answer) = served.post("/api/v1/servers", machine.record()).await;
        assert_eq!(status, 201, "{answer}");
        let (status, job) = served.post("/api/v1/jobs", recipe(machine.text("serial"))).await;
        assert_eq!(status, 202, "{job}");
        jobs.push(job["job_id"].as_str().unwrap().to_owned());
    }
    jobs
}

/// Until `wanted` more events of steps have come after the one with the id `seen`, or none comes; gives the id of
/// the last one.
async fn pass(served: &Served, seen: u64, wanted: u64) -> u64 {
    let mut events = served.all_events_after(seen).await;
    let (mut last, mut left) = (seen, wanted);
    while left > 0 {
        let Ok(event) = tokio::time::timeout(SILENCE_MAX, events.next()).await else { break };
        let event = event.expect("the stream of all events has no end");
        last = event["id"].as_u64().unwrap();
        left -= u64::from(event["op"] != "job.take_up");
    }
    last
}

fn check(job: &Value, state: &Value) {
    let context = || format!("{state:#}\n{}", story(job));
    assert_eq!((&job["status"], &job["cleanup"]), (&json!("succeeded"), &json!("done")), "{}", context());
    assert!(is_left_clean(state), "{}", context());
    let numbers = ["installs_begun", "installs", "interrupted_installs", "starts"];
    assert_eq!(numbers.map(|key| state[key].as_u64().unwrap()), [1, 1, 0, 1], "{}", context());
    check_events(job, &context());
}

async fn check_database(dir: &Path) {
    let keys = KeySource::File(dir.join("var/shoal/master.key")).load().unwrap().unwrap();
    let store = Store::open(&dir.join("var/shoal/shoal.db"), keys).unwrap();
    store.integrity_check().await.unwrap();
    let counts = store.status_counts().await.unwrap();
    assert_eq!(counts.iter().sum::<u64>(), HOSTS as u64);
}
