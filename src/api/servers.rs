//! `/api/v1/servers`: the inventory.
//!
//! A record says where credentials are sent, so it is guarded: whoever points it elsewhere, or
//! trusts more peers than before, must know the password. Invariant: a password goes in and never
//! comes out.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::ApiState;
use super::access::Who;
use super::body::{JsonObject, Name, at_location};
use super::error::{ApiError, Problem};
use super::fields::{Fields, Given};
use crate::access::Role;
use crate::job::{FieldError, Password, Serial, Server, check_bmc_address, management_url};
use crate::store::StoreError;
use crate::world::{TlsPolicy, reference};

/// A server as shown: everything but the password.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerBody {
    serial: String,
    bmc_address: String,
    bmc_username: String,
    /// Where the password is kept, `env:NAME` or `file:NAME`, if that is elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    bmc_password_from: Option<String>,
    /// `verify`, `pin:<sha256>`, `insecure` or `none`.
    tls: String,
    /// Which system of the service it is, where the service reports no serial number.
    system_id: Option<String>,
    /// Compared with the system's UUID where the service reports no serial number.
    system_uuid: Option<String>,
    /// Host name or address of the installed ESXi.
    management_address: Option<String>,
    /// Jobs on it are refused.
    protected: bool,
    labels: BTreeMap<String, String>,
    /// What has worked on its BMC, a sentence each; where one server is shown, and something has.
    #[serde(skip_serializing_if = "Option::is_none")]
    learned: Option<Vec<String>>,
}

