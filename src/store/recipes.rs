//! The stored form of a specification.
//!
//! It holds the kickstart, so it exists in the open between serde and the sealer only, and is wiped after.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroize as _;

use super::versions::{self, Persisted};
use crate::domain::{CompletionHook, EsxiSpec, JobSpec, Kickstart, MediaLayout, PathSpec};

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
