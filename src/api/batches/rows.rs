//! The rows of a batch: found, checked, and made into jobs.
//!
//! Invariant: a fault of one row is reported beside those of the others; one that all rows share is reported once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::{Map, Value};

use super::input::{BatchRequest, LabelFilter, RequestedRow, Selection, merge};
use crate::api::ApiState;
use crate::api::error::ApiError;
use crate::api::jobs::image::{PinError, pin};
use crate::api::jobs::submit::{check_recipe, protected, target_as_typed};
use crate::domain::{FieldError, Fields, JobId, JobSpec, NewEvent, RowState, Serial, Server};
use crate::engine::DryRunReport;
use crate::store::{Batch, BatchRow, NewJob};

/// Rows that are checked at the same time: some read their BMCs.
const CHECKS: usize = 32;
/// How long the BMC of one row may take in a dry run.
const DRY_RUN_TIMEOUT: Duration = Duration::from_secs(60);
/// So many faults are listed, the others are counted.
const FAULTS_MAX: usize = 200;

/// A server, and the recipe that is meant for it.
pub struct RequestRow {
    /// Into the request.
    pointer: String,
    server: Server,
    recipe: Map<String, Value>,
    retry_of: Option<JobId>,
}

/// A row whose recipe is valid.
pub struct CheckedRow {
    row: RequestRow,
    spec: JobSpec,
    pub events: Vec<NewEvent>,
}

/// What a dry run found of one row.
pub struct DryRow {
    pub server: Serial,
    pub findings: Vec<NewEvent>,
    /// `None`: the BMC took too long.
    pub report: Option<DryRunReport>,
}

/// The servers that a request means, each with its recipe.
pub async fn find(state: &ApiState, request: &BatchRequest) -> Result<Vec<RequestRow>, ApiError> {
    match &request.servers {
        Selection::Rows(rows) => by_serial(state, rows, &request.recipe).await,
        Selection::Labels(filter) => by_label(state, filter, &request.recipe).await,
    }
}

async fn by_serial(
    state: &ApiState,
    rows: &[RequestedRow],
    recipe: &Map<String, Value>,
) -> Result<Vec<RequestRow>, ApiError> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for (index, row) in rows.iter().enumerate() {
        let pointer = format!("/servers/{index}");
        let Some(server) = state.store.server(&row.serial).await? else {
            let message = format!("no server has the serial number {}", row.serial);
            faults.push(FieldError::new(pointer, message));
            continue;
        };
        let mut recipe = recipe.clone();
        merge(&mut recipe, row.recipe.clone());
        if !row.variables.is_empty() {
            let variables = Value::Object(row.variables.clone());
            merge(&mut recipe, Map::from_iter([("variables".to_owned(), variables)]));
        }
        found.push(RequestRow { pointer, server, recipe, retry_of: None });
    }
    refuse(faults, found)
}

async fn by_label(
    state: &ApiState,
    filter: &LabelFilter,
    recipe: &Map<String, Value>,
) -> Result<Vec<RequestRow>, ApiError> {
    let servers = state.store.servers().await?.into_iter().filter(|server| filter.matches(&server.labels));
    let rows: Vec<RequestRow> = servers
        .map(|server| RequestRow {
            pointer: "/labels".to_owned(),
            server,
            recipe: recipe.clone(),
            retry_of: None,
        })
        .collect();
    let faults = match rows.len() {
        0 => vec![FieldError::new("/labels", "no server has these labels: see `shoal server list`")],
        count if count > crate::store::BATCH_ROWS_MAX => {
            let message = format!(
                "{count} servers have these labels; a batch has {} at most",
                crate::store::BATCH_ROWS_MAX
            );
            vec![FieldError::new("/labels", message)]
        }
        _ => Vec::new(),
    };
    refuse(faults, rows)
}

/// The serial numbers in a request for a retry, if it names any.
pub fn named(body: &Map<String, Value>) -> Result<Option<BTreeSet<Serial>>, ApiError> {
    let mut fields = Fields::new(body, &["servers"]);
    let servers = fields.array("servers").over(None);
    let mut named = BTreeSet::new();
    for (index, serial) in servers.unwrap_or_default().iter().enumerate() {
        match serial.as_str().and_then(|serial| serial.parse().ok()) {
            Some(serial) => drop(named.insert(serial)),
            None => {
                fields.errors.push(FieldError::new(format!("/servers/{index}"), "is not a serial number"))
            }
        }
    }
    match fields.errors.is_empty() {
        true => Ok(servers.map(|_| named)),
        false => Err(ApiError::invalid("invalid retry of a batch", fields.errors)),
    }
}

/// The rows of a batch that are tried again, with the recipes of their last jobs.
pub async fn to_retry(
    state: &ApiState,
    batch: &Batch,
    named: Option<BTreeSet<Serial>>,
) -> Result<Vec<RequestRow>, ApiError> {
    let rows = state.store.batch_rows(batch.id).await?;
    let wanted = |row: &&BatchRow| match &named {
        Some(named) => named.contains(&row.server),
        None => row.state() == RowState::Failed,
    };
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for serial in named.iter().flatten().filter(|serial| !rows.iter().any(|row| row.server == **serial)) {
        faults.push(FieldError::new("/servers", format!("server {serial} is not in this batch")));
    }
    for row in rows.iter().filter(wanted) {
        if !matches!(row.state(), RowState::Failed | RowState::Cancelled) {
            let state = row.state().name();
            faults.push(FieldError::new("/servers", format!("the row of server {} is {state}", row.server)));
            continue;
        }
        let recipe = state.store.job_recipe(row.job).await?;
        let Some(server) = state.store.server(&row.server).await? else {
            faults
                .push(FieldError::new("/servers", format!("no server has the serial number {}", row.server)));
            continue;
        };
        let recipe = recipe.and_then(|recipe| recipe.as_object().cloned()).unwrap_or_default();
        found.push(RequestRow { pointer: "/servers".to_owned(), server, recipe, retry_of: Some(row.job) });
    }
    if found.is_empty() && faults.is_empty() {
        let detail = "no row has failed: name cancelled ones in `servers`".to_owned();
        return Err(ApiError::Conflict { detail, job: None });
    }
    refuse(faults, found)
}

