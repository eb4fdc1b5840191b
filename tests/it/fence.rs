//! Two controllers and one job: the one that lost the lease, or cannot renew it, stops its requests to the BMC
//! before another can begin, and the one that takes the job over resumes it where it was.
//!
//! In memory, since a file has one controller at a time. What happens when a lease is lost at any
//! single moment of a job is enumerated in `moments`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use shoal::domain::{JobId, Status, Step};
use shoal::store::{EventFilter, Side, Store, StoreError};
use shoal_base::world::{HttpRequest, Transport};
use shoal_sim::Fault;
use tokio::time::Instant;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::site::{LEASE, Site, machine};

/// A controller's way to its BMCs, and when it was used.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Vec<Use>>>);

#[derive(Clone, Copy, Debug)]
struct Use {
    from: Instant,
    /// Absent while the answer is awaited.
    to: Option<Instant>,
}

impl Wire {
    /// `network`, with every request to a BMC noted; `hangs` says of one that its answer never comes.
    fn over(&self, network: Transport, hangs: fn(&HttpRequest) -> bool) -> Transport {
        let wire = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
            let (wire, network) = (wire.clone(), network.clone());
            async move {
                if !request.uri().host().is_some_and(|host| host.starts_with("bmc")) {
                    return network.oneshot(request).await;
                }
                let hangs = hangs(&request);
                let _in_flight = wire.begin();
                let response = network.oneshot(request).await;
                if hangs {
                    std::future::pending::<()>().await;
                }
                response
            }
        }))
    }

    fn begin(&self) -> InFlight {
        let mut uses = self.0.lock().unwrap();
        uses.push(Use { from: Instant::now(), to: None });
        InFlight { wire: self.clone(), number: uses.len() - 1 }
    }

    fn uses(&self) -> Vec<Use> {
        self.0.lock().unwrap().clone()
    }

    /// When it was used last: a request that is still in flight is used now.
    fn last_used_at(&self) -> Instant {
        self.uses().iter().map(|used| used.to.unwrap_or_else(Instant::now)).max().unwrap()
    }
}

/// Ends its use when it is answered or dropped.
struct InFlight {
    wire: Wire,
    number: usize,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.wire.0.lock().unwrap()[self.number].to = Some(Instant::now());
    }
}

#[derive(Default)]
struct Switch {
    is_on: AtomicBool,
    /// Writes that failed.
    refused: AtomicUsize,
}

/// A hand on the store on which `these` writes fail from when the switch is on.
fn failing(store: &Store, these: fn(&str) -> bool) -> (Store, Arc<Switch>) {
    let switch = Arc::new(Switch::default());
    let asked = switch.clone();
    let tapped = store.tapped(Arc::new(move |doing, _| {
        let fails = asked.is_on.load(Ordering::SeqCst) && these(doing);
        asked.refused.fetch_add(usize::from(fails), Ordering::SeqCst);
        Box::pin(async move { if fails { Err(StoreError::Closed) } else { Ok(()) } })
    }));
    (tapped, switch)
}

fn never(_: &HttpRequest) -> bool {
    false
}

fn is_insert(request: &HttpRequest) -> bool {
    request.uri().path().contains("InsertMedia")
}

async fn site(faults: Vec<Fault>) -> Site {
    Site::new(5, vec![machine(faults)]).await
}

