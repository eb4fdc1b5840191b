//! What each job was asked to do: the recipe as typed and the specification as meant.
//!
//! Both hold the kickstart, so both are sealed, as a whole. Written once with the job. Invariant:
//! an error from here quotes nothing of what was sealed.

use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;
use zeroize::{Zeroize as _, Zeroizing};

use super::error::{Fault, StoreError};
use super::row::{Json, Word};
use super::versions::{self, Persisted};
use super::{Reader, Store, Writer};
use crate::domain::{CompletionHook, EsxiSpec, FieldError, JobId, JobSpec, Kickstart, MediaLayout, PathSpec};
use crate::seal::Sealer;

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

/// A [`JobSpec`] with its kickstart in the open, which exists between serde and the sealer only.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct StoredSpec {
    path: StoredPath,
    media_layout: Option<MediaLayout>,
    allow_powered_on: bool,
    metadata: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
enum StoredPath {
    Esxi(StoredEsxi),
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct StoredEsxi {
    kickstart: String,
    completion_hook: CompletionHook,
    management_address: Option<String>,
    installer_url: Option<Url>,
    installer_sha256: Option<String>,
}

impl Persisted for StoredSpec {
    const IS_SECRET: bool = true;

    /// Version 1 knew one path, whose fields lay beside those of all paths.
    fn upgrade(value: &mut Value, from: u64) {
        if from == 1 && versions::take(value, "target") == Some(json!("install-esxi.target")) {
            let fields =
                ["kickstart", "completion_hook", "management_address", "installer_url", "installer_sha256"];
            versions::move_to_path(value, "esxi", &fields);
        }
    }
}

impl Drop for StoredEsxi {
    fn drop(&mut self) {
        self.kickstart.zeroize();
    }
}

impl From<&JobSpec> for StoredSpec {
    fn from(spec: &JobSpec) -> StoredSpec {
        StoredSpec {
            path: match &spec.path {
                PathSpec::Esxi(esxi) => StoredPath::Esxi(StoredEsxi::from(esxi)),
            },
            media_layout: spec.media_layout,
            allow_powered_on: spec.allow_powered_on,
            metadata: spec.metadata.clone(),
        }
    }
}

impl From<&EsxiSpec> for StoredEsxi {
    fn from(spec: &EsxiSpec) -> StoredEsxi {
        StoredEsxi {
            kickstart: spec.kickstart.expose().to_owned(),
            completion_hook: spec.completion_hook,
            management_address: spec.management_address.clone(),
            installer_url: spec.installer_url.clone(),
            installer_sha256: spec.installer_sha256.clone(),
        }
    }
}

impl From<StoredSpec> for JobSpec {
    fn from(stored: StoredSpec) -> JobSpec {
        JobSpec {
            path: match stored.path {
                StoredPath::Esxi(esxi) => PathSpec::Esxi(EsxiSpec::from(esxi)),
            },
            media_layout: stored.media_layout,
            allow_powered_on: stored.allow_powered_on,
            metadata: stored.metadata,
        }
    }
}

impl From<StoredEsxi> for EsxiSpec {
    fn from(mut stored: StoredEsxi) -> EsxiSpec {
        EsxiSpec {
            kickstart: Kickstart::new(std::mem::take(&mut stored.kickstart)),
            completion_hook: stored.completion_hook,
            management_address: stored.management_address.take(),
            installer_url: stored.installer_url.take(),
            installer_sha256: stored.installer_sha256.take(),
        }
    }
}
