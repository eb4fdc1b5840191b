//! Acts whose effect does not show yet: a BMC that is still at an insertion when its controller has
//! gone, and one that starts its host some time after it said that it would.
//!
//! The next controller neither gives up because the BMC is busy, nor takes an empty drive for the end,
//! nor repeats a request that may be under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use shoal::domain::{Cancel, JobId, Phase, Status};
use shoal_base::world::{HttpResponse, TransportError};
use shoal_sim::{Fault, SimConfig};

use crate::site::{Site, machine};
use crate::struck::{answered, done_later, lost, reported_in_use, struck};

type Answer = fn() -> Result<HttpResponse, TransportError>;

/// How long the BMC takes for an insertion.
const INSERT: Duration = Duration::from_secs(300);
const INSERT_ACTION: &str = "VirtualMedia.InsertMedia";
const FIRST_INSERT: &str = "CD1/Actions/VirtualMedia.InsertMedia";

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

/// It succeeded with one insertion of each medium, and nothing is left.
async fn check_one_insertion_each(site: &Site, id: JobId) {
    let (job, story) = (site.settle(id).await, site.story(id).await);
    assert_eq!(job.status, Status::Succeeded, "{story}");
    let mounts = &job.facts.mounts;
    assert_eq!((mounts.boot.insertions, mounts.task.insertions), (1, 1), "{story}");
    assert_eq!((mounts.boot.open_since, &mounts.boot.left_open), (None, &vec![]), "{story}");
    assert!(is_empty(site), "{story}");
}

#[tokio::test(start_paused = true)]
async fn an_insertion_that_the_bmc_is_still_at_is_waited_for() {
    for clock_ahead in [Duration::ZERO, Duration::from_secs(2 * 3600)] {
        let (mut site, id) = site(INSERT).await;
        site.world.clock.set_ahead(clock_ahead);
        site.start();
        check_one_insertion_each(&site, id).await;
    }
}

/// The last one's failure says nothing of the one before, at which the BMC still is.
#[tokio::test(start_paused = true)]
async fn an_insertion_that_failed_does_not_hide_an_open_one() {
    let (mut site, id) = site(INSERT).await;
    let network = struck(&site.world.transport, INSERT_ACTION, 1, |_| async { answered(500) });
    site.start_over(network);
    let (job, story) = (site.settle(id).await, site.story(id).await);
    assert_eq!(job.status, Status::Succeeded, "{story}");
    assert_eq!(job.facts.mounts.boot.insertions, 3, "the lost one, the failed one, and another\n{story}");
    assert!(is_empty(&site), "{story}");
}

/// A site whose BMC is at the first insertion for so long, has lost the answer to it, and answers all
/// others into that slot like this.
async fn unclear_site(takes: Duration, others: Answer) -> (Site, JobId) {
    let mut site = Site::new(2, vec![machine(vec![])]).await;
    let network = site.world.transport.clone();
    let refused = struck(&network, FIRST_INSERT, usize::MAX, move |_| async move { others() });
    site.start_over(struck(&refused, FIRST_INSERT, 1, done_later(network, takes, lost)));
    let id = site.submit(0, json!({})).await;
    (site, id)
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_refuses_during_an_open_insertion_is_not_given_up() {
    for others in [(|| answered(400)) as Answer, reported_in_use] {
        let (site, id) = unclear_site(Duration::from_secs(25), others).await;
        check_one_insertion_each(&site, id).await;
    }
}

/// The BMC takes longer than any insertion may, so that another slot gets the image; the first copy comes later.
#[tokio::test(start_paused = true)]
async fn a_slot_that_the_medium_was_moved_away_from_is_emptied_too() {
    let (site, id) = unclear_site(Duration::from_secs(1000), || answered(400)).await;
    let (job, story) = (site.settle(id).await, site.story(id).await);
    assert_eq!(job.status, Status::Succeeded, "{story}");
    let boot = &job.facts.mounts.boot;
    assert_eq!((boot.refused.len(), &boot.left_open), (1, &vec![]), "{story}");
    tokio::time::sleep(4 * INSERT).await;
    assert!(is_empty(&site), "{story}");
}

/// AMI's firmware says that it has inserted an image, and shows it minutes later.
#[tokio::test(start_paused = true)]
async fn an_accepted_image_that_shows_after_the_cancel_is_ejected_too() {
    let mut site = Site::new(2, vec![machine(vec![])]).await;
    let network = site.world.transport.clone();
    let late = done_later(network.clone(), Duration::from_secs(120), || answered(204));
    site.start_over(struck(&network, INSERT_ACTION, 1, late));
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.intent.as_ref().is_some_and(|intent| intent.receipt_at.is_some())).await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Cancelled, "{}", site.story(id).await);
    tokio::time::sleep(INSERT).await;
    assert!(is_empty(&site), "{}", site.story(id).await);
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

