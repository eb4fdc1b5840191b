//! Starts of the host, wanted and not, when its BMC forgets, refuses, or is away while it would have
//! told. Each case was found by a seed of the sweep.

use std::time::Duration;

use serde_json::json;
use shoal::job::{Cancel, Confidence, Phase, Status};
use shoal::sim::{Fault, SimConfig, Timings};
use shoal::workflow::policy::FinalReset;

use crate::site::{Site, machine};

/// A running host behind a BMC that tells nothing of boots and downloads its images whole.
fn blind(faults: &[Fault]) -> SimConfig {
    let blindness = [Fault::Prefetch, Fault::NoBootProgress, Fault::NoLastResetTime, Fault::NoEject];
    SimConfig { power_on: true, ..machine([&blindness, faults].concat()) }
}

fn powers_off() -> serde_json::Value {
    let ks = "vmaccepteula\ninstall --firstdisk\nreboot\n%post --interpreter=busybox\npoweroff\n";
    json!({ "ks_cfg": ks, "completion_hook": "own-poweroff" })
}

/// The BMC is away from the start until the host has installed and gone off: that the host is off is
/// no sign that it never started.
#[tokio::test(start_paused = true)]
async fn a_host_that_installed_and_went_off_unseen_is_not_started_again() {
    let mut site = Site::new(1, vec![blind(&[Fault::BmcDownAfterReset(Duration::from_secs(400))])]).await;
    site.start();
    let id = site.submit(0, powers_off()).await;
    let job = site.settle(id).await;
    let state = site.machines[0].state();
    assert_eq!((job.status, state.installs), (Status::Succeeded, 1), "{}", site.story(id).await);
}

/// The same, where the override is still armed afterwards: nobody can tell, and it is not tried.
#[tokio::test(start_paused = true)]
async fn a_start_in_doubt_is_not_repeated() {
    let faults = [Fault::BmcDownAfterReset(Duration::from_secs(400)), Fault::OverrideContinuous];
    let mut site = Site::new(1, vec![blind(&faults)]).await;
    site.start();
    let id = site.submit(0, powers_off()).await;
    let job = site.settle(id).await;
    let state = site.machines[0].state();
    assert_eq!(
        (job.status, state.installs, state.starts),
        (Status::Failed, 1, 1),
        "{}",
        site.story(id).await
    );
    assert!(job.reason.unwrap().contains("nobody can tell whether it has installed"));
}

/// The override is forgotten while the host shuts down at our request: its going off is not the end
/// of an installation.
#[tokio::test(start_paused = true)]
async fn an_override_lost_during_the_shutdown_is_no_sign_of_a_start() {
    let timings = Timings { shutdown: Duration::from_secs(40), ..Timings::default() };
    let config = SimConfig { timings, ..blind(&[Fault::OverrideLost(Duration::from_secs(3))]) };
    let mut site = Site::new(1, vec![config]).await;
    site.start();
    let id = site.submit(0, powers_off()).await;
    let job = site.settle(id).await;
    let state = site.machines[0].state();
    assert_eq!((job.status, state.installs), (Status::Succeeded, 1), "{}", site.story(id).await);
    assert_eq!(job.verdict.unwrap().confidence, Some(Confidence::Probable));
}

/// Its media are still there, and would install it again.
#[tokio::test(start_paused = true)]
async fn a_host_that_could_not_be_cleaned_up_is_not_reset() {
    let faults = vec![Fault::NoEject, Fault::Slow(Duration::from_secs(3))];
    let mut site = Site::new(1, vec![machine(faults)]).await;
    site.policy.final_reset = FinalReset::Always;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.phase == Phase::Cleanup).await;
    site.network.cut_off("bmc0.test", true);
    tokio::time::sleep(Duration::from_secs(61 * 60)).await;
    site.network.cut_off("bmc0.test", false);
    let job = site.settle(id).await;
    let state = site.machines[0].state();
    assert_eq!((job.status, state.starts), (Status::Succeeded, 1), "{}", site.story(id).await);
    assert!(job.facts.cleanup.left.len() == 2, "{:?}", job.facts.cleanup);
}

/// HPE refuses to change boot options while the host is in its self test.
#[tokio::test(start_paused = true)]
async fn an_override_that_cannot_be_disarmed_yet_is_disarmed_later() {
    let timings = Timings { post: Duration::from_secs(120), ..Timings::default() };
    let faults = [Fault::BootPatch400InPost, Fault::OverrideContinuous, Fault::GuestHangs];
    let mut site = Site::new(1, vec![SimConfig { timings, ..machine(faults.to_vec()) }]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.facts.reset.starts == 1).await;
    site.store.request_cancel(id, Cancel { force: true }).await.unwrap();
    let job = site.settle(id).await;
    assert_eq!(job.facts.cleanup.left, Vec::<String>::new(), "{}", site.story(id).await);
    assert_eq!(site.machines[0].state().boot_override.enabled, "Disabled");
}
