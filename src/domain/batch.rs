//! A batch: many jobs that start under common limits.
//!
//! [`plan`] decides which rows may start now, and when the batch stops. It is pure: the store asks it in the
//! transaction that claims jobs, so two controllers never start more rows than the limits allow. It starts nothing
//! else and cancels nothing: a row that has started runs to its own end, whatever becomes of the batch.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use super::Status;
use shoal_base::world::after;

/// What a row without a label is grouped under.
const NO_LABEL: &str = "(none)";

/// The limits under which the rows of a batch start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BatchLimits {
    /// So many rows must have succeeded before more than these run.
    pub canary: u32,
    pub max_parallel: Option<u32>,
    /// One more failure than these halts the batch.
    pub max_failures: Option<u32>,
    /// By label: so many rows that share its value run at the same time.
    pub per_label_parallel: BTreeMap<String, u32>,
    /// By label: one more failure than these among rows that share its value holds back the rest of them.
    pub per_label_failures: BTreeMap<String, u32>,
    /// No row starts before.
    pub not_before: Option<Timestamp>,
    /// No row starts from then on.
    pub not_after: Option<Timestamp>,
    /// A row that has been running for longer takes up none of the limits any more.
    pub place_timeout_secs: u64,
}

impl BatchLimits {
    pub const PLACE_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

    /// The labels that decide which rows may start.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let failures =
            self.per_label_failures.keys().filter(|label| !self.per_label_parallel.contains_key(*label));
        self.per_label_parallel.keys().chain(failures).map(String::as_str)
    }
}

impl Default for BatchLimits {
    fn default() -> BatchLimits {
        BatchLimits {
            canary: 0,
            max_parallel: None,
            max_failures: None,
            per_label_parallel: BTreeMap::new(),
            per_label_failures: BTreeMap::new(),
            not_before: None,
            not_after: None,
            place_timeout_secs: BatchLimits::PLACE_TIMEOUT.as_secs(),
        }
    }
}

#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum BatchStatus {
    /// Rows start as the limits allow.
    Running,
    /// By an operator: no row starts.
    Paused,
    /// By its limits: no row starts until an operator resumes it.
    Halted,
    /// Every row has ended.
    Finished,
    /// By an operator: rows that had not started never will.
    Cancelled,
}

impl BatchStatus {
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Nothing changes it any more, but for a retry of failed rows.
    pub fn is_over(self) -> bool {
        matches!(self, BatchStatus::Finished | BatchStatus::Cancelled)
    }
}

/// What the plan knows of one row.
#[derive(Clone, Debug)]
pub struct PlannedRow {
    pub state: RowState,
    /// Of the server, those that [`BatchLimits::labels`] names.
    pub labels: BTreeMap<String, String>,
    /// An operator has resumed the batch since this row failed or exceeded its time: it no longer counts.
    pub acknowledged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowState {
    /// Not started.
    Waiting,
    /// Started, and undecided.
    Running {
        since: Timestamp,
    },
    Succeeded,
    Failed,
    Cancelled,
}

impl RowState {
    pub fn name(self) -> &'static str {
        match self {
            RowState::Waiting => "waiting",
            RowState::Running { .. } => "running",
            RowState::Succeeded => "succeeded",
            RowState::Failed => "failed",
            RowState::Cancelled => "cancelled",
        }
    }

    /// The state of a row whose job has `status`; `started` is when the batch let it start.
    pub fn of(status: Status, started: Option<Timestamp>) -> RowState {
        match (status, started) {
            (Status::Succeeded, _) => RowState::Succeeded,
            (Status::Failed, _) => RowState::Failed,
            (Status::Cancelled, _) => RowState::Cancelled,
            (Status::Queued | Status::Provisioning, Some(since)) => RowState::Running { since },
            (Status::Queued | Status::Provisioning, None) => RowState::Waiting,
        }
    }
}

/// What happens to a running batch now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchPlan {
    /// Rows that start, by index.
    pub start: Vec<usize>,
    pub end: Option<BatchEnd>,
    /// When the plan may be another one although no row has changed.
    pub look_at: Option<Timestamp>,
    /// Why rows that could start do not, if there are any.
    pub waits_for: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchEnd {
    Halted(String),
    Finished,
}

/// Decides for a batch that is [`BatchStatus::Running`].
pub fn plan(limits: &BatchLimits, rows: &[PlannedRow], now: Timestamp) -> BatchPlan {
    Planner::new(limits, rows, now).plan()
}

/// Why a row may not start.
enum HeldBack {
    /// Nor may any later one.
    Batch(String),
    /// Others may.
    Row(String),
}

struct Planner<'a> {
    limits: &'a BatchLimits,
    rows: &'a [PlannedRow],
    now: Timestamp,
    /// Rows that run within their time.
    holding: u32,
    succeeded: u32,
    failed: u32,
    holding_by_label: BTreeMap<(&'a str, &'a str), u32>,
    failed_by_label: BTreeMap<(&'a str, &'a str), u32>,
}

