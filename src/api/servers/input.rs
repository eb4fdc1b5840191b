//! From a body to a server's record: what is wrong with it, and what may not change so.
//!
//! A caller that changes a record's address, or trusts more peers than before, must know the password. Invariant: all
//! faults of a body are reported in one response, and none quotes a value.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use crate::api::error::ApiError;
use crate::domain::{
    FieldPatch, Fields, LabelChanges, Serial, Server, VariableChanges, Variables, check_bmc_address,
    management_url, merge_labels, read_variables,
};
use shoal_base::Password;
use shoal_base::world::TlsPolicy;

/// A server as given.
#[derive(Debug, Default, ToSchema)]
pub struct ServerInput {
    /// Must equal the SerialNumber that the BMC reports. Cannot be changed.
    #[schema(value_type = String, min_length = 1, max_length = 64)]
    serial: FieldPatch<Serial>,
    /// `https://host[:port]`; `http://` off loopback needs `tls: none`.
    #[schema(value_type = String, pattern = "^https?://")]
    bmc_address: FieldPatch<String>,
    #[schema(value_type = String)]
    bmc_username: FieldPatch<String>,
    /// Never shown; or, by an admin alone, where it is: `env:SHOAL_SECRET_…` or `file:` and a name below
    /// `BMC_SECRETS_DIR`, which is read when it is needed. Needed where `bmc_address` changes or `tls` becomes weaker.
    #[schema(value_type = String, write_only)]
    bmc_password: FieldPatch<String>,
    /// `verify` (default), `pin:<sha256>`, `insecure` or `none`.
    #[schema(value_type = Option<String>, pattern = "^(verify|insecure|none|pin:[0-9A-Fa-f]{64})$")]
    tls: FieldPatch<TlsPolicy>,
    #[schema(value_type = Option<String>)]
    system_id: FieldPatch<String>,
    #[schema(value_type = Option<String>)]
    system_uuid: FieldPatch<String>,
    #[schema(value_type = Option<String>)]
    management_address: FieldPatch<String>,
    #[schema(value_type = Option<bool>)]
    protected: FieldPatch<bool>,
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    labels: FieldPatch<LabelChanges>,
    /// For the templates of its kickstarts, under a job's own variables: strings, numbers and booleans. Never shown
    /// but for their names, since any of them may be a secret.
    #[schema(schema_with = variables_schema, required = false)]
    variables: FieldPatch<VariableChanges>,
}

/// Variables by name, and `null` where there are to be none.
fn variables_schema() -> Schema {
    variables_of(&[Type::String, Type::Number, Type::Boolean])
}

/// The same where `null` removes one.
fn variable_changes_schema() -> Schema {
    variables_of(&[Type::String, Type::Number, Type::Boolean, Type::Null])
}

fn variables_of(values: &[Type]) -> Schema {
    let any_of = |types: &[Type]| SchemaType::Array(types.to_vec());
    let name = ObjectBuilder::new().pattern(Some("^(?!server$)[A-Za-z_][A-Za-z0-9_]{0,62}$"));
    ObjectBuilder::new()
        .schema_type(any_of(&[Type::Object, Type::Null]))
        .property_names(Some(name))
        .additional_properties(Some(ObjectBuilder::new().schema_type(any_of(values))))
        .into()
}

/// A whole record for PUT; what is absent is empty afterwards, but for `bmc_password`, `protected` and `variables`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description; ServerInput reads it")]
pub struct ServerReplacement {
    /// That of the path, if it is there.
    #[schema(required = false, min_length = 1, max_length = 64)]
    serial: String,
    #[schema(pattern = "^https?://")]
    bmc_address: String,
    bmc_username: String,
    /// Needed for a new server, and where `bmc_address` or `tls` changes.
    #[schema(required = false, write_only)]
    bmc_password: String,
    #[schema(pattern = "^(verify|insecure|none|pin:[0-9A-Fa-f]{64})$")]
    tls: Option<String>,
    system_id: Option<String>,
    system_uuid: Option<String>,
    management_address: Option<String>,
    protected: Option<bool>,
    labels: Option<BTreeMap<String, String>>,
    /// All of them; where they are absent, those that are kept stay, since they cannot be read back.
    #[schema(schema_with = variables_schema, required = false)]
    variables: VariableChanges,
}

/// A JSON merge patch (RFC 7396) of a server: what is absent stays as it is, `null` empties an optional field.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description; ServerInput reads it")]
pub struct ServerPatch {
    /// Cannot be changed.
    #[schema(required = false, min_length = 1, max_length = 64)]
    serial: String,
    /// Needs `bmc_password` in the same request.
    #[schema(required = false, pattern = "^https?://")]
    bmc_address: String,
    #[schema(required = false)]
    bmc_username: String,
    #[schema(required = false, write_only)]
    bmc_password: String,
    /// Needs `bmc_password` in the same request where it becomes weaker; `null` is `verify`.
    #[schema(pattern = "^(verify|insecure|none|pin:[0-9A-Fa-f]{64})$")]
    tls: Option<String>,
    system_id: Option<String>,
    system_uuid: Option<String>,
    management_address: Option<String>,
    protected: Option<bool>,
    /// Merged with those that are there; `null` takes a label away, or all of them.
    labels: Option<BTreeMap<String, Option<String>>>,
    /// Merged with those that are there; `null` removes a variable, or all of them.
    #[schema(schema_with = variable_changes_schema, required = false)]
    variables: VariableChanges,
}

const KEYS: [&str; 11] = [
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
    "variables",
];