impl From<Server> for ServerBody {
    fn from(server: Server) -> ServerBody {
        ServerBody {
            serial: server.serial.to_string(),
            // As most people write it: without the slash that a parsed URL ends with.
            bmc_address: server.bmc_address.as_str().trim_end_matches('/').to_owned(),
            bmc_username: server.bmc_username,
            bmc_password_from: reference(&server.bmc_password).map(str::to_owned),
            tls: server.tls.to_string(),
            system_id: server.system_id,
            system_uuid: server.system_uuid,
            management_address: server.management_address,
            protected: server.protected,
            labels: server.labels,
            learned: None,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ServerList {
    servers: Vec<ServerBody>,
}

/// A server as given. A PATCH holds what changes; `null` empties an optional field.
#[derive(Debug, Default, ToSchema)]
pub struct ServerInput {
    /// Must equal the SerialNumber that the BMC reports. Cannot be changed.
    #[schema(value_type = String, min_length = 1, max_length = 64)]
    serial: Given<Serial>,
    /// `https://host[:port]`; `http://` off loopback needs `tls: none`.
    #[schema(value_type = String, pattern = "^https?://")]
    bmc_address: Given<String>,
    #[schema(value_type = String)]
    bmc_username: Given<String>,
    /// Never shown; or, by an admin alone, where it is: `env:SHOAL_SECRET_…` or `file:` and a name below
    /// `BMC_SECRETS_DIR`, which is read when it is needed. Needed where `bmc_address` changes or `tls` becomes weaker.
    #[schema(value_type = String, write_only)]
    bmc_password: Given<String>,
    /// `verify` (default), `pin:<sha256>`, `insecure` or `none`.
    #[schema(value_type = Option<String>, pattern = "^(verify|insecure|none|pin:[0-9A-Fa-f]{64})$")]
    tls: Given<TlsPolicy>,
    #[schema(value_type = Option<String>)]
    system_id: Given<String>,
    #[schema(value_type = Option<String>)]
    system_uuid: Given<String>,
    #[schema(value_type = Option<String>)]
    management_address: Given<String>,
    #[schema(value_type = Option<bool>)]
    protected: Given<bool>,
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    labels: Given<BTreeMap<String, String>>,
}

const KEYS: [&str; 10] = [
    "serial",
    "bmc_address",
    "bmc_username",
    "bmc_password",
    "tls",
    "system_id",
    "system_uuid",
    "management_address",
    "protected",
    "labels",
];

impl ServerInput {
    /// Reads `body`, and makes `make` of it. All faults are told at once.
    fn read<T>(
        body: &Map<String, Value>,
        make: impl FnOnce(ServerInput, &mut Fields<'_>) -> Option<T>,
    ) -> Result<T, ApiError> {
        let mut fields = Fields::new(body, &KEYS);
        let input = ServerInput {
            serial: fields.parsed("serial", str::parse),
            bmc_address: fields.text("bmc_address", 1_024),
            bmc_username: fields.text("bmc_username", 128),
            bmc_password: fields.text("bmc_password", 512),
            tls: fields.parsed("tls", str::parse),
            system_id: fields.text("system_id", 256),
            system_uuid: fields.text("system_uuid", 64),
            management_address: fields.parsed("management_address", host),
            protected: fields.boolean("protected"),
            labels: fields.labels("labels"),
        };
        let made = make(input, &mut fields);
        match made.filter(|_| fields.errors.is_empty()) {
            Some(made) => Ok(made),
            None => Err(ApiError::invalid("the server is not understood", fields.errors)),
        }
    }
}

fn host(text: &str) -> Result<String, &'static str> {
    let message = "must be a host name or an IP address, with a port if not 443";
    management_url(text).map(|_| text.to_owned()).ok_or(message)
}

/// A whole record; the errors tell what is missing.
fn make(input: ServerInput, fields: &mut Fields<'_>) -> Option<Server> {
    let tls = input.tls.over(None).unwrap_or_default();
    let mut required = |key: &str, value: Option<String>| {
        if value.is_none() && !fields.errors.iter().any(|error| error.pointer == format!("/{key}")) {
            fields.refuse(key, "is missing");
        }
        value
    };
    let serial = required("serial", input.serial.value().map(Serial::to_string));
    let address = required("bmc_address", input.bmc_address.over(None));
    let username = required("bmc_username", input.bmc_username.over(None));
    let password = required("bmc_password", input.bmc_password.over(None));
    let address = check_bmc_address(&address?, &tls).map_err(|error| fields.errors.push(error)).ok();
    Some(Server {
        serial: serial?.parse().ok()?,
        bmc_address: address?,
        bmc_username: username?,
        bmc_password: Password::new(password?),
        tls,
        system_id: input.system_id.over(None),
        system_uuid: input.system_uuid.over(None),
        management_address: input.management_address.over(None),
        protected: input.protected.over(None).unwrap_or(false),
        labels: input.labels.over(None).unwrap_or_default(),
    })
}

/// `before` with what `input` changes; the errors tell what may not change so.
fn change(before: &Server, input: ServerInput, fields: &mut Fields<'_>) -> Option<Server> {
    if input.serial.value().is_some_and(|serial| *serial != before.serial) {
        fields.refuse("serial", "cannot be changed: add another server");
    }
    for (key, is_null) in [
        ("bmc_address", input.bmc_address == Given::Null),
        ("bmc_username", input.bmc_username == Given::Null),
        ("bmc_password", input.bmc_password == Given::Null),
    ] {
        if is_null {
            fields.refuse(key, "cannot be empty");
        }
    }
    let tls = input.tls.over(Some(before.tls.clone())).unwrap_or_default();
    let address = input.bmc_address.over(Some(before.bmc_address.to_string()))?;
    let address = check_bmc_address(&address, &tls).map_err(|error| fields.errors.push(error)).ok()?;
    if input.bmc_password.value().is_none() {
        if address != before.bmc_address {
            fields.refuse("bmc_password", "is needed in the same request where bmc_address changes");
        } else if is_weaker(&tls, &before.tls) {
            fields.refuse("bmc_password", "is needed in the same request where tls becomes weaker");
        }
    }
    Some(Server {
        serial: before.serial.clone(),
        bmc_address: address,
        bmc_username: input.bmc_username.over(Some(before.bmc_username.clone()))?,
        bmc_password: input
            .bmc_password
            .value()
            .map_or(before.bmc_password.clone(), |text| Password::new(text.clone())),
        tls,
        system_id: input.system_id.over(before.system_id.clone()),
        system_uuid: input.system_uuid.over(before.system_uuid.clone()),
        management_address: input.management_address.over(before.management_address.clone()),
        protected: input.protected.over(Some(before.protected)).unwrap_or(false),
        labels: input.labels.over(Some(before.labels.clone())).unwrap_or_default(),
    })
}

/// Whether `after` may trust a peer that `before` did not. A pin trusts one key and `verify` many
/// names' holders, so neither is stronger than the other, nor one pin than another.
fn is_weaker(after: &TlsPolicy, before: &TlsPolicy) -> bool {
    let strength = |policy: &TlsPolicy| match policy {
        TlsPolicy::None => 0,
        TlsPolicy::Insecure => 1,
        TlsPolicy::Verify | TlsPolicy::Pin(_) => 2,
    };
    after != before && strength(after) <= strength(before)
}

/// What a change means to whoever reads of it later: where credentials go, to whom, and which other
/// fields are not as before.
fn changes(before: &Server, after: &Server) -> Value {
    let fields = [
        ("bmc_username", before.bmc_username != after.bmc_username),
        ("bmc_password", before.bmc_password.expose() != after.bmc_password.expose()),
        ("system_id", before.system_id != after.system_id),
        ("system_uuid", before.system_uuid != after.system_uuid),
        ("management_address", before.management_address != after.management_address),
        ("protected", before.protected != after.protected),
        ("labels", before.labels != after.labels),
    ];
    let changed: Vec<&str> =
        fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect();
    let mut detail = json!({ "changed": changed });
    if before.bmc_address != after.bmc_address {
        detail["bmc_address"] = json!([before.bmc_address.as_str(), after.bmc_address.as_str()]);
    }
    if before.tls != after.tls {
        detail["tls"] = json!([before.tls.to_string(), after.tls.to_string()]);
    }
    detail
}

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
    let detail = json!({ "bmc_address": server.bmc_address.as_str(), "tls": server.tls.to_string() });
    let act = who.act(state.world.clock.now(), "server.add").on_server(&server.serial).with(detail);
    state.store.telling(act).insert_server(&server).await?;
    tracing::info!(server = %server.serial, "a server was added");
    let path = format!("/api/v1/servers/{}", server.serial);
    Ok(at_location((StatusCode::CREATED, Json(ServerBody::from(server))).into_response(), &path))
}

/// The whole inventory, by serial number.
#[utoipa::path(get, path = "/api/v1/servers", tag = "servers", responses((status = 200, body = ServerList)))]
pub async fn list(State(state): State<ApiState>) -> Result<Json<ServerList>, ApiError> {
    let servers = state.store.servers().await?;
    Ok(Json(ServerList { servers: servers.into_iter().map(ServerBody::from).collect() }))
}

/// One server.
#[utoipa::path(get, path = "/api/v1/servers/{serial}", tag = "servers",
    params(("serial" = String, Path)), responses((status = 200, body = ServerBody)))]
