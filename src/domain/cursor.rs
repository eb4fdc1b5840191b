//! Where a job stands, and what it is about to do.
//!
//! The cursor is saved, together with the events that report it, *before* an act. Invariant: an
//! act that must not be repeated blindly is preceded by a saved [`Intent`], so that a controller
//! which finds a job with an intent and no receipt knows to look before it acts.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where in its job the controller is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cursor {
    pub phase: Phase,
    pub step: Step,
    /// Tries of this step so far, counted from 1 once it has begun.
    pub attempt: u32,
    /// Times that this step did what it could and the BMC does not show it yet; failed tries are none of them.
    pub looks: u32,
    /// When the step began; `None` before its start event is written.
    pub entered_at: Option<Timestamp>,
    /// Since when a controller has been at this step without a break. Step timeouts count from here: time in which no
    /// controller drove the job does not use them up.
    #[serde(default, rename = "attended_since")]
    pub driven_since: Option<Timestamp>,
    /// Since when every try of this step has failed.
    #[serde(default)]
    pub failing_since: Option<Timestamp>,
    /// The driver looks at the job again at this time.
    pub wake_at: Timestamp,
    /// The last act of this step: about to be done, or done.
    pub intent: Option<Intent>,
}

impl Cursor {
    /// A new job, due immediately.
    pub fn start(now: Timestamp) -> Cursor {
        Cursor::enter(Phase::Forward, Step::ValidateRecipe, now)
    }

    /// When the controller that drives the job took it up, if that was during this step. Clocks are set in between, so
    /// nothing says how long no controller was there.
    pub fn taken_up_at(&self) -> Option<Timestamp> {
        self.driven_since.filter(|since| self.entered_at.is_some_and(|entered_at| entered_at < *since))
    }

    /// At the door of `step`.
    pub fn enter(phase: Phase, step: Step, now: Timestamp) -> Cursor {
        Cursor {
            phase,
            step,
            attempt: 0,
            looks: 0,
            entered_at: None,
            driven_since: None,
            failing_since: None,
            wake_at: now,
            intent: None,
        }
    }
}

/// The verdict is set on leaving `Forward`; `Done` is the end of the cleanup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Phase {
    Forward,
    Cleanup,
    Done,
}

/// An act that is not idempotent, written down before it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Intent {
    pub act: Act,
    pub at: Timestamp,
    /// When the BMC answered that it had accepted the act. Absent: unknown; look before acting again.
    pub receipt_at: Option<Timestamp>,
    /// Times in a row that it was requested, the earlier ones without an answer.
    pub tries: u32,
}

/// The acts that need an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Act {
    /// `InsertMedia` of this step's image.
    Insert,
    GracefulShutdown,
    ForceOff,
    PowerOn,
    /// A restart in one request, where the BMC offers no better.
    Restart,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Act::Insert => "insert",
            Act::GracefulShutdown => "graceful shutdown",
            Act::ForceOff => "forced power-off",
            Act::PowerOn => "start of the host",
            Act::Restart => "restart of the host",
        })
    }
}

/// The steps of every path, named as in the public contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Step {
    #[serde(rename = "validate-recipe")]
    ValidateRecipe,
    #[serde(rename = "resolve-server")]
    ResolveServer,
    #[serde(rename = "build-task-iso")]
    BuildTaskIso,
    #[serde(rename = "mount.maintenance")]
    MountMaintenance,
    #[serde(rename = "mount.task")]
    MountTask,
    #[serde(rename = "boot.override")]
    BootOverride,
    #[serde(rename = "reset")]
    Reset,
    #[serde(rename = "esxi.await_bmc")]
    EsxiAwaitBmc,
    #[serde(rename = "esxi.poll_power")]
    EsxiPollPower,
    #[serde(rename = "await-webhook")]
    AwaitWebhook,
    #[serde(rename = "cleanup.unmount-task")]
    CleanupUnmountTask,
    #[serde(rename = "cleanup.unmount-maintenance")]
    CleanupUnmountMaintenance,
    #[serde(rename = "cleanup.reset")]
    CleanupReset,
}

impl Step {
    /// In the order in which a job passes through them.
    pub const ALL: [Step; 13] = [
        Step::ValidateRecipe,
        Step::ResolveServer,
        Step::BuildTaskIso,
        Step::MountMaintenance,
        Step::MountTask,
        Step::BootOverride,
        Step::Reset,
        Step::EsxiAwaitBmc,
        Step::EsxiPollPower,
        Step::AwaitWebhook,
        Step::CleanupUnmountTask,
        Step::CleanupUnmountMaintenance,
        Step::CleanupReset,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Step::ValidateRecipe => "validate-recipe",
            Step::ResolveServer => "resolve-server",
            Step::BuildTaskIso => "build-task-iso",
            Step::MountMaintenance => "mount.maintenance",
            Step::MountTask => "mount.task",
            Step::BootOverride => "boot.override",
            Step::Reset => "reset",
            Step::EsxiAwaitBmc => "esxi.await_bmc",
            Step::EsxiPollPower => "esxi.poll_power",
            Step::AwaitWebhook => "await-webhook",
            Step::CleanupUnmountTask => "cleanup.unmount-task",
            Step::CleanupUnmountMaintenance => "cleanup.unmount-maintenance",
            Step::CleanupReset => "cleanup.reset",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
