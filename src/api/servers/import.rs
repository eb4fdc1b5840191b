//! `POST /api/v1/import/servers`: many servers added or replaced, as by PUT, all together.
//!
//! Rows are checked against the inventory and against each other before anything is written, and then written in one
//! transaction. Invariant: where a row is invalid, nothing is written, unless the request allows that.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shoal_base::with_causes;
use utoipa::{IntoParams, ToSchema};

use super::input::{ServerInput, ServerReplacement, changed, replacement};
use super::{act_of_add, act_of_change, check_reference};
use crate::api::ApiState;
use crate::api::access::Who;
use crate::api::body::{Params, check_json_type, parse_object, read_at_most};
use crate::api::error::{ApiError, FieldProblem, Problem};
use crate::domain::{FieldError, Fields, Serial, Server, likeness};
use crate::store::{SERVERS_MAX, ServerPut, StoreError};

/// Some kilobytes for each row.
const BODY_BYTES_MAX: usize = 8 << 20;
const ROWS_MAX: usize = 5_000;

/// The body of an import.
pub struct ImportObject(Map<String, Value>);

impl<S: Sync> FromRequest<S> for ImportObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        check_json_type(request.headers())?;
        parse_object(&read_at_most(request, BODY_BYTES_MAX).await?).map(ImportObject)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImportParams {
    /// All checks; nothing is written.
    #[serde(default)]
    dry_run: bool,
    /// Write the valid rows although others are invalid.
    #[serde(default)]
    partial: bool,
}

/// Whole records, each as for PUT, with its serial number.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct ImportInput {
    #[schema(min_items = 1, max_items = 5000)]
    servers: Vec<ServerReplacement>,
}

/// What an import did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportBody {
    dry_run: bool,
    added: usize,
    changed: usize,
    unchanged: usize,
    invalid: usize,
    /// In the order of the request.
    rows: Vec<ImportRow>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ImportRow {
    /// Unless it is invalid.
    serial: Option<String>,
    /// `added`, `changed`, `unchanged` or `invalid`.
    #[schema(pattern = "^(added|changed|unchanged|invalid)$")]
    result: &'static str,
    /// The fields that change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<&'static str>,
    /// With pointers into the row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

/// How often an import whose servers others change at the same moment is checked anew and tried again.
const TRIES: u32 = 5;

/// A valid row.
struct ValidRow {
    /// What is replaced, with its revision.
    before: Option<(Server, u64)>,
    after: Server,
}

/// Add or replace many servers in one transaction. Each is treated as by PUT; an invalid one rejects the whole, unless
/// `partial` is set. Bodies may have 8 MiB.
#[utoipa::path(post, path = "/api/v1/import/servers", tag = "servers", params(ImportParams),
    request_body = ImportInput,
    responses((status = 200, body = ImportBody),
        (status = 422, description = "Rows are invalid, and nothing was written", body = Problem)))]
pub async fn import(
    State(state): State<ApiState>,
    who: Who,
    Params(params): Params<ImportParams>,
    ImportObject(body): ImportObject,
) -> Result<Json<ImportBody>, ApiError> {
    let rows = read_rows(&body)?;
    let _unchanged_by_others = state.inventory.lock().await;
    let mut tries = 1;
    loop {
        match import_rows(&state, &who, &params, &rows).await {
            // Another controller has changed a row's server, or started a job on it, since the row was checked.
            Err(ApiError::Store(error)) if tries < TRIES && has_changed(&error) => tries += 1,
            done => return done.map(Json),
        }
    }
}

fn has_changed(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::ServerChanged { .. } | StoreError::SimilarServer { .. } | StoreError::Busy { .. }
    )
}

async fn import_rows(
    state: &ApiState,
    who: &Who,
    params: &ImportParams,
    rows: &[&Value],
) -> Result<ImportBody, ApiError> {
    let inventory = state.store.inventory().await?;
    let held = inventory.into_iter().map(|(server, revision)| (server.serial.likeness(), (server, revision)));
    let mut checker = RowChecker { state, who, held: held.collect(), seen: BTreeMap::new() };
    let mut checked = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        checked.push(checker.check(index, row).await?);
    }
    let added = checked.iter().flatten().filter(|row| row.before.is_none()).count();
    if (checker.held.len() + added) as u64 > SERVERS_MAX {
        return Err(StoreError::InventoryFull { max: SERVERS_MAX }.into());
    }
    if !params.dry_run && !params.partial && checked.iter().any(Result::is_err) {
        return Err(ApiError::invalid(REFUSED, faults_of_rows(checked)));
    }
    let report = report(&checked, params.dry_run);
    if !params.dry_run {
        write(state, who, checked.into_iter().flatten().collect()).await?;
        let ImportBody { added, changed, invalid, .. } = report;
        tracing::info!(added, changed, invalid, "servers were imported");
    }
    Ok(report)
}

const REFUSED: &str = "rows of the import are invalid; nothing was written";

fn read_rows(body: &Map<String, Value>) -> Result<Vec<&Value>, ApiError> {
    let mut fields = Fields::new(body, &["servers"]);
    match body.get("servers").and_then(Value::as_array) {
        Some(rows) if rows.is_empty() => fields.refuse("servers", "is empty"),
        Some(rows) if rows.len() > ROWS_MAX => {
            fields
                .refuse("servers", format!("has {} rows, and {ROWS_MAX} are allowed: split it", rows.len()));
        }
        Some(rows) if fields.errors.is_empty() => return Ok(rows.iter().collect()),
        Some(_) => {}
        None => fields.refuse("servers", "must be an array of servers"),
    }
    Err(ApiError::invalid(REFUSED, fields.errors))
}

