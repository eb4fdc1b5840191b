//! Events: the numbered log of all jobs.
//!
//! An event has two numbers. `seq` counts within its job, from 1 without gaps. `id` rises over all jobs in the order
//! of commits, so a reader that has read up to one id has missed no smaller one. An engine whose transactions run
//! side by side must therefore draw ids last, under a lock that it holds until the commit.
//!
//! Events are written only together with what they report ([`LeaseStore::save`](super::LeaseStore::save),
//! [`JobStore::insert_job`](super::JobStore::insert_job)). Invariant: a job that repeats a step without end cannot
//! fill the disk.

use serde_json::Value;
use tokio::sync::watch;

use super::StoreFuture;
use super::bounds::{TEXT_CHARS_MAX, clipped};
use crate::domain::{BatchId, Event, EventStatus, JobId, Level, NewEvent, Serial};

/// From this number on, a job's `progress` and `retrying` events are dropped, after one that says so. The
/// starts and ends of steps, of which there are a few dozen, are always kept.
pub const EVENTS_A_JOB_MAX: u64 = 10_000;

const DETAIL_BYTES_MAX: usize = 16 * 1024;

/// Which events, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub job: Option<JobId>,
    /// Of this server's jobs.
    pub server: Option<Serial>,
    /// Of this batch's jobs.
    pub batch: Option<BatchId>,
    /// At least as important as this.
    pub level: Option<Level>,
    /// Those with a greater global id; 0 for all.
    pub after: u64,
    /// At most [`PAGE_MAX`](super::PAGE_MAX).
    pub limit: usize,
}

pub trait EventStore {
    /// One page of events; continue with `after` set to the last one's id.
    fn events(&self, filter: &EventFilter) -> StoreFuture<Vec<Event>>;

    /// The id of the last event, after each commit of this handle that wrote one: all events up to it can be read.
    /// Commits of other controllers may show late or not at all, so readers also poll.
    fn latest_event(&self) -> watch::Receiver<u64>;
}

/// How many events a job has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventCount {
    /// The number of its last event.
    pub seq: u64,
    pub dropped: u64,
}

impl EventCount {
    /// Counts the event. Returns it as it is to be stored, or nothing where it is dropped.
    pub fn next(&mut self, event: &NewEvent) -> Option<(u64, NewEvent)> {
        let is_optional = matches!(event.status, EventStatus::Progress | EventStatus::Retrying);
        let event = match is_optional && self.seq >= EVENTS_A_JOB_MAX {
            false => bounded(event),
            true => {
                self.dropped += 1;
                (self.dropped == 1).then(|| last_warning(event))?
            }
        };
        self.seq += 1;
        Some((self.seq, event))
    }
}

fn bounded(event: &NewEvent) -> NewEvent {
    let detail_bytes = event.detail.to_string().len();
    let detail = match detail_bytes > DETAIL_BYTES_MAX {
        true => serde_json::json!({ "left_out_bytes": detail_bytes }),
        false => event.detail.clone(),
    };
    NewEvent { message: clipped(&event.message, TEXT_CHARS_MAX).to_owned(), detail, ..event.clone() }
}

fn last_warning(dropped: &NewEvent) -> NewEvent {
    NewEvent {
        level: Level::Warning,
        status: EventStatus::Progress,
        duration_ms: None,
        message: format!(
            "This job has written {EVENTS_A_JOB_MAX} events; from here on only the starts and ends of its steps are kept."
        ),
        detail: Value::Null,
        ..dropped.clone()
    }
}
