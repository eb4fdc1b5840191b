//! Events: which ones a reader asks for, and how many of a job are kept.

use crate::domain::JobId;

/// From here on a job's `progress` and `retrying` events are dropped, after one that says so. The
/// starts and ends of steps, of which there are a few dozen, are always kept.
pub const EVENTS_A_JOB_MAX: u64 = 10_000;

/// Which events, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub job: Option<JobId>,
    /// Those with a greater global id; 0 for all.
    pub after: u64,
    /// At most [`PAGE_MAX`].
    pub limit: usize,
}
