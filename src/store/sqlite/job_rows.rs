//! Rows of `jobs`: read whole, and looked for.
//!
//! Invariant: an error names the job that it is about.

use rusqlite::{OptionalExtension as _, Row};

use super::fault::Fault;
use super::row::{Json, Millis, Stored, Word};
use super::{Reader, Writer, recipes};
use crate::domain::{Job, JobId, Serial, Status};
use crate::store::recipes::open_spec;
use crate::store::{Inserted, StoreError};

/// [`StoreError::Busy`] while a job is active on the server.
pub(super) fn check_idle(writer: &Writer<'_>, server: &Serial) -> Result<(), Fault> {
    let mut statement = writer.prepare_cached("SELECT id FROM jobs WHERE server = ?1 AND phase <> 'done'")?;
    match statement.query_row([server.as_str()], |row| row.get::<_, Word<JobId>>(0)).optional()? {
        Some(Word(job)) => Err(StoreError::Busy { server: server.clone(), job }.into()),
        None => Ok(()),
    }
}

/// [`StoreError::UnknownJob`] where there is no such job.
pub(super) fn check_exists(writer: &Writer<'_>, job: JobId) -> Result<(), Fault> {
    let mut statement = writer.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?;
    if statement.exists([Word(job)])? { Ok(()) } else { Err(StoreError::UnknownJob { job }.into()) }
}

pub(super) fn status(reader: &Reader<'_>, job: JobId) -> Result<Status, Fault> {
    let mut statement = reader.prepare_cached("SELECT status FROM jobs WHERE id = ?1")?;
    Ok(statement.query_row([Word(job)], |row| row.get(0)).map(|Word(status)| status)?)
}

/// The job of an earlier request with the same key.
pub(super) fn repeated(reader: &Reader<'_>, id: JobId) -> Result<Inserted, Fault> {
    let job = load(reader, id)?.ok_or(StoreError::UnknownJob { job: id })?;
    let errors = recipes::errors(reader, id)?;
    Ok(Inserted::Repeated { refusal: job.spec.is_none().then_some(errors), job })
}

pub(super) const JOBS: &str = "SELECT jobs.*, recipes.spec FROM jobs JOIN recipes ON recipes.job = jobs.id";

pub(super) fn load(reader: &Reader<'_>, id: JobId) -> Result<Option<Job>, Fault> {
    let mut statement = reader.prepare_cached(&format!("{JOBS} WHERE jobs.id = ?1"))?;
    let mut rows = statement.query_and_then([Word(id)], |row| parse(reader, row))?;
    rows.next().transpose()
}

pub(super) fn parse(reader: &Reader<'_>, row: &Row<'_>) -> Result<Job, Fault> {
    let Word(id) = row.get("id").map_err(|error| Fault::in_row("the id of a job", error))?;
    let job = columns(id, row).map_err(|error| Fault::in_row(format!("job {id}"), error))?;
    let sealed: Option<Vec<u8>> = row.get("spec")?;
    let spec = sealed.map(|sealed| open_spec(reader.sealer, id, &sealed)).transpose();
    let spec = spec.map_err(|error| Fault::row(format!("the sealed spec of job {id}"), error))?;
    Ok(Job { spec, ..job })
}

/// The job without its specification.
fn columns(id: JobId, row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id,
        server: row.get::<_, Word<_>>("server")?.0,
        task_target: row.get("task_target")?,
        spec: None,
        status: row.get::<_, Word<_>>("status")?.0,
        cursor: row.get::<_, Stored<_>>("cursor")?.0,
        facts: row.get::<_, Stored<_>>("facts")?.0,
        verdict: row.get::<_, Option<Json<_>>>("verdict")?.map(|Json(verdict)| verdict),
        failed_step: row.get::<_, Option<Word<_>>>("failed_step")?.map(|Word(step)| step),
        failure_code: row.get::<_, Option<Word<_>>>("failure_code")?.map(|Word(code)| code),
        reason: row.get("reason")?,
        cancel: row.get::<_, Option<Json<_>>>("cancel")?.map(|Json(cancel)| cancel),
        retry_of: row.get::<_, Option<Word<_>>>("retry_of")?.map(|Word(id)| id),
        batch: row.get::<_, Option<Word<_>>>("batch")?.map(|Word(id)| id),
        created_at: row.get::<_, Millis>("created_at")?.0,
        last_update: row.get::<_, Millis>("last_update")?.0,
        finished_at: row.get::<_, Option<Millis>>("finished_at")?.map(|Millis(at)| at),
    })
}
