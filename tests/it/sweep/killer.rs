//! Strikes a controller at a moment that a scenario counts.
//!
//! Invariant: each time that it is armed it strikes once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use shoal::store::{Side, Store};
use shoal_base::world::{HttpRequest, Transport};
use tokio::sync::Notify;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::scenario::{End, Stop, Trigger};

/// Stops a controller at a request to a BMC, or at a write to the database.
pub struct Killer {
    armed: Mutex<Option<Stop>>,
    /// Requests or writes since it was armed.
    acts: AtomicU64,
    struck: Arc<Notify>,
    suspended: Notify,
}

impl Killer {
    /// One that notifies `struck`.
    pub fn new(struck: Arc<Notify>) -> Arc<Killer> {
        Arc::new(Killer {
            armed: Mutex::default(),
            acts: AtomicU64::new(0),
            struck,
            suspended: Notify::new(),
        })
    }

    pub fn arm(&self, stop: Option<Stop>) {
        *self.armed.lock().unwrap() = stop;
        self.acts.store(0, Ordering::Relaxed);
    }

    fn armed(&self) -> Option<Stop> {
        *self.armed.lock().unwrap()
    }

    /// The controller is suspended.
    pub fn has_suspended(&self) {
        self.suspended.notify_one();
    }

    /// Whether this is the act of which it has the number.
    fn strikes(&self, number: u64) -> bool {
        self.acts.fetch_add(1, Ordering::Relaxed) == number
    }

    /// The controller goes no further, or goes on from here when it is resumed.
    async fn strike(&self, end: End) {
        self.struck.notify_one();
        match end {
            End::Suspend => self.suspended.notified().await,
            End::Kill | End::Order => std::future::pending().await,
        }
    }

    pub fn over(self: &Arc<Killer>, network: Transport) -> Transport {
        let killer = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
            let (killer, network) = (killer.clone(), network.clone());
            async move {
                let Some(Stop { trigger: Trigger::Request { number, done }, end, .. }) = killer.armed()
                else {
                    return network.oneshot(request).await;
                };
                let to_bmc = request.uri().host().is_some_and(|host| host.starts_with("bmc"));
                let strikes = to_bmc && killer.strikes(number);
                if strikes && !done {
                    killer.strike(end).await;
                }
                let response = network.oneshot(request).await;
                if strikes && done {
                    killer.strike(end).await;
                }
                response
            }
        }))
    }

    pub fn in_store(self: &Arc<Killer>, store: &Store) -> Store {
        let killer = self.clone();
        store.tapped(Arc::new(move |_, side| {
            let killer = killer.clone();
            Box::pin(async move {
                if let Some(Stop { trigger: Trigger::Write { number, done }, end, .. }) = killer.armed()
                    && (side == Side::After) == done
                    && killer.strikes(number)
                {
                    killer.strike(end).await;
                }
                Ok(())
            })
        }))
    }

    /// Whether it has to see the writes.
    pub fn counts_writes(&self) -> bool {
        matches!(self.armed(), Some(Stop { trigger: Trigger::Write { .. }, .. }))
    }
}
