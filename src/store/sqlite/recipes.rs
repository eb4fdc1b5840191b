//! The table `recipes`. It is apart from `jobs`, because SQLite writes a row as a whole, and a job's row is written at
//! every step.

use rusqlite::{OptionalExtension as _, params};
use serde_json::Value;

use super::fault::Fault;
use super::row::{Json, Word};
use super::{Reader, Writer};
use crate::domain::{FieldError, JobId};
use crate::store::recipes::{SealedRecipe, open_recipe};

pub(super) fn put(writer: &Writer<'_>, job: JobId, recipe: SealedRecipe) -> Result<(), Fault> {
    let SealedRecipe { recipe, spec, errors } = recipe;
    let sql = "INSERT INTO recipes (job, recipe, spec, errors) VALUES (?1, ?2, ?3, ?4)";
    writer.prepare_cached(sql)?.execute(params![Word(job), recipe, spec, Json(errors)])?;
    Ok(())
}

/// The recipe as typed.
pub(super) fn recipe(reader: &Reader<'_>, job: JobId) -> Result<Option<Value>, Fault> {
    let mut statement = reader.prepare_cached("SELECT recipe FROM recipes WHERE job = ?1")?;
    let sealed: Option<Vec<u8>> = statement.query_row([Word(job)], |row| row.get(0)).optional()?;
    let opened = sealed.map(|sealed| open_recipe(reader.sealer, job, &sealed)).transpose();
    opened.map_err(|error| Fault::row(format!("the sealed recipe of job {job}"), error))
}

/// Why the recipe of a job was refused; empty where it was not.
pub(super) fn errors(reader: &Reader<'_>, job: JobId) -> Result<Vec<FieldError>, Fault> {
    let mut statement = reader.prepare_cached("SELECT errors FROM recipes WHERE job = ?1")?;
    let errors = statement.query_row([Word(job)], |row| row.get::<_, Json<_>>(0));
    Ok(errors.map_err(|error| Fault::in_row(format!("the recipe of job {job}"), error))?.0)
}
