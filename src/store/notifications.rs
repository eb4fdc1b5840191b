//! Notifications that wait to be sent: the ends of jobs and batches.
//!
//! One is added by the transaction that decides the job or ends the batch, so an end that was stored is also reported,
//! whatever happens to the controller in between. What it says is rendered when it is sent. Without `NOTIFY_URL` none is
//! added.

use jiff::Timestamp;

use super::StoreFuture;
use crate::domain::{BatchId, JobId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationSubject {
    /// Its verdict stands; its cleanup may go on.
    JobEnded(JobId),
    BatchHalted(BatchId),
    BatchEnded(BatchId),
}

impl NotificationSubject {
    pub(super) fn kind(self) -> &'static str {
        match self {
            NotificationSubject::JobEnded(_) => "job_ended",
            NotificationSubject::BatchHalted(_) => "batch_halted",
            NotificationSubject::BatchEnded(_) => "batch_ended",
        }
    }

    pub(super) fn id(self) -> String {
        match self {
            NotificationSubject::JobEnded(job) => job.to_string(),
            NotificationSubject::BatchHalted(batch) | NotificationSubject::BatchEnded(batch) => {
                batch.to_string()
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Rises with each one, and is never used twice.
    pub id: u64,
    pub subject: NotificationSubject,
    /// When it happened.
    pub at: Timestamp,
    /// Failed attempts so far.
    pub attempts: u32,
}

pub trait NotificationStore {
    /// From now on notifications are added, or no longer: then those that wait are dropped.
    fn set_notifying(&self, enabled: bool) -> StoreFuture<()>;

    /// Those whose time has come, the oldest first. They come again at `until`, unless they are settled by then; no other
    /// controller is given them before.
    fn take_notifications(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> StoreFuture<Vec<Notification>>;

    /// When the next one is due; `None` where none waits.
    fn next_notification(&self) -> StoreFuture<Option<Timestamp>>;

    /// It is delivered, or given up.
    fn remove_notification(&self, id: u64) -> StoreFuture<()>;

    /// Counts a failed attempt; the next one is due at `next`.
    fn put_notification_off(&self, id: u64, next: Timestamp) -> StoreFuture<()>;
}