/// The job succeeded, its host was started once, and another controller has taken it over in between.
async fn check_one_install(site: &Site, id: JobId) {
    let job = site.settle(id).await;
    let state = site.machines[0].state();
    let story = site.story(id).await;
    assert_eq!(job.status, Status::Succeeded, "{story}");
    assert_eq!((state.installs, state.interrupted_installs, state.starts), (1, 0, 1), "{state:?}\n{story}");
    assert!(state.media.values().all(|medium| !medium.inserted), "{state:?}");
    assert!(story.contains("job.take_up"), "{story}");
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_controller_died_is_taken_over_within_a_lease() {
    let mut site = site(vec![]).await;
    let id = site.submit(0, json!({})).await;
    let (first, second) = (Wire::default(), Wire::default());
    let network = site.world.transport.clone();
    let dying = site.controller("first", site.store.second_handle(), first.over(network.clone(), never));
    site.serve_media_of(&dying);
    site.until(id, |job| job.cursor.step == Step::EsxiPollPower).await;
    let heir = site.controller("second", site.store.second_handle(), second.over(network, never));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(second.uses().is_empty(), "the first one is alive");
    let died_at = Instant::now();
    dying.die().await;
    site.serve_media_of(&heir);
    check_one_install(&site, id).await;
    let taken_up_at = second.uses()[0].from;
    assert!(taken_up_at - died_at <= LEASE.ttl, "{:?}", taken_up_at - died_at);
    assert!(taken_up_at - first.last_used_at() >= LEASE.reserve());
    assert_eq!(site.machines[0].state().sessions, 0, "of the one that died too");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_cannot_write_stops_asking_its_bmcs() {
    let mut site = site(vec![]).await;
    let id = site.submit(0, json!({})).await;
    let (wire, network) = (Wire::default(), site.world.transport.clone());
    let (store, fails) = failing(&site.store, |_| true);
    let controller = site.controller("first", store, wire.over(network, is_insert));
    site.serve_media_of(&controller);
    site.until(id, |job| job.cursor.intent.is_some()).await;
    fails.is_on.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let insert = *wire.uses().last().unwrap();
    let dropped_after = insert.to.expect("the insert was dropped") - insert.from;
    assert!(dropped_after <= LEASE.ttl - LEASE.reserve(), "{dropped_after:?}");
    assert!(dropped_after >= LEASE.heartbeat(), "{dropped_after:?}");
    let intent = site.job(id).await.cursor.intent.unwrap();
    assert_eq!(intent.receipt_at, None, "it is unknown whether the BMC took the image");
    let refused = fails.refused.load(Ordering::SeqCst);
    assert!(refused < 300, "it tried {refused} writes in ten minutes");
}

/// Its renewals get lost while it can still save, and the insert that it waits for hangs.
#[tokio::test(start_paused = true)]
async fn who_cannot_renew_has_let_go_before_another_begins() {
    let mut site = site(vec![]).await;
    let id = site.submit(0, json!({})).await;
    let (first, second) = (Wire::default(), Wire::default());
    let network = site.world.transport.clone();
    let (store, fails) = failing(&site.store, |doing| doing != "saving a job");
    let cut_off = site.controller("first", store, first.over(network.clone(), is_insert));
    site.serve_media_of(&cut_off);
    site.until(id, |job| job.cursor.intent.is_some()).await;
    fails.is_on.store(true, Ordering::SeqCst);
    let heir = site.controller("second", site.store.second_handle(), second.over(network, never));
    while second.uses().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    site.serve_media_of(&heir);
    let begun_at = second.uses()[0].from;
    assert!(begun_at - first.last_used_at() >= LEASE.reserve(), "{:?}", first.uses().last());
    check_one_install(&site, id).await;
    assert!(first.uses().iter().all(|used| used.to.is_some_and(|to| to < begun_at)), "it stays away");
}

/// The store counts a renewal from when it was asked for; so does who asked, however long it took.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_took_long_gives_no_more_time_than_the_store_does() {
    let mut site = site(vec![]).await;
    let id = site.submit(0, json!({})).await;
    let (first, second) = (Wire::default(), Wire::default());
    let (network, asked) = (site.world.transport.clone(), Arc::new(AtomicUsize::new(0)));
    let store = site.store.tapped(Arc::new(move |doing, side| {
        let slow =
            doing == "renewing leases" && side == Side::Before && asked.fetch_add(1, Ordering::SeqCst) == 0;
        let fails = doing != "saving a job" && asked.load(Ordering::SeqCst) > 1;
        Box::pin(async move {
            if slow {
                tokio::time::sleep(Duration::from_secs(25)).await;
            }
            if fails { Err(StoreError::Closed) } else { Ok(()) }
        })
    }));
    let slow = site.controller("first", store, first.over(network.clone(), is_insert));
    site.serve_media_of(&slow);
    let heir = site.controller("second", site.store.second_handle(), second.over(network, never));
    while second.uses().is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    site.serve_media_of(&heir);
    assert!(second.uses()[0].from - first.last_used_at() >= LEASE.reserve(), "{:?}", first.uses().last());
    check_one_install(&site, id).await;
}

#[tokio::test(start_paused = true)]
async fn an_insert_may_take_as_many_leases_as_it_wants_while_they_are_renewed() {
    let mut site = site(vec![Fault::InsertTask(10 * LEASE.ttl)]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(id).await);
    assert_eq!((job.facts.mounts.boot.insertions, job.facts.mounts.task.insertions), (1, 1));
    let events = site
        .store
        .events(&EventFilter { job: Some(id), after: 0, limit: 500, ..EventFilter::default() })
        .await
        .unwrap();
    assert!(events.iter().all(|event| event.event.op != "job.take_up"), "{}", site.story(id).await);
}

/// A stop that waits longer for requests in flight than a lease lasts keeps its leases meanwhile.
#[tokio::test(start_paused = true)]
async fn a_stop_keeps_its_leases_until_it_gives_them_back() {
    let mut site = site(vec![Fault::InsertTask(3 * LEASE.ttl)]).await;
    site.drain_timeout = 10 * LEASE.ttl;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.intent.is_some()).await;
    let wire = Wire::default();
    let heir =
        site.controller("second", site.store.second_handle(), wire.over(site.world.transport.clone(), never));
    site.shut_down().await;
    let given_back_at = Instant::now();
    site.serve_media_of(&heir);
    check_one_install(&site, id).await;
    assert!(wire.uses()[0].from >= given_back_at, "the first one was still at work");
    let job = site.job(id).await;
    assert_eq!((job.facts.mounts.boot.insertions, job.facts.mounts.task.insertions), (1, 1));
}
