//! Images that the controller hosts and CD2 carries: the simulated maintenance system reads every byte of them there.

use std::time::Duration;

use serde_json::{Value, json};
use shoal::domain::{Confidence, EvidenceKind, Job, MediaMode, Status};
use shoal_base::world::Transport;
use shoal_image::iso::{TreeKind, Volume};
use shoal_recipe::{TaskImageLocation, TaskRecipe};
use shoal_sim::Fault;
use tower::ServiceExt;

use super::{check_clean, check_failed, settle, site};
use crate::site::{CONTROLLER, Site};
use EvidenceKind::{MediaSignal, PowerOff, TaskReport};

/// Not a multiple of any piece, and without a pattern that repeats.
fn image() -> Vec<u8> {
    (0..3_000_001_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn on_media(sha256: &str) -> Value {
    json!({ "image": { "sha256": sha256, "source": "media" } })
}

async fn install(faults: Vec<Fault>, with: Value) -> (Site, Job, String) {
    let mut site = site(faults).await;
    let sha256 = site.add_image(&image(), "linux").await;
    site.start();
    let mut recipe = on_media(&sha256);
    for (key, value) in with.as_object().unwrap() {
        recipe[key] = value.clone();
    }
    let id = site.submit_linux(0, recipe).await;
    let job = settle(&site, id).await;
    (site, job, sha256)
}

async fn check_installed(faults: Vec<Fault>, with: Value, confidence: Confidence, kinds: &[EvidenceKind]) {
    let (site, job, sha256) = install(faults, with).await;
    let (state, story) = (site.machines[0].state(), site.story(job.id).await);
    assert_eq!(job.status, Status::Succeeded, "{state:#?}\n{story}");
    let verdict = job.verdict.as_ref().unwrap();
    let seen: Vec<_> = verdict.evidence.iter().map(|evidence| evidence.kind).collect();
    assert_eq!((verdict.confidence, seen.as_slice()), (Some(confidence), kinds), "{story}");
    assert_eq!(state.installed_image_sha256.as_deref(), Some(sha256.as_str()), "{story}");
    assert_eq!((state.guest, state.installs, state.interrupted_installs), ("installed", 1, 0));
    check_clean(&state, &story);
}

#[tokio::test(start_paused = true)]
async fn it_installs_without_a_network_on_each_layout_and_the_reads_are_proof() {
    let single = json!({ "media_layout": "single-cd" });
    for (faults, with) in [
        (vec![Fault::NoGuestNetwork], json!({})),
        (vec![Fault::NoGuestNetwork, Fault::OneCd], single.clone()),
        (vec![Fault::NoGuestNetwork], single),
        (vec![Fault::NoGuestNetwork, Fault::OneCd], json!({ "media_layout": "cd-usb" })),
        (vec![Fault::NoGuestNetwork, Fault::LegacyBoot], json!({ "completion": "media" })),
    ] {
        check_installed(faults, with, Confidence::Proven, &[MediaSignal, PowerOff]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_installs_from_media_that_the_bmc_copies() {
    check_installed(vec![Fault::Prefetch], json!({}), Confidence::Proven, &[TaskReport, PowerOff]).await;
    let faults = vec![Fault::Prefetch, Fault::OneCd];
    check_installed(faults, json!({}), Confidence::Proven, &[TaskReport, PowerOff]).await;
}

/// A recipe that names a URL too is not fetched from there.
#[tokio::test(start_paused = true)]
async fn the_hosted_copy_of_an_image_at_a_url_is_carried() {
    let mut site = site(vec![Fault::NoGuestNetwork]).await;
    let sha256 = site.add_image(&image(), "linux").await;
    site.start();
    let image = json!({ "url": "https://images.test/a", "sha256": sha256, "source": "media" });
    let id = site.submit_linux(0, json!({ "image": image })).await;
    settle(&site, id).await;
    assert_eq!(site.machines[0].state().installed_image_sha256, Some(sha256));
}

#[tokio::test(start_paused = true)]
async fn a_failure_half_way_is_reported_by_a_read_beside_the_image() {
    let (site, job, _) = install(vec![Fault::GuestFails, Fault::NoGuestNetwork], json!({})).await;
    check_failed(&site, &job, "it read the failure signal of its task medium").await;
}

/// Bytes that rot on the controller's disk are noticed by the host.
#[tokio::test(start_paused = true)]
async fn another_image_than_the_recipe_says_is_not_installed() {
    let mut site = site(vec![]).await;
    let sha256 = site.add_image(&image(), "linux").await;
    let path = site.dir.path().join(format!("images/{sha256}.img"));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, [&image()[1..], b"x"].concat()).unwrap();
    site.start();
    for source in ["media", "network"] {
        let image = json!({ "sha256": sha256, "source": source });
        let id = site.submit_linux(0, json!({ "image": image, "allow_powered_on": true })).await;
        let job = settle(&site, id).await;
        let story = site.story(id).await;
        assert_eq!(job.status, Status::Failed, "{story}");
        assert!(story.contains("the maintenance system failed at image"), "{story}");
        assert_eq!(site.machines[0].state().installed_image_sha256, None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_gone_fails_the_job_before_its_host_is_touched() {
    let mut site = site(vec![]).await;
    site.start();
    let id = site.submit_linux(0, on_media(&"ab".repeat(32))).await;
    let job = settle(&site, id).await;
    let story = site.story(id).await;
    assert_eq!((job.status, site.machines[0].state().starts), (Status::Failed, 0), "{story}");
    assert!(story.contains("the controller hosts no image"), "{story}");
}

/// Ranges of the image's file are served while it is read, and again after a restart.
#[tokio::test(start_paused = true)]
async fn a_restart_while_the_image_is_read_changes_nothing() {
    let mut site = site(vec![Fault::NoGuestNetwork]).await;
    let sha256 = site.add_image(&image(), "linux").await;
    site.start();
    let id = site.submit_linux(0, on_media(&sha256)).await;
    let half = |job: &Job| job.facts.reset.started_at.is_some_and(|_| job.facts.maintenance().polls > 20);
    site.until(id, half).await;
    assert_eq!(site.machines[0].state().guest, "installing");
    site.crash().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    site.start();
    let job = settle(&site, id).await;
    let story = site.story(id).await;
    assert_eq!(job.status, Status::Succeeded, "{story}");
    assert_eq!(site.machines[0].state().installed_image_sha256, Some(sha256));
    let traces = site.store.load_trace(id, "task").await.unwrap().unwrap();
    assert_eq!((traces.mode, traces.ks_read_again_at), (MediaMode::Streamed, None));
    assert!(traces.read > 3_000_000 && traces.failure_read_at.is_none(), "{traces:?}");
}

/// What operators find in TASK_ISO_DIR is small, and what is served is whole.
#[tokio::test(start_paused = true)]
async fn the_saved_task_iso_ends_where_the_image_begins() {
    let mut site = site(vec![]).await;
    let sha256 = site.add_image(&image(), "linux").await;
    site.start();
    let id = site.submit_linux(0, on_media(&sha256)).await;
    site.until(id, |job| job.facts.mounts.task.slot.is_some()).await;
    let [name] = &site.task_isos()[..] else { panic!("one") };
    let saved = std::fs::File::open(site.dir.path().join("task-isos").join(name)).unwrap();
    assert!(saved.metadata().unwrap().len() < 30 << 20);
    let volume = Volume::open(&saved).unwrap();
    let listed = volume.list(&saved, TreeKind::Joliet, "/").unwrap();
    let part = listed.iter().find(|entry| entry.name == "image.000").unwrap();
    assert_eq!(part.size(), 3_000_001);
    assert!(part.extent.start >= saved.metadata().unwrap().len());
    let url = site.machines[0].state().media["CD2"].image.clone().unwrap();
    let served = get(&site.world.transport, &url, part.extent.clone()).await;
    assert!(served == image(), "{CONTROLLER}");
}

/// The host downloads it from the controller, under a URL of the job's own, and may continue where it was.
#[tokio::test(start_paused = true)]
async fn a_hosted_image_is_served_to_the_host_while_the_job_goes_on() {
    let mut site = site(vec![]).await;
    let sha256 = site.add_image(&image(), "linux").await;
    site.start();
    let id = site.submit_linux(0, json!({ "image": { "sha256": sha256 } })).await;
    site.until(id, |job| job.facts.maintenance().progress.is_some()).await;
    let saved = std::fs::read(site.dir.path().join("task-isos").join(&site.task_isos()[0])).unwrap();
    let volume = Volume::open(&saved).unwrap();
    let entry = volume.find(&saved, TreeKind::Joliet, "recipe.json").unwrap().unwrap();
    let recipe = TaskRecipe::parse(&volume.read(&saved, &entry, 1 << 20).unwrap()).unwrap();
    let TaskImageLocation::Url(url) = &recipe.image.location else { panic!("{recipe:?}") };
    assert!(url.as_str().starts_with(&format!("http://{CONTROLLER}/media/images/{id}.")), "{url}");
    assert_eq!((recipe.image.sha256.to_string(), recipe.image.size), (sha256.clone(), Some(3_000_001)));
    for range in [0..3_000_001, 1_000_000..3_000_001, 2_999_999..3_000_000] {
        let whole = image();
        let found = get(&site.world.transport, url.as_str(), range.clone()).await;
        assert!(found == whole[range.start as usize..range.end as usize], "{range:?}");
    }
    site.crash().await;
    site.start();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(get(&site.world.transport, url.as_str(), 0..3_000_001).await == image(), "after a restart");
    let job = settle(&site, id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(site.machines[0].state().installed_image_sha256, Some(sha256), "it has downloaded all of it");
    assert!(get(&site.world.transport, url.as_str(), 0..100).await != image()[..100], "gone with the job");
}

async fn get(transport: &Transport, url: &str, range: std::ops::Range<u64>) -> Vec<u8> {
    use http_body_util::BodyExt;
    let range = format!("bytes={}-{}", range.start, range.end - 1);
    let request = http::Request::get(url).header("range", range).body(bytes::Bytes::new()).unwrap();
    let response = transport.clone().oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}
