//! What the task of a simulated machine and its web service share: the BMC behind a lock, and a signal
//! that it has changed.
//!
//! Invariant: the lock is never held across an await, and every change wakes the task.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::bmc::Bmc;
use super::faults::Fault;
use shoal_base::world::{HttpRequest, TlsPolicy, Transport, World};

pub struct Shared {
    pub world: World,
    bmc: Mutex<Bmc>,
    /// Something that the machine's task has to look at has changed.
    changed: Notify,
}

impl Shared {
    pub fn new(world: World, bmc: Bmc) -> Shared {
        Shared { world, bmc: Mutex::new(bmc), changed: Notify::new() }
    }

    pub fn bmc(&self) -> MutexGuard<'_, Bmc> {
        self.bmc.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the images.
    pub fn image_transport(&self) -> Transport {
        self.image_transport_of(&self.bmc())
    }

    /// Does something to the BMC, and wakes the machine's task to look at it.
    pub fn change<T>(&self, act: impl FnOnce(&mut Bmc, Timestamp) -> T) -> T {
        let now = self.world.clock.now();
        let mut bmc = self.bmc();
        let result = act(&mut bmc, now);
        bmc.look_at_host(now);
        self.changed.notify_one();
        result
    }

    /// How this BMC fetches images: few look at certificates, and none can be given a private root here.
    pub fn image_transport_of(&self, bmc: &Bmc) -> Transport {
        let transport = self.world.transport.clone();
        if !bmc.faults.has(&Fault::VerifiesMediaTls) {
            return transport;
        }
        BoxCloneSyncService::new(tower::service_fn(move |mut request: HttpRequest| {
            request.extensions_mut().insert(TlsPolicy::Verify);
            transport.clone().oneshot(request)
        }))
    }

    /// Until the BMC has changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
