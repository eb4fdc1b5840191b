//! Slots that are shown and accept no image: the next one is tried, reported, and remembered.
//!
//! Invariant: at no moment do two slots hold the same medium of one job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use shoal::domain::{Job, MediaLayout, Status, Step};
use shoal_base::world::{HttpRequest, TransportError, TransportErrorKind};
use shoal_redfish::Quirk;
use shoal_sim::{Fault, SimConfig};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::site::{Site, machine};

fn config(persona: &str, faults: Vec<Fault>) -> SimConfig {
    SimConfig { persona: persona.parse().unwrap(), ..machine(faults) }
}

async fn install(config: SimConfig, recipe: serde_json::Value) -> (Site, Job) {
    let mut site = Site::new(1, vec![config]).await;
    site.start();
    let job = run(&mut site, recipe).await;
    (site, job)
}

async fn run(site: &mut Site, recipe: serde_json::Value) -> Job {
    let id = site.submit(0, recipe).await;
    let mut mounted = site.until(id, |job| job.facts.reset.starts == 1 || !job.is_active()).await;
    if mounted.is_active() {
        let media = site.machines[0].state().media;
        let held: Vec<_> = media.values().filter(|medium| medium.inserted).collect();
        let wanted = if mounted.facts.mounts.layout() == MediaLayout::SingleCd { 1 } else { 2 };
        assert_eq!(held.len(), wanted, "{media:?}");
        mounted = site.settle(id).await;
    }
    mounted
}

fn count_of(story: &str, op: &str) -> usize {
    story.lines().filter(|line| line.contains(op)).count()
}

fn segment(link: &Option<String>) -> &str {
    link.as_deref().and_then(|link| link.rsplit('/').next()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_refuses_for_its_own_sake_gives_way_to_the_next() {
    for status in [400, 405, 409, 500] {
        let (site, job) = install(config("x13", vec![Fault::FirstSlotRefuses(status)]), json!({})).await;
        let story = site.story(job.id).await;
        assert_eq!(
            (job.status, job.facts.mounts.layout()),
            (Status::Succeeded, MediaLayout::DualCd),
            "{status} {story}"
        );
        let slots = [segment(&job.facts.mounts.boot.slot), segment(&job.facts.mounts.task.slot)];
        assert_eq!(slots, ["VirtualMedia3", "VirtualMedia2"], "{status}: the second medium keeps its slot");
        assert_eq!(count_of(&story, "media.slot"), 1, "{story}");
        assert!(story.contains("VirtualMedia1 does not take the image"), "{story}");
        let state = site.machines[0].state();
        assert_eq!((state.installs, state.starts), (1, 1), "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_refused_is_remembered_beyond_the_controller() {
    let (mut site, job) = install(config("x13", vec![Fault::FirstSlotRefuses(405)]), json!({})).await;
    assert_eq!(job.facts.mounts.boot.insertions, 2);
    let server = site.store.server(&job.server).await.unwrap().unwrap();
    let memory = site.store.load_bmc_memory(&server).await.unwrap();
    assert_eq!(memory.firmware.as_deref(), Some("11.01.01"));
    let sentences = memory.sentences();
    assert!(sentences.contains(&"no image goes into VirtualMedia1".to_owned()), "{sentences:?}");
    assert!(
        sentences.iter().any(|line| line.starts_with("boot: UsbCd on the System with the mode")),
        "{sentences:?}"
    );
    site.shut_down().await;
    site.start();
    let job = run(&mut site, json!({ "allow_powered_on": true })).await;
    let story = site.story(job.id).await;
    assert_eq!((job.status, slot_events(&story)), (Status::Succeeded, 0), "{story}");
    assert_eq!(segment(&job.facts.mounts.boot.slot), "VirtualMedia2");
}

/// It may be free at the next job, which asks it again and counts it as a drive.
#[tokio::test(start_paused = true)]
async fn a_slot_that_is_occupied_is_not_remembered_to_refuse() {
    for (status, remembered) in [(409, vec![]), (500, vec![]), (400, vec!["CD1"])] {
        let faults = vec![Fault::FirstSlotRefuses(status)];
        let (mut site, job) = install(config("generic", faults), json!({})).await;
        assert_eq!(
            (job.status, job.facts.mounts.layout()),
            (Status::Succeeded, MediaLayout::SingleCd),
            "{status}"
        );
        let server = site.store.server(&job.server).await.unwrap().unwrap();
        let memory = site.store.load_bmc_memory(&server).await.unwrap();
        let refusing: Vec<&str> = memory.refusing.iter().filter_map(|link| link.rsplit('/').next()).collect();
        assert_eq!(refusing, remembered, "{status}");
        let job = run(&mut site, json!({ "allow_powered_on": true })).await;
        let asked_again = slot_events(&site.story(job.id).await) == 1;
        assert_eq!((job.status, asked_again), (Status::Succeeded, remembered.is_empty()), "{status}");
    }
}

fn slot_events(story: &str) -> usize {
    count_of(story, "media.slot")
}

#[tokio::test(start_paused = true)]
async fn two_drives_of_which_one_takes_images_are_one_drive() {
    let refusing = || vec![Fault::FirstSlotRefuses(400)];
    let (site, job) = install(config("generic", refusing()), json!({})).await;
    let story = site.story(job.id).await;
    assert_eq!(
        (job.status, job.facts.mounts.layout()),
        (Status::Succeeded, MediaLayout::SingleCd),
        "{story}"
    );
    assert_eq!(segment(&job.facts.mounts.boot.slot), "CD2");
    let (site, job) = install(config("generic", refusing()), json!({ "media_layout": "dual-cd" })).await;
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::MountMaintenance)));
    assert!(job.reason.as_deref().unwrap().contains("ActionNotSupported"), "{:?}", job.reason);
    let state = site.machines[0].state();
    assert!(state.starts == 0 && state.media.values().all(|medium| !medium.inserted), "{state:?}");
}

/// Without the quirk that passes them over: three slots refuse each medium, and the job goes on.
#[tokio::test(start_paused = true)]
async fn slots_that_a_bmc_keeps_for_itself_are_found_out_one_by_one() {
    let mut site = Site::new(1, vec![config("xcc", vec![])]).await;
    site.quirks_off = vec![Quirk::ReservedSlots];
    site.start();
    let job = run(&mut site, json!({})).await;
    let story = site.story(job.id).await;
    assert_eq!((job.status, job.facts.mounts.layout()), (Status::Succeeded, MediaLayout::DualCd), "{story}");
    let slots = [segment(&job.facts.mounts.boot.slot), segment(&job.facts.mounts.task.slot)];
    assert!(slots.iter().all(|slot| slot.starts_with("EXT")) && slots[0] != slots[1], "{slots:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bmc_whose_slots_all_refuse_is_given_up_immediately() {
    let mut refusing = config("xcc", vec![]);
    refusing.persona.media.drives = &refusing.persona.media.drives[..3];
    let mut site = Site::new(1, vec![refusing]).await;
    site.quirks_off = vec![Quirk::ReservedSlots];
    site.start();
    let job = run(&mut site, json!({})).await;
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::MountMaintenance)));
    assert_eq!(job.facts.mounts.boot.refused.len(), 2, "{}", site.story(job.id).await);
    assert_eq!(site.machines[0].state().starts, 0);
}