impl<'a> Planner<'a> {
    fn new(limits: &'a BatchLimits, rows: &'a [PlannedRow], now: Timestamp) -> Planner<'a> {
        let mut planner = Planner {
            limits,
            rows,
            now,
            holding: 0,
            succeeded: 0,
            failed: 0,
            holding_by_label: BTreeMap::new(),
            failed_by_label: BTreeMap::new(),
        };
        for row in rows {
            match row.state {
                RowState::Running { since } if planner.is_in_time(row, since) => planner.hold(row),
                RowState::Succeeded => planner.succeeded += 1,
                RowState::Failed if !row.acknowledged => {
                    planner.failed += 1;
                    for label in limits.per_label_failures.keys() {
                        *planner.failed_by_label.entry((label, value(row, label))).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
        planner
    }

    fn hold(&mut self, row: &'a PlannedRow) {
        self.holding += 1;
        for label in self.limits.per_label_parallel.keys() {
            *self.holding_by_label.entry((label, value(row, label))).or_default() += 1;
        }
    }

    fn is_in_time(&self, row: &PlannedRow, since: Timestamp) -> bool {
        !row.acknowledged && self.now < self.out_of_time_at(since)
    }

    fn out_of_time_at(&self, since: Timestamp) -> Timestamp {
        after(since, Duration::from_secs(self.limits.place_timeout_secs))
    }

    fn plan(mut self) -> BatchPlan {
        if let Some(end) = self.end() {
            return BatchPlan { end: Some(end), ..BatchPlan::default() };
        }
        let mut plan = BatchPlan::default();
        for (index, row) in self.rows.iter().enumerate().filter(|(_, row)| row.state == RowState::Waiting) {
            match self.refusal(row) {
                None => {
                    plan.start.push(index);
                    self.hold(row);
                }
                Some(HeldBack::Row(why)) => plan.waits_for = plan.waits_for.or(Some(why)),
                Some(HeldBack::Batch(why)) => {
                    plan.waits_for = Some(why);
                    break;
                }
            }
        }
        plan.end = self.stuck(&plan);
        plan.look_at = self.look_at();
        plan
    }

    /// What ends or halts the batch before any row is looked at.
    fn end(&self) -> Option<BatchEnd> {
        let waiting = self.rows.iter().filter(|row| row.state == RowState::Waiting).count();
        let running = self.rows.iter().any(|row| matches!(row.state, RowState::Running { .. }));
        if waiting == 0 {
            // Whatever the last row did, there is nothing left to halt.
            return (!running).then_some(BatchEnd::Finished);
        }
        let halted = |why: String| Some(BatchEnd::Halted(why));
        if self.in_canary() && self.failed > 0 {
            return halted("a canary row failed".to_owned());
        }
        if self.in_canary() && self.overdue() {
            return halted(format!(
                "a canary row has run for longer than {}",
                minutes(self.limits.place_timeout_secs)
            ));
        }
        if let Some(max) = self.limits.max_failures.filter(|max| self.failed > *max) {
            return halted(format!("{} rows failed, and max_failures is {max}", self.failed));
        }
        match self.limits.not_after {
            Some(at) if self.now >= at => {
                halted(format!("not_after ({at}) has passed with {waiting} rows not started"))
            }
            _ => None,
        }
    }

    /// As long as not enough rows have succeeded.
    fn in_canary(&self) -> bool {
        self.succeeded < self.limits.canary.min(u32::try_from(self.rows.len()).unwrap_or(u32::MAX))
    }

    fn overdue(&self) -> bool {
        self.rows.iter().any(|row| match row.state {
            RowState::Running { since } => !row.acknowledged && self.now >= self.out_of_time_at(since),
            _ => false,
        })
    }

    fn refusal(&self, row: &PlannedRow) -> Option<HeldBack> {
        let limits = self.limits;
        if let Some(at) = limits.not_before.filter(|at| self.now < *at) {
            return Some(HeldBack::Batch(format!("not_before ({at})")));
        }
        if self.in_canary() && self.succeeded + self.holding >= limits.canary {
            return Some(HeldBack::Batch(format!("{} of {} canary rows", self.succeeded, limits.canary)));
        }
        if limits.max_parallel.is_some_and(|max| self.holding >= max) {
            return Some(HeldBack::Batch(format!("max_parallel: {} rows are running", self.holding)));
        }
        for (label, max) in &limits.per_label_failures {
            let failed = self.failed_by_label.get(&(label.as_str(), value(row, label))).copied();
            if let Some(failed) = failed.filter(|failed| failed > max) {
                return Some(HeldBack::Row(format!("{label}={}: {failed} rows failed", value(row, label))));
            }
        }
        limits.per_label_parallel.iter().find_map(|(label, max)| {
            let running = self.holding_by_label.get(&(label.as_str(), value(row, label))).copied();
            let running = running.filter(|running| running >= max)?;
            Some(HeldBack::Row(format!("{label}={}: {running} rows are running", value(row, label))))
        })
    }

    /// Where only failures hold rows back, nothing but an operator can let them go on.
    fn stuck(&self, plan: &BatchPlan) -> Option<BatchEnd> {
        let is_open = self.limits.not_before.is_none_or(|at| self.now >= at);
        let nothing_runs = !self.rows.iter().any(|row| matches!(row.state, RowState::Running { .. }));
        let why = plan.waits_for.as_ref().filter(|_| is_open && nothing_runs && plan.start.is_empty())?;
        Some(BatchEnd::Halted(why.clone()))
    }

    /// The next time at which a limit opens or closes.
    fn look_at(&self) -> Option<Timestamp> {
        let timeouts = self.rows.iter().filter_map(|row| match row.state {
            RowState::Running { since } if !row.acknowledged => Some(self.out_of_time_at(since)),
            _ => None,
        });
        let windows = self.limits.not_before.into_iter().chain(self.limits.not_after);
        timeouts.chain(windows).filter(|at| *at > self.now).min()
    }
}

fn value<'a>(row: &'a PlannedRow, label: &str) -> &'a str {
    row.labels.get(label).map_or(NO_LABEL, String::as_str)
}

fn minutes(secs: u64) -> String {
    format!("{} min", secs / 60)
}

#[cfg(test)]
mod tests;
