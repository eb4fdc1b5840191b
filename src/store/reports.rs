//! Reports about a job from outside its driver: what its media were read of, and what an installer's hook reported.
//!
//! A report needs no lease. It does not say how a job advances but what has happened, which is true whichever
//! controller drives the job; and to refuse the save of a read trace would be to withhold the bytes from the host.
//! Invariants: a milestone of a read trace that was saved once stays, because saves of one trace may arrive out of
//! order, and a controller that forgot that the kickstart was read would judge wrongly; of the results that are
//! reported of a job the first one stays.

use std::time::Duration;

use super::StoreFuture;
use crate::domain::{HookReport, JobId, MediumTrace, TaskProgress, TaskResult};

/// Reports of progress that come faster are not kept.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// What a maintenance system has reported of its job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskReports {
    pub result: Option<TaskResult>,
    pub progress: Option<TaskProgress>,
}

pub trait ReportStore {
    /// Saves the trace of one medium, joined with what was saved of it before.
    fn save_trace(&self, job: JobId, medium: &str, trace: &MediumTrace) -> StoreFuture<()>;

    fn load_trace(&self, job: JobId, medium: &str) -> StoreFuture<Option<MediumTrace>>;

    /// Keeps the report; returns whether it is the job's first one.
    fn save_hook_report(&self, job: JobId, report: HookReport) -> StoreFuture<bool>;

    fn load_hook_report(&self, job: JobId) -> StoreFuture<Option<HookReport>>;

    /// Keeps the result that a maintenance system reported; returns whether it is the job's first one.
    fn save_task_result(&self, job: JobId, result: TaskResult) -> StoreFuture<bool>;

    /// Keeps what a maintenance system does now, in place of what it did before, unless that was reported less than
    /// [`PROGRESS_EVERY`] ago.
    fn save_task_progress(&self, job: JobId, progress: TaskProgress) -> StoreFuture<()>;

    fn load_task_reports(&self, job: JobId) -> StoreFuture<TaskReports>;
}

/// `new`, with every milestone that only `saved` has. Of two times of a milestone the first one
/// counts; of what happens once in each run of an installer, the last.
pub(super) fn joined(saved: MediumTrace, new: MediumTrace) -> MediumTrace {
    let nonce_copied = saved.nonce_copied || new.nonce_copied;
    let failure_copied = saved.failure_copied || new.failure_copied;
    MediumTrace {
        read: saved.read.max(new.read),
        first_read_at: saved.first_read_at.or(new.first_read_at),
        last_read_at: saved.last_read_at.max(new.last_read_at),
        last_new_read_at: saved.last_new_read_at.max(new.last_new_read_at),
        read_through_at: saved.read_through_at.or(new.read_through_at),
        ks_read_at: saved.ks_read_at.or(new.ks_read_at),
        nonce_read_at: saved.nonce_read_at.or(new.nonce_read_at).filter(|_| !nonce_copied),
        nonce_copied,
        failure_read_at: saved.failure_read_at.or(new.failure_read_at).filter(|_| !failure_copied),
        failure_copied,
        reenumerated_at: saved.reenumerated_at.max(new.reenumerated_at),
        ks_read_again_at: saved.ks_read_again_at.max(new.ks_read_again_at),
        ..new
    }
}
