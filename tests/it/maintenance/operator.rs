//! Operators' own maintenance systems, which know nothing but an address, a secret and their machine's serial number.

use serde_json::json;
use shoal::api::Hooks;
use shoal::domain::{Confidence, EvidenceKind, Job, JobId, Reporter};
use shoal_sim::{Fault, standin_maintenance};

use super::{check_failed, check_installed, settle, site};
use crate::api::Fixture;
use crate::site::{HOOK_KEY, Site};
use crate::struck::{lost, struck};

const SECRET: &str = "shared";

/// The listener of the API beside the one for media: it takes reports with the secret.
fn serve_api(site: &Site) {
    let (store, clock) = (site.store.clone(), site.world.clock.clone());
    let api = Fixture::with(|parts| {
        parts.world = site.world.clone();
        parts.store = store.clone();
        parts.hooks = Hooks { store, clock, key: HOOK_KEY };
        parts.webhook_secrets = vec![SECRET.into()];
    });
    site.network.add("api.test", api.router);
}

async fn begin(faults: Vec<Fault>, arguments: &str) -> (Site, JobId) {
    let mut site = site(faults).await;
    site.write_maintenance_iso(&standin_maintenance(arguments));
    serve_api(&site);
    site.start();
    let id = site.submit_linux(0, json!({})).await;
    (site, id)
}

async fn install(faults: Vec<Fault>, arguments: &str) -> (Site, Job) {
    let (site, id) = begin(faults, arguments).await;
    let job = settle(&site, id).await;
    (site, job)
}

#[tokio::test(start_paused = true)]
async fn it_reports_with_the_shared_secret_and_is_shut_down_in_good_order() {
    let arguments = format!("webhook=http://api.test/api/v1/status-webhook secret={SECRET}");
    let (site, job) = install(vec![Fault::OperatorSystem], &arguments).await;
    let state = check_installed(&site, &job, Confidence::Probable, &[EvidenceKind::TaskReport]).await;
    assert_eq!(state.resets.get("GracefulShutdown"), Some(&1), "{state:#?}");
    assert_eq!(job.facts.maintenance().result.as_ref().unwrap().by, Reporter::SharedSecret);
}

/// The first request is lost with its controller.
#[tokio::test(start_paused = true)]
async fn a_shutdown_that_was_lost_is_requested_again() {
    let arguments = format!("webhook=http://api.test/api/v1/status-webhook secret={SECRET}");
    let (mut site, id) = begin(vec![Fault::OperatorSystem], &arguments).await;
    site.until(id, |job| job.facts.maintenance().result.is_some()).await;
    site.crash().await;
    site.start_over(struck(&site.world.transport, "ComputerSystem.Reset", 1, |_| async { lost() }));
    let job = settle(&site, id).await;
    let state = check_installed(&site, &job, Confidence::Probable, &[EvidenceKind::TaskReport]).await;
    let [asked, forced] = ["GracefulShutdown", "ForceOff"].map(|reset| state.resets.get(reset));
    assert_eq!((asked, forced), (Some(&1), None), "{state:#?}");
}

#[tokio::test(start_paused = true)]
async fn its_failure_counts_too() {
    let arguments = format!("webhook=http://api.test/api/v1/status-webhook secret={SECRET}");
    let (site, job) = install(vec![Fault::OperatorSystem, Fault::GuestFails], &arguments).await;
    check_failed(&site, &job, "the maintenance system failed at write").await;
}

/// It can report in no other way, and nothing is known of it but that it read its recipe.
#[tokio::test(start_paused = true)]
async fn one_that_only_powers_off_is_probable() {
    for faults in [vec![], vec![Fault::Prefetch], vec![Fault::OneCd]] {
        let faults = faults.into_iter().chain([Fault::OperatorSystem]).collect();
        let (site, job) = install(faults, "end=poweroff").await;
        check_installed(&site, &job, Confidence::Probable, &[EvidenceKind::PowerOff]).await;
    }
}