/// The cleanup is taken up by another controller, whose clock was set ahead.
#[tokio::test(start_paused = true)]
async fn an_image_that_comes_into_its_drive_after_a_restart_of_the_cleanup_is_ejected_too() {
    let (mut site, id) = site(INSERT).await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    site.start();
    site.until(id, |job| job.cursor.phase == Phase::Cleanup).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    site.crash().await;
    site.world.clock.set_ahead(Duration::from_secs(2 * 3600));
    site.start();
    site.settle(id).await;
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
async fn a_forced_cancel_does_not_wait_for_the_image_and_says_so() {
    let (mut site, id) = site(INSERT).await;
    site.store.request_cancel(id, Cancel { force: true }).await.unwrap();
    let asked_at = tokio::time::Instant::now();
    site.start();
    let job = site.settle(id).await;
    assert!(asked_at.elapsed() < Duration::from_secs(60), "{}", site.story(id).await);
    let reason = job.reason_now().unwrap();
    assert!(reason.contains("the installer has not been seen ejected from"), "{reason}");
    assert!(reason.contains("shoal server release"), "{reason}");
}

/// The BMC accepts the start and acts on it twenty seconds later.
#[tokio::test(start_paused = true)]
async fn a_start_that_does_not_show_immediately_is_not_requested_again() {
    let mut site = Site::new(2, vec![machine(vec![])]).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (network, starts) = (site.world.transport.clone(), asked.clone());
    let accepted = move || {
        starts.fetch_add(1, Ordering::SeqCst);
        answered(204)
    };
    let late = done_later(network.clone(), Duration::from_secs(20), accepted);
    let slow = struck(&network, "ComputerSystem.Reset", usize::MAX, late);
    site.start_over(slow);
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "{}", site.story(id).await);
}

/// An iDRAC is at the import that arms the boot when the job is cancelled, and refuses another one meanwhile.
#[tokio::test(start_paused = true)]
async fn an_import_that_the_bmc_is_still_at_is_taken_back() {
    const IMPORT: &str = "ImportSystemConfiguration";
    let persona = "idrac8".parse().unwrap();
    let mut site = Site::new(2, vec![SimConfig { persona, ..machine(vec![]) }]).await;
    let network = site.world.transport.clone();
    // This persona is busy with something else at first.
    let bmc = crate::quirks::client(&site, vec![]);
    let system = bmc.observe_systems().await.unwrap().remove(0);
    bmc.request_boot_disarm(&system, None).await.unwrap();
    let busy = struck(&network, IMPORT, 5, |_| async { answered(409) });
    let late = done_later(network, Duration::from_secs(10), lost);
    site.start_over(struck(&busy, IMPORT, 1, late));
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.failing_since.is_some()).await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    let job = site.settle(id).await;
    let story = site.story(id).await;
    assert_eq!((job.status, job.facts.override_armed), (Status::Cancelled, false), "{story}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let system = bmc.observe_system(&system.link).await.unwrap();
    assert!(!bmc.observe_boot_armed(&system, None).await.unwrap(), "{story}");
}
