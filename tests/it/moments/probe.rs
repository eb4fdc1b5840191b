//! A controller's hands, watched: every request to the BMC and every save of the job, counted, and
//! one of them struck.
//!
//! It holds no test. Invariant: a controller that is not struck runs as if it were not watched.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use shoal::domain::{Cursor, Job};
use shoal::store::{JobFilter, Side, Store, StoreError, Tap};
use shoal_base::world::{HttpRequest, HttpResponse, Transport, TransportError, TransportErrorKind};
use shoal_sim::Network;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::site::LEASE;

/// The authority of the one BMC.
pub const BMC: &str = "bmc0.test";
/// How long the BMC is away.
pub const AWAY: Duration = Duration::from_secs(300);
/// How long a controller that loses its lease is held up: beyond the lease's end.
const HELD_UP: Duration = Duration::from_secs(90);

const SAVE: &str = "saving a job";

/// A place in a run: the `number`-th request to the BMC or save of the job, counted from 0, and on
/// which side of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub kind: Kind,
    pub number: usize,
    pub side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Request,
    Save,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The controller is gone.
    Crash,
    /// The BMC is gone for a while, and with it the answer that it was about to give.
    Unreachable,
    /// The controller stands still for longer than its lease, which it cannot renew any more, and
    /// then goes on.
    LeaseLost,
}

/// What has passed through the controller's hands, in order.
#[derive(Clone, Debug)]
pub enum Passed {
    Request {
        method: Method,
        path: String,
    },
    /// The job's cursor as saved.
    Save {
        cursor: Cursor,
    },
}

pub struct Probe {
    strike: Option<(Point, Blow)>,
    /// Notified when the point was reached.
    pub reached: Notify,
    passed: Mutex<Vec<Passed>>,
    /// Requests and saves begun.
    begun: Mutex<[usize; 2]>,
    /// Neither renews nor claims any more.
    is_cut_off: AtomicBool,
    /// When a request was last begun, answered or dropped.
    busy_at: Mutex<Option<Instant>>,
    network: Network,
    store: Store,
}

impl Probe {
    pub fn new(network: &Network, store: &Store, strike: Option<(Point, Blow)>) -> Arc<Probe> {
        Arc::new(Probe {
            strike,
            reached: Notify::new(),
            passed: Mutex::default(),
            begun: Mutex::default(),
            is_cut_off: AtomicBool::new(false),
            busy_at: Mutex::default(),
            network: network.clone(),
            store: store.clone(),
        })
    }

    pub fn passed(&self) -> Vec<Passed> {
        self.passed.lock().unwrap().clone()
    }

    pub fn busy_at(&self) -> Option<Instant> {
        *self.busy_at.lock().unwrap()
    }

    /// Its hand on the store.
    pub fn store(self: &Arc<Probe>) -> Store {
        let probe = self.clone();
        let tap: Tap = Arc::new(move |doing, side| {
            let probe = probe.clone();
            Box::pin(async move { probe.write(doing, side).await })
        });
        self.store.tapped(tap)
    }

    /// Its way to the network.
    pub fn transport(self: &Arc<Probe>) -> Transport {
        let probe = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request| {
            let probe = probe.clone();
            async move { probe.send(request).await }
        }))
    }

    async fn write(&self, doing: &'static str, side: Side) -> Result<(), StoreError> {
        if doing != SAVE {
            let may = !self.is_cut_off.load(Ordering::SeqCst) || doing == "saving a read trace";
            return if may { Ok(()) } else { Err(StoreError::Closed) };
        }
        let number = match side {
            Side::Before => self.begin(Kind::Save),
            Side::After => {
                let cursor = the_job(&self.store).await.cursor;
                self.passed.lock().unwrap().push(Passed::Save { cursor });
                self.begun.lock().unwrap()[Kind::Save as usize] - 1
            }
        };
        self.strike(Point { kind: Kind::Save, number, side }).await;
        Ok(())
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let transport = self.network.transport();
        if request.uri().authority().is_none_or(|authority| authority != BMC) {
            return transport.oneshot(request).await;
        }
        let number = self.begin(Kind::Request);
        let _busy = Busy::new(self);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        self.strike(Point { kind: Kind::Request, number, side: Side::Before }).await;
        let response = transport.oneshot(request).await;
        self.passed.lock().unwrap().push(Passed::Request { method, path });
        match self.strike(Point { kind: Kind::Request, number, side: Side::After }).await {
            Some(Blow::Unreachable) => Err(TransportError::new(TransportErrorKind::Broken)),
            _ => response,
        }
    }

    fn begin(&self, kind: Kind) -> usize {
        let begun = &mut self.begun.lock().unwrap()[kind as usize];
        *begun += 1;
        *begun - 1
    }

    /// Strikes, if this is the point.
    async fn strike(&self, here: Point) -> Option<Blow> {
        let (_, blow) = self.strike.filter(|(point, _)| *point == here)?;
        self.reached.notify_one();
        match blow {
            Blow::Crash => std::future::pending().await,
            Blow::Unreachable => {
                let network = self.network.clone();
                network.cut_off(BMC, true);
                tokio::spawn(async move {
                    tokio::time::sleep(AWAY).await;
                    network.cut_off(BMC, false);
                });
            }
            Blow::LeaseLost => {
                self.is_cut_off.store(true, Ordering::SeqCst);
                tokio::time::sleep(HELD_UP).await;
            }
        }
        Some(blow)
    }
}

const _: () = assert!(HELD_UP.as_secs() > LEASE.ttl.as_secs());

/// A request in flight.
struct Busy<'a>(&'a Probe);

impl Busy<'_> {
    fn new(probe: &Probe) -> Busy<'_> {
        *probe.busy_at.lock().unwrap() = Some(Instant::now());
        Busy(probe)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *self.0.busy_at.lock().unwrap() = Some(Instant::now());
    }
}

/// The site's one job.
pub async fn the_job(store: &Store) -> Job {
    let all = JobFilter { limit: 2, ..JobFilter::default() };
    let jobs = store.jobs(&all).await.unwrap();
    assert_eq!(jobs.len(), 1);
    store.job(jobs[0].id()).await.unwrap().unwrap()
}

/// A handle on the store that reports its first save.
pub fn watched(store: &Store) -> (Store, Arc<Notify>) {
    let saved = Arc::new(Notify::new());
    let notify = saved.clone();
    let store = store.tapped(Arc::new(move |doing, _| {
        if doing == SAVE {
            notify.notify_one();
        }
        Box::pin(async { Ok(()) })
    }));
    (store, saved)
}
