//! Layouts: two CDs where there are two, everything on one where there is one, or where the second
//! turns out to be none; a USB stick beside the CD on request.

use std::time::Duration;

use serde_json::json;
use shoal::domain::{Confidence, Job, MediaLayout, Status, Step};
use shoal_sim::Fault;

use crate::site::{Site, machine};

async fn install(faults: Vec<Fault>, recipe: serde_json::Value) -> (Site, Job) {
    let mut config = machine(faults);
    config.timings.install = Duration::from_secs(200);
    let mut site = Site::new(1, vec![config]).await;
    site.start();
    let id = site.submit(0, recipe).await;
    let job = site.settle(id).await;
    (site, job)
}

/// The job has installed its host by that layout, to that confidence, and left nothing.
async fn check(faults: Vec<Fault>, recipe: serde_json::Value, layout: MediaLayout, confidence: Confidence) {
    let (site, job) = install(faults, recipe).await;
    let story = site.story(job.id).await;
    assert_eq!(job.status, Status::Succeeded, "{story}");
    assert_eq!(job.facts.mounts.layout(), layout, "{story}");
    assert_eq!(job.verdict.as_ref().unwrap().confidence, Some(confidence), "{story}");
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.interrupted_installs), (1, 0), "{state:?}");
    assert!(state.media.values().all(|medium| !medium.inserted), "{state:?}");
    assert!(
        story.contains(&format!("media layout {}", layout.name())) || story.contains("media.layout"),
        "{story}"
    );
}

const SILENT: [Fault; 2] = [Fault::NoBootProgress, Fault::NoLastResetTime];

fn with(more: &[Fault]) -> Vec<Fault> {
    [vec![Fault::OneCd], more.to_vec()].concat()
}

#[tokio::test(start_paused = true)]
async fn one_cd_carries_installer_and_kickstart() {
    let single = MediaLayout::SingleCd;
    check(with(&[]), json!({}), single, Confidence::Probable).await;
    // The trace alone: the firmware looks at the CD again.
    let noeject = "vmaccepteula\ninstall --firstdisk\nreboot --noeject\n";
    check(with(&SILENT), json!({ "ks_cfg": noeject }), single, Confidence::Probable).await;
    check(with(&SILENT), json!({ "completion_hook": "poweroff" }), single, Confidence::Proven).await;
    check(with(&[Fault::LegacyBoot]), json!({}), single, Confidence::Probable).await;
    check(with(&[Fault::Prefetch]), json!({}), single, Confidence::Probable).await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_one_cd_gets_it_on_a_bmc_with_two() {
    check(vec![], json!({ "media_layout": "single-cd" }), MediaLayout::SingleCd, Confidence::Probable).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_drive_that_is_none_is_given_up_for_one() {
    for fault in [Fault::SecondCdRefused, Fault::SecondCdReplaces] {
        check(vec![fault], json!({}), MediaLayout::SingleCd, Confidence::Probable).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_two_cds_is_refused_with_a_reason() {
    let dual = || json!({ "media_layout": "dual-cd" });
    let (site, job) = install(vec![Fault::OneCd], dual()).await;
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::ResolveServer)));
    assert!(job.reason.unwrap().contains("use auto or single-cd"));
    assert_eq!(site.machines[0].state().starts, 0);
    for fault in [Fault::SecondCdRefused, Fault::SecondCdReplaces] {
        let (site, job) = install(vec![fault.clone()], dual()).await;
        assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::MountTask)), "{fault}");
        let state = site.machines[0].state();
        assert!(state.starts == 0 && state.media.values().all(|medium| !medium.inserted), "{state:?}");
    }
}

fn by_stick(more: serde_json::Value) -> serde_json::Value {
    let mut recipe = json!({ "media_layout": "cd-usb" });
    recipe.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    recipe
}

