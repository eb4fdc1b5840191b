//! What each job was asked to do: the recipe as typed and the specification as meant.
//!
//! Both hold the kickstart, so both are sealed, as a whole. Written once with the job. Invariant:
//! an error from here quotes nothing of what was sealed.

use rusqlite::{OptionalExtension as _, params};
use serde_json::Value;
use zeroize::Zeroizing;

use super::fault::Fault;
use super::row::{Json, Word};
use super::{Reader, Store, Writer};
use crate::domain::{FieldError, JobId, JobSpec};
use crate::seal::Sealer;
use crate::store::recipes::StoredSpec;
use crate::store::{StoreError, versions};

impl Store {
    /// The recipe as typed, for a retry.
    pub async fn job_recipe(&self, job: JobId) -> Result<Option<Value>, StoreError> {
        self.read("reading a recipe", move |reader| {
            let mut statement = reader.prepare_cached("SELECT recipe FROM recipes WHERE job = ?1")?;
            let sealed: Option<Vec<u8>> = statement.query_row([Word(job)], |row| row.get(0)).optional()?;
            sealed.map(|sealed| open_recipe(reader.sealer, job, &sealed)).transpose()
        })
        .await
    }
}

/// A recipe and its specification, sealed, before they are written.
pub(super) struct SealedRecipe {
    recipe: Vec<u8>,
    spec: Option<Vec<u8>>,
    errors: Vec<FieldError>,
}

impl SealedRecipe {
    pub(super) fn accepted(sealer: &Sealer, job: JobId, recipe: &Value, spec: &JobSpec) -> SealedRecipe {
        let spec = Zeroizing::new(versions::encode(&StoredSpec::from(spec)));
        SealedRecipe {
            recipe: seal_recipe(sealer, job, recipe),
            spec: Some(seal(sealer, "spec", job, &spec)),
            errors: Vec::new(),
        }
    }

    pub(super) fn refused(
        sealer: &Sealer,
        job: JobId,
        recipe: &Value,
        errors: Vec<FieldError>,
    ) -> SealedRecipe {
        SealedRecipe { recipe: seal_recipe(sealer, job, recipe), spec: None, errors }
    }

    pub(super) fn put(self, writer: &Writer<'_>, job: JobId) -> Result<(), Fault> {
        let sql = "INSERT INTO recipes (job, recipe, spec, errors) VALUES (?1, ?2, ?3, ?4)";
        writer.prepare_cached(sql)?.execute(params![Word(job), self.recipe, self.spec, Json(self.errors)])?;
        Ok(())
    }
}

/// Why the recipe of a job was refused; empty where it was not.
pub(super) fn errors(reader: &Reader<'_>, job: JobId) -> Result<Vec<FieldError>, Fault> {
    let mut statement = reader.prepare_cached("SELECT errors FROM recipes WHERE job = ?1")?;
    let errors = statement.query_row([Word(job)], |row| row.get::<_, Json<_>>(0));
    Ok(errors.map_err(|error| Fault::in_row(format!("the recipe of job {job}"), error))?.0)
}

/// Opens the specification of a job.
pub(super) fn open_spec(sealer: &Sealer, job: JobId, sealed: &[u8]) -> Result<JobSpec, Fault> {
    let spec = versions::decode::<StoredSpec>(&unsealed(sealer, "spec", job, sealed)?);
    spec.map(JobSpec::from).map_err(|error| Fault::row(format!("the sealed spec of job {job}"), error))
}

fn seal_recipe(sealer: &Sealer, job: JobId, recipe: &Value) -> Vec<u8> {
    seal(sealer, "recipe", job, &Zeroizing::new(recipe.to_string()))
}

fn seal(sealer: &Sealer, column: &str, job: JobId, text: &str) -> Vec<u8> {
    sealer.seal(&format!("recipes.{column}/{job}"), text.as_bytes())
}

/// The recipe is in the public form, which has no version of its own: a retry reads it as a new one.
fn open_recipe(sealer: &Sealer, job: JobId, sealed: &[u8]) -> Result<Value, Fault> {
    let plain = unsealed(sealer, "recipe", job, sealed)?;
    // The parser's own error could quote the kickstart.
    serde_json::from_slice(&plain)
        .map_err(|_| Fault::row(format!("the sealed recipe of job {job}"), "it is not JSON"))
}

fn unsealed(sealer: &Sealer, column: &str, job: JobId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let plain = sealer.open(&format!("recipes.{column}/{job}"), sealed);
    plain.map_err(|error| Fault::row(format!("the sealed {column} of job {job}"), error))
}