pub async fn show(
    State(state): State<ApiState>,
    Name(serial): Name<Serial>,
) -> Result<Json<ServerBody>, ApiError> {
    let server = find(&state, &serial).await?;
    let learned = state.store.load_bmc_memory(&server).await?.sentences();
    let learned = Some(learned).filter(|learned| !learned.is_empty());
    Ok(Json(ServerBody { learned, ..server.into() }))
}

/// Change a server. Where `bmc_address` changes or `tls` becomes weaker, `bmc_password` is needed too.
#[utoipa::path(patch, path = "/api/v1/servers/{serial}", tag = "servers",
    params(("serial" = String, Path)), request_body = ServerInput,
    responses((status = 200, body = ServerBody),
        (status = 409, description = "A job is active, and the change would lead it to another machine", body = Problem)))]
pub async fn update(
    State(state): State<ApiState>,
    who: Who,
    Name(serial): Name<Serial>,
    JsonObject(body): JsonObject,
) -> Result<Json<ServerBody>, ApiError> {
    let _unchanged_by_others = state.inventory.lock().await;
    let before = find(&state, &serial).await?;
    let after = ServerInput::read(&body, |input, fields| change(&before, input, fields))?;
    if body.contains_key("bmc_password") {
        check_reference(&state, &who, &after)?;
    }
    // A running job has checked the machine at the old address, and only that one.
    let other_machine = (&before.bmc_address, &before.system_id, &before.system_uuid)
        != (&after.bmc_address, &after.system_id, &after.system_uuid);
    if other_machine && let Some(job) = state.store.active_job(&serial).await? {
        return Err(StoreError::Busy { server: serial, job }.into());
    }
    let act = who.act(state.world.clock.now(), "server.change").on_server(&serial);
    state.store.telling(act.with(changes(&before, &after))).update_server(&after).await?;
    tracing::info!(server = %serial, "a server was changed");
    Ok(Json(after.into()))
}

