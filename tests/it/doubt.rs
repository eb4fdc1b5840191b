//! Acts whose effect does not show yet: a BMC that is still at an insertion when its controller has
//! gone, and one that starts its host some time after it said that it would.
//!
//! The next controller neither gives up because the BMC is busy, nor takes an empty drive for the end,
//! nor repeats a request that may be under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use shoal::domain::{Cancel, JobId, Status};
use shoal_base::world::HttpRequest;
use shoal_sim::Fault;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::site::{Site, machine};

/// How long the BMC takes for an insertion.
const INSERT: Duration = Duration::from_secs(300);

/// A site whose controller died while its BMC was at the insertion of CD1, which takes `insert`.
async fn site(insert: Duration) -> (Site, JobId) {
    let mut site = Site::new(2, vec![machine(vec![Fault::InsertTask(insert)])]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.facts.mounts.boot.insertions == 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    site.crash().await;
    (site, id)
}

fn is_empty(site: &Site) -> bool {
    site.machines[0].state().media.values().all(|medium| !medium.inserted)
}

#[tokio::test(start_paused = true)]
async fn an_insertion_that_the_bmc_is_still_at_is_waited_for() {
    let (mut site, id) = site(INSERT).await;
    site.start();
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(
        (job.facts.mounts.boot.insertions, job.facts.mounts.task.insertions),
        (1, 1),
        "{}",
        site.story(id).await
    );
    assert_eq!(job.facts.mounts.boot.open_since, None);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_comes_into_its_drive_after_the_cancel_is_ejected_too() {
    let (mut site, id) = site(INSERT).await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    site.start();
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Cancelled, "{}", site.story(id).await);
    tokio::time::sleep(2 * INSERT).await;
    assert!(is_empty(&site), "{}", site.story(id).await);
}

/// REDFISH_INSERT_TIMEOUT is the longest that any insertion takes.
#[tokio::test(start_paused = true)]
async fn a_cancel_does_not_wait_without_end_for_an_image_that_does_not_come() {
    let (mut site, id) = site(Duration::from_secs(86_400)).await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    let asked_at = tokio::time::Instant::now();
    site.start();
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Cancelled, "{}", site.story(id).await);
    assert!(asked_at.elapsed() < Duration::from_secs(1000), "{}", site.story(id).await);
}

#[tokio::test(start_paused = true)]
async fn a_forced_cancel_does_not_wait_for_the_image() {
    let (mut site, id) = site(INSERT).await;
    site.store.request_cancel(id, Cancel { force: true }).await.unwrap();
    let asked_at = tokio::time::Instant::now();
    site.start();
    site.settle(id).await;
    assert!(asked_at.elapsed() < Duration::from_secs(60), "{}", site.story(id).await);
}

/// The BMC accepts the start and acts on it twenty seconds later.
#[tokio::test(start_paused = true)]
async fn a_start_that_does_not_show_immediately_is_not_requested_again() {
    let mut site = Site::new(2, vec![machine(vec![])]).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (network, starts) = (site.world.transport.clone(), asked.clone());
    let slow = tower::service_fn(move |request: HttpRequest| {
        let (network, starts) = (network.clone(), starts.clone());
        async move {
            let is_start = request.uri().path().ends_with("ComputerSystem.Reset");
            if !is_start {
                return network.oneshot(request).await;
            }
            starts.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(20)).await;
                network.oneshot(request).await
            });
            let accepted = http::Response::builder().status(204).body(axum::body::Body::empty());
            Ok(accepted.unwrap())
        }
    });
    site.start_over(BoxCloneSyncService::new(slow));
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "{}", site.story(id).await);
}
