//! Leases: which controller drives a job, and how the job advances under it.
//!
//! A controller claims due jobs. Each claim raises the job's *generation*, and the [`Lease`] names it. Every write of
//! the driver ([`save`](LeaseStore::save), [`take_host`](LeaseStore::take_host)) carries the lease, and is refused
//! in its own transaction unless the job still has that generation and has not been released: a controller that
//! was suspended while another one took its job over writes nothing more of it. One turn of the driver is one
//! [`save`](LeaseStore::save): cursor, facts, verdict and the events that report them are stored together or not at
//! all, so a crash leaves a turn done or not begun.
//!
//! A lease ends when it is released, or when it was not renewed for its `ttl`: then any controller may claim the
//! job. An ended lease that no other controller has claimed still saves, since nothing has happened in between. That
//! a controller stops touching the BMC before its lease ends is the engine's duty (`engine::fence`), not the store's.
//!
//! `now` is the caller's time. It decides what is due, and how long a lease lasts where one controller uses the
//! database at a time; an engine for several controllers must measure leases by the database's clock, and take `now`
//! for leases in tests only.
//!
//! Written once, whatever a save holds: a verdict, a decided status, and phases, which only advance. A host belongs
//! to one active job: its identity enters a job's facts by [`take_host`](LeaseStore::take_host), in the transaction
//! that looks whether another active job has it.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::{StoreError, StoreFuture};
use crate::domain::{HostId, Job, JobId, NewEvent, Phase, Serial, Status, Verdict};

/// The right to drive one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    pub job: JobId,
    pub generation: u64,
}

/// An active job on the host that another record means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostHolder {
    pub job: JobId,
    pub server: Serial,
}

impl fmt::Display for HostHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "job {} of server record {} is active on the same host: delete one of the two records",
            self.job, self.server
        )
    }
}

pub trait LeaseStore {
    /// Leases up to `limit` due jobs to `owner` until `now + ttl`, oldest first. A job is due when it is active, has
    /// no living lease, and its time to wake has come or it was cancelled. Jobs that this release cannot read are
    /// left as they are, and so are jobs that their batch holds.
    fn claim(
        &self,
        owner: &str,
        now: Timestamp,
        ttl: Duration,
        limit: usize,
    ) -> StoreFuture<Vec<(Lease, Job)>>;

    /// Extends `leases` to `now + ttl`; returns those that `owner` still holds.
    fn renew(&self, owner: &str, leases: &[Lease], now: Timestamp, ttl: Duration) -> StoreFuture<Vec<Lease>>;

    /// Writes, together with its events, what changes in a job as it advances: status, cursor, facts, verdict,
    /// reason and times. What others write (a cancel, reports) stays as it is.
    ///
    /// [`StoreError::LeaseLost`] where the lease is not the job's present one, and [`StoreError::Decided`] where
    /// something would change that is written once.
    fn save(&self, lease: &Lease, job: &Job, events: Vec<NewEvent>) -> StoreFuture<()>;

    /// Saves a job that has found its host. Where another active job has that host, nothing is written and that job
    /// is returned.
    fn take_host(&self, lease: &Lease, job: &Job) -> StoreFuture<Option<HostHolder>>;

    /// The active job of another record than `than` that has the host.
    fn host_holder(&self, host: &HostId, than: &Serial) -> StoreFuture<Option<HostHolder>>;

    /// Gives the job back, so that any controller may claim it immediately. No effect where the lease is lost.
    fn release(&self, lease: &Lease) -> StoreFuture<()>;

    /// When to look for due jobs if nothing changes until then: as soon as one without a lease is due, and at the end of
    /// each lease, whether or not its job is due then. Never before `now`; `None` without active jobs.
    fn next_wake(&self, now: Timestamp) -> StoreFuture<Option<Timestamp>>;
}

/// What is written once, as it is stored now.
pub(super) struct Standing {
    pub status: Status,
    pub phase: Phase,
    pub verdict: Option<Verdict>,
}

impl Standing {
    /// Whether a save may write `job` over this.
    pub fn check(&self, job: &Job) -> Result<(), StoreError> {
        let verdict_changes = self.verdict.is_some() && self.verdict != job.verdict;
        let status_changes = self.status.is_decided() && self.status != job.status;
        let goes_back = rank(job.cursor.phase) < rank(self.phase);
        if verdict_changes || status_changes || goes_back {
            return Err(StoreError::Decided { job: job.id, status: self.status });
        }
        Ok(())
    }
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Forward => 0,
        Phase::Cleanup => 1,
        Phase::Done => 2,
    }
}
