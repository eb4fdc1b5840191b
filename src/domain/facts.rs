//! What a job has learnt and done so far, beside its cursor. Saved with it, as one JSON value.
//!
//! Steps write here what a later step, a restarted controller or an operator needs to know. A fact is saved in the
//! transaction of the cursor that follows it, so a step that runs again after a crash finds either all facts of its
//! earlier run up to some save, or none: each step asks what is there, never how far it came.
//! Invariant: no secret, and no URL with a token, is a fact.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use url::Url;

use super::{Deadline, EsxiFacts, HostId, MaintenanceFacts, Mounts, ReadMap, ReadRanges};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Facts {
    /// Found by `resolve-server`. With it, a 404 or 401 is transient: that resource has worked in this job.
    pub system: Option<SystemFacts>,
    pub task_iso: Option<TaskIsoFacts>,
    /// Base of the media URLs given to this BMC, such as `http://10.0.0.1:8080`.
    pub media_base: Option<String>,
    pub mounts: Mounts,
    /// The one-time override was set by this job and has not been seen gone since: the cleanup must clear it.
    pub override_armed: bool,
    pub reset: ResetFacts,
    pub cleanup: CleanupFacts,
    /// The Redfish session, for the controller that takes the job over.
    pub session: Option<String>,
    /// The job was put back from a backup then. What else was done for it, between that backup and then, is
    /// not known here, so it starts no host any more.
    pub restored_at: Option<Timestamp>,
    /// The next moment at which waiting ends.
    pub deadline: Option<Deadline>,
    /// What only the job's path knows of.
    pub path: PathFacts,
}

/// The facts of one path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum PathFacts {
    Esxi(Box<EsxiFacts>),
    Maintenance(Box<MaintenanceFacts>),
}

impl Default for PathFacts {
    fn default() -> PathFacts {
        PathFacts::Esxi(Box::default())
    }
}

impl Facts {
    /// The BMC is given the URL of the boot medium's own source instead of ours.
    pub fn is_direct(&self) -> bool {
        self.mounts.boot.direct
    }

    /// But for how often and when the host was looked at, and what follows from that alone.
    pub(super) fn without_looks(&self) -> Facts {
        let mut facts = self.clone();
        match &mut facts.path {
            PathFacts::Esxi(facts) => facts.forget_looks(),
            PathFacts::Maintenance(facts) => (facts.polls, facts.observed_at) = (0, None),
        }
        facts
    }

    /// Those of an ESXi job; empty ones of any other.
    pub fn esxi(&self) -> &EsxiFacts {
        static NONE: LazyLock<EsxiFacts> = LazyLock::new(EsxiFacts::default);
        match &self.path {
            PathFacts::Esxi(facts) => facts,
            PathFacts::Maintenance(_) => &NONE,
        }
    }

    /// Only an ESXi job's path notes anything here.
    pub fn esxi_mut(&mut self) -> &mut EsxiFacts {
        if !matches!(self.path, PathFacts::Esxi(_)) {
            self.path = PathFacts::Esxi(Box::default());
        }
        let PathFacts::Esxi(facts) = &mut self.path else { unreachable!("it has just been set") };
        facts
    }

    /// Those of a Linux or Windows job; empty ones of any other.
    pub fn maintenance(&self) -> &MaintenanceFacts {
        static NONE: LazyLock<MaintenanceFacts> = LazyLock::new(MaintenanceFacts::default);
        match &self.path {
            PathFacts::Maintenance(facts) => facts,
            PathFacts::Esxi(_) => &NONE,
        }
    }

    /// Only a Linux or Windows job's path notes anything here.
    pub fn maintenance_mut(&mut self) -> &mut MaintenanceFacts {
        if !matches!(self.path, PathFacts::Maintenance(_)) {
            self.path = PathFacts::Maintenance(Box::default());
        }
        let PathFacts::Maintenance(facts) = &mut self.path else { unreachable!("it has just been set") };
        facts
    }
}

/// The system that the server's record turned out to mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SystemFacts {
    /// `@odata.id`.
    pub link: String,
    pub vendor: String,
    pub model: Option<String>,
    /// Unknown of a job that 0.1.0 resolved.
    pub host: Option<HostId>,
}

