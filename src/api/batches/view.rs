//! How a batch is shown.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::rows::DryRow;
use crate::api::events::NewEventBody;
use crate::api::jobs::DeadlineBody;
use crate::api::words::{BatchRowState, BatchStatusName, ConfidenceName, FailureCodeName, StepName};
use crate::domain::{BatchLimits, BatchStatus, Confidence, FailureCode, PlannedRow, Step, plan_batch};
use crate::store::{Batch, BatchRow, RowCounts};

#[derive(Debug, Serialize, ToSchema)]
pub struct BatchBody {
    /// 32 lower-case hex digits.
    batch_id: String,
    name: Option<String>,
    /// `halted` by its limits, `paused` by an operator; `finished` once every row has ended.
    #[schema(value_type = BatchStatusName)]
    status: &'static str,
    /// Why it was halted.
    reason: Option<String>,
    /// Of a running batch with rows that wait: for what. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<String>,
    counts: BatchCounts,
    limits: LimitsBody,
    /// Name of the token that asked for it.
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: jiff::Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_update: jiff::Timestamp,
    /// When its last row ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<jiff::Timestamp>,
    /// In the order in which they start. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<BatchRowBody>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BatchList {
    pub batches: Vec<BatchBody>,
    /// Give it as `cursor` for the next page.
    pub next_cursor: Option<String>,
}

/// How many rows are in each state.
#[derive(Debug, Serialize, ToSchema)]
struct BatchCounts {
    total: u64,
    waiting: u64,
    running: u64,
    succeeded: u64,
    failed: u64,
    cancelled: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct LimitsBody {
    canary: u32,
    max_parallel: Option<u32>,
    max_failures: Option<u32>,
    per_label_parallel: BTreeMap<String, u32>,
    per_label_failures: BTreeMap<String, u32>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<jiff::Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_after: Option<jiff::Timestamp>,
    place_timeout_seconds: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct BatchRowBody {
    server_serial: String,
    /// The row's present job; the jobs before it are its `retry_of`.
    job_id: String,
    #[schema(value_type = BatchRowState)]
    state: &'static str,
    #[schema(value_type = Option<StepName>)]
    step: Option<&'static str>,
    deadline: Option<DeadlineBody>,
    #[schema(value_type = Option<StepName>)]
    failed_step: Option<&'static str>,
    #[schema(value_type = Option<FailureCodeName>)]
    failure_code: Option<&'static str>,
    reason: Option<String>,
    #[schema(value_type = Option<ConfidenceName>)]
    confidence: Option<&'static str>,
    /// Jobs that the row has had.
    attempts: u32,
    /// When the batch let it start.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<jiff::Timestamp>,
}

impl BatchBody {
    pub fn of(batch: Batch, rows: Option<Vec<BatchRow>>, now: jiff::Timestamp) -> BatchBody {
        let waits_for = rows.as_ref().filter(|_| batch.status == BatchStatus::Running).and_then(|rows| {
            let planned: Vec<PlannedRow> = rows.iter().map(BatchRow::planned).collect();
            plan_batch(&batch.limits, &planned, now).waits_for
        });
        BatchBody {
            batch_id: batch.id.to_string(),
            name: batch.name,
            status: batch.status.name(),
            reason: batch.reason,
            waits_for,
            counts: batch.counts.into(),
            limits: batch.limits.into(),
            created_by: batch.created_by,
            created_at: batch.created_at,
            last_update: batch.last_update,
            finished_at: batch.finished_at,
            rows: rows.map(|rows| rows.into_iter().map(BatchRowBody::from).collect()),
        }
    }
}

impl From<RowCounts> for BatchCounts {
    fn from(counts: RowCounts) -> BatchCounts {
        let RowCounts { waiting, running, succeeded, failed, cancelled } = counts;
        let total = waiting + running + succeeded + failed + cancelled;
        BatchCounts { total, waiting, running, succeeded, failed, cancelled }
    }
}

impl From<BatchLimits> for LimitsBody {
    fn from(limits: BatchLimits) -> LimitsBody {
        LimitsBody {
            canary: limits.canary,
            max_parallel: limits.max_parallel,
            max_failures: limits.max_failures,
            per_label_parallel: limits.per_label_parallel,
            per_label_failures: limits.per_label_failures,
            not_before: limits.not_before,
            not_after: limits.not_after,
            place_timeout_seconds: limits.place_timeout_secs,
        }
    }
}

impl From<BatchRow> for BatchRowBody {
    fn from(row: BatchRow) -> BatchRowBody {
        let state = row.state().name();
        BatchRowBody {
            server_serial: row.server.to_string(),
            job_id: row.job.to_string(),
            state,
            step: row.step.map(Step::name),
            deadline: row.deadline.map(DeadlineBody::from),
            failed_step: row.failed_step.map(Step::name),
            failure_code: row.failure_code.map(FailureCode::name),
            reason: row.reason,
            confidence: row.verdict.and_then(|verdict| verdict.confidence).map(Confidence::name),
            attempts: row.attempts,
            started_at: row.released_at,
        }
    }
}

/// What a dry run of a batch found.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchDryRunBody {
    dry_run: bool,
    /// Every row could begin.
    ok: bool,
    rows: Vec<DryRowBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct DryRowBody {
    server_serial: String,
    ok: bool,
    #[schema(value_type = Option<StepName>)]
    failed_step: Option<&'static str>,
    reason: Option<String>,
    events: Vec<NewEventBody>,
}

/// What is answered where no batch was added.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub enum FoundBatchBody {
    DryRun(BatchDryRunBody),
    Repeated(Box<BatchBody>),
}

impl From<Vec<DryRow>> for BatchDryRunBody {
    fn from(rows: Vec<DryRow>) -> BatchDryRunBody {
        let rows: Vec<DryRowBody> = rows.into_iter().map(DryRowBody::from).collect();
        BatchDryRunBody { dry_run: true, ok: rows.iter().all(|row| row.ok), rows }
    }
}

impl From<DryRow> for DryRowBody {
    fn from(row: DryRow) -> DryRowBody {
        let slow = || Some("the BMC did not answer in time: check its address and its load".to_owned());
        let (ok, failed_step, reason, events) = match row.report {
            Some(report) => (report.ok, report.failed_step, report.reason, report.events),
            None => (false, Some(Step::ResolveServer), slow(), Vec::new()),
        };
        DryRowBody {
            server_serial: row.server.to_string(),
            ok,
            failed_step: failed_step.map(Step::name),
            reason,
            events: row.findings.into_iter().chain(events).map(NewEventBody::from).collect(),
        }
    }
}
