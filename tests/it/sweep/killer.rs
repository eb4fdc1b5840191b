//! Kills the controller at a moment that a scenario counts.
//!
//! Invariant: it strikes once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shoal::store::{Side, Store};
use shoal_base::world::{HttpRequest, Transport};
use tokio::sync::Notify;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::scenario::{Stop, Trigger};

/// Kills the controller at a request to a BMC, or at a write to the database.
pub struct Killer {
    pub stop: Option<Stop>,
    /// Requests or writes so far.
    acts: AtomicU64,
    pub struck: Notify,
}

impl Killer {
    pub fn new(stop: Option<Stop>) -> Arc<Killer> {
        Arc::new(Killer { stop, acts: AtomicU64::new(0), struck: Notify::new() })
    }

    /// It will not strike any more.
    pub fn stand_down(&self) {
        self.acts.store(u64::MAX / 2, Ordering::Relaxed);
    }

    /// Whether this is the act of which it has the number.
    fn strikes(&self, number: u64) -> bool {
        self.acts.fetch_add(1, Ordering::Relaxed) == number
    }

    async fn strike(&self) {
        self.struck.notify_one();
        std::future::pending::<()>().await;
    }

    pub fn over(self: &Arc<Killer>, network: Transport) -> Transport {
        let Some(Stop { trigger: Trigger::Request { number, done }, .. }) = self.stop else { return network };
        let killer = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
            let (killer, network) = (killer.clone(), network.clone());
            async move {
                let to_bmc = request.uri().host().is_some_and(|host| host.starts_with("bmc"));
                let strikes = to_bmc && killer.strikes(number);
                if strikes && !done {
                    killer.strike().await;
                }
                let response = network.oneshot(request).await;
                if strikes {
                    killer.strike().await;
                }
                response
            }
        }))
    }

    pub fn in_store(self: &Arc<Killer>, store: Store) -> Store {
        let Some(Stop { trigger: Trigger::Write { number, done }, .. }) = self.stop else { return store };
        let (killer, wanted) = (self.clone(), if done { Side::After } else { Side::Before });
        store.tapped(Arc::new(move |_, side| {
            let killer = killer.clone();
            Box::pin(async move {
                if side == wanted && killer.strikes(number) {
                    killer.strike().await;
                }
                Ok(())
            })
        }))
    }
}
