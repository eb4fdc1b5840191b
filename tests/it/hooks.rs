//! Completion hooks over whole installations: what the installer's last section says reaches the
//! verdict, and what goes wrong with it costs no more than confidence.

use std::time::Duration;

use serde_json::{Value, json};
use shoal::domain::{Confidence, EvidenceKind, HookReport, Job, Phase, Status};
use shoal::flow::policy::FinalReset;
use shoal_sim::{Fault, SimConfig, Timings};

use crate::site::{Site, machine};

/// A job with that hook on a machine with these faults, seen to its end.
async fn install(hook: &str, faults: Vec<Fault>) -> (Site, Job) {
    let mut site = Site::new(1, vec![machine(faults)]).await;
    site.start();
    let id = site.submit(0, json!({ "completion_hook": hook })).await;
    let job = site.settle(id).await;
    (site, job)
}

async fn check(hook: &str, faults: Vec<Fault>, confidence: Confidence, first: EvidenceKind) -> (Site, Job) {
    let (site, job) = install(hook, faults).await;
    let story = site.story(job.id).await;
    assert_eq!(job.status, Status::Succeeded, "{story}");
    let verdict = job.verdict.as_ref().unwrap();
    assert_eq!(verdict.confidence, Some(confidence), "{story}");
    assert_eq!(verdict.evidence[0].kind, first, "{story}");
    // The job ends when its host was started; the system needs a moment more.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.interrupted_installs), (1, 0), "{state:?}");
    assert_eq!((state.power, state.guest), ("On", "installed"), "{state:?}\n{story}");
    assert!(state.media.values().all(|medium| !medium.inserted), "{state:?}");
    (site, job)
}

const SILENT: [Fault; 2] = [Fault::NoBootProgress, Fault::NoLastResetTime];

#[tokio::test(start_paused = true)]
async fn the_nonce_and_the_power_off_prove_it_on_a_bmc_that_shows_nothing() {
    let (site, job) =
        check("poweroff", SILENT.to_vec(), Confidence::Proven, EvidenceKind::InstallerHook).await;
    let state = site.machines[0].state();
    assert_eq!(state.starts, 2, "the installing start, and the one after the eject: {state:?}");
    let story = site.story(job.id).await;
    assert!(story.contains("embedded") && !story.contains("NONCE"), "{story}");
}

#[tokio::test(start_paused = true)]
async fn a_host_left_off_by_the_hook_is_switched_on_even_where_it_is_never_to_be_reset() {
    let mut site = Site::new(1, vec![machine(vec![])]).await;
    site.policy.final_reset = FinalReset::Never;
    site.start();
    let id = site.submit(0, json!({ "completion_hook": "poweroff" })).await;
    site.settle(id).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(site.machines[0].state().guest, "installed");
}

#[tokio::test(start_paused = true)]
async fn a_power_off_without_a_seen_read_of_the_nonce_is_probable() {
    let prefetch = [SILENT.to_vec(), vec![Fault::Prefetch]].concat();
    check("poweroff", prefetch, Confidence::Probable, EvidenceKind::InstallerHook).await;
    let unread = vec![Fault::PostCannotRead];
    check("poweroff", unread, Confidence::Probable, EvidenceKind::InstallerHook).await;
}

