//! Jobs that cannot be read, by their plain columns.
//!
//! Which jobs were met is kept in the process, so that neither a claim nor the next wake-up of it comes back to them; a
//! restart looks again. Other controllers, perhaps of a release that can read them, claim them meanwhile.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::fault::PgFault;
use super::row::{Count, Json, Millis, PgValue, Stored, Word, values};
use super::writer::{PgReader, PgWriter};
use super::{DATABASE_NOW, PgDatabase, Postgres, events, job_rows, notifications};
use crate::domain::{
    Cancel, HookReport, Job, JobId, MediumTrace, Outcome, Phase, Status, Step, TaskProgress, TaskResult,
    Verdict,
};
use crate::store::events::EventCount;
use crate::store::unreadable::{forced_end, why};
use crate::store::{NotificationSubject, StoreError, StoredJob, UnreadableJob};

pub(super) async fn load(reader: &PgReader, id: JobId) -> Result<Option<StoredJob>, PgFault> {
    let sql = format!("{} WHERE jobs.id = $1", job_rows::JOBS);
    let row = reader.optional(&sql, values![Word(id)]).await?;
    row.map(|row| stored(reader, &row)).transpose()
}

/// The job of a row of `jobs` with its `spec`.
pub(super) fn stored(reader: &PgReader, row: &Row) -> Result<StoredJob, PgFault> {
    match job_rows::parse(reader, row) {
        Ok(job) => Ok(StoredJob::Readable(Box::new(job))),
        Err(PgFault::Row { row: what, source }) => {
            let Word(id) = row.try_get("id").map_err(|error| PgFault::in_row("the id of a job", error))?;
            let job = columns(id, row, why(&what, &*source));
            let job = job.map_err(|error| PgFault::in_row(format!("job {id}"), error))?;
            Ok(StoredJob::Unreadable(job))
        }
        Err(fault) => Err(fault),
    }
}

fn columns(id: JobId, row: &Row, why: String) -> Result<UnreadableJob, tokio_postgres::Error> {
    Ok(UnreadableJob {
        id,
        server: row.try_get("server")?,
        task_target: row.try_get("task_target")?,
        status: readable(row, "status").map(|Word(status)| status),
        is_active: row.try_get::<_, &str>("phase")? != "done",
        failed_step: readable(row, "failed_step").map(|Word(step)| step),
        reason: row.try_get("reason")?,
        retry_of: readable(row, "retry_of").map(|Word(id)| id),
        batch: readable(row, "batch").map(|Word(id)| id),
        created_at: readable(row, "created_at").map_or(Timestamp::UNIX_EPOCH, |Millis(at)| at),
        last_update: readable(row, "last_update").map_or(Timestamp::UNIX_EPOCH, |Millis(at)| at),
        finished_at: readable(row, "finished_at").map(|Millis(at)| at),
        why,
    })
}

fn readable<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Option<T> {
    row.try_get(column).ok()
}

/// Jobs for a claim: all of their state is read, so that nothing of it can fail later.
pub(super) async fn load_whole(
    tx: &PgWriter,
    ids: &[JobId],
) -> Result<BTreeMap<JobId, Result<Job, PgFault>>, PgFault> {
    let given = || [PgValue::Texts(ids.iter().map(JobId::to_string).collect())];
    let jobs_sql = format!("{} WHERE jobs.id = ANY ($1)", job_rows::JOBS);
    let given = [given(), given(), given(), given()];
    let (jobs, traces, hooks, tasks) = tokio::join!(
        tx.query(&jobs_sql, &given[0]),
        tx.query("SELECT job, trace FROM traces WHERE job = ANY ($1)", &given[1]),
        tx.query("SELECT job, report FROM hook_reports WHERE job = ANY ($1)", &given[2]),
        tx.query("SELECT job, result, progress FROM task_reports WHERE job = ANY ($1)", &given[3]),
    );
    let mut read = BTreeMap::new();
    for row in jobs? {
        let Word(id): Word<JobId> = row.try_get("id")?;
        read.insert(id, job_rows::parse(tx, &row));
    }
    let mut note = |rows: Vec<Row>, what: &str, check: fn(&Row) -> Result<(), tokio_postgres::Error>| {
        for row in rows {
            let Word(id): Word<JobId> = row.try_get(0)?;
            if let Err(error) = check(&row) {
                read.insert(id, Err(PgFault::in_row(format!("{what} of job {id}"), error)));
            }
        }
        Ok::<(), PgFault>(())
    };
    note(traces?, "the read trace", |row| row.try_get::<_, Stored<MediumTrace>>(1).map(drop))?;
    note(hooks?, "the hook's report", |row| row.try_get::<_, Stored<HookReport>>(1).map(drop))?;
    note(tasks?, "the reports", |row| {
        row.try_get::<_, Option<Stored<TaskResult>>>(1)?;
        row.try_get::<_, Option<Stored<TaskProgress>>>(2).map(drop)
    })?;
    Ok(read)
}

