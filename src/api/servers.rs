//! `/api/v1/servers`: the inventory.
//!
//! A record says where credentials are sent, so it is guarded: what a body may change is in [`mod@input`], how a
//! record is shown in [`mod@shown`]. Invariants: a password goes in and never comes out, and a change that names
//! another state of the record than the present one is not made.

mod import;
mod input;
mod shown;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::ApiState;
use super::access::Who;
use super::body::{JsonObject, Name, Params, at_location, page_limit};
use super::error::{ApiError, Problem};
use super::find;
use super::inspect::HardwareBody;
use crate::access::{Act, Role};
use crate::domain::{FieldError, Serial, Server, Status};
use crate::store::{LastJob, PAGE_MAX, ServerFilter, ServerRecord};
use input::{ServerInput, ServerPatch, ServerReplacement, change, changes, make, replacement};
use shoal_base::world::reference;
use shown::{ServerBody, ServerList, check_match, etag};

pub use import::{__path_import, import};

const LIST_DEFAULT: usize = 100;

/// Add a server to the inventory.
#[utoipa::path(post, path = "/api/v1/servers", tag = "servers", request_body = ServerInput,
    responses((status = 201, body = ServerBody), (status = 409, description = "It exists already", body = Problem)))]
pub async fn create(
    State(state): State<ApiState>,
    who: Who,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    let server = ServerInput::read(&body, make)?;
    check_reference(&state, &who, &server)?;
    add(&state, &who, &server).await?;
    created(&state, &server.serial).await
}

async fn add(state: &ApiState, who: &Who, server: &Server) -> Result<(), ApiError> {
    state.store.with_audit(act_of_add(state, who, server)).insert_server(server).await?;
    tracing::info!(server = %server.serial, "a server was added");
    Ok(())
}

fn act_of_add(state: &ApiState, who: &Who, server: &Server) -> Act {
    let detail = json!({ "bmc_address": server.bmc_address.as_str(), "tls": server.tls.to_string() });
    who.act(state.world.clock.now(), "server.add").on_server(&server.serial).with(detail)
}

fn act_of_change(state: &ApiState, who: &Who, before: &Server, after: &Server) -> Act {
    let act = who.act(state.world.clock.now(), "server.change").on_server(&after.serial);
    act.with(changes(before, after))
}

async fn created(state: &ApiState, serial: &Serial) -> Result<Response, ApiError> {
    let path = format!("/api/v1/servers/{serial}");
    Ok(at_location((StatusCode::CREATED, shown(state, serial).await?).into_response(), &path))
}

/// The record as it stands now.
async fn shown(state: &ApiState, serial: &Serial) -> Result<impl IntoResponse + use<>, ApiError> {
    let record = find::server_record(state, serial).await?;
    Ok(([(header::ETAG, etag(&record))], Json(ServerBody::from(record))))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ServerListParams {
    /// The server with this serial number, whatever its case and blanks.
    #[param(pattern = "[^ ]", max_length = 64)]
    serial: Option<String>,
    /// `name=value`.
    #[param(pattern = "=")]
    label: Option<String>,
    /// Of the newest job: `queued`, `provisioning`, `succeeded`, `failed` or `cancelled`; `none` where there is no job.
    #[param(pattern = "^(queued|provisioning|succeeded|failed|cancelled|none)$")]
    status: Option<String>,
    /// At most 500; 100 by default.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*$", max_length = 64)]
    cursor: Option<String>,
}

impl ServerListParams {
    fn filter(self) -> Result<ServerFilter, ApiError> {
        let wrong = |what: &str| ApiError::BadRequest(format!("invalid query: {what}"));
        let label = self.label.map(|label| {
            let pair = label.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or_else(|| wrong("label is name=value"))
        });
        let last_job = self.status.map(|name| match (name.as_str(), name.parse::<Status>()) {
            ("none", _) => Ok(LastJob::Absent),
            (_, Ok(status)) => Ok(LastJob::Is(status)),
            _ => Err(wrong("status is queued, provisioning, succeeded, failed, cancelled or none")),
        });
        let limit = page_limit(self.limit, LIST_DEFAULT, PAGE_MAX)?;
        let after = self.cursor.map(|cursor| cursor.parse::<Serial>()).transpose();
        let after = after.map_err(|_| wrong("cursor is not one that a page gave"))?;
        let (label, last_job) = (label.transpose()?, last_job.transpose()?);
        if self.serial.as_ref().is_some_and(|serial| serial.trim().is_empty() || serial.chars().count() > 64)
        {
            return Err(wrong("serial has 1 to 64 characters"));
        }
        Ok(ServerFilter { serial: self.serial, label, last_job, after, limit })
    }
}

/// The inventory by serial number, page by page.
#[utoipa::path(get, path = "/api/v1/servers", tag = "servers", params(ServerListParams),
    responses((status = 200, body = ServerList)))]
pub async fn list(
    State(state): State<ApiState>,
    Params(params): Params<ServerListParams>,
) -> Result<Json<ServerList>, ApiError> {
    let filter = params.filter()?;
    let servers = state.store.server_page(&filter).await?;
    let next_cursor = servers.last().filter(|_| servers.len() == filter.limit);
    let next_cursor = next_cursor.map(|record| record.server.serial.to_string());
    Ok(Json(ServerList { servers: servers.into_iter().map(ServerBody::from).collect(), next_cursor }))
}

/// One server.
#[utoipa::path(get, path = "/api/v1/servers/{serial}", tag = "servers",
    params(("serial" = String, Path)), responses((status = 200, body = ServerBody)))]
