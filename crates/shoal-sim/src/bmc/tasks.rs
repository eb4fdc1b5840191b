//! The Redfish Tasks of a BMC: inserts that are answered before they are done.
//!
//! What is shown of them is in `redfish::tasks`. Invariant: a Task that has ended does not change,
//! and at most [`TASKS_MAX`] are kept.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::message::Refusal;

const TASKS_MAX: usize = 64;

#[derive(Default)]
pub struct Tasks {
    known: BTreeMap<u64, Task>,
    made: u64,
}

pub struct Task {
    pub began: Timestamp,
    /// When it ended, and how.
    pub end: Option<(Timestamp, Result<(), Refusal>)>,
}

impl Tasks {
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// Begins a Task; its id.
    pub fn begin(&mut self, now: Timestamp) -> u64 {
        self.made += 1;
        self.known.insert(self.made, Task { began: now, end: None });
        while self.known.len() > TASKS_MAX {
            self.known.pop_first();
        }
        self.made
    }

    pub fn end(&mut self, id: u64, result: Result<(), Refusal>, now: Timestamp) {
        if let Some(task) = self.known.get_mut(&id) {
            task.end.get_or_insert((now, result));
        }
    }

    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.known.keys().copied()
    }

    pub fn get(&self, id: u64) -> Option<&Task> {
        self.known.get(&id)
    }
}