/// iDRACs do so (ironic).
#[tokio::test(start_paused = true)]
async fn an_insert_too_soon_after_an_eject_is_tried_again() {
    let faults = vec![Fault::MediaLeft, Fault::Insert500AfterEject(std::time::Duration::from_secs(8))];
    let mut slow = config("idrac9", faults);
    slow.timings.post = std::time::Duration::from_secs(120);
    let (site, job) = install(slow, json!({})).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(job.id).await);
    assert!(site.machines[0].struck().contains_key("insert-500-after-eject"));
}

/// The eject between two insertions does not reach the BMC.
#[tokio::test(start_paused = true)]
async fn a_slot_that_still_holds_the_jobs_earlier_image_is_emptied_before_another_is_tried() {
    let mut site = Site::new(1, vec![config("x13", vec![Fault::SecondCdRefused])]).await;
    let lost = Arc::new(AtomicBool::new(false));
    let (network, once) = (site.world.transport.clone(), lost.clone());
    let transport = BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
        let network = network.clone();
        let is_eject = request.uri().path().ends_with("VirtualMedia1/Actions/VirtualMedia.EjectMedia");
        let loses = is_eject && !once.swap(true, Ordering::Relaxed);
        async move {
            if loses {
                return Err(TransportError::new(TransportErrorKind::Broken));
            }
            network.oneshot(request).await
        }
    }));
    site.start_on(site.store.clone(), transport);
    let job = run(&mut site, json!({})).await;
    let story = site.story(job.id).await;
    assert!(lost.load(Ordering::Relaxed), "{story}");
    assert_eq!(
        (job.status, job.facts.mounts.layout()),
        (Status::Succeeded, MediaLayout::SingleCd),
        "{story}"
    );
    assert_eq!(segment(&job.facts.mounts.boot.slot), "VirtualMedia1", "{story}");
    assert!(site.machines[0].state().media.values().all(|medium| !medium.inserted), "{story}");
}