/// Checks every row as the submission of a job is checked.
pub async fn check(state: &ApiState, rows: Vec<RequestRow>) -> Result<Vec<CheckedRow>, ApiError> {
    let count = rows.len();
    let checks = rows.into_iter().map(|row| check_row(state, row));
    let results: Vec<_> = stream::iter(checks).buffered(CHECKS).collect().await;
    let (mut checked, mut faults) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(row) => checked.push(row),
            Err(RowFault::Faults(row, errors)) => faults.push((*row, errors)),
            Err(RowFault::Failed(error)) => return Err(error),
        }
    }
    refuse(joined(faults, count), checked)
}

enum RowFault {
    Faults(Box<RequestRow>, Vec<FieldError>),
    Failed(ApiError),
}

async fn check_row(state: &ApiState, row: RequestRow) -> Result<CheckedRow, RowFault> {
    if row.server.protected {
        let fault = FieldError::new("", protected(&row.server));
        return Err(RowFault::Faults(Box::new(row), vec![fault]));
    }
    let active = state.store.active_job(&row.server.serial).await;
    if let Some(job) = active.map_err(|error| RowFault::Failed(error.into()))? {
        let fault = FieldError::new("", format!("server {} is busy with job {job}", row.server.serial));
        return Err(RowFault::Faults(Box::new(row), vec![fault]));
    }
    match check_recipe(state, &row.server, &row.recipe).await {
        Ok((spec, events)) => Ok(CheckedRow { row, spec, events }),
        Err(refusal) => Err(RowFault::Faults(Box::new(row), refusal.errors)),
    }
}

/// A fault that all rows have is the template's.
fn joined(faults: Vec<(RequestRow, Vec<FieldError>)>, rows: usize) -> Vec<FieldError> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for error in faults.iter().flat_map(|(_, errors)| errors) {
        *counts.entry((error.pointer.clone(), error.message.clone())).or_default() += 1;
    }
    let mut joined = Vec::new();
    for ((pointer, message), _) in counts.iter().filter(|(_, count)| **count == rows) {
        joined.push(FieldError::new(format!("/recipe{pointer}"), message.clone()));
    }
    for (row, errors) in faults {
        for FieldError { pointer, message } in errors {
            if counts[&(pointer.clone(), message.clone())] == rows {
                continue;
            }
            let serial = &row.server.serial;
            let message = match message.contains(serial.as_str()) {
                true => message,
                false => format!("server {serial}: {message}"),
            };
            joined.push(FieldError::new(format!("{}{pointer}", row.pointer), message));
        }
    }
    joined
}

/// `found`, unless there are faults.
fn refuse<T>(mut faults: Vec<FieldError>, found: T) -> Result<T, ApiError> {
    if faults.is_empty() {
        return Ok(found);
    }
    let more = faults.len().saturating_sub(FAULTS_MAX);
    faults.truncate(FAULTS_MAX);
    if more > 0 {
        faults.push(FieldError::new("", format!("{more} more faults")));
    }
    Err(ApiError::invalid("the batch is refused, and nothing of it was added", faults))
}

/// Asks the BMC of each row whether its job could begin.
pub async fn dry_run(state: &ApiState, rows: Vec<CheckedRow>) -> Vec<DryRow> {
    let runs = rows.into_iter().map(|CheckedRow { row, spec, events }| async move {
        let serial = row.server.serial;
        let running = (state.dry_run)(serial.clone(), spec);
        let report = tokio::time::timeout(DRY_RUN_TIMEOUT, running).await.ok();
        DryRow { server: serial, findings: events, report }
    });
    stream::iter(runs).buffered(CHECKS).collect().await
}

/// The jobs of rows. Their images are pinned here, so the caller holds the images until the jobs are stored.
pub async fn jobs(state: &ApiState, rows: Vec<CheckedRow>) -> Result<Vec<NewJob>, ApiError> {
    let count = rows.len();
    let (mut jobs, mut faults) = (Vec::new(), Vec::new());
    for CheckedRow { row, mut spec, events } in rows {
        match pin(state, &mut spec).await {
            Ok(()) => {}
            Err(PinError::Faults(errors)) => {
                faults.push((row, errors));
                continue;
            }
            Err(PinError::Failed(error)) => return Err(error),
        }
        let created_at = state.world.clock.now();
        jobs.push(NewJob {
            id: state.new_job_id(created_at),
            server: row.server.serial,
            task_target: target_as_typed(&row.recipe),
            spec,
            recipe: Value::Object(row.recipe),
            retry_of: row.retry_of,
            created_at,
            events,
        });
    }
    refuse(joined(faults, count), jobs)
}