/// Checks rows one after the other.
struct RowChecker<'a> {
    state: &'a ApiState,
    who: &'a Who,
    /// The inventory, by likeness of the serial numbers.
    held: BTreeMap<String, (Server, u64)>,
    /// The rows so far, likewise.
    seen: BTreeMap<String, usize>,
}

impl RowChecker<'_> {
    /// What becomes of a row, or all that is wrong with it. An error of the store ends the import.
    async fn check(
        &mut self,
        index: usize,
        row: &Value,
    ) -> Result<Result<ValidRow, Vec<FieldError>>, ApiError> {
        let Some(row) = row.as_object() else {
            return Ok(Err(vec![FieldError::new("", "must be an object")]));
        };
        let mut faults = self.faults_of_serial(index, row);
        let serial = row.get("serial").and_then(Value::as_str).unwrap_or_default();
        let stored = self.held.get(&likeness(serial)).filter(|(server, _)| server.serial.as_str() == serial);
        let stored = stored.cloned();
        let before = stored.as_ref().map(|(server, _)| server);
        let read = ServerInput::read(row, |input, fields| match before {
            Some(before) => replacement(&before.serial, Some(before), input, fields),
            None => super::input::make(input, fields),
        });
        let after = match read {
            Ok(after) => after,
            Err(ApiError::Invalid { errors, .. }) => {
                faults.extend(errors);
                return Ok(Err(faults));
            }
            Err(error) => return Err(error),
        };
        let is_new_reference = before.is_none_or(|before| {
            before.bmc_password.expose() != after.bmc_password.expose()
                || (&before.bmc_address, &before.tls) != (&after.bmc_address, &after.tls)
        });
        if is_new_reference {
            match check_reference(self.state, self.who, &after) {
                Ok(()) => {}
                Err(ApiError::Invalid { errors, .. }) => faults.extend(errors),
                Err(error) => faults.push(FieldError::new("/bmc_password", with_causes(&error))),
            }
        }
        if let Some(before) = before.filter(|before| before.leads_elsewhere(&after))
            && let Some(job) = self.state.store.active_job(&before.serial).await?
        {
            let busy = StoreError::Busy { server: before.serial.clone(), job };
            faults.push(FieldError::new("/bmc_address", format!("cannot change now: {busy}")));
        }
        Ok(if faults.is_empty() { Ok(ValidRow { before: stored, after }) } else { Err(faults) })
    }

    /// The serial number against the inventory and the rows before.
    fn faults_of_serial(&mut self, index: usize, row: &Map<String, Value>) -> Vec<FieldError> {
        let Some(serial) = row.get("serial").and_then(Value::as_str) else { return Vec::new() };
        let (alike, mut faults) = (likeness(serial), Vec::new());
        if let Some(first) = self.seen.get(&alike) {
            faults.push(FieldError::new("/serial", format!("row {} has the same serial number", first + 1)));
        } else {
            self.seen.insert(alike.clone(), index);
        }
        if let Some((held, _)) = self.held.get(&alike)
            && held.serial.as_str() != serial
            && let Ok(serial) = serial.parse::<Serial>()
        {
            let similar = StoreError::SimilarServer { serial, existing: held.serial.clone() };
            faults.push(FieldError::new("/serial", similar.to_string()));
        }
        faults
    }
}

fn faults_of_rows(checked: Vec<Result<ValidRow, Vec<FieldError>>>) -> Vec<FieldError> {
    let rows = checked.into_iter().enumerate().filter_map(|(index, row)| Some((index, row.err()?)));
    let faults = rows.flat_map(|(index, faults)| {
        faults
            .into_iter()
            .map(move |fault| FieldError::new(format!("/servers/{index}{}", fault.pointer), fault.message))
    });
    faults.collect()
}

fn report(checked: &[Result<ValidRow, Vec<FieldError>>], dry_run: bool) -> ImportBody {
    let rows: Vec<ImportRow> = checked.iter().map(row).collect();
    let count = |result| rows.iter().filter(|row| row.result == result).count();
    ImportBody {
        dry_run,
        added: count("added"),
        changed: count("changed"),
        unchanged: count("unchanged"),
        invalid: count("invalid"),
        rows,
    }
}

fn row(checked: &Result<ValidRow, Vec<FieldError>>) -> ImportRow {
    let checked = match checked {
        Ok(checked) => checked,
        Err(faults) => {
            let errors = faults.iter().map(FieldProblem::from).collect();
            return ImportRow { serial: None, result: "invalid", changed: Vec::new(), errors };
        }
    };
    let changes = checked.before.as_ref().map(|(before, _)| changed(before, &checked.after));
    let result = match &changes {
        None => "added",
        Some(changes) if changes.is_empty() => "unchanged",
        Some(_) => "changed",
    };
    let serial = Some(checked.after.serial.to_string());
    ImportRow { serial, result, changed: changes.unwrap_or_default(), errors: Vec::new() }
}

/// Writes what changes, each row with its entry of the audit log.
async fn write(state: &ApiState, who: &Who, rows: Vec<ValidRow>) -> Result<(), ApiError> {
    let records = rows.into_iter().filter_map(|ValidRow { before, after }| match before {
        None => Some(ServerPut { revision: None, act: act_of_add(state, who, &after), server: after }),
        Some((before, _)) if changed(&before, &after).is_empty() => None,
        Some((before, revision)) => Some(ServerPut {
            revision: Some(revision),
            act: act_of_change(state, who, &before, &after),
            server: after,
        }),
    });
    let records: Vec<ServerPut> = records.collect();
    if !records.is_empty() {
        state.store.put_servers(records).await?;
    }
    Ok(())
}
