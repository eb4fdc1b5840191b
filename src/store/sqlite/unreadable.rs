//! Jobs that cannot be read, by their plain columns.
//!
//! Which jobs were met is kept in a temporary table of the connection, so that neither a claim nor the next wake-up
//! comes back to them; a restart looks again.

use jiff::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::fault::Fault;
use super::row::{Json, Millis, Word, json};
use super::{Reader, Writer, events, job_rows, notifications, reports};
use crate::domain::{Cancel, Job, JobId, Outcome, Phase, Status, Step, Verdict};
use crate::store::unreadable::{forced_end, why};
use crate::store::{NotificationSubject, StoreError, StoredJob, UnreadableJob};

pub(super) const TABLE: &str =
    "CREATE TEMP TABLE IF NOT EXISTS unreadable_jobs (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID";

pub(super) fn load(reader: &Reader<'_>, id: JobId) -> Result<Option<StoredJob>, Fault> {
    match job_rows::load(reader, id) {
        Ok(job) => Ok(job.map(|job| StoredJob::Readable(Box::new(job)))),
        Err(Fault::Row { row, source }) => {
            let mut statement = reader.prepare_cached("SELECT * FROM jobs WHERE id = ?1")?;
            let job = statement.query_row([Word(id)], |found| columns(id, found, why(&row, &*source)));
            let job = job.optional().map_err(|error| Fault::in_row(format!("job {id}"), error))?;
            Ok(job.map(StoredJob::Unreadable))
        }
        Err(fault) => Err(fault),
    }
}

/// The job of a row of `jobs` whose state cannot be read.
pub(super) fn of_row(row: &Row<'_>, fault: Fault) -> Result<UnreadableJob, Fault> {
    let Fault::Row { row: what, source } = fault else { return Err(fault) };
    let Word(id) = row.get("id").map_err(|error| Fault::in_row("the id of a job", error))?;
    columns(id, row, why(&what, &*source)).map_err(|error| Fault::in_row(format!("job {id}"), error))
}

fn columns(id: JobId, row: &Row<'_>, why: String) -> rusqlite::Result<UnreadableJob> {
    Ok(UnreadableJob {
        id,
        server: row.get("server")?,
        task_target: row.get("task_target")?,
        status: readable(row, "status").map(|Word(status)| status),
        is_active: row.get::<_, String>("phase")? != "done",
        failed_step: readable(row, "failed_step").map(|Word(step)| step),
        reason: row.get("reason")?,
        retry_of: readable(row, "retry_of").map(|Word(id)| id),
        batch: readable(row, "batch").map(|Word(id)| id),
        created_at: readable(row, "created_at").map_or(Timestamp::UNIX_EPOCH, |Millis(at)| at),
        last_update: readable(row, "last_update").map_or(Timestamp::UNIX_EPOCH, |Millis(at)| at),
        finished_at: readable(row, "finished_at").map(|Millis(at)| at),
        why,
    })
}

fn readable<T: FromSql>(row: &Row<'_>, column: &str) -> Option<T> {
    row.get(column).ok()
}

/// The job for a claim: all of its state is read, so that nothing of it can fail later.
pub(super) fn load_whole(reader: &Reader<'_>, id: JobId) -> Result<Job, Fault> {
    let job = job_rows::load(reader, id)?.ok_or(StoreError::UnknownJob { job: id })?;
    reports::check(reader, id)?;
    Ok(job)
}

/// From now on no claim of this connection meets the job.
pub(super) fn set_aside(
    writer: &Writer<'_>,
    id: &str,
    row: &str,
    source: &(dyn std::error::Error + 'static),
) -> Result<(), Fault> {
    let why = why(row, source);
    tracing::error!(
        job = id,
        why,
        "a job cannot be read by this release: it and its host are left as they are"
    );
    writer.execute("INSERT OR IGNORE INTO temp.unreadable_jobs (id) VALUES (?1)", [id])?;
    Ok(())
}

/// A controller that starts looks at every job once more.
pub(super) fn forget_all(connection: &Connection) -> Result<(), Fault> {
    connection.execute("DELETE FROM temp.unreadable_jobs", [])?;
    Ok(())
}

/// Ends an active job that cannot be read; returns whether it was one.
pub(super) fn end(writer: &Writer<'_>, id: JobId, now: Timestamp) -> Result<bool, Fault> {
    let Some(StoredJob::Unreadable(job)) = load(&writer.reader(), id)? else { return Ok(false) };
    if !job.is_active {
        return Ok(false);
    }
    let leased = "SELECT 1 FROM jobs WHERE id = ?1 AND lease_owner IS NOT NULL AND lease_until > ?2";
    if writer.prepare_cached(leased)?.exists(params![Word(job.id), Millis(now)])? {
        return Err(StoreError::Leased { job: job.id }.into());
    }
    let undecided = !job.status.is_some_and(Status::is_decided);
    let verdict = Verdict { outcome: Outcome::Cancelled, confidence: None, evidence: Vec::new() };
    let reason = job.forced_end_reason();
    let sql = "UPDATE jobs SET phase = :phase, finished_at = :now, last_update = :now, cancel = :cancel,
        status = iif(:undecided, :status, status), verdict = coalesce(verdict, :verdict), reason = :reason,
        lease_owner = NULL, lease_until = NULL, lease_generation = lease_generation + 1 WHERE id = :id";
    writer.execute(
        sql,
        named_params! {
            ":id": Word(job.id),
            ":phase": Word(Phase::Done),
            ":now": Millis(now),
            ":cancel": Json(Cancel { force: true }),
            ":undecided": undecided,
            ":status": Word(Status::Cancelled),
            ":verdict": json(&verdict),
            ":reason": reason,
        },
    )?;
    if undecided {
        notifications::add(writer, NotificationSubject::JobEnded(job.id), now)?;
    }
    writer.jobs_changed.set(true);
    events::append(writer, job.id, &[forced_end(last_step(writer, job.id)?, now, reason)])?;
    Ok(true)
}

/// The step of the job's last event.
fn last_step(writer: &Writer<'_>, job: JobId) -> Result<Option<Step>, Fault> {
    let sql = "SELECT step FROM events WHERE job = ?1 ORDER BY seq DESC LIMIT 1";
    let step =
        writer.prepare_cached(sql)?.query_row([Word(job)], |row| Ok(readable(row, "step"))).optional()?;
    Ok(step.flatten().map(|Word(step)| step))
}