/// From now on no claim of this process meets the job.
pub(super) fn set_aside(
    database: &PgDatabase,
    id: JobId,
    row: &str,
    source: &(dyn std::error::Error + 'static),
) {
    let why = why(row, source);
    tracing::error!(
        job = %id,
        why,
        "a job cannot be read by this release: it and its host are left as they are"
    );
    database.unreadable().insert(id.to_string());
}

/// Ends an active job that cannot be read; returns whether it was one.
pub(super) async fn end(tx: &PgWriter, store: &Postgres, id: JobId, now: Timestamp) -> Result<bool, PgFault> {
    let sql = format!(
        "SELECT owner IS NOT NULL AND until > coalesce($2, {DATABASE_NOW}) FROM leases
            WHERE job = $1 FOR NO KEY UPDATE"
    );
    let values = [PgValue::Text(Some(id.to_string())), store.database.lease_clock.given(now)];
    let Some(lease) = tx.optional(&sql, &values).await? else { return Ok(false) };
    tx.query("SELECT 1 FROM jobs WHERE id = $1 FOR NO KEY UPDATE", values![Word(id)]).await?;
    let Some(StoredJob::Unreadable(job)) = load(tx, id).await? else { return Ok(false) };
    if !job.is_active {
        return Ok(false);
    }
    if lease.try_get(0)? {
        return Err(StoreError::Leased { job: job.id }.into());
    }
    let undecided = !job.status.is_some_and(Status::is_decided);
    let verdict = Verdict { outcome: Outcome::Cancelled, confidence: None, evidence: Vec::new() };
    let reason = job.forced_end_reason();
    let sql = "UPDATE jobs SET phase = $2, finished_at = $3, last_update = $3, cancel = $4,
        status = CASE WHEN $5 THEN $6 ELSE status END, verdict = coalesce(verdict, $7), reason = $8
        WHERE id = $1 RETURNING event_seq, events_dropped";
    let values = values![
        Word(id),
        Word(Phase::Done),
        Millis(now),
        Json(Cancel { force: true }),
        undecided,
        Word(Status::Cancelled),
        Json(&verdict),
        &reason,
    ];
    let row = tx.one(sql, values).await?;
    let sql = "UPDATE leases SET owner = NULL, until = 0, generation = generation + 1 WHERE job = $1";
    tx.execute(sql, values![Word(id)]).await?;
    if undecided {
        notifications::add(tx, NotificationSubject::JobEnded(id), now).await?;
    }
    tx.jobs_changed();
    let mut count = EventCount { seq: row.try_get::<_, Count>(0)?.0, dropped: row.try_get::<_, Count>(1)?.0 };
    let event = forced_end(last_step(tx, id).await?, now, reason);
    tx.report(events::numbered(id, &[event], &mut count));
    events::put_count(tx, id, &count).await?;
    Ok(true)
}

/// The step of the job's last event.
async fn last_step(tx: &PgWriter, job: JobId) -> Result<Option<Step>, PgFault> {
    let sql = "SELECT step FROM events WHERE job = $1 ORDER BY seq DESC LIMIT 1";
    let row = tx.optional(sql, values![Word(job)]).await?;
    Ok(row.and_then(|row| readable(&row, "step").map(|Word(step)| step)))
}
