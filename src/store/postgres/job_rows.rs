//! Rows of `jobs`: read whole, and looked for.
//!
//! Invariant: an error names the job that it is about.

use tokio_postgres::Row;

use super::fault::PgFault;
use super::row::{Json, Millis, Stored, Word, values};
use super::writer::{PgReader, PgWriter};
use crate::domain::{FieldError, Job, JobId, Serial};
use crate::store::recipes::open_spec;
use crate::store::{Inserted, StoreError};

/// [`StoreError::Busy`] while a job is active on the server.
pub(super) async fn check_idle(tx: &PgWriter, server: &Serial) -> Result<(), PgFault> {
    let sql = "SELECT id FROM jobs WHERE server = $1 AND phase <> 'done'";
    match tx.optional(sql, values![server.as_str()]).await? {
        Some(row) => {
            Err(StoreError::Busy { server: server.clone(), job: row.try_get::<_, Word<_>>(0)?.0 }.into())
        }
        None => Ok(()),
    }
}

/// [`StoreError::UnknownJob`] where there is no such job.
pub(super) async fn check_exists(tx: &PgWriter, job: JobId) -> Result<(), PgFault> {
    match tx.exists("SELECT 1 FROM jobs WHERE id = $1", values![Word(job)]).await? {
        true => Ok(()),
        false => Err(StoreError::UnknownJob { job }.into()),
    }
}

/// The job of an earlier request with the same key.
pub(super) async fn repeated(reader: &PgReader, id: JobId) -> Result<Inserted, PgFault> {
    let job = load(reader, id).await?.ok_or(StoreError::UnknownJob { job: id })?;
    let row = reader.one("SELECT errors FROM recipes WHERE job = $1", values![Word(id)]).await?;
    let errors = row.try_get::<_, Json<Vec<FieldError>>>(0);
    let Json(errors) = errors.map_err(|error| PgFault::in_row(format!("the recipe of job {id}"), error))?;
    Ok(Inserted::Repeated { refusal: job.spec.is_none().then_some(errors), job })
}

pub(super) const JOBS: &str = "SELECT jobs.*, recipes.spec FROM jobs JOIN recipes ON recipes.job = jobs.id";

pub(super) async fn load(reader: &PgReader, id: JobId) -> Result<Option<Job>, PgFault> {
    let row = reader.optional(&format!("{JOBS} WHERE jobs.id = $1"), values![Word(id)]).await?;
    row.map(|row| parse(reader, &row)).transpose()
}

pub(super) fn parse(reader: &PgReader, row: &Row) -> Result<Job, PgFault> {
    let Word(id) = row.try_get("id").map_err(|error| PgFault::in_row("the id of a job", error))?;
    let job = columns(id, row).map_err(|error| PgFault::in_row(format!("job {id}"), error))?;
    let sealed: Option<Vec<u8>> = row.try_get("spec")?;
    let spec = sealed.map(|sealed| open_spec(&reader.sealer, id, &sealed)).transpose();
    let spec = spec.map_err(|error| PgFault::row(format!("the sealed spec of job {id}"), error))?;
    Ok(Job { spec, ..job })
}

/// The job without its specification.
fn columns(id: JobId, row: &Row) -> Result<Job, tokio_postgres::Error> {
    Ok(Job {
        id,
        server: row.try_get::<_, Word<_>>("server")?.0,
        task_target: row.try_get("task_target")?,
        spec: None,
        status: row.try_get::<_, Word<_>>("status")?.0,
        cursor: row.try_get::<_, Stored<_>>("cursor")?.0,
        facts: row.try_get::<_, Stored<_>>("facts")?.0,
        verdict: row.try_get::<_, Option<Json<_>>>("verdict")?.map(|Json(verdict)| verdict),
        failed_step: row.try_get::<_, Option<Word<_>>>("failed_step")?.map(|Word(step)| step),
        failure_code: row.try_get::<_, Option<Word<_>>>("failure_code")?.map(|Word(code)| code),
        reason: row.try_get("reason")?,
        cancel: row.try_get::<_, Option<Json<_>>>("cancel")?.map(|Json(cancel)| cancel),
        retry_of: row.try_get::<_, Option<Word<_>>>("retry_of")?.map(|Word(id)| id),
        batch: row.try_get::<_, Option<Word<_>>>("batch")?.map(|Word(id)| id),
        created_at: row.try_get::<_, Millis>("created_at")?.0,
        last_update: row.try_get::<_, Millis>("last_update")?.0,
        finished_at: row.try_get::<_, Option<Millis>>("finished_at")?.map(|Millis(at)| at),
    })
}
