//! Whether a server can be installed through its BMC, found out without installing it.
//!
//! Looks at everything that an installation would rest on, and says what it found, what that means,
//! and what to do about it. Nothing is changed on the BMC or its host; only where a probe is asked
//! for, a small image is put into an empty drive for a moment and taken out again. It knows nothing
//! of running jobs: the caller makes sure that none uses the host. Invariants: one login is tried
//! and no more; credentials are sent only to a peer that the server's TLS policy accepts; a check
//! ends, whatever the BMC does.
//!
//! - `connect`: is it there, and who shows which certificate? Without credentials. `certificate`: what that says.
//! - `look`: what the BMC says. `plan`: how it would be asked. `maintenance`: what a Linux or Windows job would boot.
//! - `probe`: how it fetches an image.
//! - `facts`: what was seen. [`judge()`]: what that is worth. Pure.

mod certificate;
mod connect;
mod facts;
mod judge;
mod look;
mod maintenance;
mod plan;
mod probe;

use std::sync::Arc;
use strum::{IntoStaticStr, VariantNames};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::{HostId, MediaLayout, Server};
use crate::media::{InstallerSource, IsoFiles, Probes};
use shoal_base::world::{TlsPolicy, World};
use shoal_redfish::Bmc;

pub use facts::{
    CertificateFacts, CheckFacts, ClockFacts, LatencyFacts, LayoutFacts, LoginFacts, MaintenanceIsoFacts,
    PlanFacts, Planned, ProbeFacts, ReachFacts, SlotFacts, SourceFact, SystemSeen, TlsFacts, Trouble,
};
pub use judge::judge;

/// Whose BMC is looked at, and as whom.
pub struct Subject<'a> {
    pub bmc: &'a Bmc,
    pub address: &'a Url,
    pub tls: &'a TlsPolicy,
    pub whose: Whose<'a>,
    /// What settings ask for; `None`: what the BMC offers decides.
    pub layout: Option<MediaLayout>,
    /// Where its images would be served; `None`: somewhere, by plain HTTP.
    pub media_base: Option<Url>,
    /// What Linux and Windows jobs boot, if that is set.
    pub maintenance: Option<MaintenanceIso<'a>>,
}

/// Where jobs take their maintenance ISO from.
pub struct MaintenanceIso<'a> {
    pub source: &'a InstallerSource,
    /// Opens it where it is a file.
    pub files: &'a IsoFiles,
}

/// Which system of the BMC is meant.
pub enum Whose<'a> {
    /// That of this record: serial number or what else it names must be right.
    Server(&'a Server),
    /// The only one, or that with this id.
    Anybody { system_id: Option<&'a str> },
}

/// Where a probe's image is served.
pub struct ProbePlace<'a> {
    pub probes: &'a Probes,
    /// What its path is put behind, as the BMC reaches it; or why there is no such thing.
    pub base: Result<Url, String>,
    /// Checked before anything is put into a drive; `None`: nothing else acts on this host.
    pub may_touch: Option<MayTouch>,
}

/// Says whether a host may be acted on; `Err` names the job that holds it.
pub type MayTouch = Arc<dyn Fn(HostId) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Of the record, else what the BMC reports.
    pub serial: Option<String>,
    pub bmc_address: String,
    pub verdict: Readiness,
    /// The verdict with its reason, and where it is a bad one what to do.
    pub sentence: String,
    /// How media would reach the host: `dual-cd` or `single-cd`.
    pub media_layout: Option<String>,
    /// What a success would be worth without a hook: `probable` or `assumed`.
    pub confidence: Option<String>,
    pub checks: Vec<Check>,
    pub facts: CheckFacts,
}

/// Whether an installation may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    Ready,
    /// With everything on one virtual CD.
    ReadySingleCd,
    NotReady,
}

impl Readiness {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Such as `tls`; the page docs/doctor.md has a section for each.
    pub name: String,
    pub status: CheckStatus,
    pub found: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    Ok,
    /// It does not stand in the way, and is worth knowing.
    Warning,
    /// With this, an installation fails.
    Failed,
    /// Not looked at, because of an earlier one or because it was not requested.
    Skipped,
}

impl CheckStatus {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Looks, with a probe if there is a place for one, and judges.
pub async fn check(world: &World, subject: &Subject<'_>, probe: Option<ProbePlace<'_>>) -> CheckReport {
    let mut facts = CheckFacts { reach: connect::look(world, subject).await, ..CheckFacts::default() };
    if let Some(serial) = subject.serial() {
        facts.expected_serial = Some(serial);
    }
    if facts.reach.is_good() {
        let seen = look::look(world, subject, &mut facts).await;
        if let (Some(place), Some(seen)) = (probe, seen) {
            facts.probe = Some(probe::probe(world, subject, seen, place).await);
        }
    }
    let address = subject.address.as_str().trim_end_matches('/');
    judge(address, facts)
}

impl Subject<'_> {
    fn serial(&self) -> Option<String> {
        match self.whose {
            Whose::Server(server) => Some(server.serial.to_string()),
            Whose::Anybody { .. } => None,
        }
    }
}

/// Checks a server of the inventory, with a probe if requested.
pub type Checker = Arc<dyn Fn(Server, bool) -> BoxFuture<'static, CheckReport> + Send + Sync>;