/// A `%pre` copies the medium, and an operator presses the power button in the middle of the installation.
#[tokio::test(start_paused = true)]
async fn a_power_button_after_a_copy_of_the_medium_proves_nothing() {
    let timings = Timings { install: Duration::from_secs(600), ..Timings::default() };
    for pressed_after in [20, 120] {
        let host = SimConfig { timings, ..machine(vec![Fault::PreCopiesMedia]) };
        let mut site = Site::new(1, vec![host]).await;
        site.policy.proof_floor = Duration::from_secs(60);
        site.start();
        let id = site.submit(0, json!({ "completion_hook": "poweroff" })).await;
        site.until(id, |job| job.facts.esxi().progress.ks_read).await;
        tokio::time::sleep(Duration::from_secs(pressed_after)).await;
        site.machines[0].cut_power();
        let job = site.settle(id).await;
        let story = site.story(id).await;
        assert_eq!(site.machines[0].state().installs, 0);
        assert_eq!(job.verdict.unwrap().confidence, Some(Confidence::Probable), "{story}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_leaves_the_second_boot() {
    for fault in [Fault::HookFails, Fault::PostSkipped] {
        check("poweroff", vec![fault.clone()], Confidence::Probable, EvidenceKind::SecondBoot).await;
        let silent = [SILENT.to_vec(), vec![fault]].concat();
        // The firmware's second look at CD1 shows in the reads; the guest's eject leaves none.
        let (site, job) = install("poweroff", silent).await;
        let verdict = job.verdict.as_ref().unwrap();
        assert!(verdict.confidence <= Some(Confidence::Probable), "{}", site.story(job.id).await);
    }
}

#[tokio::test(start_paused = true)]
async fn the_installers_call_proves_it() {
    for faults in [vec![], SILENT.to_vec(), vec![Fault::Prefetch]] {
        check("webhook", faults, Confidence::Proven, EvidenceKind::InstallerHook).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_lost_leaves_the_second_boot() {
    for fault in [Fault::NoGuestNetwork, Fault::PostSkipped] {
        check("webhook", vec![fault], Confidence::Probable, EvidenceKind::SecondBoot).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_installer_that_reports_a_failure_has_failed() {
    let mut site = Site::new(1, vec![machine(vec![Fault::GuestHangs])]).await;
    site.start();
    let id = site.submit(0, json!({ "completion_hook": "webhook" })).await;
    site.until(id, |job| job.facts.esxi().progress.ks_read).await;
    let report = HookReport { at: site.world.clock.now(), succeeded: false };
    assert!(site.store.save_hook_report(id, report).await.unwrap());
    let job = site.until(id, |job| job.cursor.phase != Phase::Forward).await;
    assert!(job.reason.unwrap().contains("reported by its webhook that it failed"));
}

/// The report is in the database: a controller that was away when the call came knows of it.
#[tokio::test(start_paused = true)]
async fn a_report_outlives_the_controller_that_took_it() {
    let mut site = Site::new(1, vec![machine(SILENT.to_vec())]).await;
    site.start();
    let id = site.submit(0, json!({ "completion_hook": "webhook" })).await;
    while site.store.load_hook_report(id).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    site.crash().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    site.start();
    let job = site.settle(id).await;
    assert_eq!(job.verdict.unwrap().confidence, Some(Confidence::Proven));
}

#[tokio::test(start_paused = true)]
async fn without_a_hook_the_kickstart_is_the_operators_byte_for_byte() {
    for hook in ["none", "own-poweroff"] {
        let mut site = Site::new(1, vec![machine(vec![])]).await;
        site.start();
        let id = site.submit(0, json!({ "completion_hook": hook })).await;
        let job = site.settle(id).await;
        let given = job.spec.as_ref().unwrap().esxi().unwrap().kickstart.sha256();
        assert_eq!(site.machines[0].state().installed_ks_sha256, Some(given), "{hook}");
    }
    let (site, job) = install("poweroff", vec![]).await;
    let given = job.spec.as_ref().unwrap().esxi().unwrap().kickstart.sha256();
    assert_ne!(site.machines[0].state().installed_ks_sha256, Some(given));
}

#[tokio::test(start_paused = true)]
async fn no_token_of_a_hook_is_shown() {
    let (site, job) = install("webhook", vec![]).await;
    let facts: Value = serde_json::to_value(&job.facts).unwrap();
    let text = format!("{facts} {:?} {}", job.reason, site.story(job.id).await);
    assert!(!text.contains("status-webhook"), "{text}");
}
