//! What other controllers wrote, noticed by looking every second.
//!
//! It is a hint: events are read by their ids and jobs are claimed from the database, however late this is. It also
//! shows the others that this controller runs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::calls::Changes;
use super::leases::DUE;
use super::row::{Count, values};
use super::writer::PgReader;
use super::{DATABASE_NOW, PgFault, Postgres};
use crate::store::{StoreError, StoreFuture};
use shoal_base::with_causes;

const POLL_EVERY: Duration = Duration::from_secs(1);
/// Polls from one sign of life to the next.
const SIGN_EVERY: u32 = 10;
/// A controller that was not seen for so long does not run.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looked {
    latest_event: u64,
    is_due: bool,
    /// Changes with every cancel.
    cancels: i64,
}

/// Looks until the last handle on the database is gone.
pub(super) fn spawn(postgres: &Postgres) {
    // A clone that does not keep the handle alive: the loop ends with the others.
    let weak = Arc::downgrade(&postgres.jobs_changed);
    let watching = Postgres { jobs_changed: Arc::default(), ..postgres.clone() };
    tokio::spawn(async move {
        let (mut polls, mut cancels) = (0_u32, 0);
        while let Some(jobs_changed) = weak.upgrade() {
            let handle = Postgres { jobs_changed, ..watching.clone() };
            if polls % SIGN_EVERY == 0
                && let Err(error) = handle.sign().await
            {
                tracing::debug!(error = %with_causes(&error), "the controller could not report to the database");
            }
            polls = polls.wrapping_add(1);
            match handle.look().await {
                Ok(looked) => {
                    let jobs_changed = looked.is_due || looked.cancels != cancels;
                    cancels = looked.cancels;
                    handle.make_known(Changes { last_event: Some(looked.latest_event), jobs_changed });
                }
                Err(error) => {
                    tracing::debug!(error = %with_causes(&error), "the database could not be polled")
                }
            }
            drop(handle);
            tokio::time::sleep(POLL_EVERY).await;
        }
    });
}

impl Postgres {
    async fn look(&self) -> Result<Looked, StoreError> {
        let given = self.database.unreadable_ids();
        self.read("polling", given, |reader, unreadable| look(reader, unreadable).boxed()).await
    }

    /// Shows the other controllers that this one runs.
    async fn sign(&self) -> Result<(), StoreError> {
        let id = self.database.controller.clone();
        self.write("reporting that a controller runs", id, |tx, id| {
            async move {
                let sql = format!(
                    "INSERT INTO controllers (id, version, started_at, seen_at)
                        VALUES ($1, $2, {DATABASE_NOW}, {DATABASE_NOW})
                        ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at"
                );
                tx.execute(&sql, values![id, env!("CARGO_PKG_VERSION")]).await?;
                let gone = format!("DELETE FROM controllers WHERE seen_at < {DATABASE_NOW} - 86400000");
                tx.execute(&gone, &[]).await.map(drop)
            }
            .boxed()
        })
        .await
    }

    /// This controller runs no more.
    pub(super) fn leaving(&self) -> StoreFuture<()> {
        let id = self.database.controller.clone();
        self.write("reporting that a controller stops", id, |tx, id| {
            async move { tx.execute("DELETE FROM controllers WHERE id = $1", values![id]).await.map(drop) }
                .boxed()
        })
    }

    /// How many controllers use the database. One that crashed counts for half a minute.
    pub fn running_controllers(&self) -> StoreFuture<u64> {
        self.read("looking for running controllers", (), |reader, ()| {
            async move {
                let sql = format!("SELECT count(*) FROM controllers WHERE seen_at > {DATABASE_NOW} - $1");
                let row = reader.one(&sql, values![GONE_AFTER.as_millis() as i64]).await?;
                Ok(row.try_get::<_, Count>(0)?.0)
            }
            .boxed()
        })
    }
}

async fn look(reader: &PgReader, unreadable: &[String]) -> Result<Looked, PgFault> {
    let sql = format!(
        "SELECT (SELECT coalesce(max(id), 0) FROM events),
            EXISTS (SELECT 1 FROM jobs JOIN leases ON leases.job = jobs.id WHERE {DUE}),
            (SELECT coalesce(sum(hashtext(id || cancel)), 0)::bigint FROM jobs
                WHERE phase <> 'done' AND cancel IS NOT NULL)"
    );
    let row = reader.one(&sql, values![None::<i64>, unreadable.to_vec()]).await?;
    Ok(Looked {
        latest_event: row.try_get::<_, Count>(0)?.0,
        is_due: row.try_get(1)?,
        cancels: row.try_get(2)?,
    })
}
