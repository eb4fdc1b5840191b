//! Batches: many jobs that start under common limits.
//!
//! A batch has one row for each server, and a row has one job at a time: the first one, or the retry of a failed one.
//! Its jobs are added with the batch, in one transaction, and are *held*: no claim meets them. Each claim first asks
//! the plan of every open batch (`domain::plan_batch`) and releases the jobs that may start, in the claim's own
//! transaction, so the limits hold however many controllers claim. A cancelled job is claimed even if it is held.
//!
//! Invariants: a held job has not touched its host; a job is released once; a batch is over once each of its jobs is
//! decided.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{IdempotencyKey, NewJob, StoreFuture};
use crate::domain::{
    BatchId, BatchLimits, BatchStatus, Deadline, FailureCode, FieldPatch, JobId, PlannedRow, RowState,
    Serial, Status, Step, Verdict,
};

/// The most servers that one batch has.
pub const BATCH_ROWS_MAX: usize = 5_000;

/// A batch whose rows are all valid.
#[derive(Clone, Debug)]
pub struct NewBatch {
    pub id: BatchId,
    pub name: Option<String>,
    pub limits: BatchLimits,
    /// The name of the caller.
    pub created_by: String,
    pub created_at: Timestamp,
    /// One for each server, in the order in which they start.
    pub jobs: Vec<NewJob>,
}

#[derive(Clone, Debug)]
pub struct Batch {
    pub id: BatchId,
    pub name: Option<String>,
    pub status: BatchStatus,
    /// Why it was halted.
    pub reason: Option<String>,
    pub limits: BatchLimits,
    pub created_by: String,
    pub created_at: Timestamp,
    pub last_update: Timestamp,
    /// When the last of its rows was decided.
    pub finished_at: Option<Timestamp>,
    pub counts: RowCounts,
}

impl Batch {
    /// Whether the batch is in a state in which that can be done.
    pub(super) fn allows(&self, change: &BatchChange) -> bool {
        match change {
            BatchChange::Pause => self.status == BatchStatus::Running,
            BatchChange::Resume { .. } => matches!(self.status, BatchStatus::Paused | BatchStatus::Halted),
            // Once more, for the rows that run.
            BatchChange::Cancel { .. } => self.finished_at.is_none(),
        }
    }
}

/// How many rows are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    pub waiting: u64,
    pub running: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub cancelled: u64,
}

impl RowCounts {
    pub fn count(&mut self, state: RowState, rows: u64) {
        *match state {
            RowState::Waiting => &mut self.waiting,
            RowState::Running { .. } => &mut self.running,
            RowState::Succeeded => &mut self.succeeded,
            RowState::Failed => &mut self.failed,
            RowState::Cancelled => &mut self.cancelled,
        } += rows;
    }
}

/// One server of a batch, with its present job.
#[derive(Clone, Debug)]
pub struct BatchRow {
    pub server: Serial,
    pub job: JobId,
    /// Jobs that the row has had, this one included.
    pub attempts: u32,
    /// When the batch let the job start.
    pub released_at: Option<Timestamp>,
    pub acknowledged: bool,
    pub labels: BTreeMap<String, String>,
    pub status: Status,
    /// Unknown of a job that this release cannot read.
    pub step: Option<Step>,
    pub deadline: Option<Deadline>,
    pub failed_step: Option<Step>,
    pub failure_code: Option<FailureCode>,
    pub reason: Option<String>,
    pub verdict: Option<Verdict>,
}

impl BatchRow {
    pub fn state(&self) -> RowState {
        RowState::of(self.status, self.released_at)
    }

    pub fn planned(&self) -> PlannedRow {
        let (state, labels) = (self.state(), self.labels.clone());
        PlannedRow { state, labels, acknowledged: self.acknowledged }
    }
}

/// What an operator does with a batch.
#[derive(Clone, Debug)]
pub enum BatchChange {
    Pause,
    /// Failures and overdue rows so far no longer count.
    Resume {
        not_before: FieldPatch<Timestamp>,
        not_after: FieldPatch<Timestamp>,
    },
    /// Cancels the rows that have not started; those that run too where `running` is set.
    Cancel {
        running: bool,
    },
}

/// The result of a request for a batch.
#[derive(Clone, Debug)]
pub enum InsertedBatch {
    New(Batch),
    /// A request with the same idempotency key made this one.
    Repeated(Batch),
}

/// The result of a change, with the batch as it is now.
#[derive(Clone, Debug)]
pub enum BatchOutcome {
    Changed(Batch),
    /// Not possible in the state that the batch is in.
    Refused(Batch),
}

pub trait BatchStore {
    /// Adds a batch and its jobs, unless its key was used before; all of them or nothing.
    /// [`StoreError::Busy`](super::StoreError::Busy) while another job is active on one of the servers.
    fn insert_batch(&self, new: NewBatch, key: Option<IdempotencyKey>) -> StoreFuture<InsertedBatch>;

    /// The batch that the first request with this key added, if there was one within
    /// [`IDEMPOTENCY_TTL`](super::IDEMPOTENCY_TTL) before `now`.
    /// [`StoreError::IdempotencyConflict`](super::StoreError::IdempotencyConflict) where that had another body.
    fn repeated_batch(&self, key: &IdempotencyKey, now: Timestamp) -> StoreFuture<Option<Batch>>;

    fn batch(&self, id: BatchId) -> StoreFuture<Option<Batch>>;

    /// The rows in their order, [`BATCH_ROWS_MAX`] at most.
    fn batch_rows(&self, id: BatchId) -> StoreFuture<Vec<BatchRow>>;

    /// One page of batches, newest first: those made before `before`, at most `limit` and
    /// [`PAGE_MAX`](super::PAGE_MAX).
    fn batches(&self, before: Option<BatchId>, limit: usize) -> StoreFuture<Vec<Batch>>;

    fn change_batch(&self, id: BatchId, change: BatchChange, now: Timestamp) -> StoreFuture<BatchOutcome>;

    /// Gives rows that have failed or were cancelled a new job each, whose `retry_of` names the row's present one. A
    /// batch that was finished runs again. Refused where the batch is cancelled, or where one of the jobs is no longer
    /// its row's.
    fn retry_rows(&self, id: BatchId, jobs: Vec<NewJob>, now: Timestamp) -> StoreFuture<BatchOutcome>;
}
