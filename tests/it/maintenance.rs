//! Linux and Windows jobs over whole installations by a simulated maintenance system: what the host did, and what the
//! verdict says of it.
//!
//! Crashes of the controller at every request and save are in `moments.rs`.

mod carried;
mod operator;
mod registry;

use std::time::Duration;

use serde_json::{Value, json};
use shoal::domain::{Cancel, Confidence, EvidenceKind, Job, JobId, Phase, Reporter, Status, Step};
use shoal::media::InstallerSource;
use shoal_base::world::elapsed;
use shoal_image::iso::{TreeKind, Volume};
use shoal_recipe::TaskRecipe;
use shoal_sim::{Fault, SimConfig, SimState, Timings, standin_maintenance_writer};

use crate::site::{IMAGE_SHA256, Site, machine};
use EvidenceKind::{MediaSignal, PowerOff, TaskReport};

/// Minutes, as real hosts take.
fn host(faults: Vec<Fault>) -> SimConfig {
    let timings =
        Timings { post: Duration::from_secs(60), install: Duration::from_secs(300), ..Timings::default() };
    SimConfig { timings, ..machine(faults) }
}

async fn site(faults: Vec<Fault>) -> Site {
    let site = Site::new(1, vec![host(faults)]).await;
    site.write_standin_maintenance();
    site
}

/// Seen to its end, and until its host has booted what it was left with.
async fn settle(site: &Site, id: JobId) -> Job {
    let job = site.settle(id).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    job
}

async fn install(faults: Vec<Fault>, with: Value) -> (Site, Job) {
    let mut site = site(faults).await;
    site.start();
    let id = site.submit_linux(0, with).await;
    let job = settle(&site, id).await;
    (site, job)
}

/// The host runs what was installed, and nothing of the job is left on its BMC.
async fn check_installed(site: &Site, job: &Job, confidence: Confidence, kinds: &[EvidenceKind]) -> SimState {
    let (state, story) = (site.machines[0].state(), site.story(job.id).await);
    assert_eq!(job.status, Status::Succeeded, "{state:#?}\n{story}");
    let verdict = job.verdict.as_ref().unwrap();
    let seen: Vec<_> = verdict.evidence.iter().map(|evidence| evidence.kind).collect();
    assert_eq!((verdict.confidence, seen.as_slice()), (Some(confidence), kinds), "{story}");
    assert_eq!((state.installs, state.interrupted_installs), (1, 0), "{state:#?}\n{story}");
    assert_eq!(state.installed_image_sha256.as_deref(), Some(IMAGE_SHA256));
    assert_eq!((state.power, state.guest, state.starts), ("On", "installed", 2), "{state:#?}\n{story}");
    check_clean(&state, &story);
    state
}

/// The job failed while it waited for the result, in these words, and left its host alone.
async fn check_failed(site: &Site, job: &Job, words: &str) -> SimState {
    let (state, story) = (site.machines[0].state(), site.story(job.id).await);
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::AwaitWebhook)), "{story}");
    assert!(story.contains(words), "`{words}` is not in:\n{story}");
    assert_eq!((state.installs, state.starts), (0, 1), "{state:#?}\n{story}");
    check_clean(&state, &story);
    state
}

