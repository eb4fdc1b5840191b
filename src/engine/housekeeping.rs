//! Removes what has become old: the task ISOs of jobs that have ended, and records by the rules of [`Retention`].
//!
//! It drives no job and holds no lease. Invariant: it runs in a task of its own, so a directory that
//! answers slowly delays no lease.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::retention::{self, Retention};
use crate::flow::{Services, task_iso};

const INTERVAL: Duration = Duration::from_secs(600);

/// The housekeeping of one controller.
pub struct Housekeeping {
    services: Arc<Services>,
    retention: Retention,
}

impl Housekeeping {
    pub(super) fn new(services: Arc<Services>, retention: Retention) -> Housekeeping {
        Housekeeping { services, retention }
    }

    /// Sweeps immediately and then once per interval, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut ticks = interval(INTERVAL.min(self.retention.look_every()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sweeps = async {
            loop {
                ticks.tick().await;
                task_iso::sweep(&self.services).await;
                retention::sweep(&self.services, &self.retention).await;
            }
        };
        let _stopped = shutdown.run_until_cancelled(sweeps).await;
    }
}
