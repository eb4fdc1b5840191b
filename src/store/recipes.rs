//! What each job was asked to do: the recipe as typed, and the specification as understood.
//!
//! Both hold the kickstart, so both are sealed, as a whole, each for its own job and column. They are written once,
//! with the job. Invariant: an error from here quotes nothing of what was sealed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;
use zeroize::{Zeroize as _, Zeroizing};

use super::versions::{self, Persisted};
use crate::domain::{
    CompletionHook, EsxiSpec, FieldError, JobId, JobSpec, Kickstart, MaintenanceSpec, MediaLayout, PathSpec,
    RegistryImage,
};
use crate::seal::Sealer;

/// A recipe and its specification, sealed.
pub(super) struct SealedRecipe {
    pub recipe: Vec<u8>,
    /// None of a recipe that was refused.
    pub spec: Option<Vec<u8>>,
    pub errors: Vec<FieldError>,
}

impl SealedRecipe {
    pub fn accepted(sealer: &Sealer, job: JobId, recipe: &Value, spec: &JobSpec) -> SealedRecipe {
        let spec = Zeroizing::new(versions::encode(&StoredSpec::from(spec)));
        SealedRecipe {
            recipe: seal_recipe(sealer, job, recipe),
            spec: Some(seal(sealer, "spec", job, &spec)),
            errors: Vec::new(),
        }
    }

    pub fn refused(sealer: &Sealer, job: JobId, recipe: &Value, errors: Vec<FieldError>) -> SealedRecipe {
        SealedRecipe { recipe: seal_recipe(sealer, job, recipe), spec: None, errors }
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Opens the specification of a job.
pub(super) fn open_spec(sealer: &Sealer, job: JobId, sealed: &[u8]) -> Result<JobSpec, Cause> {
    let plain = sealer.open(&context("spec", job), sealed)?;
    JobSpec::try_from(versions::decode::<StoredSpec>(&plain)?)
}

/// Opens the recipe of a job. It is in the public form, which has no version of its own: a retry reads it as a new
/// one.
pub(super) fn open_recipe(sealer: &Sealer, job: JobId, sealed: &[u8]) -> Result<Value, Cause> {
    let plain = sealer.open(&context("recipe", job), sealed)?;
    // The parser's own error could quote the kickstart.
    serde_json::from_slice(&plain).map_err(|_| "it is not JSON".into())
}

fn seal_recipe(sealer: &Sealer, job: JobId, recipe: &Value) -> Vec<u8> {
    seal(sealer, "recipe", job, &Zeroizing::new(recipe.to_string()))
}

fn seal(sealer: &Sealer, column: &str, job: JobId, text: &str) -> Vec<u8> {
    sealer.seal(&context(column, job), text.as_bytes())
}

fn context(column: &str, job: JobId) -> String {
    format!("recipes.{column}/{job}")
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
    Maintenance(StoredMaintenance),
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

#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct StoredMaintenance {
    /// As it was given: its own parser reads it again.
    recipe: Map<String, Value>,
    registry_image: Option<RegistryImage>,
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
                PathSpec::Maintenance(spec) => StoredPath::Maintenance(StoredMaintenance {
                    recipe: spec.given.clone(),
                    registry_image: spec.registry_image.clone(),
                }),
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

impl TryFrom<StoredSpec> for JobSpec {
    type Error = Cause;

    fn try_from(stored: StoredSpec) -> Result<JobSpec, Cause> {
        let path = match stored.path {
            StoredPath::Esxi(esxi) => PathSpec::Esxi(EsxiSpec::from(esxi)),
            // Its faults name keys and quote nothing.
            StoredPath::Maintenance(StoredMaintenance { recipe, registry_image }) => {
                let spec = MaintenanceSpec::parse(recipe)
                    .map_err(|faults| format!("its recipe is refused now: {faults:?}"))?;
                PathSpec::Maintenance(Box::new(MaintenanceSpec { registry_image, ..spec }))
            }
        };
        Ok(JobSpec {
            path,
            media_layout: stored.media_layout,
            allow_powered_on: stored.allow_powered_on,
            metadata: stored.metadata,
        })
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
