//! What became of a job and what that rests on.
//!
//! Invariant: a verdict is written once and claims no more than its evidence supports.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub outcome: Outcome,
    /// Only of a success.
    pub confidence: Option<Confidence>,
    pub evidence: Vec<Evidence>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Outcome {
    Succeeded,
    Failed,
    Cancelled,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How much a success is worth, weakest first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, VariantNames,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Confidence {
    /// Nothing spoke against it, and nothing could have spoken for it.
    Assumed,
    /// The host booted again after the kickstart was read.
    Probable,
    /// The installer or the installed system itself said so.
    Proven,
}

impl Confidence {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// One observation that the verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Evidence {
    pub kind: EvidenceKind,
    pub at: Timestamp,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum EvidenceKind {
    /// A hook inside the installer: its call of the webhook, or an unasked power-off.
    InstallerHook,
    /// The installed system answered at the management address.
    OsApi,
    /// The host booted a second time, seen in a source of the BMC or in the read trace.
    SecondBoot,
    /// The kickstart's extent was read.
    KickstartRead,
    /// The guest ejected its media. Corroborates only.
    GuestEjected,
    /// `PowerState` was `On` without a break for the window.
    PowerStable,
    /// The maintenance system reported its result.
    TaskReport,
    /// Of the two signals on the task medium one was read.
    MediaSignal,
    /// The host went off unrequested.
    PowerOff,
}

impl EvidenceKind {
    pub fn name(self) -> &'static str {
        self.into()
    }
}
