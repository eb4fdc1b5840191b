//! Starts of the host, wanted and not, when its BMC forgets, refuses, or is away while it would have
//! shown it. Most cases were found by a seed of the sweep.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use shoal::domain::{Act, Cancel, Confidence, EjectReason, Job, Phase, Status, Step};
use shoal::flow::policy::FinalReset;
use shoal_base::world::HttpRequest;
use shoal_sim::{Fault, Persona, ResetType, SimConfig, Timings};
use tower::ServiceExt;

use crate::site::{Site, machine};
use crate::struck::{answered, done_later, lost, struck};

const RESET_ACTION: &str = "ComputerSystem.Reset";

/// A running host behind a BMC that shows no boots and downloads its images whole.
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

/// The same, where the override is still armed afterwards: which one is unknown, and it is not tried.
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
    assert!(job.reason.unwrap().contains("it may have installed meanwhile"));
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

/// An old system that does not listen to ACPI, and a BMC that has forgotten the one-time boot by the time
/// that the shutdown has taken too long.
const FORGOTTEN: [Fault; 2] = [Fault::GracefulIgnored, Fault::OverrideLost(Duration::from_secs(60))];

/// Nothing shows whether the host has used the one-time boot, so it is neither taken for installed nor
/// forced off. (`cargo xtask sim --seeds 1 --jobs 50 --first-seed 13`, before its draws changed.)
#[tokio::test(start_paused = true)]
async fn a_forgotten_override_is_no_start_of_the_host() {
    let mut config = blind(&FORGOTTEN);
    config.persona.sources = "none".parse().unwrap();
    let mut site = Site::new(1, vec![config]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    let state = site.machines[0].state();
    assert_eq!(
        (job.status, job.failed_step),
        (Status::Failed, Some(Step::Reset)),
        "{}",
        site.story(id).await
    );
    assert!(job.reason.as_deref().unwrap().contains("Nothing on this BMC shows which"), "{job:?}");
    assert_eq!((state.guest, state.starts, state.installs_begun), ("other_system", 0, 0));
    assert_eq!(state.resets.get("ForceOff"), None, "{state:?}");
    let left = state.media.values().filter(|slot| slot.inserted).count();
    assert_eq!((job.facts.cleanup.released, left), (Some(EjectReason::TimedOut), 0));
}

/// The same where the media are streamed: the missing read of the kickstart decides.
#[tokio::test(start_paused = true)]
async fn a_forgotten_override_is_set_again_where_the_reads_show_it() {
    let faults = [&FORGOTTEN[..], &[Fault::NoBootProgress, Fault::NoLastResetTime]].concat();
    let mut site = Site::new(1, vec![SimConfig { power_on: true, ..machine(faults) }]).await;
    site.policy.graceful_timeout = Duration::from_secs(90);
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    let state = site.machines[0].state();
    assert_eq!(
        (job.status, state.installs, job.facts.reset.starts),
        (Status::Succeeded, 1, 1),
        "{}",
        site.story(id).await
    );
}

/// An operator presses the reset button during the shutdown: the host installs, and is left to it.
async fn press_reset_during_the_shutdown(sources: &str) -> (Site, Job) {
    let (post, install) = (Duration::from_secs(30), Duration::from_secs(900));
    let timings = Timings { post, install, ..Timings::default() };
    let mut config = SimConfig { timings, ..blind(&[Fault::GracefulIgnored]) };
    config.faults.retain(|fault| !matches!(fault, Fault::NoBootProgress | Fault::NoLastResetTime));
    config.persona.sources = sources.parse().unwrap();
    let mut site = Site::new(1, vec![config]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.intent.as_ref().is_some_and(|it| it.act == Act::GracefulShutdown)).await;
    site.machines[0].press_reset();
    let job = site.settle(id).await;
    let state = site.machines[0].state();
    assert_eq!(
        (state.installs, state.interrupted_installs, state.starts),
        (1, 0, 0),
        "{}",
        site.story(id).await
    );
    (site, job)
}

#[tokio::test(start_paused = true)]
async fn a_start_that_a_source_shows_is_taken_for_ours() {
    for sources in ["number-of-reboots", "last-reset-time", "boot-progress", "post-state"] {
        let (site, job) = press_reset_during_the_shutdown(sources).await;
        assert_eq!(job.status, Status::Succeeded, "{sources}\n{}", site.story(job.id).await);
    }
}

/// The host uses the one-time boot up before the BMC, which is slow, has read it back, and so it is
/// asked for again: what the host has read of its kickstart meanwhile keeps it from being forced off.
#[tokio::test(start_paused = true)]
async fn a_start_before_the_override_is_read_back_is_taken_for_ours() {
    for post in (20..80).step_by(3).map(Duration::from_secs) {
        let timings = Timings {
            post,
            boot_load: Duration::from_secs(3),
            install: Duration::from_secs(400),
            ..Timings::default()
        };
        let faults = vec![Fault::Slow(Duration::from_secs(6)), Fault::NoBootProgress, Fault::NoLastResetTime];
        let mut site = Site::new(1, vec![SimConfig { power_on: true, timings, ..machine(faults) }]).await;
        site.start();
        let id = site.submit(0, json!({})).await;
        site.until(id, |job| job.cursor.step == Step::BootOverride).await;
        site.machines[0].press_reset();
        let job = site.settle(id).await;
        let (state, story) = (site.machines[0].state(), site.story(id).await);
        assert_eq!((state.installs, state.interrupted_installs), (1, 0), "POST {post:?}\n{story}");
        assert!(story.contains("its start is treated as this job's"), "POST {post:?}\n{story}");
        assert_eq!(job.status, Status::Succeeded, "POST {post:?}\n{story}");
    }
}

/// What such a host has read is its installer's reading after a crash of the controller too.
#[tokio::test(start_paused = true)]
async fn the_reads_of_a_start_that_was_taken_for_ours_outlive_the_controller() {
    for layout in ["dual-cd", "single-cd"] {
        let timings = Timings {
            post: Duration::from_secs(30),
            install: Duration::from_secs(400),
            ..Timings::default()
        };
        let faults = vec![Fault::NoBootProgress, Fault::NoLastResetTime];
        let mut site = Site::new(1, vec![SimConfig { power_on: true, timings, ..machine(faults) }]).await;
        site.start();
        let id = site.submit(0, json!({ "media_layout": layout })).await;
        site.until(id, |job| job.cursor.step == Step::Reset).await;
        site.machines[0].press_reset();
        let job = site.until(id, |job| job.cursor.step == Step::EsxiPollPower).await;
        assert!(job.facts.reset.adopted, "{}", site.story(id).await);
        tokio::time::sleep(Duration::from_secs(60)).await;
        site.crash().await;
        site.start();
        let job = site.settle(id).await;
        let (state, story) = (site.machines[0].state(), site.story(id).await);
        assert_eq!(
            (job.status, state.installs, state.interrupted_installs),
            (Status::Succeeded, 1, 0),
            "{story}"
        );
    }
}

/// Whether it installs is unknown: the job fails and says so, and its media stay until it cannot be.
#[tokio::test(start_paused = true)]
async fn a_start_that_nothing_shows_fails_the_job_and_not_the_installation() {
    let (site, job) = press_reset_during_the_shutdown("none").await;
    assert_eq!(
        (job.status, job.failed_step),
        (Status::Failed, Some(Step::Reset)),
        "{}",
        site.story(job.id).await
    );
    assert!(job.reason.unwrap().contains("look at its console"));
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

/// The requests are lost, or their answers: a host is not forced off that was not asked first.
#[tokio::test(start_paused = true)]
async fn a_shutdown_without_an_answer_is_requested_again() {
    let mut site = Site::new(1, vec![SimConfig { power_on: true, ..machine(vec![]) }]).await;
    site.start_over(struck(&site.world.transport, RESET_ACTION, 2, |_| async { lost() }));
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    let (state, story) = (site.machines[0].state(), site.story(id).await);
    assert_eq!(job.status, Status::Succeeded, "{story}");
    let [asked, forced] = ["GracefulShutdown", "ForceOff"].map(|reset| state.resets.get(reset));
    assert_eq!((asked, forced), (Some(&1), None), "{story}");
}

/// The clock is set ahead while the host shuts down and no controller is there.
#[tokio::test(start_paused = true)]
async fn a_restart_gives_a_host_its_time_to_shut_down() {
    let timings = Timings { shutdown: Duration::from_secs(120), ..Timings::default() };
    let mut site = Site::new(1, vec![SimConfig { power_on: true, timings, ..machine(vec![]) }]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| {
        job.cursor.intent.as_ref().is_some_and(|intent| intent.act == Act::GracefulShutdown)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    site.crash().await;
    site.world.clock.set_ahead(Duration::from_secs(3600));
    site.start();
    let job = site.settle(id).await;
    let (state, story) = (site.machines[0].state(), site.story(id).await);
    assert_eq!((job.status, state.resets.get("ForceOff")), (Status::Succeeded, None), "{story}");
}

/// A BMC that knows no other way to start its host restarts it, and the answer is lost: nothing shows whether it did.
#[tokio::test(start_paused = true)]
async fn a_restart_in_doubt_is_not_repeated() {
    let persona = Persona { resets: &[ResetType::ForceRestart], ..Persona::default() };
    let mut site = Site::new(1, vec![SimConfig { persona, ..blind(&[]) }]).await;
    let network = site.world.transport.clone();
    let done = done_later(network.clone(), Duration::ZERO, lost);
    site.start_over(struck(&network, RESET_ACTION, 1, done));
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    let (state, story) = (site.machines[0].state(), site.story(id).await);
    assert_eq!((job.status, state.installs_begun), (Status::Failed, 1), "{story}");
    assert_eq!(state.boot_override.enabled, "Disabled", "{story}");
    let reason = job.reason.unwrap();
    assert!(reason.contains("gave no answer to the restart"), "{reason}");
    assert!(reason.contains("is gone since: either") && !reason.contains("  "), "{reason}");
}

/// What was refused before says nothing of an override that was accepted and shows later.
#[tokio::test(start_paused = true)]
async fn refusals_leave_an_accepted_override_its_time_to_show() {
    let mut site = Site::new(1, vec![machine(vec![])]).await;
    let (network, patches) = (site.world.transport.clone(), Arc::new(AtomicUsize::new(0)));
    let answer = {
        let network = network.clone();
        move |request: HttpRequest| {
            let is_patch = request.method() == http::Method::PATCH;
            let turn = is_patch.then(|| patches.fetch_add(1, Ordering::SeqCst));
            let network = network.clone();
            async move {
                match turn {
                    Some(0..3) => answered(503),
                    Some(3) => answered(204),
                    _ => network.oneshot(request).await,
                }
            }
        }
    };
    site.start_over(struck(&network, "Systems/1", usize::MAX, answer));
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
}
