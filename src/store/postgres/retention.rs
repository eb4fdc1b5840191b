//! Removal of old rows. Their space is autovacuum's to return.

use futures_util::FutureExt as _;
use jiff::Timestamp;

use super::fault::PgFault;
use super::row::{Count, Fixed, Millis, Word, values};
use super::writer::{DatabaseLock, PgReader, PgWriter};
use super::{Postgres, audit};
use crate::access::{Act, Entry};
use crate::domain::JobId;
use crate::store::{RetentionStore, StoreFuture};

/// In `meta`: the greatest id of a removed event.
const REMOVED_EVENTS: &str = "removed_events";

/// What belongs to jobs, in the order in which it is removed.
const PARTS_OF_JOBS: [&str; 8] = [
    "DELETE FROM events WHERE job = ANY ($1)",
    "DELETE FROM recipes WHERE job = ANY ($1)",
    "DELETE FROM job_labels WHERE job = ANY ($1)",
    "DELETE FROM traces WHERE job = ANY ($1)",
    "DELETE FROM hook_reports WHERE job = ANY ($1)",
    "DELETE FROM idempotency WHERE job = ANY ($1)",
    "DELETE FROM batch_rows WHERE job = ANY ($1)",
    // Leases and the reports of maintenance systems go with it.
    "DELETE FROM jobs WHERE id = ANY ($1)",
];

impl RetentionStore for Postgres {
    fn expire_jobs(
        &self,
        ended_before: Timestamp,
        refused_before: Timestamp,
        limit: usize,
    ) -> StoreFuture<u64> {
        let given = (ended_before, refused_before, limit);
        self.write("removing old jobs", given, |tx, (ended_before, refused_before, limit)| {
            async move {
                let jobs = old_jobs(tx, *ended_before, *refused_before, *limit).await?;
                if jobs.is_empty() {
                    return Ok(0);
                }
                note_removed_events(tx, &jobs).await?;
                for sql in PARTS_OF_JOBS {
                    tx.execute(sql, values![jobs.clone()]).await?;
                }
                let sql = "DELETE FROM batches WHERE finished_at IS NOT NULL
                    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.batch = batches.id)";
                tx.execute(sql, &[]).await?;
                Ok(jobs.len() as u64)
            }
            .boxed()
        })
    }

    fn expire_events(&self, ended_before: Timestamp, limit: usize) -> StoreFuture<u64> {
        self.write("removing old events", (ended_before, limit), |tx, (ended_before, limit)| {
            async move {
                let sql =
                    "SELECT id FROM jobs WHERE phase = 'done' AND finished_at < $1 AND NOT events_expired
                    ORDER BY finished_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED";
                let rows = tx.query(sql, values![Millis(*ended_before), Count(*limit as u64)]).await?;
                let jobs = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
                if jobs.is_empty() {
                    return Ok(0);
                }
                note_removed_events(tx, &jobs).await?;
                tx.execute(PARTS_OF_JOBS[0], values![jobs.clone()]).await?;
                let sql = "UPDATE jobs SET events_expired = true WHERE id = ANY ($1)";
                tx.execute(sql, values![jobs]).await
            }
            .boxed()
        })
    }

    fn removed_events(&self, job: Option<JobId>) -> StoreFuture<u64> {
        self.read("looking for removed events", job, |reader, job| {
            async move {
                if let Some(job) = job {
                    let sql = "SELECT 1 FROM jobs WHERE id = $1 AND events_expired";
                    if !reader.exists(sql, values![Word(job)]).await? {
                        return Ok(0);
                    }
                }
                removed_events(reader).await
            }
            .boxed()
        })
    }

    fn shrink(&self) -> StoreFuture<bool> {
        Box::pin(async { Ok(false) })
    }

    fn old_audit(&self, before: Timestamp, after: u64) -> StoreFuture<Vec<Entry>> {
        self.read("reading old entries of the audit", (before, after), |reader, (before, after)| {
            async move {
                let (mut entries, _) = audit::entries_after(reader, *after).await?;
                let old = entries.iter().take_while(|entry| entry.at < *before).count();
                entries.truncate(old);
                Ok(entries)
            }
            .boxed()
        })
    }

    fn shorten_audit(&self, last: u64, act: Act) -> StoreFuture<()> {
        self.write("shortening the audit", (last, act), |tx, (last, act)| {
            async move {
                tx.lock(DatabaseLock::Numbers).await?;
                let sql = "SELECT hash FROM audit WHERE seq = $1 AND seq < (SELECT max(seq) FROM audit)";
                let Some(row) = tx.optional(sql, values![Count(*last)]).await? else { return Ok(()) };
                let Fixed(hash) = row.try_get(0)?;
                tx.audit(act.clone());
                audit::start_after(tx, *last, &hash).await
            }
            .boxed()
        })
    }
}

/// Ended and refused ones. A job of a batch stays until the batch is over.
async fn old_jobs(
    tx: &PgWriter,
    ended_before: Timestamp,
    refused_before: Timestamp,
    limit: usize,
) -> Result<Vec<String>, PgFault> {
    let sql = "SELECT jobs.id FROM jobs LEFT JOIN batches ON batches.id = jobs.batch
        LEFT JOIN recipes ON recipes.job = jobs.id
        WHERE jobs.phase = 'done' AND jobs.finished_at < greatest($1, $2)
            AND (jobs.finished_at < $1 OR (jobs.finished_at < $2 AND recipes.spec IS NULL))
            AND (jobs.batch IS NULL OR batches.finished_at IS NOT NULL)
        ORDER BY jobs.finished_at LIMIT $3 FOR UPDATE OF jobs SKIP LOCKED";
    let values = values![Millis(ended_before), Millis(refused_before), Count(limit as u64)];
    let rows = tx.query(sql, values).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// Another controller may remove others at the same time: the greater id stays.
async fn note_removed_events(tx: &PgWriter, jobs: &[String]) -> Result<(), PgFault> {
    let row = tx.one("SELECT max(id) FROM events WHERE job = ANY ($1)", values![jobs.to_vec()]).await?;
    let Some(Count(last)) = row.try_get::<_, Option<Count>>(0)? else { return Ok(()) };
    let locked = "SELECT value FROM meta WHERE name = $1 FOR UPDATE";
    tx.query(locked, values![REMOVED_EVENTS]).await?;
    if last > removed_events(tx).await? {
        tx.put_meta(REMOVED_EVENTS, &last.to_be_bytes()).await?;
    }
    Ok(())
}

async fn removed_events(reader: &PgReader) -> Result<u64, PgFault> {
    let row = reader.optional("SELECT value FROM meta WHERE name = $1", values![REMOVED_EVENTS]).await?;
    let found: Option<Fixed<8>> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(found.map_or(0, |Fixed(bytes)| u64::from_be_bytes(bytes)))
}
