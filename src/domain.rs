//! The domain: what an operator requests, what a job is, and what became of it.
//!
//! Pure: no I/O, no clock, no randomness. Nothing here is public JSON (that is `api`) or SQL (that
//! is `store`); the serde forms are those of the database. Invariant: a value of these types is
//! already checked; text as an operator typed it becomes one of them in [`recipe`] or not at all.

mod batch;
mod coverage;
mod cursor;
mod deadline;
mod esxi;
mod event;
mod facts;
mod failure;
mod fields;
mod host;
mod id;
mod leftover;
mod lint_mode;
mod maintenance;
mod mount;
mod probe;
mod read_map;
mod recipe;
mod secret;
mod server;
mod spec;
mod variables;
mod verdict;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

pub use batch::{BatchEnd, BatchLimits, BatchPlan, BatchStatus, PlannedRow, RowState, plan as plan_batch};
pub use coverage::{Coverage, ReadRanges, length, overlaps, within};
pub use cursor::{Act, Cursor, Intent, Phase, Step};
pub use deadline::{Deadline, DeadlineKind};
pub use esxi::{
    AddressFacts, ApiHost, ApiSample, CompletionHook, EsxiFacts, EsxiSpec, HookReport, InstalledFacts,
    InstallerFacts, Progress, SourceFacts, WatchFacts,
};
pub use event::{Event, EventStatus, Level, NewEvent};
pub use facts::{
    BootSample, BootSource, CleanupFacts, Counts, EjectReason, Facts, MediaMode, MediumReport, MediumTrace,
    PathFacts, Power, ResetFacts, SystemFacts, TaskIsoFacts,
};
pub use failure::{FailureCode, FailureEntry, failure_reference};
pub use fields::{FieldError, FieldPatch, Fields, LabelChanges, merge_labels};
pub use host::HostId;
pub use id::{BatchId, JobId, JobIdError, Serial, SerialError, likeness};
pub use leftover::Leftover;
pub use lint_mode::LintMode;
pub use maintenance::{
    MachineIdentity, MaintenanceFacts, MaintenanceSpec, RegistryImage, Reporter, TaskProgress, TaskResult,
};
pub use mount::{Drive, EjectFacts, Medium, Mount, Mounts, OpenSlot};
pub use probe::{ProbeFetch, ProbeReads};
pub use read_map::{BINS as READ_BINS, ReadBin, ReadMap};
pub use recipe::{KICKSTART_BYTES_MAX, RecipeError, parse_recipe};
pub use secret::Kickstart;
pub use server::{Server, check_bmc_address, management_url};
pub use spec::{JobSpec, MediaLayout, PathSpec, TaskTarget};
pub use variables::{VARIABLES_BYTES_MAX, VariableChanges, Variables, read_variables};
pub use verdict::{Confidence, Evidence, EvidenceKind, Outcome, Verdict};

/// One try at installing one server.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: JobId,
    pub server: Serial,
    /// The recipe's `task_target` as typed: a refused recipe may name anything.
    pub task_target: String,
    /// Absent in a job whose recipe was refused, which failed the job immediately.
    pub spec: Option<JobSpec>,
    pub status: Status,
    pub cursor: Cursor,
    pub facts: Facts,
    /// Written once, when the job leaves [`Phase::Forward`].
    pub verdict: Option<Verdict>,
    pub failed_step: Option<Step>,
    /// Of a failed job; jobs that failed before 0.2.0 have none.
    pub failure_code: Option<FailureCode>,
    /// A sentence that an operator can act on.
    pub reason: Option<String>,
    pub cancel: Option<Cancel>,
    pub retry_of: Option<JobId>,
    /// The batch that it is a row of.
    pub batch: Option<BatchId>,
    pub created_at: Timestamp,
    pub last_update: Timestamp,
    /// When the cleanup was over too.
    pub finished_at: Option<Timestamp>,
}

impl Job {
    /// A job in cleanup still holds its server.
    pub fn is_active(&self) -> bool {
        self.cursor.phase != Phase::Done
    }

    /// What is known of the job, but for how often and when its host was looked at: the same again where a look showed
    /// nothing new. Reads of the media are saved apart from the job.
    pub fn known(&self) -> (Cursor, Facts) {
        let cursor = Cursor { wake_at: Timestamp::default(), ..self.cursor.clone() };
        (cursor, self.facts.without_looks())
    }
}

/// What became of the job; nothing changes it once it is one of the last three.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    IntoStaticStr,
    VariantArray,
    EnumString,
    VariantNames,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Queued,
    Provisioning,
    Succeeded,
    Failed,
    Cancelled,
}

impl Status {
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether the verdict stands (the cleanup may still be going on).
    pub fn is_decided(self) -> bool {
        matches!(self, Status::Succeeded | Status::Failed | Status::Cancelled)
    }
}

/// An operator cancelled the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Eject immediately, even from under a running installer.
    pub force: bool,
}
