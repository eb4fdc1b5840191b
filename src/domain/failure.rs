//! Why a job failed, as a stable code: the table of all codes, with what proves each, its likely cause and the remedy.
//!
//! Scripts, alerts and notifications go by the code; the job's `reason` is for people and may be reworded. Codes are
//! part of the API: one that has been released keeps its name and its meaning, and a new condition gets a new code.
//! Invariant: a failure cannot be made without a code, and every code has exactly one entry in the table, from which
//! `docs/failures.md` is written.

mod bmc;
mod esxi;
mod maintenance;
mod media;
mod reference;
mod server;
mod start;

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray, VariantNames};

use super::Step;

pub use reference::failure_reference;

/// The operator's problem when a job fails.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum FailureCode {
    // The request, the inventory and the settings.
    RecipeInvalid,
    KickstartRefused,
    TemplateNotRendered,
    SourceNotAllowed,
    ImageNotResolved,
    ServerUnknown,
    ServerProtected,
    HostBusy,
    HostPoweredOn,
    ManagementAddressShared,
    InstallerNotConfigured,
    MaintenanceIsoNotConfigured,
    SerialMismatch,
    SerialNotReported,
    SystemNotFound,
    SystemAmbiguous,
    SystemUnreadable,
    VirtualMediaMissing,
    VirtualMediaNotEnabled,
    MediaLayoutUnavailable,
    BootFromCdUnsupported,
    // The BMC as a service.
    BmcUnreachable,
    BmcCertificateUntrusted,
    BmcConnectionLost,
    BmcTimedOut,
    BmcLoginRefused,
    BmcPasswordMissing,
    BmcAccountBlocked,
    BmcPrivilegeMissing,
    BmcLicenseMissing,
    BmcSessionsExhausted,
    BmcBusy,
    BmcAnswerInvalid,
    BmcRequestRefused,
    BmcTaskFailed,
    BmcFunctionMissing,
    BmcLinkForeign,
    // The media and how they reach the BMC.
    MediaAddressUnknown,
    MediaAddressLoopback,
    MediaPeerUnknown,
    MediaNotPublished,
    InstallerUnreachable,
    InstallerCertificateUntrusted,
    InstallerFetchRefused,
    InstallerChecksumMismatch,
    InstallerNotEsxi,
    InstallerNotPatchable,
    InstallerFileUnreadable,
    InstallerCacheFull,
    InstallerCacheBroken,
    DeliveryNotPossible,
    TaskIsoNotBuilt,
    TaskIsoNotWritten,
    MaintenanceIsoUnreadable,
    MaintenanceIsoChanged,
    ImageUnavailable,
    MediaInsertRefused,
    MediaProtocolRefused,
    MediaFetchRefused,
    MediaNotRequested,
    MediaNotShown,
    MediaDrivesConflict,
    MediaEjectRefused,
    MediaNotEjected,
    MediaLost,
    // The boot override and the start of the host.
    BootOverrideRefused,
    BootOverrideNotKept,
    BootOverrideLasting,
    BootOverrideLost,
    BootOverrideNotCleared,
    PowerRequestRefused,
    PowerControlMissing,
    PowerOffIgnored,
    PowerStateStuck,
    HostNotStarted,
    StartInDoubt,
    // The ESXi installer.
    InstallerNotBooted,
    KickstartNotRead,
    InstallerReportedFailure,
    HostOffBeforeKickstart,
    HostOffAfterKickstart,
    InstallerNeverRebooted,
    SecondBootMissed,
    SecondBootTooEarly,
    HostNotStable,
    BootOverrideNotUsed,
    InstallationTimedOut,
    SuccessNotConfirmed,
    // The maintenance system of a Linux or Windows job.
    MaintenanceNotBooted,
    TaskRecipeNotRead,
    MaintenanceTimedOut,
    HostOffBeforeRecipe,
    HostOffWithoutResult,
    MaintenanceRanAgain,
    AgentDispatcherFailed,
    AgentNetworkFailed,
    AgentDiskFailed,
    AgentImageFailed,
    AgentWriteFailed,
    AgentVerifyFailed,
    AgentBootEntryFailed,
    AgentSeedFailed,
    MaintenanceReportedFailure,
    // The controller.
    JobStuck,
    RestoredFromBackup,
    UnreadableState,
    InternalError,
}

/// What the table says of one code.
#[derive(Debug)]
pub struct FailureEntry {
    pub code: FailureCode,
    /// The steps at which it can end a job or, in the cleanup, leave something behind.
    pub steps: &'static [Step],
    /// What the controller observed.
    pub proof: &'static str,
    /// What most often lies behind it.
    pub cause: &'static str,
    /// What an operator can do.
    pub remedy: &'static str,
}

/// The parts of the table, in the order of the enumeration, each with its heading.
const TABLE: [(&str, &[FailureEntry]); 7] = [
    ("The request, the inventory and the settings", server::TABLE),
    ("The BMC", bmc::TABLE),
    ("Media", media::TABLE),
    ("Boot override and power", start::TABLE),
    ("ESXi installations", esxi::TABLE),
    ("Linux and Windows installations", maintenance::TABLE),
    ("The controller", server::CONTROLLER),
];

/// Every step, for what does not depend on it.
const EVERY_STEP: &[Step] = &Step::ALL;

impl FailureCode {
    /// As it is shown, stored and counted.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Its line in the table.
    pub fn entry(self) -> &'static FailureEntry {
        let mut entries = TABLE.iter().flat_map(|(_, entries)| entries.iter());
        entries.find(|entry| entry.code == self).expect("a test holds the table complete")
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const fn entry(
    code: FailureCode,
    steps: &'static [Step],
    proof: &'static str,
    cause: &'static str,
    remedy: &'static str,
) -> FailureEntry {
    FailureEntry { code, steps, proof, cause, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_entry_in_the_order_of_the_enumeration() {
        let listed: Vec<FailureCode> =
            TABLE.iter().flat_map(|(_, entries)| entries.iter()).map(|entry| entry.code).collect();
        assert_eq!(listed, <FailureCode as VariantArray>::VARIANTS);
        for code in <FailureCode as VariantArray>::VARIANTS {
            let entry = code.entry();
            assert!(!entry.steps.is_empty(), "{code}");
            for text in [entry.proof, entry.cause, entry.remedy] {
                assert!(text.ends_with('.') && !text.contains("  "), "{code}: {text}");
            }
        }
    }

    #[test]
    fn a_code_has_one_name_everywhere() {
        for code in <FailureCode as VariantArray>::VARIANTS {
            let stored = serde_json::to_value(code).unwrap();
            assert_eq!(stored, code.name());
            assert!(code.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert_eq!(serde_json::from_value::<FailureCode>(stored).unwrap(), *code);
        }
    }
}