/// Remove a server. Its past jobs stay.
#[utoipa::path(delete, path = "/api/v1/servers/{serial}", tag = "servers",
    params(("serial" = String, Path)),
    responses((status = 204), (status = 409, description = "A job is active on it", body = Problem)))]
pub async fn remove(
    State(state): State<ApiState>,
    who: Who,
    Name(serial): Name<Serial>,
) -> Result<StatusCode, ApiError> {
    let act = who.act(state.world.clock.now(), "server.remove").on_server(&serial);
    state.store.telling(act).delete_server(&serial).await?;
    tracing::info!(server = %serial, "a server was removed");
    Ok(StatusCode::NO_CONTENT)
}

/// Whoever names a password that is kept elsewhere could have it sent to a machine of theirs; and it must be
/// there.
fn check_reference(state: &ApiState, who: &Who, server: &Server) -> Result<(), ApiError> {
    if reference(&server.bmc_password).is_none() {
        return Ok(());
    }
    if who.actor.role < Role::Admin {
        let detail = "only an admin names a bmc_password that is kept elsewhere: give the password itself";
        return Err(ApiError::Forbidden(detail.to_owned()));
    }
    match state.secrets.resolve(&server.bmc_password) {
        Ok(_) => Ok(()),
        Err(error) => {
            let fault = FieldError::new("/bmc_password", error.sentence());
            Err(ApiError::invalid("the server is not understood", vec![fault]))
        }
    }
}

pub async fn find(state: &ApiState, serial: &Serial) -> Result<Server, ApiError> {
    let server = state.store.server(serial).await?;
    server.ok_or_else(|| StoreError::UnknownServer { serial: serial.clone() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(body: Value) -> Result<Server, Vec<FieldError>> {
        let body = body.as_object().unwrap().clone();
        ServerInput::read(&body, make).map_err(|error| match error {
            ApiError::Invalid { errors, .. } => errors,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn every_missing_field_is_named_once() {
        let errors = made(serde_json::json!({"bmc_username": 7})).unwrap_err();
        let mut pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/bmc_address", "/bmc_password", "/bmc_username", "/serial"]);
    }

    #[test]
    fn weaker_means_that_another_peer_may_be_trusted() {
        let pin = |byte| TlsPolicy::Pin([byte; 32]);
        let weaker = [
            (TlsPolicy::Insecure, TlsPolicy::Verify),
            (TlsPolicy::None, TlsPolicy::Insecure),
            (pin(1), TlsPolicy::Verify),
            (TlsPolicy::Verify, pin(1)),
            (pin(2), pin(1)),
        ];
        for (after, before) in weaker {
            assert!(is_weaker(&after, &before), "{before} to {after}");
        }
        for (after, before) in [(TlsPolicy::Verify, TlsPolicy::Insecure), (pin(1), pin(1))] {
            assert!(!is_weaker(&after, &before), "{before} to {after}");
        }
    }
}
