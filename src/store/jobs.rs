//! Jobs: adding, finding and cancelling them. How a job advances is in `leases`.
//!
//! Adding a job is one transaction: the job, its sealed recipe, the labels of its server, its first events and its
//! idempotency key are stored, or nothing is. A request that is sent twice with one key adds one job: within
//! [`IDEMPOTENCY_TTL`] the second one returns the first one's job, and another body under the same key is refused.
//!
//! Invariants: a server has at most one active job (one that is not through its cleanup), whatever the callers do;
//! a cancel is never lost to a save that read the job before it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;

use super::bounds::clipped;
use super::{StoreFuture, StoredJob};
use crate::domain::{
    BatchId, Cancel, Counts, Cursor, FailureCode, FieldError, Job, JobId, JobSpec, NewEvent, Outcome, Phase,
    Serial, Status, Step, Verdict,
};

/// So much is kept of a `task_target`, which in a refused recipe may be anything.
const TASK_TARGET_CHARS_MAX: usize = 200;

/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// What a client sent as `Idempotency-Key`, and a hash of all that the key must stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub key: String,
    pub body_sha256: [u8; 32],
}

/// A job whose recipe is valid.
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

/// A job that has failed on arrival, because its recipe is not valid.
#[derive(Clone, Debug)]
pub struct RefusedJob {
    pub id: JobId,
    pub server: Serial,
    /// As typed.
    pub task_target: String,
    pub recipe: Value,
    pub code: FailureCode,
    pub reason: String,
    pub errors: Vec<FieldError>,
    pub retry_of: Option<JobId>,
    pub created_at: Timestamp,
}

/// The result of a request for a job.
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

/// The result of a request to cancel, with the job as it is now.
#[derive(Clone, Debug)]
pub enum CancelOutcome {
    /// The engine will act on it.
    Recorded(Job),
    /// The job is decided, and nothing is left to force.
    Refused(Job),
}

/// Which jobs, newest first.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub status: Option<Status>,
    pub server: Option<Serial>,
    /// A label that the server had when the job was made.
    pub label: Option<(String, String)>,
    /// With those whose recipe was refused.
    pub refused: bool,
    pub batch: Option<BatchId>,
    /// Those made before this one: the last of the page before.
    pub before: Option<JobId>,
    /// At most [`super::PAGE_MAX`].
    pub limit: usize,
}

pub trait JobStore {
    /// Adds a queued job, unless its key was used before.
    /// [`StoreError::Busy`](super::StoreError::Busy) while another job is active on the server.
    fn insert_job(&self, new: NewJob, key: Option<IdempotencyKey>) -> StoreFuture<Inserted>;

    /// Adds a job that has failed, with the events that say why, unless its key was used before. It needs no idle
    /// server.
    fn insert_refused_job(
        &self,
        refused: RefusedJob,
        events: Vec<NewEvent>,
        key: Option<IdempotencyKey>,
    ) -> StoreFuture<Inserted>;

    /// What the first request with this key added, if there was one within [`IDEMPOTENCY_TTL`] before `now`.
    /// [`StoreError::IdempotencyConflict`](super::StoreError::IdempotencyConflict) where that had another body.
    fn repeated(&self, key: &IdempotencyKey, now: Timestamp) -> StoreFuture<Option<Inserted>>;

    fn job(&self, id: JobId) -> StoreFuture<Option<Job>>;

    /// The job, whether this release can read its state or not.
    fn stored_job(&self, id: JobId) -> StoreFuture<Option<StoredJob>>;

    /// The active job of the server, if it has one.
    fn active_job(&self, server: &Serial) -> StoreFuture<Option<JobId>>;

    /// The active jobs, the oldest first.
    fn active_jobs(&self) -> StoreFuture<Vec<JobId>>;

    /// One page of jobs; continue with `before` set to the last one's id.
    fn jobs(&self, filter: &JobFilter) -> StoreFuture<Vec<StoredJob>>;

    /// The recipe as typed, for a retry.
    fn job_recipe(&self, job: JobId) -> StoreFuture<Option<Value>>;

    /// How many jobs are in each status.
    fn status_counts(&self) -> StoreFuture<Counts>;

    /// Records that the job is to end, and makes it due. A decided job can still be forced while its cleanup
    /// waits; no later request takes a `force` back.
    fn request_cancel(&self, id: JobId, cancel: Cancel) -> StoreFuture<CancelOutcome>;

    /// The active jobs that are to end, and how. Jobs that cannot be read are left out: no controller of this
    /// release drives them.
    fn pending_cancels(&self) -> StoreFuture<Vec<(JobId, Cancel)>>;

    /// Ends an active job that this release cannot read, without touching its host.
    /// [`StoreError::Leased`](super::StoreError::Leased) while another controller drives it; `false`, and nothing
    /// written, where the job can be read or is over.
    fn end_unreadable_job(&self, id: JobId, now: Timestamp) -> StoreFuture<bool>;

    /// Notified when this handle added, cancelled or released a job: wakes all tasks that wait, and the next one to
    /// wait. A hint; other controllers' writes may not show.
    fn jobs_changed(&self) -> Arc<Notify>;
}

/// A row of `jobs` before it is written.
#[derive(Clone)]
pub(super) struct NewJobRow {
    pub id: JobId,
    pub server: Serial,
    pub task_target: String,
    pub retry_of: Option<JobId>,
    /// It is held until its batch lets it start.
    pub batch: Option<BatchId>,
    pub created_at: Timestamp,
    pub refusal: Option<(FailureCode, String)>,
}

/// How a job begins: queued, or ended by a refusal.
pub(super) struct FirstState {
    pub status: Status,
    pub cursor: Cursor,
    pub verdict: Option<Verdict>,
    pub failed_step: Option<Step>,
    pub finished_at: Option<Timestamp>,
}

impl NewJobRow {
    pub fn accepted(new: &NewJob, batch: Option<BatchId>) -> NewJobRow {
        NewJobRow {
            id: new.id,
            server: new.server.clone(),
            task_target: new.task_target.clone(),
            retry_of: new.retry_of,
            batch,
            created_at: new.created_at,
            refusal: None,
        }
    }

    pub fn refused(new: &RefusedJob) -> NewJobRow {
        NewJobRow {
            id: new.id,
            server: new.server.clone(),
            task_target: new.task_target.clone(),
            retry_of: new.retry_of,
            batch: None,
            created_at: new.created_at,
            refusal: Some((new.code, new.reason.clone())),
        }
    }

    pub fn kept_task_target(&self) -> &str {
        clipped(&self.task_target, TASK_TARGET_CHARS_MAX)
    }

    pub fn first_state(&self) -> FirstState {
        let start = Cursor::start(self.created_at);
        match self.refusal {
            None => FirstState {
                status: Status::Queued,
                cursor: Cursor { phase: Phase::Forward, ..start },
                verdict: None,
                failed_step: None,
                finished_at: None,
            },
            Some(_) => FirstState {
                status: Status::Failed,
                cursor: Cursor { phase: Phase::Done, ..start },
                verdict: Some(Verdict { outcome: Outcome::Failed, confidence: None, evidence: Vec::new() }),
                failed_step: Some(Step::ValidateRecipe),
                finished_at: Some(self.created_at),
            },
        }
    }
}
