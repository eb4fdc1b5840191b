//! Misbehaviour of a BMC's service that the client copes with: a job of each installs its host.
//!
//! What the client does in detail is tested beside it (`crates/shoal-redfish/src/tests`); here the simulator misbehaves, and the
//! whole job is judged by what is left of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use shoal::domain::{Phase, Status};
use shoal::flow::policy::FinalReset;
use shoal_base::world::{HttpRequest, Transport};
use shoal_sim::{Fault, SimConfig, Timings};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

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

/// A host that runs is shut down first, so that these strike before the start too.
#[tokio::test(start_paused = true)]
async fn a_bmc_that_is_not_ready_after_a_reset_costs_no_job() {
    for names in [
        &["slots-404-until-listed"][..],
        &["slots-404-until-listed", "no-eject", "prefetch"],
        &["not-ready-after-reset=100"],
        &["not-ready-after-reset=100", "session-timeout=30"],
        &["not-ready-after-reset=200", "session-timeout=30", "no-eject", "slots-404-until-listed"],
        &["not-ready-after-reset=100", "no-sessions"],
    ] {
        let secs = Duration::from_secs;
        let timings = Timings { post: secs(60), install: secs(400), ..Timings::default() };
        let config = SimConfig { power_on: true, timings, ..machine(faults(names)) };
        let mut site = Site::new(1, vec![config]).await;
        site.start();
        let id = site.submit(0, json!({})).await;
        let job = site.settle(id).await;
        let (state, story) = (site.machines[0].state(), site.story(id).await);
        assert_eq!(
            (job.status, state.installs),
            (Status::Succeeded, 1),
            "{names:?} {:?}\n{story}",
            job.reason
        );
        assert_eq!(job.facts.cleanup.left, Vec::<String>::new(), "{names:?}\n{story}");
        assert!(state.media.values().all(|medium| !medium.inserted), "{names:?} {state:?}");
        let struck = site.machines[0].struck();
        assert!(struck.contains_key(names[0].split('=').next().unwrap()), "{names:?} {struck:?}");
        site.shut_down().await;
        assert_eq!(site.machines[0].state().sessions, 0, "{names:?}");
    }
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

/// What is seen of the host decides, and nothing is forced off.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_done_and_reported_as_failed_is_not_made_again() {
    let sights = [&[][..], &["prefetch"], &["null-sources"], &["prefetch", "null-sources", "no-eject"]];
    for fault in ["reset-done-task-fails=9999", "reset-done-critical=9999"] {
        for (sight, power_on) in sights.iter().flat_map(|sight| [(sight, false), (sight, true)]) {
            let config = machine(faults(&[&[fault], *sight].concat()));
            let secs = Duration::from_secs;
            let timings = Timings { post: secs(60), install: secs(300), ..Timings::default() };
            let mut site = Site::new(1, vec![SimConfig { power_on, timings, ..config }]).await;
            site.policy.final_reset = FinalReset::Never;
            site.start();
            let id = site.submit(0, json!({})).await;
            let job = site.settle(id).await;
            let (state, story) = (site.machines[0].state(), site.story(id).await);
            let context = format!("{fault} {sight:?} {power_on} {:?}\n{story}", job.reason);
            assert_eq!((state.starts, state.interrupted_installs), (1, 0), "{context}");
            assert_eq!((job.status, state.installs), (Status::Succeeded, 1), "{context}");
            assert!(site.machines[0].struck().values().sum::<u64>() > 0, "{context}");
        }
    }
}

const MONITOR: &str = "/redfish/v1/TaskService/TaskMonitors/final";

/// The first `left` resets fail without any effect, and say so.
fn failing_resets(network: Transport, left: Arc<AtomicU64>, by_task: bool) -> Transport {
    BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
        let (network, left) = (network.clone(), left.clone());
        async move {
            let said = json!([{ "MessageId": "Base.1.8.OperationFailed", "Message": "No power.",
                                "MessageSeverity": "Critical" }]);
            let answer = |status, body: Value| {
                let mut answer = Response::new(Body::from(body.to_string()));
                *answer.status_mut() = status;
                answer
            };
            if request.uri().path() == MONITOR {
                return Ok(answer(StatusCode::OK, json!({ "TaskState": "Exception", "Messages": said })));
            }
            let is_reset = request.method() == Method::POST && request.uri().path().ends_with(".Reset");
            let one_less = |left: u64| left.checked_sub(1);
            if !is_reset || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
                return network.oneshot(request).await;
            }
            if !by_task {
                return Ok(answer(StatusCode::OK, json!({ "@Message.ExtendedInfo": said })));
            }
            let mut accepted = answer(StatusCode::ACCEPTED, json!({ "TaskState": "New" }));
            accepted.headers_mut().insert("location", MONITOR.parse().unwrap());
            Ok(accepted)
        }
    }))
}

/// The job succeeded before; a reset that its BMC does not do at the end is requested again, and its message is recorded.
#[tokio::test(start_paused = true)]
async fn a_final_reset_that_is_reported_as_failed_is_asked_for_again_within_bounds() {
    for by_task in [true, false] {
        for (failing, reset) in [(2, true), (u64::MAX, false)] {
            let mut site = Site::new(1, vec![machine(vec![])]).await;
            site.policy.final_reset = FinalReset::Always;
            let left = Arc::new(AtomicU64::new(0));
            site.start_over(failing_resets(site.world.transport.clone(), left.clone(), by_task));
            let id = site.submit(0, json!({})).await;
            site.until(id, |job| job.cursor.phase == Phase::Cleanup).await;
            left.store(failing, Ordering::Relaxed);
            let job = site.settle(id).await;
            let (state, story) = (site.machines[0].state(), site.story(id).await);
            let context = format!("by a Task: {by_task}, {failing} times\n{story}");
            assert_eq!((job.status, state.installs), (Status::Succeeded, 1), "{context}");
            assert_eq!(state.starts, if reset { 2 } else { 1 }, "{context}");
            assert!(story.contains("No power."), "{context}");
            assert_eq!(left.load(Ordering::Relaxed) == 0, reset, "{context}");
            assert!(failing - left.load(Ordering::Relaxed) <= 12, "{context}");
        }
    }
}
