//! The controller dies at every request that it makes to a BMC, once before the BMC gets it and
//! once after the BMC has done it; the next controller must end the job with one installation, one
//! start of the host and one verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use shoal::job::{EventStatus, Status, Step};
use shoal::sim::SimConfig;
use shoal::store::EventFilter;
use shoal::world::{HttpRequest, Transport};
use tokio::sync::Notify;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::site::{Site, machine};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    BeforeTheAct,
    AfterTheAct,
}

/// A network that stops the world at the `fatal`-th request to a BMC.
struct Fatal {
    requests: AtomicUsize,
    fatal: usize,
    moment: Moment,
    reached: Notify,
}

impl Fatal {
    fn new(fatal: usize, moment: Moment) -> Arc<Fatal> {
        Arc::new(Fatal { requests: AtomicUsize::new(0), fatal, moment, reached: Notify::new() })
    }

    fn over(self: &Arc<Fatal>, network: Transport) -> Transport {
        let fatal = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
            let (fatal, network) = (fatal.clone(), network.clone());
            async move {
                let to_bmc = request.uri().host().is_some_and(|host| host.starts_with("bmc"));
                let now = to_bmc && fatal.requests.fetch_add(1, Ordering::SeqCst) == fatal.fatal;
                if now && fatal.moment == Moment::BeforeTheAct {
                    fatal.die().await;
                }
                let response = network.oneshot(request).await;
                if now {
                    fatal.die().await;
                }
                response
            }
        }))
    }

    async fn die(&self) {
        self.reached.notify_one();
        std::future::pending::<()>().await;
    }
}

async fn site() -> Site {
    let site = Site::new(3, vec![SimConfig { power_on: true, ..machine(vec![]) }]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    site
}

/// How many requests a job makes that nobody disturbs.
async fn requests_of_a_job() -> usize {
    let mut site = site().await;
    let count = Fatal::new(usize::MAX, Moment::BeforeTheAct);
    site.start_over(count.over(site.world.transport.clone()));
    let id = site.submit(0, json!({})).await;
    site.settle(id).await;
    count.requests.load(Ordering::SeqCst)
}

/// Dies at every request of a share of them; four tests, so that they run side by side.
async fn survive_all(moment: Moment, share: usize) {
    let requests = requests_of_a_job().await;
    assert!(requests > 20, "{requests}");
    for fatal in (share..requests).step_by(2) {
        survive(fatal, moment).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_any_even_request_costs_nothing() {
    survive_all(Moment::BeforeTheAct, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_any_odd_request_costs_nothing() {
    survive_all(Moment::BeforeTheAct, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_even_request_costs_nothing() {
    survive_all(Moment::AfterTheAct, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_odd_request_costs_nothing() {
    survive_all(Moment::AfterTheAct, 1).await;
}

async fn survive(fatal: usize, moment: Moment) {
    let mut site = site().await;
    let network = Fatal::new(fatal, moment);
    site.start_over(network.over(site.world.transport.clone()));
    let id = site.submit(0, json!({})).await;
    tokio::select! {
        biased;
        () = network.reached.notified() => {
            site.crash().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            site.start();
        }
        // The number of polls differs a little from run to run of the enumeration.
        _ = site.settle(id) => {}
    }
    let job = site.settle(id).await;
    let state = site.machines[0].state();
    let told = || format!("crash at request {fatal}, {moment:?}: {state:?}\n{:?}", job.reason);
    assert_eq!(job.status, Status::Succeeded, "{}\n{}", told(), site.story(id).await);
    assert_eq!((state.installs, state.interrupted_installs), (1, 0), "{}", told());
    assert!(state.media.values().all(|medium| !medium.inserted), "{}", told());
    assert_eq!(state.starts, 1, "{}\n{}", told(), site.story(id).await);
    let filter = EventFilter { job: Some(id), after: 0, limit: 1000 };
    let events = site.store.events(&filter).await.unwrap();
    let verdicts = events.iter().filter(|event| {
        event.event.step == Step::EsxiPollPower && event.event.status == EventStatus::Succeeded
    });
    assert_eq!(verdicts.count(), 1, "{}", told());
}
