//! How many requests a BMC gets at the same time: one a System, and never more than eight.
//!
//! It does not know what a request is. Invariant: with one System, `per_bmc` requests are in
//! flight at most, those to the service itself included.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests in flight to one service, however many systems it has.
const PER_SERVICE_MAX: usize = 8;

pub(super) struct RequestGate {
    per_bmc: usize,
    service: Arc<Semaphore>,
    inner: Mutex<Lanes>,
}

struct Lanes {
    granted: usize,
    lanes: BTreeMap<String, Arc<Semaphore>>,
}

/// Leave to send one request; given back when dropped.
pub struct Pass {
    _lane: Option<OwnedSemaphorePermit>,
    _service: OwnedSemaphorePermit,
}

impl RequestGate {
    pub(super) fn new(per_bmc: usize) -> RequestGate {
        let per_bmc = per_bmc.max(1);
        RequestGate {
            per_bmc,
            service: Arc::new(Semaphore::new(per_bmc)),
            inner: Mutex::new(Lanes { granted: per_bmc, lanes: BTreeMap::new() }),
        }
    }

    /// The service turned out to have so many systems.
    pub(super) fn widen(&self, systems: usize) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = (self.per_bmc * systems.max(1)).min(PER_SERVICE_MAX.max(self.per_bmc));
        if let Some(more) = wanted.checked_sub(inner.granted) {
            self.service.add_permits(more);
            inner.granted = wanted;
        }
    }

    /// Waits for leave. `system` is the link of the System that the request is about.
    pub(super) async fn enter(&self, system: Option<&str>) -> Pass {
        // The lane first, so that a request that waits for one system does not hold up the others.
        let lane = match system {
            Some(system) => Some(acquire(self.lane(system)).await),
            None => None,
        };
        Pass { _lane: lane, _service: acquire(self.service.clone()).await }
    }

    fn lane(&self, system: &str) -> Arc<Semaphore> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = inner.lanes.entry(system.to_owned());
        lane.or_insert_with(|| Arc::new(Semaphore::new(self.per_bmc))).clone()
    }
}

async fn acquire(semaphore: Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.acquire_owned().await.expect("the gate is never closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_open(gate: &RequestGate, system: Option<&str>) -> bool {
        let soon = std::time::Duration::from_millis(1);
        tokio::time::timeout(soon, gate.enter(system)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn one_system_gets_one_request_at_a_time() {
        let gate = RequestGate::new(1);
        let pass = gate.enter(Some("/1")).await;
        assert!(!is_open(&gate, Some("/1")).await);
        assert!(!is_open(&gate, None).await);
        drop(pass);
        assert!(is_open(&gate, Some("/1")).await);
    }

    #[tokio::test(start_paused = true)]
    async fn systems_do_not_wait_for_each_other_up_to_eight() {
        let gate = RequestGate::new(1);
        gate.widen(100);
        gate.widen(100);
        let mut passes = Vec::new();
        for system in 0..8 {
            passes.push(gate.enter(Some(&format!("/{system}"))).await);
        }
        assert!(!is_open(&gate, Some("/8")).await);
        passes.pop();
        assert!(!is_open(&gate, Some("/0")).await);
        assert!(is_open(&gate, Some("/8")).await);
    }
}