fn check_clean(state: &SimState, story: &str) {
    assert!(state.media.values().all(|medium| !medium.inserted), "{state:#?}\n{story}");
    assert_eq!(state.boot_override.enabled, "Disabled", "{state:#?}\n{story}");
    assert_eq!(state.sessions, 0, "{state:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_streamed_host_reports_goes_off_and_is_started_from_its_disk() {
    let (site, job) = install(vec![], json!({})).await;
    check_installed(&site, &job, Confidence::Proven, &[TaskReport, PowerOff]).await;
    let result = job.facts.maintenance().result.clone().unwrap();
    assert_eq!((result.succeeded, result.by), (true, Reporter::Token));
    assert!(result.delivery_id.is_some_and(|id| id.contains(&job.id.to_string())));
    let events = site.events(job.id).await;
    let count = |op: &str| events.iter().filter(|event| event.op == op).count();
    assert_eq!((count("task.progress"), count("task.result")), (2, 1), "{}", site.story(job.id).await);
    let resets = site.machines[0].state().resets;
    assert_eq!(resets.into_iter().collect::<Vec<_>>(), [("On", 2)], "nothing else was asked of the BMC");
}

#[tokio::test(start_paused = true)]
async fn each_layout_boot_mode_and_target_installs() {
    let single = json!({ "media_layout": "single-cd" });
    let windows = json!({ "task_target": "install-windows.target", "unattend_xml": "<unattend/>" });
    for (faults, with) in [
        (vec![Fault::OneCd], single.clone()),
        (vec![], single),
        (vec![Fault::OneCd], json!({ "media_layout": "cd-usb" })),
        (vec![Fault::LegacyBoot], json!({})),
        (vec![], windows),
        (vec![], json!({ "user_data": "#cloud-config\n{}\n", "network_config": "version: 2\n" })),
    ] {
        let (site, job) = install(faults, with).await;
        check_installed(&site, &job, Confidence::Proven, &[TaskReport, PowerOff]).await;
    }
}

/// The maintenance system gets the layout as it was submitted.
#[tokio::test(start_paused = true)]
async fn a_root_file_system_is_installed_with_its_layout_on_the_task_iso() {
    let mut site = site(vec![]).await;
    site.setup = Box::new(|setup| setup.task_iso_retention = Duration::from_secs(3600));
    site.start();
    let layout = json!([
        { "size": "512M", "type_guid": "ef00", "format": "vfat", "mountpoint": "/boot/efi" },
        { "size": "100%", "format": "xfs", "mountpoint": "/" },
    ]);
    let id = site.submit_linux(0, json!({ "partition_layout": layout })).await;
    let job = settle(&site, id).await;
    check_installed(&site, &job, Confidence::Proven, &[TaskReport, PowerOff]).await;
    let [iso] = &site.task_isos()[..] else { panic!("one task ISO") };
    let file = std::fs::File::open(site.task_iso_dir().join(iso)).unwrap();
    let volume = Volume::open(&file).unwrap();
    let entry = volume.find(&file, TreeKind::RockRidge, "recipe.json").unwrap().unwrap();
    let recipe = TaskRecipe::parse(&volume.read(&file, &entry, 1 << 20).unwrap()).unwrap();
    let sizes: Vec<String> = recipe
        .partition_layout
        .unwrap()
        .partitions()
        .iter()
        .map(|partition| partition.size.to_string())
        .collect();
    assert_eq!(sizes, [(512 << 20).to_string(), "100%".to_owned()]);
}

/// A running system is shut down first.
#[tokio::test(start_paused = true)]
async fn a_host_that_runs_is_installed_where_the_recipe_allows_it() {
    let mut site = Site::new(1, vec![SimConfig { power_on: true, ..host(vec![]) }]).await;
    site.write_standin_maintenance();
    site.start();
    let id = site.submit_linux(0, json!({ "allow_powered_on": true })).await;
    let job = settle(&site, id).await;
    check_installed(&site, &job, Confidence::Proven, &[TaskReport, PowerOff]).await;
}

#[tokio::test(start_paused = true)]
async fn the_reads_of_a_host_without_a_network_are_proof() {
    let (site, job) = install(vec![Fault::NoGuestNetwork], json!({})).await;
    check_installed(&site, &job, Confidence::Proven, &[MediaSignal, PowerOff]).await;
    let (site, job) = install(vec![], json!({ "completion": "media" })).await;
    check_installed(&site, &job, Confidence::Proven, &[MediaSignal, PowerOff]).await;
    let single = json!({ "media_layout": "single-cd" });
    let (site, job) = install(vec![Fault::NoGuestNetwork, Fault::OneCd], single).await;
    check_installed(&site, &job, Confidence::Proven, &[MediaSignal, PowerOff]).await;
}

#[tokio::test(start_paused = true)]
async fn a_power_off_alone_is_probable() {
    let (site, job) = install(vec![], json!({ "completion": "poweroff" })).await;
    check_installed(&site, &job, Confidence::Probable, &[PowerOff]).await;
    let (site, job) = install(vec![Fault::NoGuestNetwork, Fault::Prefetch], json!({})).await;
    check_installed(&site, &job, Confidence::Probable, &[PowerOff]).await;
    assert_eq!(job.facts.maintenance().result, None);
}

#[tokio::test(start_paused = true)]
async fn a_report_needs_no_streamed_medium() {
    let (site, job) = install(vec![Fault::Prefetch], json!({})).await;
    check_installed(&site, &job, Confidence::Proven, &[TaskReport, PowerOff]).await;
}

/// The BMC does not answer until the host has been installed and is off, and its boot override stays: another start would
/// install again (sweep, seed 322).
#[tokio::test(start_paused = true)]
async fn a_host_that_reported_while_its_bmc_was_away_is_not_started_again() {
    let away = Fault::Unauthorised401AfterReset(Duration::from_secs(100));
    let faults = vec![Fault::Prefetch, Fault::OverrideContinuous, away];
    let timings =
        Timings { post: Duration::from_secs(20), install: Duration::from_secs(40), ..Timings::default() };
    let ends = [
        (vec![], None),
        (vec![Fault::ReportLost], Some("went off without a result")),
        (vec![Fault::NoGuestNetwork], None),
    ];
    for (more, failure) in ends {
        let faults = [faults.clone(), more].concat();
        let mut site = Site::new(1, vec![SimConfig { timings, ..machine(faults) }]).await;
        site.write_standin_maintenance();
        site.start();
        let id = site.submit_linux(0, json!({})).await;
        let job = settle(&site, id).await;
        let (state, story) = (site.machines[0].state(), site.story(id).await);
        assert_eq!((state.installs, state.interrupted_installs), (1, 0), "{story}");
        match failure {
            None => assert_eq!(job.status, Status::Succeeded, "{story}"),
            Some(words) => assert!(job.reason.is_some_and(|reason| reason.contains(words)), "{story}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_report_leaves_the_signal() {
    let (site, job) = install(vec![Fault::ReportLost], json!({})).await;
    check_installed(&site, &job, Confidence::Proven, &[MediaSignal, PowerOff]).await;
}

/// The BMC answers for the time after the report, which came while it was asked.
#[tokio::test(start_paused = true)]
async fn a_report_that_comes_while_the_bmc_is_asked_counts_before_the_signal() {
    for millis in [2_000, 5_000, 9_000] {
        let (site, job) = install(vec![Fault::Slow(Duration::from_millis(millis))], json!({})).await;
        let verdict = job.verdict.as_ref().unwrap();
        let seen: Vec<_> = verdict.evidence.iter().map(|evidence| evidence.kind).collect();
        let wanted = [EvidenceKind::TaskReport, EvidenceKind::PowerOff];
        assert_eq!(
            (verdict.confidence, &seen[..]),
            (Some(Confidence::Proven), &wanted[..]),
            "{}",
            site.story(job.id).await
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_report_counts_once() {
    let (site, job) = install(vec![Fault::ReportRepeated], json!({})).await;
    check_installed(&site, &job, Confidence::Proven, &[TaskReport, PowerOff]).await;
    let results = site.events(job.id).await.into_iter().filter(|event| event.op == "task.result").count();
    assert_eq!(results, 1);
}

/// It comes when the host is off already, and no read has shown anything.
#[tokio::test(start_paused = true)]
async fn a_report_that_is_on_its_way_while_the_host_goes_off_still_counts() {
    let late = Fault::ReportLate(Duration::from_secs(20));
    let (site, job) = install(vec![late, Fault::Prefetch], json!({})).await;
    check_installed(&site, &job, Confidence::Proven, &[TaskReport, PowerOff]).await;
    let [report, off] = &job.verdict.as_ref().unwrap().evidence[..] else { unreachable!() };
    assert!(off.at < report.at, "{report:?} {off:?}");
}

#[tokio::test(start_paused = true)]
async fn a_report_after_the_verdict_changes_nothing() {
    let late = Fault::ReportLate(Duration::from_secs(300));
    let (site, job) = install(vec![late], json!({})).await;
    check_installed(&site, &job, Confidence::Proven, &[MediaSignal, PowerOff]).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let later = site.job(job.id).await;
    assert_eq!((later.status, later.verdict, later.last_update), (job.status, job.verdict, job.last_update));
}

#[tokio::test(start_paused = true)]
async fn a_forged_report_is_none() {
    let mut site = site(vec![Fault::ReportForged]).await;
    site.start();
    let id = site.submit_linux(0, json!({})).await;
    let writing = |job: &Job| job.facts.maintenance().progress.as_ref().is_some_and(|p| p.bytes > Some(0));
    let job = site.until(id, writing).await;
    assert_eq!((job.facts.maintenance().result.clone(), job.verdict.clone()), (None, None));
    let job = settle(&site, id).await;
    check_installed(&site, &job, Confidence::Proven, &[TaskReport, PowerOff]).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stays_on_is_restarted_from_its_disk() {
    let (site, job) = install(vec![Fault::GuestStaysOn], json!({})).await;
    let state = check_installed(&site, &job, Confidence::Probable, &[TaskReport]).await;
    assert!(state.resets.contains_key("GracefulShutdown"), "{state:#?}");
    let asked = ["GracefulShutdown", "ForceOff"].map(|reset| state.resets.get(reset).copied());
    assert_eq!(asked, [Some(1), Some(1)], "it is asked once, and then forced: {state:#?}");
}

/// The host's result comes while no controller runs, and its sender waits for the next one.
#[tokio::test(start_paused = true)]
async fn a_controller_that_is_away_at_the_end_judges_by_the_result_all_the_same() {
    for (faults, kinds, minutes) in [
        (vec![], [TaskReport, PowerOff], 30),
        (vec![Fault::Prefetch], [TaskReport, PowerOff], 30),
        (vec![Fault::Prefetch], [TaskReport, PowerOff], 5 * 60),
        (vec![Fault::NoGuestNetwork], [MediaSignal, PowerOff], 30),
    ] {
        let mut site = site(faults).await;
        site.start();
        let id = site.submit_linux(0, json!({})).await;
        site.until(id, |job| job.facts.reset.started_at.is_some()).await;
        tokio::time::sleep(Duration::from_secs(240)).await;
        assert_eq!(site.machines[0].state().guest, "installing");
        site.crash().await;
        tokio::time::sleep(Duration::from_secs(minutes * 60)).await;
        assert_eq!(site.machines[0].state().installs, 1, "it was finished meanwhile");
        site.start();
        let job = settle(&site, id).await;
        check_installed(&site, &job, Confidence::Proven, &kinds).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_in_the_words_of_the_maintenance_system() {
    for faults in [vec![Fault::GuestFails], vec![Fault::GuestFails, Fault::Prefetch]] {
        let (site, job) = install(faults, json!({})).await;
        let words = "the maintenance system failed at write: writing the image failed: I/O error";
        let state = check_failed(&site, &job, words).await;
        assert_eq!(
            (state.power, state.guest),
            ("On", "maintenance_error"),
            "left for inspection: {state:#?}"
        );
        let result = job.facts.maintenance().result.clone().unwrap();
        assert_eq!((result.failed_step.as_deref(), result.log.is_some()), (Some("write"), true));
    }
}

#[tokio::test(start_paused = true)]
async fn the_reads_of_a_host_without_a_network_show_a_failure_too() {
    for faults in [
        vec![Fault::GuestFails, Fault::NoGuestNetwork],
        vec![Fault::GuestFails, Fault::ReportLost],
        vec![Fault::GuestFails, Fault::NoGuestNetwork, Fault::OneCd],
    ] {
        let (site, job) = install(faults, json!({})).await;
        let state = check_failed(&site, &job, "it read the failure signal of its task medium").await;
        assert_eq!((state.power, state.guest), ("On", "maintenance_error"));
    }
}

/// A host that goes off in the middle of the write, and a maintenance system that has reported or is seen to read.
#[tokio::test(start_paused = true)]
async fn a_power_cut_is_no_success() {
    let media = json!({ "completion": "media" });
    for (faults, with) in [
        (vec![Fault::GuestCrashes], json!({})),
        (vec![Fault::GuestCrashes, Fault::NoGuestNetwork], json!({})),
        (vec![Fault::GuestCrashes, Fault::Prefetch], json!({})),
        (vec![Fault::GuestCrashes, Fault::OneCd], json!({})),
        (vec![Fault::GuestCrashes, Fault::OneCd], media.clone()),
        (vec![Fault::GuestCrashes], media),
    ] {
        let (site, job) = install(faults, with).await;
        let state = check_failed(&site, &job, "the host went off without a result").await;
        assert_eq!((state.power, state.installed_image_sha256), ("Off", None));
    }
}

#[tokio::test(start_paused = true)]
async fn another_machine_is_not_touched() {
    let (site, job) = install(vec![Fault::SmbiosDiffers], json!({})).await;
    let words = "failed at dispatcher: this machine has the serial number SIM0001-OTHER";
    let state = check_failed(&site, &job, words).await;
    assert_eq!((state.installs_begun, state.installed_image_sha256), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_maintenance_system_that_hangs_is_given_up_at_the_timeout() {
    let (site, job) = install(vec![Fault::GuestHangs], json!({})).await;
    let state = check_failed(&site, &job, "no result within MAINTENANCE_TIMEOUT").await;
    assert_eq!((state.power, state.guest, state.interrupted_installs), ("On", "installing", 0));
    let started_at = job.facts.reset.started_at.unwrap();
    let ended_after = elapsed(started_at, job.finished_at.unwrap());
    assert!((7200..7500).contains(&ended_after.as_secs()), "{ended_after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_maintenance_iso_that_does_not_boot_or_is_not_seen_has_its_own_reason() {
    let mut site = site(vec![]).await;
    let mut writer = standin_maintenance_writer("quiet");
    writer.file("/boot/grub/grub.cfg", "linux /boot/missing\ninitrd /boot/initrd.img\nboot\n");
    site.write_maintenance_iso(&writer.write().unwrap().image);
    site.start();
    let id = site.submit_linux(0, json!({})).await;
    let job = settle(&site, id).await;
    let state = check_failed(&site, &job, "never read its recipe within MAINTENANCE_BOOT_TIMEOUT").await;
    assert_eq!(state.guest, "boot_error");
    let ended_after = elapsed(job.facts.reset.started_at.unwrap(), job.finished_at.unwrap());
    assert!((1800..2100).contains(&ended_after.as_secs()), "{ended_after:?}");

    let (site, job) = install(vec![Fault::InsertNotSeen(1)], json!({})).await;
    check_failed(&site, &job, "never read the maintenance ISO within MAINTENANCE_BOOT_TIMEOUT").await;
}

#[tokio::test(start_paused = true)]
async fn a_maintenance_iso_at_a_url_is_given_to_the_bmc_as_it_is() {
    let url = "http://images.test/maintenance.iso";
    for (faults, installs) in [(vec![], true), (vec![Fault::OneCd], false)] {
        let mut site = site(faults).await;
        let bytes = standin_maintenance_writer("quiet").write().unwrap().image.to_vec();
        site.network.add("images.test", axum::Router::new().fallback(async || bytes));
        site.setup = Box::new(move |setup| {
            setup.maintenance_iso = Some(InstallerSource::Url(url.parse().unwrap()));
        });
        site.start();
        let id = site.submit_linux(0, json!({})).await;
        if installs {
            site.until(id, |job| job.facts.reset.started_at.is_some()).await;
            assert_eq!(site.machines[0].state().media["CD1"].image.as_deref(), Some(url));
            let job = settle(&site, id).await;
            check_installed(&site, &job, Confidence::Proven, &[TaskReport, PowerOff]).await;
        } else {
            let job = settle(&site, id).await;
            let story = site.story(id).await;
            assert_eq!(job.status, Status::Failed, "{story}");
            assert!(story.contains("one virtual CD drive"), "{story}");
            assert_eq!(site.machines[0].state().starts, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_during_the_installation_lets_it_end() {
    let mut site = site(vec![]).await;
    site.start();
    let id = site.submit_linux(0, json!({})).await;
    site.until(id, |job| job.facts.maintenance().progress.is_some()).await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    let job = settle(&site, id).await;
    let (state, story) = (site.machines[0].state(), site.story(id).await);
    assert_eq!(job.status, Status::Cancelled, "{story}");
    assert_eq!(
        (state.installs, state.interrupted_installs, state.power),
        (1, 0, "Off"),
        "{state:#?}\n{story}"
    );
    check_clean(&state, &story);
}

#[tokio::test(start_paused = true)]
async fn a_forced_cancel_ejects_immediately() {
    let mut site = site(vec![Fault::GuestHangs]).await;
    site.start();
    let id = site.submit_linux(0, json!({})).await;
    site.until(id, |job| job.facts.maintenance().progress.is_some()).await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    site.until(id, |job| job.status == Status::Cancelled).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(site.job(id).await.is_active(), "the media stay while the disk may be written");
    let asked_at = site.world.clock.now();
    site.store.request_cancel(id, Cancel { force: true }).await.unwrap();
    let job = site.until(id, |job| job.cursor.phase == Phase::Done).await;
    let ejected = job.facts.mounts.boot.gone.unwrap();
    assert!(ejected.forced && elapsed(asked_at, ejected.at) < Duration::from_secs(5), "{ejected:?}");
    check_clean(&site.machines[0].state(), &site.story(id).await);
}
