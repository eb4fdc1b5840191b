//! What an ESXi recipe requests, and what only an ESXi job learns.
//!
//! Beside the shared types, and not with the path that uses them, because the store reads and writes them.
//! Invariant: no secret is a fact.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{BootSource, Evidence, Kickstart, Power, Server};

/// What an ESXi recipe requests.
#[derive(Clone, Debug)]
pub struct EsxiSpec {
    pub kickstart: Kickstart,
    pub completion_hook: CompletionHook,
    pub management_address: Option<String>,
    pub installer_url: Option<Url>,
    /// Lower-case hex.
    pub installer_sha256: Option<String>,
}

impl EsxiSpec {
    /// Where the installed system is to answer: as the recipe says, else the server's record.
    pub fn management_address<'a>(&'a self, server: &'a Server) -> Option<&'a str> {
        self.management_address.as_deref().or(server.management_address.as_deref())
    }
}

/// How the installer reports completion, if it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum CompletionHook {
    #[default]
    None,
    /// A section is added that reads the nonce on the task ISO and powers the host off.
    Poweroff,
    /// A section is added that calls the job's own URL; the kickstart's `reboot` follows.
    Webhook,
    /// The kickstart itself powers the host off at its end.
    OwnPoweroff,
}

impl CompletionHook {
    /// Whether the kickstart is expected to end by powering the host off.
    pub fn powers_off(self) -> bool {
        matches!(self, CompletionHook::Poweroff | CompletionHook::OwnPoweroff)
    }
}

/// What the job has learnt and done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EsxiFacts {
    pub installer: Option<InstallerFacts>,
    /// What answered at the management address before the first act of the reset.
    pub api_before: Option<ApiSample>,
    pub watch: WatchFacts,
    pub progress: Progress,
    /// Of a success, where the installed system answered and nothing makes its answer doubtful.
    pub installed: Option<InstalledFacts>,
}

impl EsxiFacts {
    /// Leaves what some look has shown, and nothing of when the looks were.
    pub(super) fn forget_looks(&mut self) {
        let watch = &mut self.watch;
        (watch.polls, watch.observed_at, watch.longest_pause_ms, watch.since_nonce_ms) = (0, None, 0, 0);
        self.progress.installer_bytes_read = 0;
    }
}

/// The installed system, as it showed itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InstalledFacts {
    /// Where it answered.
    pub management_address: String,
    pub host: ApiHost,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InstallerFacts {
    /// Lower-case hex, of the vendor's bytes.
    pub sha256: String,
    pub size: u64,
    pub volume_id: String,
    pub version: Option<String>,
    pub build: Option<String>,
}

/// One look at a management address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiSample {
    pub at: Timestamp,
    /// Who answered as an ESXi host; absent where none did.
    pub host: Option<ApiHost>,
    /// No connection was made. An answer of another kind (503, a web page) is none of ESXi, and no silence.
    #[serde(default)]
    pub silent: bool,
}

/// What was seen of a management address since the reset, beside its last host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct AddressFacts {
    /// Since when no connection has been made.
    pub silent_since: Option<Timestamp>,
    /// When that had lasted long enough for a host that is down, the first time.
    pub silent_at: Option<Timestamp>,
    /// Since when the host of `WatchFacts::api` has answered at each look.
    pub answered_since: Option<Timestamp>,
    /// Its last answer.
    pub answered_at: Option<Timestamp>,
    /// The certificates that were shown, each once.
    pub certificates: Vec<String>,
    /// A certificate came back after another one.
    pub alternates: bool,
}

/// What an ESXi host's API says of it without an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiHost {
    pub version: String,
    /// Such as `24022510`.
    pub build: String,
    /// SHA-256 of its certificate, lower-case hex. Each installation makes one of its own.
    pub certificate: String,
}

/// What the watch over the installer has seen; `flow::detect` reads and writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WatchFacts {
    /// Looks at the BMC since the reset.
    pub polls: u32,
    /// When the reset was first seen to have taken effect.
    pub effect_at: Option<Timestamp>,
    pub sources: BTreeMap<BootSource, SourceFacts>,
    /// Power as last seen, and since when it has held without a break or a long silence.
    pub power: Option<(Power, Timestamp)>,
    /// Last time the BMC answered.
    pub observed_at: Option<Timestamp>,
    /// End of the last long silence of the BMC (or of this controller).
    pub silence_ended_at: Option<Timestamp>,
    /// Milliseconds since the reset in which the BMC could not be observed.
    #[serde(rename = "blind_ms")]
    pub unobserved_ms: u64,
    /// Of these, the longest at a stretch.
    #[serde(default, rename = "longest_blind_ms")]
    pub longest_unobserved_ms: u64,
    /// Milliseconds between the last look of one controller and the next one's arrival: nothing says how many of them
    /// passed, because clocks are set in between.
    pub away_ms: u64,
    /// The host booted again after the kickstart was read.
    pub second_boot: Option<Evidence>,
    /// The last look at the management address at which an ESXi host answered.
    pub api: Option<ApiSample>,
    pub address: AddressFacts,
    /// The longest pause between two looks since the kickstart was read, in milliseconds.
    pub longest_pause_ms: u64,
    /// A source showed another boot before one counts, where the reads show nothing.
    pub booted_early: bool,
    /// What the installer's webhook said, if it did.
    pub hook: Option<HookReport>,
    /// Milliseconds in which the host was watched, and not seen off, since the hook read its nonce.
    pub since_nonce_ms: u64,
    /// Times that an override which outlived the start was disarmed.
    pub disarms: u32,
    /// One of them was disarmed before anything had shown that the host used it.
    pub disarmed_unused: bool,
    /// Times that a host which installs again and again, or might unseen, was to lose its media between
    /// two runs.
    pub loop_ejects: u32,
    /// When they were out.
    pub loop_ended_at: Option<Timestamp>,
}

/// What the hook of an installer reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HookReport {
    pub at: Timestamp,
    pub succeeded: bool,
}

/// One second-boot source of this BMC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceFacts {
    /// It visibly changed at our own reset: what it shows later can be believed.
    pub showed_start: bool,
    /// And it could be watched since, so its silence means something.
    pub live: bool,
    /// Its last value.
    pub last: Option<String>,
}

/// Shown with the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Progress {
    pub installer_bytes_read: u64,
    pub installer_bytes_total: u64,
    pub ks_read: bool,
}
