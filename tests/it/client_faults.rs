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
}

#[tokio::test(start_paused = true)]
async fn errors_whose_bodies_end_early_are_those_errors() {
    installs(&["error-bodies-cut", "unauthorised-once", "etag-412-once", "on-409-once"]).await;
    installs(&["error-bodies-cut", "session-timeout=30"]).await;
    installs(&["cut-body=60"]).await;
}
