//! Jobs whose stored state this release cannot read: written by a newer release, or damaged.
//!
//! Such a job is listed with what its row holds in plain columns. No controller that cannot read it claims it, so
//! its row and its host stay as they are; an operator may end it by force. Claims and the next wake-up pass over it
//! until the controller starts again. Invariant: only a forced end writes to such a job.

use jiff::Timestamp;

use crate::domain::{BatchId, EventStatus, Job, JobId, Level, NewEvent, Status, Step};
use shoal_base::with_causes;

/// A job as it is found in the database.
#[derive(Clone, Debug)]
pub enum StoredJob {
    Readable(Box<Job>),
    Unreadable(UnreadableJob),
}

impl From<Job> for StoredJob {
    fn from(job: Job) -> StoredJob {
        StoredJob::Readable(Box::new(job))
    }
}

impl StoredJob {
    pub fn id(&self) -> JobId {
        match self {
            StoredJob::Readable(job) => job.id,
            StoredJob::Unreadable(job) => job.id,
        }
    }

    /// Whether the job still holds its server.
    pub fn is_active(&self) -> bool {
        match self {
            StoredJob::Readable(job) => job.is_active(),
            StoredJob::Unreadable(job) => job.is_active,
        }
    }

    /// Serial number of the job's server.
    pub fn server(&self) -> &str {
        match self {
            StoredJob::Readable(job) => job.server.as_str(),
            StoredJob::Unreadable(job) => &job.server,
        }
    }
}

/// What the plain columns of such a job say; those that cannot be read either are absent.
#[derive(Clone, Debug)]
pub struct UnreadableJob {
    pub id: JobId,
    pub server: String,
    pub task_target: String,
    pub status: Option<Status>,
    pub is_active: bool,
    pub failed_step: Option<Step>,
    pub reason: Option<String>,
    pub retry_of: Option<JobId>,
    pub batch: Option<BatchId>,
    pub created_at: Timestamp,
    pub last_update: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// What cannot be read, and why.
    pub why: String,
}

impl UnreadableJob {
    /// The reason of a job that an operator ends by force.
    pub(super) fn forced_end_reason(&self) -> String {
        format!(
            "ended by force, because this release could not read the job's stored state ({}): its host was not touched; \
             `shoal server release {}` ejects media and clears the boot override",
            self.why, self.server
        )
    }
}

/// The event of a forced end. `last_step` is that of the job's last event, since its cursor cannot be read.
pub(super) fn forced_end(last_step: Option<Step>, now: Timestamp, message: String) -> NewEvent {
    NewEvent {
        time: now,
        level: Level::Warning,
        step: last_step.unwrap_or(Step::ValidateRecipe),
        op: "job.end".to_owned(),
        status: EventStatus::Failed,
        attempt: 1,
        duration_ms: None,
        message,
        detail: serde_json::Value::Null,
    }
}

/// Why a row cannot be read: the error and its causes, on one line.
pub(super) fn why(row: &str, source: &(dyn std::error::Error + 'static)) -> String {
    format!("{row} cannot be read: {}", with_causes(source))
}
