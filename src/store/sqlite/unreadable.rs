//! Jobs whose stored state this release cannot read: of a newer release, or damaged.
//!
//! Such a job is listed with what its row says in plain columns. No controller that cannot read it claims it, so
//! its row and its host stay as they are; an operator may end it by force. Which jobs were met is kept in a
//! temporary table of the connection, so that neither a claim nor the next wake-up comes back to them; a restart
//! looks again. Invariant: nothing but a forced end writes to such a job.

use jiff::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::fault::Fault;
use super::row::{Json, Millis, Word, json};
use super::{Reader, Store, Writer, events, hook_reports, job_rows, traces};
use crate::domain::{
    Cancel, EventStatus, Job, JobId, Level, NewEvent, Outcome, Phase, Status, Step, Verdict,
};
use crate::store::{StoreError, StoredJob, UnreadableJob};

pub(super) const TABLE: &str =
    "CREATE TEMP TABLE IF NOT EXISTS unreadable_jobs (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID";

impl Store {
    /// The job, whether this release can read its state or not.
    pub async fn stored_job(&self, id: JobId) -> Result<Option<StoredJob>, StoreError> {
        self.read("reading a job", move |reader| load(reader, id)).await
    }

    /// Ends an active job that this release cannot read, without touching its host: [`StoreError::Leased`] while
    /// another controller drives it, and nothing where the job can be read or is over.
    pub async fn end_unreadable_job(&self, id: JobId, now: Timestamp) -> Result<bool, StoreError> {
        self.write("ending a job that cannot be read", move |writer| match load(&writer.reader(), id)? {
            Some(StoredJob::Unreadable(job)) if job.is_active => end(writer, &job, now).map(|()| true),
            _ => Ok(false),
        })
        .await
    }
}

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

fn why(row: &str, source: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{row} cannot be read");
    let mut cause = Some(source);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
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
    traces::check(reader, id)?;
    hook_reports::load(reader, id)?;
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

fn end(writer: &Writer<'_>, job: &UnreadableJob, now: Timestamp) -> Result<(), Fault> {
    let leased = "SELECT 1 FROM jobs WHERE id = ?1 AND lease_owner IS NOT NULL AND lease_until > ?2";
    if writer.prepare_cached(leased)?.exists(params![Word(job.id), Millis(now)])? {
        return Err(StoreError::Leased { job: job.id }.into());
    }
    let undecided = !job.status.is_some_and(Status::is_decided);
    let verdict = Verdict { outcome: Outcome::Cancelled, confidence: None, evidence: Vec::new() };
    let reason = format!(
        "ended by force, because this release could not read the job's stored state ({}): its host was not touched; \
         `shoal server release {}` ejects media and clears the boot override",
        job.why, job.server
    );
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
    writer.jobs_changed.set(true);
    events::append(writer, job.id, &[ended(writer, job, now, reason)?])
}

/// At the step of the job's last event, since its cursor cannot be read.
fn ended(
    writer: &Writer<'_>,
    job: &UnreadableJob,
    now: Timestamp,
    message: String,
) -> Result<NewEvent, Fault> {
    let sql = "SELECT step FROM events WHERE job = ?1 ORDER BY seq DESC LIMIT 1";
    let step =
        writer.prepare_cached(sql)?.query_row([Word(job.id)], |row| Ok(readable(row, "step"))).optional()?;
    Ok(NewEvent {
        time: now,
        level: Level::Warning,
        step: step.flatten().map_or(Step::ValidateRecipe, |Word(step)| step),
        op: "job.end".to_owned(),
        status: EventStatus::Failed,
        attempt: 1,
        duration_ms: None,
        message,
        detail: serde_json::Value::Null,
    })
}