impl ServerInput {
    /// Reads `body`, and makes `make` of it. All faults are reported together.
    pub fn read<T>(
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
            variables: read_variables(&mut fields, "variables"),
        };
        let made = make(input, &mut fields);
        match made.filter(|_| fields.errors.is_empty()) {
            Some(made) => Ok(made),
            None => Err(ApiError::invalid("invalid server record", fields.errors)),
        }
    }
}

fn host(text: &str) -> Result<String, &'static str> {
    let message = "must be a host name or an IP address, with a port if not 443";
    management_url(text).map(|_| text.to_owned()).ok_or(message)
}

/// A whole record; the errors name what is missing.
pub fn make(input: ServerInput, fields: &mut Fields<'_>) -> Option<Server> {
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
    if input.labels.value().is_some_and(|labels| labels.values().any(Option::is_none)) {
        fields.refuse("labels", "a new server has no label that `null` could take away");
    }
    if input.variables.value().is_some_and(|variables| variables.values().any(Option::is_none)) {
        fields.refuse("variables", "a whole record has no variable that `null` could remove");
    }
    let labels = labels(BTreeMap::new(), input.labels, fields);
    let variables = variables(Variables::default(), input.variables, fields);
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
        labels: labels?,
        variables: variables?,
    })
}

fn variables(
    before: Variables,
    changes: FieldPatch<VariableChanges>,
    fields: &mut Fields<'_>,
) -> Option<Variables> {
    match changes {
        FieldPatch::Absent => Some(before),
        FieldPatch::Null => Some(Variables::default()),
        FieldPatch::Value(changes) => {
            before.merged(changes).map_err(|fault| fields.refuse("variables", fault)).ok()
        }
    }
}

fn labels(
    before: BTreeMap<String, String>,
    changes: FieldPatch<LabelChanges>,
    fields: &mut Fields<'_>,
) -> Option<BTreeMap<String, String>> {
    match changes {
        FieldPatch::Absent => Some(before),
        FieldPatch::Null => Some(BTreeMap::new()),
        FieldPatch::Value(changes) => {
            let merged = merge_labels(before, changes);
            merged.map_err(|fault| fields.refuse("labels", fault)).ok()
        }
    }
}

/// The whole record that replaces `before`; the errors name what prevents that.
pub fn replacement(
    serial: &Serial,
    before: Option<&Server>,
    mut input: ServerInput,
    fields: &mut Fields<'_>,
) -> Option<Server> {
    if input.serial.value().is_some_and(|given| given != serial) {
        fields.refuse("serial", "is not the one of the path");
    }
    let Some(before) = before else { return make(input, fields) };
    if input.bmc_password == FieldPatch::Absent {
        let tls = input.tls.value().cloned().unwrap_or_default();
        let address = input.bmc_address.value().and_then(|text| check_bmc_address(text, &tls).ok());
        match address.is_none_or(|address| address == before.bmc_address) && tls == before.tls {
            true => input.bmc_password = FieldPatch::Value(before.bmc_password.expose().to_owned()),
            false => fields.refuse("bmc_password", "is needed where bmc_address or tls changes"),
        }
    }
    let protected = input.protected.clone().over(Some(before.protected)).unwrap_or(false);
    let keeps_variables = input.variables == FieldPatch::Absent;
    let made = make(input, fields)?;
    let variables = if keeps_variables { before.variables.clone() } else { made.variables };
    Some(Server { protected, variables, ..made })
}

/// `before` with what `input` changes; the errors name what may not change so.
pub fn change(before: &Server, input: ServerInput, fields: &mut Fields<'_>) -> Option<Server> {
    if input.serial.value().is_some_and(|serial| *serial != before.serial) {
        fields.refuse("serial", "cannot be changed: add another server");
    }
    for (key, is_null) in [
        ("bmc_address", input.bmc_address == FieldPatch::Null),
        ("bmc_username", input.bmc_username == FieldPatch::Null),
        ("bmc_password", input.bmc_password == FieldPatch::Null),
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
        labels: labels(before.labels.clone(), input.labels, fields)?,
        variables: variables(before.variables.clone(), input.variables, fields)?,
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

/// The fields that are not as before.
pub fn changed(before: &Server, after: &Server) -> Vec<&'static str> {
    let fields = [
        ("bmc_address", before.bmc_address != after.bmc_address),
        ("bmc_username", before.bmc_username != after.bmc_username),
        ("bmc_password", before.bmc_password.expose() != after.bmc_password.expose()),
        ("tls", before.tls != after.tls),
        ("system_id", before.system_id != after.system_id),
        ("system_uuid", before.system_uuid != after.system_uuid),
        ("management_address", before.management_address != after.management_address),
        ("protected", before.protected != after.protected),
        ("labels", before.labels != after.labels),
        ("variables", before.variables != after.variables),
    ];
    fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

/// What a change means to a later reader of the audit log: where credentials go, to whom, and which other
/// fields are not as before.
pub fn changes(before: &Server, after: &Server) -> Value {
    let changed: Vec<&str> =
        changed(before, after).into_iter().filter(|name| !matches!(*name, "bmc_address" | "tls")).collect();
    let mut detail = json!({ "changed": changed });
    if before.bmc_address != after.bmc_address {
        detail["bmc_address"] = json!([before.bmc_address.as_str(), after.bmc_address.as_str()]);
    }
    if before.tls != after.tls {
        detail["tls"] = json!([before.tls.to_string(), after.tls.to_string()]);
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FieldError;

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