impl SystemFacts {
    /// The host; of a job that 0.1.0 resolved by its link and the address of its BMC, if that is known.
    pub fn host_at(self, bmc: Option<&Url>) -> Option<HostId> {
        self.host.or_else(|| Some(HostId::at(bmc?, self.link)))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskIsoFacts {
    pub size: u64,
    /// Lower-case hex, of what it holds and where. `None` of a job that 0.1.0 built it for.
    pub content_sha256: Option<String>,
}

/// What our own reset did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ResetFacts {
    /// The BMC's sources as they were before the first act of the reset: a difference shows a boot since.
    pub before: Option<BootSample>,
    /// The look that showed, since then, that the host had begun to boot unasked.
    pub unasked_boot: Option<BootSample>,
    /// When a one-time boot from this job's CD was first requested. Whatever starts the host from then
    /// on, by us or not, may boot the installer.
    pub armed_at: Option<Timestamp>,
    /// The host had started without the job's request, so `started_at` is only when that was seen.
    pub adopted: bool,
    /// When the host was last asked to start for this job's installer. Once set, media stay until the installer
    /// cannot be running.
    pub started_at: Option<Timestamp>,
    /// Times that the job went back because a medium, the override or the start itself was lost.
    pub rewinds: u32,
    /// Installing starts caused so far; more than one only where the first is known not to have
    /// happened.
    pub starts: u32,
    /// Times that the host was asked to be forced off, the final reset's included.
    pub forced_off: u32,
}

/// The sources of one BMC at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BootSample {
    pub at: Timestamp,
    pub power: Power,
    /// Value of each source that this BMC offers.
    pub sources: BTreeMap<BootSource, String>,
}

/// `PowerState`, as far as a verdict can use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Power {
    On,
    Off,
    /// In transition, absent, or an unknown value.
    Unclear,
}

/// Something in a BMC that shows a boot of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum BootSource {
    BootProgress,
    LastResetTime,
    /// `BootProgress.LastBootTimeSeconds`: how long the last boot took; 0 while it goes on.
    LastBootTimeSeconds,
    /// HPE's `Oem.Hpe.PostState`.
    PostState,
    /// Lenovo's `Oem.Lenovo.NumberOfReboots`.
    NumberOfReboots,
}

impl BootSource {
    /// The Redfish property.
    pub fn property(self) -> &'static str {
        match self {
            BootSource::BootProgress => "BootProgress",
            BootSource::LastResetTime => "LastResetTime",
            BootSource::LastBootTimeSeconds => "LastBootTimeSeconds",
            BootSource::PostState => "PostState",
            BootSource::NumberOfReboots => "NumberOfReboots",
        }
    }
}

/// Result of the cleanup, beside the verdict and never instead of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CleanupFacts {
    /// The boot override is no longer armed.
    pub disarmed: bool,
    /// What could not be cleaned up, a sentence each.
    pub left: Vec<String>,
    /// Why the media may be ejected, once they may.
    pub released: Option<EjectReason>,
    /// What was last reported of the next start of the host, while cleaning up failed.
    pub warning: Option<String>,
}

/// Why ejecting is safe, or done all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Release"))]
pub enum EjectReason {
    /// The installer cannot be running.
    Safe,
    /// The install timeout is over, and nothing says what the host does.
    TimedOut,
    /// An operator requested it with `force`.
    Forced,
}

/// How a BMC reads one medium, judged from what it reads after our reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum MediaMode {
    /// Never fetched from us.
    #[default]
    None,
    /// Fetched whole before the host read it, or cached: its reads show nothing of the host.
    Prefetched,
    /// Read in pieces after the reset: its reads are the host's.
    Streamed,
}

/// What is known of the reads of one medium. Times are of our own clock; all but `mode` and
/// `fault` count from the reset only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MediumTrace {
    pub mode: MediaMode,
    /// Size of the image, bytes.
    pub total: u64,
    /// Distinct bytes served.
    pub read: u64,
    pub first_read_at: Option<Timestamp>,
    pub last_read_at: Option<Timestamp>,
    /// Last read of a part that had not been read before.
    pub last_new_read_at: Option<Timestamp>,
    /// As much has been read as a boot loader reads of an installer, and nothing else does (CD1 only).
    pub loaded_at: Option<Timestamp>,
    /// Every file of the installer has been read (CD1 only).
    pub read_through_at: Option<Timestamp>,
    /// The kickstart's extent was read without the gap before it (CD2 only).
    pub ks_read_at: Option<Timestamp>,
    /// The installer was loaded by then. A read from before that is replaced by the next one (CD2 only).
    pub ks_read_loaded: bool,
    /// After the kickstart's read and a minute of quiet, the volume descriptors and the boot
    /// catalogue were read again (CD1 only): a firmware enumerating its drives.
    pub reenumerated_at: Option<Timestamp>,
    /// The nonce's extent was read after the kickstart, without the gap between them (CD2 only).
    pub nonce_read_at: Option<Timestamp>,
    /// That gap was read too, so that a read of the nonce means nothing (CD2 only).
    pub nonce_copied: bool,
    /// The extent whose read reports a failure was read after the recipe, without the gap before it (CD2 of a Linux or
    /// Windows job only; its recipe lies in the kickstart's place, and what reports success in the nonce's).
    pub failure_read_at: Option<Timestamp>,
    /// That gap was read too, so that a read of that extent means nothing.
    pub failure_copied: bool,
    /// The extent that the agent reads when it starts was read after the recipe, before the others and without the gap
    /// before it (CD2 of a Linux or Windows job only).
    pub started_read_at: Option<Timestamp>,
    /// That gap was read too, so that a read of that extent means nothing.
    pub started_copied: bool,
    /// The kickstart was last read again after `reenumerated_at` (CD2 only).
    pub ks_read_again_at: Option<Timestamp>,
    /// Where the image was read since the reset, and when.
    pub map: ReadMap,
    /// Which bytes were read, where other controllers have to know that.
    pub ranges: ReadRanges,
    /// The last fetch that was refused or broken off, in words.
    pub fault: Option<String>,
    /// The first one since our reset, or since a fetch that ended well.
    pub fault_at: Option<Timestamp>,
}

