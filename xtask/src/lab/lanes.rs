//! Rounds run in two lanes: while the machines of one wait, those of another boot.
//!
//! Invariants: no machine is in two rounds at a time; a round that is alone runs beside no other; and the rows are in the
//! order of the rounds, whichever ended first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard};

use super::AnyRound;
use super::scenario::Row;
use crate::process::Done;

/// As many as a small machine has cores.
const LANES: usize = 2;

/// Runs all rounds, unless one cannot be run at all: then those that run end, and no other begins.
pub fn run(rounds: &[AnyRound]) -> Done<Vec<Row>> {
    let lanes = Lanes::new(rounds);
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| lanes.work());
        }
    });
    let ended = lanes.state.into_inner().expect("no lane panics").ended;
    let rows: Done<Vec<Vec<Row>>> = ended.into_values().collect();
    Ok(rows?.into_iter().flatten().collect())
}

struct Lanes<'a> {
    rounds: &'a [AnyRound],
    state: Mutex<LaneState>,
    ended: Condvar,
}

struct LaneState {
    /// Indexes of rounds, in order.
    waiting: Vec<usize>,
    running: BTreeSet<usize>,
    ended: BTreeMap<usize, Done<Vec<Row>>>,
}

impl<'a> Lanes<'a> {
    fn new(rounds: &'a [AnyRound]) -> Lanes<'a> {
        let waiting = (0..rounds.len()).collect();
        let state = LaneState { waiting, running: BTreeSet::new(), ended: BTreeMap::new() };
        Lanes { rounds, state: Mutex::new(state), ended: Condvar::new() }
    }

    fn work(&self) {
        while let Some(index) = self.begin() {
            let rows = self.rounds[index].run();
            let mut state = self.state();
            if rows.is_err() {
                state.waiting.clear();
            }
            state.running.remove(&index);
            state.ended.insert(index, rows);
            self.ended.notify_all();
        }
    }

    /// The first round that may run beside those that do; waits for one.
    fn begin(&self) -> Option<usize> {
        let mut state = self.state();
        loop {
            let may_begin =
                |index: &usize| state.running.iter().all(|other| self.are_compatible(*index, *other));
            if let Some(place) = state.waiting.iter().position(may_begin) {
                let index = state.waiting.remove(place);
                state.running.insert(index);
                return Some(index);
            }
            if state.waiting.is_empty() {
                return None;
            }
            state = self.ended.wait(state).expect("no lane panics");
        }
    }

    fn are_compatible(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.rounds[one], &self.rounds[other]);
        !one.is_alone() && !other.is_alone() && one.machines().is_disjoint(&other.machines())
    }

    fn state(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().expect("no lane panics")
    }
}