#[tokio::test(start_paused = true)]
async fn a_usb_stick_carries_the_kickstart_beside_one_cd() {
    let stick = MediaLayout::CdUsb;
    check(with(&[]), by_stick(json!({})), stick, Confidence::Probable).await;
    let noeject = "vmaccepteula\ninstall --firstdisk\nreboot --noeject\n";
    check(with(&SILENT), by_stick(json!({ "ks_cfg": noeject })), stick, Confidence::Probable).await;
    let hook = || by_stick(json!({ "completion_hook": "poweroff" }));
    check(with(&SILENT), hook(), stick, Confidence::Proven).await;
    // The host's reads of a medium that its BMC has downloaded are not seen.
    check(with(&[Fault::Prefetch]), hook(), stick, Confidence::Probable).await;
    check(with(&[Fault::LegacyBoot]), by_stick(json!({})), stick, Confidence::Probable).await;
}

#[tokio::test(start_paused = true)]
async fn a_stick_is_served_as_a_disk_and_read_by_its_host() {
    let mut site = Site::new(1, vec![machine(with(&[]))]).await;
    site.start();
    let id = site.submit(0, by_stick(json!({ "completion_hook": "poweroff" }))).await;
    let job = site.until(id, |job| job.facts.reset.starts == 1).await;
    let media = site.machines[0].state().media;
    let ends = |slot: &str, ending: &str| media[slot].image.as_ref().unwrap().ends_with(ending);
    assert!(ends("CD1", "/esxi.iso") && ends("USB1", "/task.img"), "{media:?}");
    assert_eq!(site.task_isos(), [format!("{id}.img")]);
    assert!(job.facts.mounts.task.slot.as_ref().unwrap().ends_with("/USB1"));
    let job = site.settle(id).await;
    let evidence = job.verdict.unwrap().evidence;
    let kinds: Vec<&str> = evidence.iter().map(|evidence| evidence.kind.name()).collect();
    assert!(kinds.contains(&"installer_hook") && kinds.contains(&"kickstart_read"), "{kinds:?}");
    let seen = site.store.load_trace(id, "task").await.unwrap().unwrap();
    assert!(seen.ks_read_at.is_some() && seen.nonce_read_at > seen.ks_read_at, "{seen:?}");
    assert!(
        seen.read < 1 << 20 && !seen.nonce_copied,
        "the host reads tables and files, not the zeros: {seen:?}"
    );
    let story = site.story(id).await;
    for sentence in [
        "USB stick with the kickstart mounted in slot USB1",
        "for a kickstart on a USB stick mounted in slot CD1",
    ] {
        assert!(story.contains(sentence), "{story}");
    }
    assert_eq!(site.task_isos(), Vec::<String>::new(), "gone with its job");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_stick_is_refused_with_a_reason() {
    let (site, job) = install(vec![], by_stick(json!({}))).await;
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::ResolveServer)));
    let reason = job.reason.unwrap();
    assert!(reason.contains("offers no such pair") && reason.contains("CD2"), "{reason}");
    assert_eq!(site.machines[0].state().starts, 0);
    for fault in [Fault::SecondCdRefused, Fault::SecondCdReplaces] {
        let (site, job) = install(with(std::slice::from_ref(&fault)), by_stick(json!({}))).await;
        assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::MountTask)), "{fault}");
        let state = site.machines[0].state();
        assert!(state.starts == 0 && state.media.values().all(|medium| !medium.inserted), "{state:?}");
    }
}

/// A controller that takes such a job up serves the same image at the same URL.
#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_layout() {
    for (faults, recipe) in [(vec![Fault::SecondCdRefused], json!({})), (with(&[]), by_stick(json!({})))] {
        let mut site = Site::new(1, vec![machine(faults)]).await;
        site.start();
        let id = site.submit(0, recipe).await;
        site.until(id, |job| job.facts.reset.starts == 1).await;
        site.crash().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        site.start();
        let job = site.settle(id).await;
        assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
        let state = site.machines[0].state();
        assert_eq!((state.installs, state.starts), (1, 1), "{state:?}");
    }
}
