//! Jobs: what is added, found and cancelled.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::{FieldError, Job, JobId, JobSpec, NewEvent, Serial, Status, Step};

/// A job whose recipe is sound.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub id: JobId,
    pub server: Serial,
    pub task_target: String,
    pub spec: JobSpec,
    /// As typed; kept, sealed, for a retry.
    pub recipe: Value,
    pub retry_of: Option<JobId>,
    pub created_at: Timestamp,
    /// What the checks of its recipe found.
    pub events: Vec<NewEvent>,
}

/// A job that has failed at once, because its recipe is not sound.
#[derive(Clone, Debug)]
pub struct RefusedJob {
    pub id: JobId,
    pub server: Serial,
    /// As typed.
    pub task_target: String,
    pub recipe: Value,
    pub reason: String,
    pub errors: Vec<FieldError>,
    pub retry_of: Option<JobId>,
    pub created_at: Timestamp,
}

/// What a request for a job came to.
#[derive(Clone, Debug)]
pub enum Inserted {
    New(Job),
    /// A request with the same idempotency key made this one.
    Repeated {
        job: Job,
        /// Why the recipe was refused, if it was.
        refusal: Option<Vec<FieldError>>,
    },
}

/// What a request to cancel came to. Either way the job is as it stands now.
#[derive(Clone, Debug)]
pub enum CancelOutcome {
    /// The engine will act on it.
    Recorded(Job),
    /// The job is decided, and there is nothing to force either.
    Refused(Job),
}

/// Which jobs, newest first.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub status: Option<Status>,
    pub server: Option<Serial>,
    /// A label that the server had when the job was made.
    pub label: Option<(String, String)>,
    /// Those made before this one: the last of the page before.
    pub before: Option<JobId>,
    /// At most [`PAGE_MAX`].
    pub limit: usize,
}

/// How long a key is remembered.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// What a client sent as `Idempotency-Key`, and a hash of all that the key must stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub key: String,
    pub body_sha256: [u8; 32],
}

/// A job as it is found in the database.
#[derive(Clone, Debug)]
pub enum StoredJob {
    Readable(Box<Job>),
    Unreadable(UnreadableJob),
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
    pub created_at: Timestamp,
    pub last_update: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// What cannot be read, and why.
    pub why: String,
}
