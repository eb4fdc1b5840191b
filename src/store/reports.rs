//! Reports about a job from outside its driver: what its media were read of, and what an installer's hook reported.
//!
//! A report needs no lease. It does not say how a job advances but what has happened, which is true whichever
//! controller drives the job; and to refuse the save of a read trace would be to withhold the bytes from the host.
//! Invariants: a milestone of a read trace that was saved once stays, because saves of one trace may arrive out of
//! order, and a controller that forgot that the kickstart was read would judge wrongly; of the results that are
//! reported of a job the first one stays, but for one by the shared secret, which one by the job's token replaces while
//! the verdict is open; a delivery by the shared secret counts once for its server, whichever job it came in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::StoreFuture;
use crate::domain::{HookReport, JobId, MediumTrace, Reporter, TaskProgress, TaskResult};
use shoal_base::world::elapsed;

/// Reports of progress that come faster are not kept.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// So many delivery ids of a job are kept.
pub const DELIVERIES_MAX: u32 = 32;

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

    /// Those of all media of the job, by medium.
    fn load_traces(&self, job: JobId) -> StoreFuture<BTreeMap<String, MediumTrace>>;

    /// Keeps the report; returns whether it is the job's first one.
    fn save_hook_report(&self, job: JobId, report: HookReport) -> StoreFuture<bool>;

    fn load_hook_report(&self, job: JobId) -> StoreFuture<Option<HookReport>>;

    /// Keeps the result that a maintenance system reported, if it counts; returns whether it does.
    fn save_task_result(&self, job: JobId, result: TaskResult) -> StoreFuture<bool>;

    /// Keeps the id of a delivery that came in during the job and does not count for it, so that its repeats never
    /// count either.
    fn refuse_delivery(&self, job: JobId, delivery_id: &str) -> StoreFuture<()>;

    /// Keeps what a maintenance system does now, in place of what it did before, unless that was reported less than
    /// [`PROGRESS_EVERY`] ago or by a stronger reporter.
    fn save_task_progress(&self, job: JobId, progress: TaskProgress) -> StoreFuture<()>;

    fn load_task_reports(&self, job: JobId) -> StoreFuture<TaskReports>;
}

/// Whether a result takes the place of the one that is kept.
pub(super) fn replaces(result: &TaskResult, kept: Option<&TaskResult>, is_decided: bool) -> bool {
    kept.is_none_or(|kept| !is_decided && result.by.outranks(kept.by))
}

/// Whether a report of progress takes the place of the one that is kept.
pub(super) fn follows(progress: &TaskProgress, kept: Option<&TaskProgress>) -> bool {
    kept.is_none_or(|kept| {
        let is_due = elapsed(kept.at, progress.at) >= PROGRESS_EVERY;
        progress.by.outranks(kept.by) || (is_due && !kept.by.outranks(progress.by))
    })
}

/// Whether a delivery with this id may have come in before. The id of a report by the job's token need not be unique.
pub(super) fn delivery_of_secret(result: &TaskResult) -> Option<&str> {
    result.delivery_id.as_deref().filter(|_| result.by == Reporter::SharedSecret)
}
