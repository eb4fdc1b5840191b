//! Which failure code stands for what a BMC or an image's source answered. Pure.
//!
//! Failures that a step finds itself have their code where they are made. Invariant: no error of the Redfish client is
//! an internal error.

use crate::domain::FailureCode as Code;
use crate::media::CacheError;
use shoal_redfish::{Obstacle, Op, RedfishError, RedfishErrorKind as Kind};

/// Of a failed request to a BMC.
pub fn code_of(error: &RedfishError) -> Code {
    if error.concerns_the_url() {
        return Code::MediaProtocolRefused;
    }
    match (&error.kind, error.obstacle()) {
        (_, Some(Obstacle::License)) => Code::BmcLicenseMissing,
        (_, Some(Obstacle::Privilege)) => Code::BmcPrivilegeMissing,
        (_, Some(Obstacle::Account)) => Code::BmcAccountBlocked,
        (_, Some(Obstacle::Sessions)) => Code::BmcSessionsExhausted,
        (_, Some(Obstacle::Busy)) => Code::BmcBusy,
        (Kind::Unreachable, _) => Code::BmcUnreachable,
        (Kind::Certificate, _) => Code::BmcCertificateUntrusted,
        (Kind::Broken, _) => Code::BmcConnectionLost,
        (Kind::TimedOut { .. }, _) => Code::BmcTimedOut,
        (Kind::Unauthorised { .. }, _) => Code::BmcLoginRefused,
        (Kind::NoPassword { .. }, _) => Code::BmcPasswordMissing,
        (Kind::Garbled | Kind::TooLarge { .. }, _) => Code::BmcAnswerInvalid,
        (Kind::OtherOrigin { .. }, _) => Code::BmcLinkForeign,
        (Kind::Unsupported { .. }, _) => Code::BmcFunctionMissing,
        (Kind::ImageProtocol { .. }, _) => Code::MediaProtocolRefused,
        (Kind::Refused { .. } | Kind::TaskFailed { .. } | Kind::ReportedFailure { .. }, _) => {
            let is_failure = error.is_reported_failure();
            code_of_op(error.op, if is_failure { Code::BmcTaskFailed } else { Code::BmcRequestRefused })
        }
    }
}

fn code_of_op(op: Op, otherwise: Code) -> Code {
    match op {
        Op::Insert => Code::MediaInsertRefused,
        Op::Eject => Code::MediaEjectRefused,
        Op::BootOnce | Op::BootImport | Op::BootDisarm => Code::BootOverrideRefused,
        Op::Reset => Code::PowerRequestRefused,
        Op::Root
        | Op::Login
        | Op::Logout
        | Op::About
        | Op::Systems
        | Op::System
        | Op::Manager
        | Op::Slots
        | Op::Slot
        | Op::ActionInfo
        | Op::Settings
        | Op::BootOptions
        | Op::Storage
        | Op::Hardware
        | Op::MediaService
        | Op::Task => otherwise,
    }
}

/// Of an installer that cannot be had.
pub fn code_of_installer(error: &CacheError) -> Code {
    match error {
        CacheError::Unreachable { .. } | CacheError::TimedOut { .. } | CacheError::Broken { .. } => {
            Code::InstallerUnreachable
        }
        CacheError::Certificate { .. } => Code::InstallerCertificateUntrusted,
        CacheError::NotFound { .. }
        | CacheError::Denied { .. }
        | CacheError::Refused { .. }
        | CacheError::Redirects { .. } => Code::InstallerFetchRefused,
        CacheError::NotAllowed { .. } | CacheError::RedirectNotAllowed { .. } => Code::SourceNotAllowed,
        CacheError::Sha256 { .. } => Code::InstallerChecksumMismatch,
        CacheError::NotAnInstaller { .. } => Code::InstallerNotEsxi,
        CacheError::TooLarge { .. } | CacheError::Full { .. } | CacheError::DiskFull { .. } => {
            Code::InstallerCacheFull
        }
        CacheError::Disk { .. } => Code::InstallerCacheBroken,
        CacheError::LocalFile { .. } | CacheError::NotAFile { .. } | CacheError::Changing { .. } => {
            Code::InstallerFileUnreadable
        }
    }
}
