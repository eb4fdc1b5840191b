//! The moment until which a job waits for something. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

/// What happens at the latest then, as far as is known now: time in which nothing could be observed moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Deadline {
    pub kind: DeadlineKind,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum DeadlineKind {
    /// The job fails unless its host has read the installer by then.
    InstallerRead,
    /// The same of the kickstart.
    KickstartRead,
    /// The same of a sign that the installation is over.
    InstallationEnd,
    /// The same of the recipe of a Linux or Windows job.
    RecipeRead,
    /// The same of its result.
    Result,
    /// The job is decided, and its media stay until then at the latest, because an installer may be running.
    MediaEject,
}

impl DeadlineKind {
    pub fn name(self) -> &'static str {
        self.into()
    }
}
