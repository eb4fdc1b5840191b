//! Whole installations on simulated machines, the good ones and the bad ones.

use std::time::Duration;

use serde_json::json;
use shoal::domain::{Cancel, Confidence, EvidenceKind, Job, Status, Step};
use shoal::flow::policy::Detection;
use shoal::media::InstallerSource;
use shoal_base::world::elapsed;
use shoal_image::installer;
use shoal_image::iso::{Overlaid, ReadAt};
use shoal_sim::{Fault, SimConfig, Timings, standin_installer};

use crate::site::{CONTROLLER, Site, machine};

async fn site(faults: Vec<Fault>) -> Site {
    Site::new(1, vec![machine(faults)]).await
}

fn kinds(job: &Job) -> Vec<EvidenceKind> {
    job.verdict.iter().flat_map(|verdict| &verdict.evidence).map(|evidence| evidence.kind).collect()
}

/// Nothing of the job is left on its machine, and the host was started for it once.
fn check_clean(site: &Site) {
    let state = site.machines[0].state();
    assert!(state.media.values().all(|medium| !medium.inserted), "{state:?}");
    assert_eq!(state.interrupted_installs, 0, "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_installs_its_host_and_says_why_it_believes_so() {
    let mut site = site(vec![]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(job.verdict.as_ref().unwrap().confidence, Some(Confidence::Probable));
    assert!(
        kinds(&job).starts_with(&[EvidenceKind::SecondBoot, EvidenceKind::KickstartRead]),
        "{:?}",
        kinds(&job)
    );
    let state = site.machines[0].state();
    let kickstart = &job.spec.as_ref().unwrap().esxi().unwrap().kickstart;
    assert_eq!(state.installed_ks_sha256, Some(kickstart.sha256()));
    assert_eq!((state.installs, state.starts), (1, 1), "{state:?}");
    check_clean(&site);
}

/// BMCs have few sessions: one is used at a time, and none is left, by a crash either.
#[tokio::test(start_paused = true)]
async fn no_session_outlives_its_job() {
    let mut site = site(vec![]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.step == Step::EsxiPollPower).await;
    assert_eq!(site.machines[0].state().sessions, 1);
    site.crash().await;
    site.start();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!((site.machines[0].state().sessions, site.job(id).await.is_active()), (1, true));
    site.settle(id).await;
    site.shut_down().await;
    assert_eq!(site.machines[0].state().sessions, 0);
}

/// The source was read anew at a restart, so that a host could be served another image in the middle of its installation.
#[tokio::test(start_paused = true)]
async fn a_job_that_is_resumed_serves_the_installer_that_it_began_with() {
    let mut site = site(vec![]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.step == Step::EsxiPollPower).await;
    let url = site.machines[0].state().media["CD1"].image.clone().unwrap();
    site.crash().await;
    std::fs::write(site.dir.path().join("esxi.iso"), "replaced meanwhile").unwrap();
    site.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let request = http::Request::head(url).body(bytes::Bytes::new()).unwrap();
    let answer = tower::ServiceExt::oneshot(site.world.transport.clone(), request).await.unwrap();
    assert_eq!(answer.status(), 200, "the copy that the host reads is still there");
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_runs_is_shut_down_first() {
    let mut site = Site::new(1, vec![SimConfig { power_on: true, ..machine(vec![]) }]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(site.machines[0].state().installs, 1);
    check_clean(&site);
}

/// Armed before the host was asked to shut down, it is gone when the host is off: without a second look
/// the host would start its old system.
#[tokio::test(start_paused = true)]
async fn an_override_that_is_lost_during_the_shutdown_is_set_again() {
    // Lost after the last look at the running host: what is lost before is taken for used.
    let timings = Timings { shutdown: Duration::from_millis(39_500), ..Timings::default() };
    let faults = vec![Fault::OverrideLost(Duration::from_secs(39))];
    let mut site = Site::new(1, vec![SimConfig { power_on: true, timings, ..machine(faults) }]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    let state = site.machines[0].state();
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!((state.installs, state.starts, job.facts.reset.rewinds), (1, 1, 1), "{state:?}");
    check_clean(&site);
}

#[tokio::test(start_paused = true)]
async fn the_kickstarts_own_poweroff_is_probable() {
    let mut site = site(vec![Fault::NoBootProgress, Fault::NoLastResetTime]).await;
    site.start();
    let ks = "vmaccepteula\ninstall --firstdisk\nreboot\n%post --interpreter=busybox\npoweroff\n";
    let id = site.submit(0, json!({ "ks_cfg": ks, "completion_hook": "own-poweroff" })).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(job.verdict.as_ref().unwrap().confidence, Some(Confidence::Probable));
    assert_eq!(kinds(&job)[0], EvidenceKind::InstallerHook);
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.power), (1, "On"), "{state:?}");
    check_clean(&site);
}

/// Published kickstarts do so: only the recipe distinguishes it from a host that lost power.
#[tokio::test(start_paused = true)]
async fn a_kickstart_that_powers_off_unannounced_fails_with_the_remedy() {
    for end in
        ["poweroff", "/sbin/halt -f", "sleep 5; busybox poweroff", "esxcli system shutdown poweroff -r x"]
    {
        let mut site = site(vec![Fault::NoBootProgress, Fault::NoLastResetTime]).await;
        site.start();
        let ks = format!("vmaccepteula\ninstall --firstdisk\nreboot\n%post --interpreter=busybox\n{end}\n");
        let id = site.submit(0, json!({ "ks_cfg": ks })).await;
        let job = site.settle(id).await;
        assert_eq!(job.status, Status::Failed, "{}", site.story(id).await);
        let reason = job.reason.as_deref().unwrap();
        assert!(reason.contains("`completion_hook: own-poweroff`"), "{end}: {reason}");
        assert_eq!(site.machines[0].state().installs, 1, "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_shows_nothing_gives_an_assumed_success() {
    let mut site = site(vec![Fault::NoBootProgress, Fault::NoLastResetTime, Fault::Prefetch]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(job.verdict.as_ref().unwrap().confidence, Some(Confidence::Assumed));
    assert_eq!(kinds(&job), [EvidenceKind::PowerStable]);
    assert_eq!(site.machines[0].state().installs, 1);
    check_clean(&site);
}

#[tokio::test(start_paused = true)]
async fn the_plain_rule_is_there_for_those_who_want_it() {
    let mut site = site(vec![]).await;
    site.policy.detection = Detection::Power;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(kinds(&job), [EvidenceKind::PowerStable]);
}

#[tokio::test(start_paused = true)]
async fn an_installer_that_stops_at_a_dialog_is_no_success() {
    let mut site = site(vec![Fault::StrictKickstart]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(
        (job.status, job.failed_step),
        (Status::Failed, Some(Step::EsxiPollPower)),
        "{}",
        site.story(id).await
    );
    assert!(job.reason.as_deref().unwrap().contains("never rebooted"), "{:?}", job.reason);
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.starts), (0, 1), "{state:?}");
    check_clean(&site);
}

/// Whose system on the disk starts instead. What the BMC would need is reported only where it requested nothing.
#[tokio::test(start_paused = true)]
async fn an_installer_that_is_not_read_is_reported_with_what_came_of_it() {
    let needs = "the BMC never requested the image from http://controller.test/: the BMC needs a name server";
    let part = "131072 of the installer's 2473984 bytes were read";
    for (faults, cut_off, expected) in [
        (vec![Fault::OverrideIgnored], false, Some(part)),
        (vec![], true, Some(needs)),
        (vec![Fault::InsertChecksUrl], true, None),
        (vec![Fault::OverrideIgnored, Fault::Prefetch], false, None),
    ] {
        let previous = Some("8.0.2-0.0.22380479".parse().unwrap());
        let mut site = Site::new(1, vec![SimConfig { previous, ..machine(faults.clone()) }]).await;
        site.start();
        let id = site.submit(0, json!({})).await;
        site.until(id, |job| job.cursor.step == Step::Reset).await;
        site.network.cut_off(CONTROLLER, cut_off);
        let job = site.settle(id).await;
        let reason = job.reason.as_deref().unwrap_or_default();
        assert_eq!(job.status, Status::Failed, "{faults:?}: {}", site.story(id).await);
        assert!(expected.is_none_or(|words| reason.contains(words)), "{faults:?}: {reason}");
        let is_reported = reason.contains("bytes were read") || reason.contains("never requested");
        assert_eq!(is_reported, expected.is_some(), "{faults:?}: {reason}");
    }
}

/// Jobs that fail before the host is touched, each at its step and with its reason.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_before_the_reset_fails_there_and_leaves_nothing() {
    for (fault, step, words) in [
        (Fault::WrongSerial, Step::ResolveServer, "is not that of server SIM0001"),
        (Fault::NoSerial, Step::ResolveServer, "system_uuid or system_id"),
        (Fault::BoardSerial, Step::ResolveServer, "serial number CN-SIM0001, SKU SIM0001"),
        (Fault::NoSlots, Step::ResolveServer, "the BMC offers none"),
        (Fault::NoVirtualMedia, Step::ResolveServer, "this firmware has no virtual media"),
        (Fault::NoOverride, Step::ResolveServer, "has no BootSourceOverride properties"),
        (Fault::InsertTaskFails, Step::MountMaintenance, "inserting the image"),
        (Fault::OverrideNotStored, Step::BootOverride, "reads back"),
    ] {
        let mut site = site(vec![fault.clone()]).await;
        site.start();
        let id = site.submit(0, json!({})).await;
        let job = site.settle(id).await;
        assert_eq!(
            (job.status, job.failed_step),
            (Status::Failed, Some(step)),
            "{fault}: {}",
            site.story(id).await
        );
        assert!(
            job.reason.as_deref().unwrap().contains(words),
            "{fault}: {:?}\n{}",
            job.reason,
            site.story(id).await
        );
        assert_eq!(site.machines[0].state().starts, 0, "{fault}");
        check_clean(&site);
    }
}

#[tokio::test(start_paused = true)]
async fn media_that_the_bmc_drops_at_the_start_are_named_in_the_reason() {
    let mut site = site(vec![Fault::MediaLostAtStart]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(
        (job.status, job.failed_step),
        (Status::Failed, Some(Step::EsxiPollPower)),
        "{}",
        site.story(id).await
    );
    assert!(job.reason.as_deref().unwrap().contains("CD1 is empty"), "{:?}", job.reason);
    check_clean(&site);
}

/// BMCs that misbehave in ways that must not matter.
#[tokio::test(start_paused = true)]
async fn what_a_bmc_gets_wrong_does_not_stop_an_installation() {
    for fault in [
        Fault::MediaLeft,
        Fault::StaleInserted(Duration::from_secs(10)),
        Fault::InsertTask(Duration::from_secs(20)),
        Fault::Insert500Once,
        Fault::InsertNeedsProtocol,
        Fault::EjectEmpty400,
        Fault::Etag412Once,
        Fault::On409Once,
        Fault::ResetActionInfo,
        Fault::ResetAnswerLost,
        Fault::BmcDownAfterReset(Duration::from_secs(300)),
        Fault::NoBootProgress,
        Fault::NoLastResetTime,
        Fault::ZeroLastResetTime,
        Fault::NoSessions,
        Fault::SessionTimeout(Duration::from_secs(30)),
        Fault::Unauthorised401Once,
        Fault::Busy503(2),
        Fault::Slow(Duration::from_millis(3000)),
        Fault::OverrideContinuous,
    ] {
        let mut site = site(vec![fault.clone()]).await;
        site.start();
        let id = site.submit(0, json!({})).await;
        let job = site.settle(id).await;
        assert_eq!(job.status, Status::Succeeded, "{fault}: {:?}\n{}", job.reason, site.story(id).await);
        let state = site.machines[0].state();
        assert_eq!((state.installs, state.interrupted_installs), (1, 0), "{fault}: {state:?}");
        check_clean(&site);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_before_the_reset_gives_the_drives_back() {
    let mut site = site(vec![Fault::InsertTask(Duration::from_secs(60))]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.step == Step::MountTask).await;
    site.store.request_cancel(id, Default::default()).await.unwrap();
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Cancelled, "{}", site.story(id).await);
    assert_eq!(site.machines[0].state().starts, 0);
    check_clean(&site);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_during_the_installation_lets_the_installer_end() {
    let mut site = site(vec![]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.facts.esxi().progress.ks_read).await;
    site.store.request_cancel(id, Default::default()).await.unwrap();
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Cancelled, "{}", site.story(id).await);
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.interrupted_installs), (1, 0), "{state:?}");
    check_clean(&site);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_the_job_to_the_next_controller() {
    let mut site = site(vec![]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.step == Step::EsxiPollPower).await;
    site.shut_down().await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    site.start();
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(site.machines[0].state().starts, 1);
    check_clean(&site);
}

/// The override is armed while the host is in its self test, so the host boots the installer before
/// it is reset. It must neither be cut short nor be installed twice.
async fn check_left_to_itself(timings: Timings) {
    let mut site = Site::new(1, vec![SimConfig { power_on: true, timings, ..machine(vec![]) }]).await;
    site.machines[0].press_reset();
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    let state = site.machines[0].state();
    assert_eq!(job.status, Status::Succeeded, "{}\n{state:#?}", site.story(id).await);
    assert_eq!((state.installs, state.interrupted_installs, state.starts), (1, 0, 0), "{state:?}");
    check_clean(&site);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_boots_the_installer_unasked_is_left_to_it() {
    let (post, install) = (Duration::from_secs(60), Duration::from_secs(400));
    check_left_to_itself(Timings { post, install, ..Timings::default() }).await;
}

/// What it reads between two looks at it counts too.
#[tokio::test(start_paused = true)]
async fn a_host_that_boots_the_installer_unasked_and_immediately_is_left_to_it() {
    check_left_to_itself(Timings::default()).await;
}

/// A refusal during the self test is waited out, and the host's own boot after it is none of ours.
#[tokio::test(start_paused = true)]
async fn an_override_that_is_refused_in_a_self_test_is_set_after_it() {
    let timings = Timings { post: Duration::from_secs(240), ..Timings::default() };
    let config = SimConfig { power_on: true, timings, ..machine(vec![Fault::BootPatch400InPost]) };
    let mut site = Site::new(1, vec![config]).await;
    site.machines[0].press_reset();
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    let story = site.story(id).await;
    assert_eq!(job.status, Status::Succeeded, "{story}");
    assert!(story.contains("Retrying setting the one-time boot"), "{story}");
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.interrupted_installs, state.starts), (1, 0, 1), "{state:?}");
    check_clean(&site);
}

#[tokio::test(start_paused = true)]
async fn a_task_iso_is_there_during_its_job_and_gone_afterwards() {
    let mut site = site(vec![]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.step == Step::EsxiPollPower).await;
    assert_eq!(site.task_isos(), [format!("{id}.iso")]);
    site.settle(id).await;
    assert_eq!(site.task_isos(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn task_isos_are_kept_for_the_retention_and_no_longer() {
    let mut site = site(vec![]).await;
    site.setup = Box::new(|setup| setup.task_iso_retention = Duration::from_secs(3600));
    site.start();
    let id = site.submit(0, json!({})).await;
    site.settle(id).await;
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert_eq!(site.task_isos(), [format!("{id}.iso")]);
    tokio::time::sleep(Duration::from_secs(2700)).await;
    assert_eq!(site.task_isos(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_forced_cancel_ejects_immediately_and_says_so() {
    let mut site = site(vec![Fault::GuestHangs]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.facts.esxi().progress.ks_read).await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    let job = site.until(id, |job| job.status == Status::Cancelled).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(site.job(id).await.is_active(), "the media stay while the installer may run");
    let asked_at = site.world.clock.now();
    site.store.request_cancel(id, Cancel { force: true }).await.unwrap();
    let job = site.until(job.id, |job| !job.is_active()).await;
    let ejected = job.facts.mounts.boot.gone.unwrap();
    assert!(ejected.forced && elapsed(asked_at, ejected.at) < Duration::from_secs(5), "{ejected:?}");
    assert_eq!(job.status, Status::Cancelled);
    assert!(site.machines[0].state().media.values().all(|medium| !medium.inserted));
}

/// An image that boots unattended as it is, at an address that BMCs reach, needs no server of ours.
#[tokio::test(start_paused = true)]
async fn an_installer_that_needs_no_change_is_given_to_the_bmc_directly() {
    let mut site = site(vec![]).await;
    let url: url::Url = "http://images.test/vendor/esxi.iso".parse().unwrap();
    site.network.add("images.test", axum::Router::new().fallback(|| async { unattended_installer() }));
    site.setup = Box::new(move |setup| setup.installer = Some(InstallerSource::Url(url.clone())));
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.until(id, |job| job.cursor.step == Step::EsxiPollPower).await;
    let cd1 = &site.machines[0].state().media["CD1"];
    assert_eq!(cd1.image.as_deref(), Some("http://images.test/vendor/esxi.iso"));
    assert!(job.facts.is_direct());
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    check_clean(&site);
}

/// The stand-in with `ks=` set, in one piece.
fn unattended_installer() -> Vec<u8> {
    let plain = standin_installer();
    let overlay =
        installer::overlay(&plain, &installer::recognise(&plain).unwrap(), installer::KickstartOn::Cd)
            .unwrap();
    let changed = Overlaid::new(&plain, &overlay);
    let mut bytes = vec![0; changed.size() as usize];
    changed.read_at(0, &mut bytes).unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn no_more_jobs_run_in_parallel_than_there_are_workers() {
    let second = SimConfig { serial: "SIM0002".to_owned(), ..machine(vec![]) };
    let mut site = Site::new(1, vec![machine(vec![]), second]).await;
    site.workers = 1;
    site.start();
    let first = site.submit(0, json!({})).await;
    site.until(first, |job| job.cursor.step == Step::EsxiPollPower).await;
    let second = site.submit(1, json!({})).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(site.job(second).await.status, Status::Queued);
    site.settle(first).await;
    assert_eq!(site.settle(second).await.status, Status::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_window_as_short_as_the_poll_interval_passes_all_the_same() {
    let mut site = site(vec![Fault::Slow(Duration::from_millis(300))]).await;
    site.policy.stable_window = Duration::from_secs(2);
    site.policy.poll_interval = Duration::from_secs(2);
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
}
