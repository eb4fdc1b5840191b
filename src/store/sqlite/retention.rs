//! Removal of old rows, and of the space that they took.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::fault::Fault;
use super::row::{Count, Millis, Word};
use super::{Reader, Sqlite, Writer, audit};
use crate::access::{Act, Entry};
use crate::domain::JobId;
use crate::store::{RetentionStore, StoreFuture};
use shoal_base::with_causes;

/// Pages that one call returns to the file system: 8 MiB.
const PAGES_A_CALL: u64 = 2_048;
/// Fewer free pages than this are kept for what is written next.
const PAGES_KEPT: u64 = 256;
/// In `meta`: the greatest id of a removed event.
const REMOVED_EVENTS: &str = "removed_events";

/// What belongs to a job, in the order in which it is removed.
const PARTS_OF_JOBS: [&str; 8] = [
    "DELETE FROM events WHERE job = ?1",
    "DELETE FROM recipes WHERE job = ?1",
    "DELETE FROM job_labels WHERE job = ?1",
    "DELETE FROM traces WHERE job = ?1",
    "DELETE FROM hook_reports WHERE job = ?1",
    "DELETE FROM idempotency WHERE job = ?1",
    "DELETE FROM batch_rows WHERE job = ?1",
    // The reports of maintenance systems go with it.
    "DELETE FROM jobs WHERE id = ?1",
];

impl RetentionStore for Sqlite {
    fn expire_jobs(
        &self,
        ended_before: Timestamp,
        refused_before: Timestamp,
        limit: usize,
    ) -> StoreFuture<u64> {
        self.write("removing old jobs", move |writer| {
            let jobs = old_jobs(writer, ended_before, refused_before, limit)?;
            for job in &jobs {
                note_removed_events(writer, job)?;
                for sql in PARTS_OF_JOBS {
                    writer.prepare_cached(sql)?.execute([job])?;
                }
            }
            if !jobs.is_empty() {
                writer.execute(
                    "DELETE FROM batches WHERE finished_at IS NOT NULL
                        AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.batch = batches.id)",
                    [],
                )?;
            }
            Ok(jobs.len() as u64)
        })
    }

    fn expire_events(&self, ended_before: Timestamp, limit: usize) -> StoreFuture<u64> {
        self.write("removing old events", move |writer| {
            let sql = "SELECT id FROM jobs WHERE phase = 'done' AND finished_at < ?1 AND NOT events_expired
                ORDER BY finished_at LIMIT ?2";
            let mut statement = writer.prepare_cached(sql)?;
            let jobs =
                statement.query_map(params![Millis(ended_before), Count(limit as u64)], |row| row.get(0))?;
            let jobs = jobs.collect::<rusqlite::Result<Vec<String>>>()?;
            for job in &jobs {
                note_removed_events(writer, job)?;
                writer.prepare_cached(PARTS_OF_JOBS[0])?.execute([job])?;
                writer.prepare_cached("UPDATE jobs SET events_expired = 1 WHERE id = ?1")?.execute([job])?;
            }
            Ok(jobs.len() as u64)
        })
    }

    fn removed_events(&self, job: Option<JobId>) -> StoreFuture<u64> {
        self.read("looking for removed events", move |reader| {
            if let Some(job) = job {
                let sql = "SELECT 1 FROM jobs WHERE id = ?1 AND events_expired";
                if !reader.prepare_cached(sql)?.exists([Word(job)])? {
                    return Ok(0);
                }
            }
            removed_events(reader)
        })
    }

    fn shrink(&self) -> StoreFuture<bool> {
        self.read("returning unused space", |reader| {
            let free: Count = reader.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
            let excess = free.0.saturating_sub(PAGES_KEPT);
            if excess == 0 {
                return Ok(false);
            }
            let mut statement =
                reader.prepare(&format!("PRAGMA incremental_vacuum({})", excess.min(PAGES_A_CALL)))?;
            // Each step returns one page.
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(excess > PAGES_A_CALL)
        })
    }

    fn old_audit(&self, before: Timestamp, after: u64) -> StoreFuture<Vec<Entry>> {
        self.read("reading old entries of the audit", move |reader| {
            let (mut entries, _) = audit::entries_after(reader, after)?;
            let old = entries.iter().take_while(|entry| entry.at < before).count();
            entries.truncate(old);
            Ok(entries)
        })
    }

    fn shorten_audit(&self, last: u64, act: Act) -> StoreFuture<()> {
        self.write("shortening the audit", move |writer| {
            let sql = "SELECT hash FROM audit WHERE seq = ?1 AND seq < (SELECT max(seq) FROM audit)";
            let hash = writer.query_row(sql, [Count(last)], |row| row.get(0)).optional()?;
            let Some(hash): Option<[u8; 32]> = hash else { return Ok(()) };
            audit::append(writer, act)?;
            audit::start_after(writer, last, &hash)
        })
    }
}

/// Ended and refused ones. A job of a batch stays until the batch is over.
fn old_jobs(
    writer: &Writer<'_>,
    ended_before: Timestamp,
    refused_before: Timestamp,
    limit: usize,
) -> Result<Vec<String>, Fault> {
    let sql = "SELECT jobs.id FROM jobs LEFT JOIN batches ON batches.id = jobs.batch
        LEFT JOIN recipes ON recipes.job = jobs.id
        WHERE jobs.phase = 'done' AND jobs.finished_at < max(?1, ?2)
            AND (jobs.finished_at < ?1 OR (jobs.finished_at < ?2 AND recipes.spec IS NULL))
            AND (jobs.batch IS NULL OR batches.finished_at IS NOT NULL)
        ORDER BY jobs.finished_at LIMIT ?3";
    let mut statement = writer.prepare_cached(sql)?;
    let values = params![Millis(ended_before), Millis(refused_before), Count(limit as u64)];
    let jobs = statement.query_map(values, |row| row.get(0))?;
    Ok(jobs.collect::<rusqlite::Result<_>>()?)
}

fn note_removed_events(writer: &Writer<'_>, job: &str) -> Result<(), Fault> {
    let sql = "SELECT max(id) FROM events WHERE job = ?1";
    let last: Option<Count> = writer.prepare_cached(sql)?.query_row([job], |row| row.get(0))?;
    let Some(Count(last)) = last else { return Ok(()) };
    if last > removed_events(&writer.reader())? {
        let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
        writer.prepare_cached(sql)?.execute(params![REMOVED_EVENTS, last.to_be_bytes()])?;
    }
    Ok(())
}

fn removed_events(reader: &Reader<'_>) -> Result<u64, Fault> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let mut statement = reader.prepare_cached(sql)?;
    let found: Option<[u8; 8]> = statement.query_row([REMOVED_EVENTS], |row| row.get(0)).optional()?;
    Ok(found.map_or(0, u64::from_be_bytes))
}

/// Lets the file shrink from now on. A database of an earlier release is rewritten once, which takes as much free disk
/// space as it has; without that it works as before.
pub(super) fn enable_shrinking(connection: &Connection) -> Result<(), Fault> {
    const INCREMENTAL: i64 = 2;
    let mode: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
    if mode == INCREMENTAL {
        return Ok(());
    }
    connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
    if let Err(error) = connection.execute_batch("VACUUM") {
        tracing::warn!(error = %with_causes(&error), "the database could not be rewritten: its file will not shrink");
    }
    Ok(())
}
