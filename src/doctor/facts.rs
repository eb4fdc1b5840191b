//! What a check has seen of one BMC, as plain data.
//!
//! It says nothing of what that is worth. Invariant: no secret, and no URL with a token, is a fact.

use serde::{Deserialize, Serialize};

/// Everything seen; what was not read, or not reported, is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckFacts {
    pub reach: ReachFacts,
    /// The serial number of the record that the BMC was compared with.
    pub expected_serial: Option<String>,
    pub vendor: Option<String>,
    pub product: Option<String>,
    pub redfish_version: Option<String>,
    pub login: LoginFacts,
    /// Why the system that is meant was not found, or could not be read.
    pub system_problem: Option<Trouble>,
    pub system: Option<SystemSeen>,
    pub slots: Vec<SlotFacts>,
    pub layout: LayoutFacts,
    pub plan: PlanFacts,
    /// The boot override that is armed now, such as `Once/Cd`.
    pub armed: Option<String>,
    /// What the BMC shows of its host's boots, now.
    pub sources: Vec<SourceFact>,
    /// Names of licences; empty where the BMC reports none.
    pub licences: Vec<String>,
    pub clock: Option<ClockFacts>,
    pub latency: Option<LatencyFacts>,
    pub probe: Option<ProbeFacts>,
    pub maintenance: Option<MaintenanceIsoFacts>,
}

/// The first contact, without credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachFacts {
    /// The HTTP status of the service root.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// Of an `https` address that could be connected to.
    pub tls: Option<TlsFacts>,
    /// Seconds that the clock of its `Date` header is ahead of ours.
    pub date_ahead_secs: Option<i64>,
}

impl ReachFacts {
    /// Whether credentials may be sent there.
    pub fn is_good(&self) -> bool {
        self.status.is_some() && self.tls.as_ref().is_none_or(|tls| tls.accepted)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFacts {
    /// The server's `tls`, by its first word: `verify`, `pin`, `insecure` or `none`.
    pub policy: String,
    /// That policy lets the peer in.
    pub accepted: bool,
    /// Chain and name are good by the roots that are trusted here.
    pub verified: bool,
    /// Why not.
    pub reason: Option<String>,
    /// SHA-256 of the certificate, in hex: what `pin:` takes.
    pub sha256: Option<String>,
    /// `TLS 1.3`, or `TLS 1.2` where the BMC does not speak that.
    pub version: Option<String>,
    /// What the BMC shows: its own certificate, then those of who signed it, as far as it shows them.
    pub chain: Vec<CertificateFacts>,
}

/// What one certificate says of itself. Nothing of it is verified here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    pub subject: String,
    pub issuer: String,
    /// The names and addresses that it is good for.
    pub names: Vec<String>,
    /// RFC 3339.
    pub not_before: String,
    pub not_after: String,
    /// From now; negative once it has expired.
    pub days_left: i64,
}

impl CertificateFacts {
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginFacts {
    /// Whether requests with credentials were answered.
    pub good: bool,
    pub problem: Option<Trouble>,
    /// No sessions: every request carries the password.
    pub uses_basic: bool,
    pub session_timeout_secs: Option<u64>,
    /// Sessions that live now.
    pub sessions: Option<usize>,
    /// 0: never.
    pub lockout_threshold: Option<u64>,
    pub lockout_secs: Option<u64>,
}

/// What went wrong, and of which kind it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// `unauthorised`, `unreachable`, `timeout`, `busy`, `licence`, `sessions`, `password`,
    /// `protocol`, `not_redfish`, `identity` or `other`.
    pub kind: String,
    pub text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemSeen {
    pub id: String,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    /// `SKU` on Dell.
    #[serde(default)]
    pub service_tag: Option<String>,
    pub uuid: Option<String>,
    pub power: Option<String>,
    pub bmc_model: Option<String>,
    pub bmc_firmware: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotFacts {
    pub id: String,
    pub media_types: Vec<String>,
    /// It accepts a CD image and has an insert action.
    pub usable_cd: bool,
    pub occupied: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutFacts {
    /// Every layout that the drives allow.
    pub allowed: Vec<String>,
    /// The one that a job would use.
    pub chosen: Option<String>,
    /// The drives that it would use.
    pub drives: Vec<String>,
    /// Why there is none.
    pub problem: Option<String>,
    /// What is known of such a BMC, and what to do about it.
    pub hint: Option<String>,
}

/// The requests to this BMC that an installation needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFacts {
    pub insert: Planned,
    /// What to change where the BMC takes no image by the protocol of the media base.
    #[serde(default)]
    pub insert_remedy: Option<String>,
    /// Media are served over plain HTTP, which many BMCs of this kind do not support, and do not say so.
    #[serde(default)]
    pub http_is_doubtful: bool,
    pub boot: Planned,
    pub reset: Planned,
    /// What a job would switch on first, before there are drives.
    pub switch_on: Vec<String>,
    /// Names of what this BMC does differently (docs/quirks.md).
    pub quirks: Vec<String>,
    /// What has worked on it so far.
    pub learned: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub how: Option<String>,
    /// Why it cannot be done.
    pub problem: Option<String>,
}

impl From<Result<String, String>> for Planned {
    fn from(planned: Result<String, String>) -> Planned {
        match planned {
            Ok(how) => Planned { how: Some(how), problem: None },
            Err(problem) => Planned { how: None, problem: Some(problem) },
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFact {
    /// The property's name.
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockFacts {
    /// `Date` or `DateTime`.
    pub source: String,
    /// Seconds that the BMC's clock is ahead of ours; negative where it is behind.
    pub ahead_secs: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyFacts {
    /// Reads of the System that were answered, and that were sent.
    pub answered: usize,
    pub asked: usize,
    pub p50_ms: f64,
    pub p95_ms: f64,
}

/// What came of putting an image into a drive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeFacts {
    /// Why it was not tried.
    pub refused: Option<String>,
    pub slot: Option<String>,
    /// Where the image was to be fetched, without its path.
    pub base: Option<String>,
    /// How the BMC was asked, where the client reports it.
    pub how: Option<String>,
    pub insert_error: Option<Trouble>,
    pub insert_ms: u64,
    /// The slot showed the image.
    pub shown: bool,
    pub requests: u64,
    /// Why it is not known what was requested: the database did not answer.
    pub requests_unknown: Option<String>,
    pub heads: u64,
    pub ranges: u64,
    /// Downloads of the whole image in one request.
    pub wholes: u64,
    /// Requests that were answered with an error.
    pub errors: u64,
    /// Who fetched, by its own word.
    pub agent: Option<String>,
    /// Connections of the BMC that ended without a request, and how the last of them did.
    pub refused_connections: u64,
    pub refused_why: Option<String>,
    pub eject_error: Option<String>,
    /// The slot is empty again, as it was.
    pub restored: bool,
}

/// The maintenance ISO of Linux and Windows jobs, as this controller sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MaintenanceIsoFacts {
    /// Its URL or path, without secrets.
    pub source: String,
    /// The BMC is given that URL, and fetches it itself.
    pub is_direct: bool,
    /// Why it cannot be read here.
    pub problem: Option<String>,
    /// Why the BMC would not accept that URL.
    pub refused: Option<String>,
    /// In bytes, of a file.
    pub size: Option<u64>,
    /// The firmware that it has a boot entry for: `BIOS`, `UEFI`.
    pub boots: Vec<String>,
    /// A task's files can be added to it, because it has long names.
    pub takes_files: bool,
}