pub async fn show(State(state): State<ApiState>, Name(serial): Name<Serial>) -> Result<Response, ApiError> {
    let record = find::server_record(&state, &serial).await?;
    let learned = state.store.load_bmc_memory(&record.server).await?.sentences();
    let learned = Some(learned).filter(|learned| !learned.is_empty());
    let hardware = state.store.load_hardware(&record.server).await?;
    let tag = [(header::ETAG, etag(&record))];
    let mut body = ServerBody::from(record);
    body.learned = learned;
    body.hardware = hardware.map(|(read_at, hardware)| HardwareBody::new(read_at, hardware));
    Ok((tag, Json(body)).into_response())
}

/// Add a server, or replace its record. Without `bmc_password` the one that is kept stays, if neither
/// `bmc_address` nor `tls` changes; without `protected` that stays as it is.
#[utoipa::path(put, path = "/api/v1/servers/{serial}", tag = "servers",
    params(("serial" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag of the record")),
    request_body = ServerReplacement,
    responses((status = 200, description = "It was replaced", body = ServerBody),
        (status = 201, description = "It was added", body = ServerBody),
        (status = 409, description = "A job is active, and the change would lead it to another machine", body = Problem),
        (status = 412, description = "The record has changed", body = Problem)))]
pub async fn replace(
    State(state): State<ApiState>,
    who: Who,
    Name(serial): Name<Serial>,
    headers: HeaderMap,
    JsonObject(mut body): JsonObject,
) -> Result<Response, ApiError> {
    let _unchanged_by_others = state.inventory.lock().await;
    let record = state.store.server_record(&serial).await?;
    let matched = check_match(&headers, record.as_ref());
    body.entry("serial").or_insert_with(|| serial.to_string().into());
    let before = record.as_ref().map(|record| &record.server);
    let after = ServerInput::read(&body, |input, fields| replacement(&serial, before, input, fields))?;
    if body.contains_key("bmc_password") {
        check_reference(&state, &who, &after)?;
    }
    // Last (RFC 9110, 13.2.1): faults of the request alone are reported whatever the record's state.
    matched?;
    match &record {
        Some(record) => {
            save_change(&state, &who, record, &after).await?;
            Ok(shown(&state, &serial).await?.into_response())
        }
        None => {
            add(&state, &who, &after).await?;
            created(&state, &serial).await
        }
    }
}

/// Change a server by a JSON merge patch (RFC 7396). Where `bmc_address` changes or `tls` becomes weaker,
/// `bmc_password` is needed too.
#[utoipa::path(patch, path = "/api/v1/servers/{serial}", tag = "servers",
    params(("serial" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag of the record")),
    request_body(content((ServerPatch = "application/json"), (ServerPatch = "application/merge-patch+json"))),
    responses((status = 200, body = ServerBody),
        (status = 409, description = "A job is active, and the change would lead it to another machine", body = Problem),
        (status = 412, description = "The record has changed", body = Problem)))]
pub async fn update(
    State(state): State<ApiState>,
    who: Who,
    Name(serial): Name<Serial>,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    let _unchanged_by_others = state.inventory.lock().await;
    let record = find::server_record(&state, &serial).await?;
    let matched = check_match(&headers, Some(&record));
    let after = ServerInput::read(&body, |input, fields| change(&record.server, input, fields))?;
    if body.contains_key("bmc_password") {
        check_reference(&state, &who, &after)?;
    }
    matched?;
    save_change(&state, &who, &record, &after).await?;
    Ok(shown(&state, &serial).await?.into_response())
}

/// Writes what has become of a record.
async fn save_change(
    state: &ApiState,
    who: &Who,
    record: &ServerRecord,
    after: &Server,
) -> Result<(), ApiError> {
    let (serial, before) = (after.serial.clone(), &record.server);
    let audited = state.store.with_audit(act_of_change(state, who, before, after));
    audited.update_server(after, Some(record.revision)).await?;
    tracing::info!(server = %serial, "a server was changed");
    Ok(())
}

/// Remove a server. Its past jobs stay.
#[utoipa::path(delete, path = "/api/v1/servers/{serial}", tag = "servers",
    params(("serial" = String, Path), ("If-Match" = Option<String>, Header, description = "The ETag of the record")),
    responses((status = 204), (status = 409, description = "A job is active on it", body = Problem),
        (status = 412, description = "The record has changed", body = Problem)))]
pub async fn remove(
    State(state): State<ApiState>,
    who: Who,
    Name(serial): Name<Serial>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let _unchanged_by_others = state.inventory.lock().await;
    let record = find::server_record(&state, &serial).await?;
    check_match(&headers, Some(&record))?;
    let revision = headers.contains_key(header::IF_MATCH).then_some(record.revision);
    let act = who.act(state.world.clock.now(), "server.remove").on_server(&serial);
    state.store.with_audit(act).delete_server(&serial, revision).await?;
    tracing::info!(server = %serial, "a server was removed");
    Ok(StatusCode::NO_CONTENT)
}

/// A caller that names an external password could have it sent to a machine of its own; and the password must
/// exist.
fn check_reference(state: &ApiState, who: &Who, server: &Server) -> Result<(), ApiError> {
    if reference(&server.bmc_password).is_none() {
        return Ok(());
    }
    if who.actor.role < Role::Admin {
        let detail = "only an admin may name an external bmc_password: give the password itself";
        return Err(ApiError::Forbidden(detail.to_owned()));
    }
    match state.secrets.resolve(&server.bmc_password) {
        Ok(_) => Ok(()),
        Err(error) => {
            let fault = FieldError::new("/bmc_password", error.sentence());
            Err(ApiError::invalid("invalid server record", vec![fault]))
        }
    }
}
