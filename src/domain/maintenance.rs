//! What only a Linux or Windows job asks for, and what only such a job learns.
//!
//! Beside the shared types, and not with the path that uses them, because the store reads and writes them.
//! Invariant: no secret is a fact, and a recipe's texts for the first boot are never formatted.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use shoal_recipe::{ImageLocation, ImageSource, Recipe, Sha256, Target};

use super::{FieldError, Power, TaskTarget};

/// What a recipe asks for.
#[derive(Clone)]
pub struct MaintenanceSpec {
    pub recipe: Recipe,
    /// What the recipe's `oci_url` stood for when the job was submitted.
    pub registry_image: Option<RegistryImage>,
    /// The recipe as it was given, without the keys that all paths share. The store keeps it.
    pub given: Map<String, Value>,
}

impl MaintenanceSpec {
    pub fn parse(given: Map<String, Value>) -> Result<MaintenanceSpec, Vec<FieldError>> {
        match Recipe::parse(&given) {
            Ok(recipe) => Ok(MaintenanceSpec { recipe, registry_image: None, given }),
            Err(faults) => {
                Err(faults.0.into_iter().map(|fault| FieldError::new(fault.pointer, fault.message)).collect())
            }
        }
    }

    /// Notes which image it is and how the host gets it, so that neither changes any more.
    pub fn pin_image(&mut self, digest: Sha256, source: ImageSource) {
        let image = &mut self.recipe.image;
        image.source = source;
        if let ImageLocation::Hosted { sha256, .. } = &mut image.location {
            *sha256 = Some(digest);
        }
        if let Some(Value::Object(given)) = self.given.get_mut("image") {
            given.insert("sha256".to_owned(), json!(digest.to_string()));
            given.insert("source".to_owned(), json!(source.name()));
        }
    }

    /// Digest of the image that this controller gives to the host, where it hosts it.
    pub fn hosted_image(&self) -> Option<Sha256> {
        let image = &self.recipe.image;
        match &image.location {
            ImageLocation::Hosted { sha256, .. } => *sha256,
            ImageLocation::Url { sha256, .. } if image.source == ImageSource::Media => Some(*sha256),
            ImageLocation::Url { .. } | ImageLocation::Oci(_) => None,
        }
    }

    pub fn target(&self) -> TaskTarget {
        match self.recipe.target {
            Target::Linux => TaskTarget::InstallLinux,
            Target::Windows => TaskTarget::InstallWindows,
        }
    }
}

/// An image in a registry, as its reference was resolved when the job was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RegistryImage {
    /// `host[:port]`.
    pub registry: String,
    pub repository: String,
    /// SHA-256 of what the reference named, a manifest or an index, lower-case hex.
    pub digest: String,
    /// SHA-256 of the one layer, lower-case hex: what the host compares.
    pub layer_sha256: String,
    /// Of the layer, in bytes.
    pub size: u64,
    pub media_type: String,
}

impl fmt::Debug for MaintenanceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.recipe.fmt(f)
    }
}

/// What the job has learnt and done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MaintenanceFacts {
    /// What the maintenance system compares its machine with.
    pub identity: Option<MachineIdentity>,
    /// SHA-256 of the maintenance ISO, where this controller serves it, lower-case hex.
    pub iso_sha256: Option<String>,
    /// SHA-256 of the certificate that this controller showed when the task ISO was built, lower-case hex.
    pub own_pin: Option<String>,
    /// Looks at the BMC since the reset.
    pub polls: u32,
    /// When the host was first seen on since the reset.
    pub on_at: Option<Timestamp>,
    /// Power as last seen, and since when.
    pub power: Option<(Power, Timestamp)>,
    /// The last look at the BMC, whether or not it answered.
    pub observed_at: Option<Timestamp>,
    /// Milliseconds since the reset in which neither the BMC could be observed nor a report taken.
    pub unobserved_ms: u64,
    /// When the last such time ended.
    pub resumed_at: Option<Timestamp>,
    /// The result that counts: by the shared secret until there is one by the job's token.
    pub result: Option<TaskResult>,
    /// When this job first wanted the host shut down after a success.
    pub shutdown_at: Option<Timestamp>,
    /// The BMC has accepted the request for that.
    pub shutdown_accepted: bool,
    pub progress: Option<TaskProgress>,
    /// Why the image could not be served, as reported last.
    pub image_fault: Option<String>,
}

/// The machine as its BMC describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MachineIdentity {
    pub serials: Vec<String>,
    pub uuid: Option<String>,
}

/// A result that was reported from inside a maintenance system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskResult {
    pub at: Timestamp,
    pub succeeded: bool,
    pub by: Reporter,
    /// The part that failed, in the reporter's words.
    pub failed_step: Option<String>,
    pub detail: Option<String>,
    /// What went wrong without stopping the installation.
    pub warnings: Vec<String>,
    /// The end of the reporter's log.
    pub log: Option<String>,
    pub delivery_id: Option<String>,
}

/// How the reporter showed whose result it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Reporter {
    /// By the token of the job.
    Token,
    /// By the shared secret of all maintenance systems.
    SharedSecret,
    /// By a read of the task medium.
    Media,
}

impl Reporter {
    /// Whether a report of this kind is worth more than one of the other. The shared secret shows the server, and not
    /// the job.
    pub fn outranks(self, other: Reporter) -> bool {
        self == Reporter::Token && other == Reporter::SharedSecret
    }
}

/// What a maintenance system does at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskProgress {
    pub at: Timestamp,
    pub by: Reporter,
    pub step: Option<String>,
    pub bytes: Option<u64>,
    pub total: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_image_is_the_same_when_it_is_read_again() {
        for image in [
            json!({ "name": "debian" }),
            json!({ "sha256": "ab".repeat(32), "source": "auto" }),
            json!({ "url": "https://images.test/a", "sha256": "ab".repeat(32), "source": "auto" }),
        ] {
            let given = json!({ "task_target": "install-linux.target", "target_disk": { "serial": "1" }, "image": image });
            let mut spec = MaintenanceSpec::parse(given.as_object().unwrap().clone()).unwrap();
            spec.pin_image(Sha256([0xab; 32]), ImageSource::Media);
            let again = MaintenanceSpec::parse(spec.given.clone()).unwrap();
            assert!(again.recipe == spec.recipe, "{:?}", again.recipe);
            assert_eq!(again.recipe.image.source, ImageSource::Media);
            assert_eq!(again.given["image"]["sha256"], "ab".repeat(32));
        }
    }
}
