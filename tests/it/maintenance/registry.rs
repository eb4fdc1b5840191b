//! Jobs whose image is in a registry: the host downloads it through the controller.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use shoal::domain::{Confidence, EvidenceKind, Job, JobId, Status, Step};

use super::{check_clean, settle, site};
use crate::registry::fake::{FakeRegistry, LoginDemand, digest};
use crate::site::Site;

const LOGIN: &str = "Y2k6cGxhbnRlZC1wYXNzd29yZA==";

/// A registry whose tokens are good for one request, and whose connections break.
async fn begin(layer: &Bytes) -> (Site, FakeRegistry, JobId) {
    let mut site = site(vec![]).await;
    let registry = FakeRegistry::with("12", layer);
    {
        let mut state = registry.state();
        state.door = LoginDemand::Bearer { realm: "https://reg.test/token".to_owned(), login: Some(LOGIN) };
        (state.token_uses, state.breaks_after) = (Some(1), Some(100_000));
    }
    site.network.add("reg.test", registry.router());
    let file = site.dir.path().join("auth.json");
    std::fs::write(&file, json!({ "auths": { "reg.test": { "auth": LOGIN } } }).to_string()).unwrap();
    site.registries.auth_file = Some(file);
    site.start();
    let id = site.submit_linux(0, json!({ "image": null, "oci_url": "reg.test/images/debian:12" })).await;
    (site, registry, id)
}

fn layer() -> Bytes {
    (0..400_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>().into()
}

/// While the registry is down, the host tries again, and a controller that starts anew serves the rest.
#[tokio::test(start_paused = true)]
async fn a_host_downloads_its_image_through_the_controller_and_never_sees_a_login() {
    let (mut site, registry, id) = begin(&layer()).await;
    let is_written = |job: &Job| job.cursor.step == Step::AwaitWebhook;
    site.until(id, is_written).await;
    registry.state().status = Some((StatusCode::SERVICE_UNAVAILABLE, ""));
    let is_reported = |job: &Job| job.facts.maintenance().image_fault.is_some();
    let job = site.until(id, is_reported).await;
    let fault = job.facts.maintenance().image_fault.clone().unwrap();
    assert!(fault.starts_with("registry reg.test answers 503"), "{fault}");
    let [iso] = &site.task_isos()[..] else { unreachable!() };
    let iso = std::fs::read(site.dir.path().join("task-isos").join(iso)).unwrap();
    let holds = |text: &str| iso.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("/media/images/") && !holds(LOGIN) && !holds("planted") && !holds("reg.test"));
    site.crash().await;
    registry.state().status = None;
    site.start();
    let job = settle(&site, id).await;
    let (state, story) = (site.machines[0].state(), site.story(id).await);
    assert_eq!(job.status, Status::Succeeded, "{state:#?}\n{story}");
    let verdict = job.verdict.as_ref().unwrap();
    let seen: Vec<_> = verdict.evidence.iter().map(|evidence| evidence.kind).collect();
    let expected = [EvidenceKind::TaskReport, EvidenceKind::PowerOff];
    assert_eq!((verdict.confidence, seen.as_slice()), (Some(Confidence::Proven), &expected[..]), "{story}");
    let installed = state.installed_image_sha256.clone().map(|sha256| format!("sha256:{sha256}"));
    assert_eq!(installed, Some(digest(&layer())));
    check_clean(&state, &story);
    assert!(!story.contains("planted") && !story.contains(LOGIN), "{story}");
    let hosts = registry.state().seen.clone();
    assert!(hosts.iter().all(|request| request.url.starts_with("https://reg.test/")), "{hosts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_stays_away_fails_the_installation_with_its_reason() {
    let (site, registry, id) = begin(&layer()).await;
    site.until(id, |job| job.cursor.step == Step::AwaitWebhook).await;
    registry.state().blobs.clear();
    let job = settle(&site, id).await;
    let (state, story) = (site.machines[0].state(), site.story(id).await);
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::AwaitWebhook)), "{story}");
    assert!(story.contains("failed at image: the image cannot be read, or has another SHA-256"), "{story}");
    assert!(story.contains("registry reg.test has no layer sha256:"), "{story}");
    let faults = site.events(id).await.into_iter().filter(|event| event.op == "image.serve").count();
    assert_eq!(faults, 1, "the same reason is reported once: {story}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(state.installs, 0);
}
