//! A real server in a simulation: its calls take real time, during which the simulated one stands still.
//!
//! Production has none. Invariant: whatever a call does and however often it is tried, it sees one simulated time.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use tokio::runtime::Handle;

use crate::store::StoreError;
use crate::store::error::resume_panic;
use shoal_base::world::Clock;

/// The time of a simulation, and the runtime in which time is real.
pub(in crate::store) struct SimulatedTime {
    clock: Clock,
    runtime: Handle,
    /// In milliseconds since 1970, as of the last call: the other runtime does not have the simulation's time.
    now: AtomicI64,
}

impl SimulatedTime {
    pub fn new(clock: Clock, runtime: Handle) -> SimulatedTime {
        SimulatedTime { clock, runtime, now: AtomicI64::new(0) }
    }

    /// Asked where time is simulated.
    pub fn look(&self) -> Timestamp {
        let now = self.clock.now();
        self.now.store(now.as_millisecond(), Ordering::SeqCst);
        now
    }

    /// Asked within a call.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now.load(Ordering::SeqCst)).unwrap_or_default()
    }

    /// Runs a call by real time. Tokio's paused time does not advance while a blocking task runs.
    pub async fn stopped_for<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.look();
        let runtime = self.runtime.clone();
        tokio::task::spawn_blocking(move || runtime.block_on(call)).await.map_err(resume_panic)?
    }
}

impl fmt::Debug for SimulatedTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedTime").finish_non_exhaustive()
    }
}