/// What is reported by a read of the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediumReport {
    Success,
    Failure,
}

impl MediumTrace {
    /// `new`, with every milestone that only `self` has. Of two times of a milestone the first one
    /// counts; of what happens once in each run of an installer, the last. Of a reset before the last one nothing counts.
    pub fn joined(self, new: MediumTrace) -> MediumTrace {
        // A start after the kickstart's read began nothing anew.
        let is_outdated = self.ranges.reset_at < new.ranges.reset_at && self.ks_read_at.is_none();
        let mut ranges = self.ranges.clone();
        ranges.join(&new.ranges);
        let joined = if is_outdated { new } else { self.joined_of_one_reset(new) };
        let known_loaded_at = joined.last_read_at.filter(|_| ranges.is_loaded());
        MediumTrace {
            read: joined.read.max(ranges.since.bytes()),
            loaded_at: joined.loaded_at.or(known_loaded_at),
            ranges,
            ..joined
        }
    }

    fn joined_of_one_reset(self, new: MediumTrace) -> MediumTrace {
        let saved = self;
        let nonce_copied = saved.nonce_copied || new.nonce_copied;
        let failure_copied = saved.failure_copied || new.failure_copied;
        let started_copied = saved.started_copied || new.started_copied;
        let last_read_at = saved.last_read_at.max(new.last_read_at);
        let (ks_read_at, ks_read_loaded) = MediumTrace::joined_kickstart_read([&saved, &new]);
        MediumTrace {
            read: saved.read.max(new.read),
            first_read_at: saved.first_read_at.or(new.first_read_at),
            last_read_at,
            last_new_read_at: saved.last_new_read_at.max(new.last_new_read_at),
            loaded_at: saved.loaded_at.or(new.loaded_at),
            read_through_at: saved.read_through_at.or(new.read_through_at),
            ks_read_at,
            ks_read_loaded,
            nonce_read_at: saved.nonce_read_at.or(new.nonce_read_at).filter(|_| !nonce_copied),
            nonce_copied,
            failure_read_at: saved.failure_read_at.or(new.failure_read_at).filter(|_| !failure_copied),
            failure_copied,
            started_read_at: saved.started_read_at.or(new.started_read_at).filter(|_| !started_copied),
            started_copied,
            reenumerated_at: saved.reenumerated_at.max(new.reenumerated_at),
            map: saved.map.joined(&new.map),
            ks_read_again_at: saved.ks_read_again_at.max(new.ks_read_again_at),
            ..new
        }
    }

    /// The first read by an installer; where there is none, the last one by whatever else read it.
    fn joined_kickstart_read(traces: [&MediumTrace; 2]) -> (Option<Timestamp>, bool) {
        let reads = |loaded| {
            let some = traces.iter().filter(move |trace| trace.ks_read_loaded == loaded);
            some.filter_map(|trace| trace.ks_read_at)
        };
        match reads(true).min() {
            Some(first) => (Some(first), true),
            None => (reads(false).max(), false),
        }
    }

    /// What a maintenance system reported by reading one of the two extents that are there for it, and when. A
    /// host that read both reported nothing.
    pub fn reported(&self) -> Option<(MediumReport, Timestamp)> {
        match (self.nonce_read_at, self.failure_read_at) {
            (Some(at), None) => Some((MediumReport::Success, at)),
            (None, Some(at)) => Some((MediumReport::Failure, at)),
            _ => None,
        }
    }

    /// Whether an installer can have been loaded from this medium by then; true as well where its reads show
    /// nothing of the host.
    pub fn may_be_loaded_by(&self, at: Timestamp) -> bool {
        let shows_host = self.total > 0 && self.mode != MediaMode::Prefetched;
        !shows_host || self.loaded_at.or(self.read_through_at).is_some_and(|loaded_at| loaded_at <= at)
    }

    /// When an installer that was loaded from this medium read its kickstart, the first time. A system on the
    /// host's disk may have read that before.
    pub fn installer_read(&self, kickstart: &MediumTrace) -> Option<Timestamp> {
        kickstart.ks_read_at.filter(|at| self.may_be_loaded_by(*at))
    }
}

/// How many jobs stand in each status, in the order of `Status::VARIANTS`.
pub type Counts = [u64; 5];
