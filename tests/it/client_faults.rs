//! Misbehaviour of a BMC's service that the client copes with: a job of each installs its host.
//!
//! What the client does in detail is tested beside it (`src/redfish/tests`); here the simulator misbehaves, and the
//! whole job is judged by what is left of it.

use serde_json::json;
use shoal::job::Status;
use shoal::sim::Fault;

use crate::site::{Site, machine};

fn faults(names: &[&str]) -> Vec<Fault> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// The host is installed once, started once, and nothing is left on its BMC.
async fn installs(names: &[&str]) {
    let mut site = Site::new(1, vec![machine(faults(names))]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{names:?}: {}", site.story(id).await);
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.starts), (1, 1), "{names:?}: {state:?}");
    assert!(state.media.values().all(|medium| !medium.inserted), "{names:?}: {state:?}");
    let once = names.iter().any(|name| name.ends_with("-once"));
    let struck = site.machines[0].struck();
    assert!(!once || !struck.is_empty(), "{names:?}: {struck:?}");
    site.shut_down().await;
    assert_eq!(site.machines[0].state().sessions, 0, "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn errors_whose_bodies_end_early_are_those_errors() {
    installs(&["error-bodies-cut", "unauthorised-once", "etag-412-once", "on-409-once"]).await;
    installs(&["error-bodies-cut", "session-timeout=30"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_bmc_made_is_found_under_any_name_and_deleted_at_the_end() {
    for location in ["locations-absolute", "locations-relative", "locations-in-body"] {
        installs(&[location, "insert-task=20", "unauthorised-once"]).await;
        installs(&[location, "insert-task=20", "posts-redirected"]).await;
    }
}

/// Every answer is in danger here, so that of a logout too.
#[tokio::test(start_paused = true)]
async fn a_job_gets_past_answers_that_are_cut_off() {
    let mut site = Site::new(1, vec![machine(faults(&["cut-body=60"]))]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert!(site.machines[0].struck()["cut-body"] > 0);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_the_bmc_reports_as_failed_is_asked_for_again() {
    installs(&["reset-task-fails=2"]).await;
    installs(&["reset-critical=2"]).await;
}

/// No endless requests, and the BMC's own words in the reason.
#[tokio::test(start_paused = true)]
async fn resets_that_always_fail_end_the_job_with_what_the_bmc_says() {
    for fault in ["reset-task-fails=9999", "reset-critical=9999"] {
        let mut site = Site::new(1, vec![machine(faults(&[fault]))]).await;
        site.start();
        let id = site.submit(0, json!({})).await;
        let job = site.settle(id).await;
        let reason = job.reason.clone().unwrap_or_default();
        assert_eq!(job.status, Status::Failed, "{fault}: {}", site.story(id).await);
        for quoted in ["OperationFailed", "power supplies are not ready"] {
            assert!(reason.contains(quoted), "{fault}: {reason}");
        }
        let state = site.machines[0].state();
        assert_eq!((state.starts, job.facts.reset.starts), (0, 0), "{fault}: {state:?}");
        assert!(state.media.values().all(|medium| !medium.inserted), "{fault}: {state:?}");
    }
}
