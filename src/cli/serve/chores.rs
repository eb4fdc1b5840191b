//! What a controller does now and then, beside its engine: metrics are kept small, the database is checked, and its clock
//! is followed.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use shoal_base::with_causes;
use shoal_base::world::{Clock, after, elapsed};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::store::{Store, StoreError};

/// How often old samples of metrics are put away.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How often the database and its files are checked.
const DATABASE_CHECK_EVERY: Duration = Duration::from_secs(20);
/// Clocks that differ by more are reported.
const CLOCKS_APART: Duration = Duration::from_secs(30);

/// Follows the database's clock from the start, if it has one of its own.
pub async fn meet_clock(store: &Store, clock: &Clock) -> Result<(), StoreError> {
    let apart = follow_clock(store, clock).await?;
    if apart > CLOCKS_APART {
        tracing::warn!(
            seconds = apart.as_secs(),
            "the clock of this machine is not that of the database, which is followed: set up NTP on both"
        );
    }
    Ok(())
}

/// What is done now and then, beside the engine.
pub fn chores(metrics: PrometheusHandle, store: Store, clock: Clock) -> JoinHandle<()> {
    tokio::spawn(async move {
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP_EVERY).await;
                metrics.run_upkeep();
            }
        };
        tokio::join!(upkeep, watch_database(&store, &clock));
    })
}

/// Deadlines are stored as times, and any controller may have to judge them. Returns by how much the clocks differ.
async fn follow_clock(store: &Store, clock: &Clock) -> Result<Duration, StoreError> {
    let (asked, before) = (Instant::now(), clock.wall());
    let Some(theirs) = store.clock().await? else { return Ok(Duration::ZERO) };
    let theirs = after(theirs, asked.elapsed() / 2);
    clock.follow(theirs);
    Ok(elapsed(before, theirs).max(elapsed(theirs, before)))
}

/// Says when the database cannot be relied on, also while nothing is written.
async fn watch_database(store: &Store, clock: &Clock) {
    loop {
        tokio::time::sleep(DATABASE_CHECK_EVERY).await;
        let checked = match store.check().await {
            Ok(()) => follow_clock(store, clock).await.map(drop),
            failed => failed,
        };
        if let Err(error) = checked {
            tracing::error!(error = %with_causes(&error), "the database cannot be relied on: no job is accepted or driven");
        }
    }
}
