//! Retention: jobs, events and audit entries that have become old are removed.
//!
//! Each call removes a bounded number and is one short transaction, so that jobs that run are not delayed. A job is
//! removed with all that belongs to it, a batch with its last job. The audit log is shortened from its start only, and
//! the seal of its new start takes the place of the removed entries, so the chain can still be verified.
//!
//! Invariants: nothing of an active job is removed, nor of a batch that is not over; audit entries are removed only
//! together with the entry that records where they were exported.

use jiff::Timestamp;

use super::StoreFuture;
use crate::access::{Act, Entry};
use crate::domain::JobId;

pub trait RetentionStore {
    /// Removes jobs that ended before `ended_before`, and submissions refused before `refused_before`, the oldest
    /// first and at most `limit`. Returns how many.
    fn expire_jobs(
        &self,
        ended_before: Timestamp,
        refused_before: Timestamp,
        limit: usize,
    ) -> StoreFuture<u64>;

    /// Removes the events of jobs that ended before. Returns of how many jobs, at most `limit`.
    fn expire_events(&self, ended_before: Timestamp, limit: usize) -> StoreFuture<u64>;

    /// The greatest id of an event that was removed; of a job, 0 if it has all of its events.
    fn removed_events(&self, job: Option<JobId>) -> StoreFuture<u64>;

    /// Returns unused space to the file system, a bounded amount. Whether there is more.
    fn shrink(&self) -> StoreFuture<bool>;

    /// The oldest entries of the audit log that were made before `before`, after number `after`: one page.
    fn old_audit(&self, before: Timestamp, after: u64) -> StoreFuture<Vec<Entry>>;

    /// Removes the entries up to number `last` and records `act`, in one transaction. No effect where `last` is the
    /// newest entry, or is not kept any more.
    fn shorten_audit(&self, last: u64, act: Act) -> StoreFuture<()>;
}
