//! `/openapi.json`: the API's description, generated from the code that answers.
//!
//! Invariant: every route that is served is described, which a test compares, and who may use it is
//! what the table of roles says.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::Ref;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Info, OpenApi as Document, RefOr};
use utoipa::{OpenApi, ToSchema};

use super::ApiState;
use super::access::roles::{self, Need};
use super::error::{FieldProblem, Problem};
use super::jobs::{JobRecipeBody, MaintenanceRecipeBody};
use super::query::operations;
use crate::problem::PROBLEM_JSON;

#[derive(OpenApi)]
#[openapi(components(schemas(Problem, FieldProblem)), security(("bearer" = [])))]
struct Frame;

/// The document before the routes are in it.
pub fn frame() -> Document {
    let mut document = Frame::openapi();
    document.info = Info::new("Shoal", env!("CARGO_PKG_VERSION"));
    document.info.description =
        Some("Installs VMware ESXi on bare-metal servers through Redfish virtual media.".to_owned());
    document
}

/// The finished document as JSON: how to get in, and how every route says no.
pub fn render(mut document: Document) -> Arc<str> {
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let webhook = ApiKey::Header(ApiKeyValue::new("X-Webhook-Secret"));
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme("webhook_secret", SecurityScheme::ApiKey(webhook));
    let mut names = BTreeSet::new();
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            name(operation, &method, &mut names);
            say_who(operation, &method, path);
            refusable(operation);
        }
    }
    let mut document = serde_json::to_value(&document).expect("the description has string keys");
    make_strict(&mut document);
    document.to_string().into()
}

/// What the derived schemas leave open: a parameter is left out and never null, and a body has no keys but
/// those that are described (a recipe has another spelling, and another form).
fn make_strict(document: &mut Value) {
    let mut bodies = BTreeSet::new();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in
        paths.flat_map(|item| item.as_object_mut().into_iter().flat_map(|item| item.values_mut()))
    {
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            if let Some(Value::Array(types)) = parameter.pointer_mut("/schema/type") {
                types.retain(|kind| kind != "null");
            }
            let only = parameter.pointer("/schema/oneOf").and_then(Value::as_array).and_then(|schemas| {
                let mut others = schemas.iter().filter(|schema| schema["type"] != "null");
                others.next().filter(|_| others.next().is_none()).cloned()
            });
            if let Some(only) = only {
                parameter["schema"] = only;
            }
        }
        let body = operation.pointer("/requestBody/content/application~1json/schema");
        // One that may be left out is described as an object or `null`.
        let object = body.and_then(|schema| schema.get("$ref").or(schema.pointer("/oneOf/0/$ref")));
        let name = object.and_then(Value::as_str).and_then(|body| body.strip_prefix(SCHEMAS));
        bodies.extend(name.map(str::to_owned));
    }
    bodies.remove(JobRecipeBody::name().as_ref());
    for body in bodies {
        document["components"]["schemas"][&body]["additionalProperties"] = Value::Bool(false);
    }
}

/// Programs that are made of this document call an operation by its name: the handler's, after its tag, and
/// the method too where the handler has two of them.
fn name(operation: &mut Operation, method: &Method, names: &mut BTreeSet<String>) {
    let tag = operation.tags.iter().flatten().next().expect("every route has a tag");
    let handler = operation.operation_id.take().expect("every route is named after its handler");
    let mut name = format!("{tag}_{handler}");
    if names.contains(&name) {
        name += &format!("_{}", method.as_str().to_lowercase());
    }
    assert!(names.insert(name.clone()), "no two operations are called {name}");
    operation.operation_id = Some(name);
}

/// What the table of roles says of an operation: `security` and `x-required-role`, which is `none`
/// where no token is required. A route with a proof of its own has said which.
fn say_who(operation: &mut Operation, method: &Method, path: &str) {
    let need = roles::need(method, path).expect("every route stands in the table of roles");
    let bearer = || Some(vec![SecurityRequirement::new("bearer", [""; 0])]);
    let role = match need {
        Need::Role(role) => role.name(),
        Need::Metrics => "viewer",
        Need::Nothing | Need::OwnProof => "none",
    };
    match need {
        Need::Role(_) | Need::Metrics => {
            operation.security = bearer();
            if let (Need::Metrics, Some(ways)) = (&need, &mut operation.security) {
                // Anybody, where the listener is on loopback.
                ways.push(SecurityRequirement::default());
            }
            for (status, meaning) in [("401", "No valid token"), ("403", "Insufficient role")] {
                operation
                    .responses
                    .responses
                    .entry(status.to_owned())
                    .or_insert_with(|| ResponseBuilder::new().description(meaning).build().into());
            }
        }
        Need::Nothing => operation.security = Some(vec![SecurityRequirement::default()]),
        Need::OwnProof => {}
    }
    let who = ExtensionsBuilder::new().add("x-required-role", role).build();
    operation.extensions.get_or_insert_default().merge(who);
}

/// Any route may answer with a problem, and each answer is described.
fn refusable(operation: &mut Operation) {
    let reference = || RefOr::Ref(Ref::from_schema_name(Problem::name()));
    let content = || ContentBuilder::new().schema(Some(reference())).build();
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) {
            response.content = [(PROBLEM_JSON.to_owned(), content().into())].into();
        }
        // A description there must be; most codes say enough.
        if response.description.is_empty() {
            let code = status.parse::<StatusCode>().ok().and_then(|code| code.canonical_reason());
            code.unwrap_or(status).clone_into(&mut response.description);
        }
    }
    let problem = ResponseBuilder::new().description("A problem").content(PROBLEM_JSON, content());
    responses.insert("default".to_owned(), problem.build().into());
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "health", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub async fn openapi(State(state): State<ApiState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], state.openapi.to_string())
}

const SCHEMAS: &str = "#/components/schemas/";

/// The recipe as JSON Schema 2020-12, made of the finished description.
pub fn recipe_schema(openapi: &str) -> Arc<str> {
    let mut document: Value = serde_json::from_str(openapi).expect("the description is JSON");
    let mut schemas = document["components"]["schemas"].take();
    let (mut wanted, mut defs) = (vec![JobRecipeBody::name().into_owned()], serde_json::Map::new());
    while let Some(name) = wanted.pop() {
        if !defs.contains_key(&name) {
            let mut schema = schemas[&name].take();
            refer_to_defs(&mut schema, &mut wanted);
            defs.insert(name, schema);
        }
    }
    let linux = defs.get_mut(&MaintenanceRecipeBody::name().into_owned()).expect("it is one of the recipes");
    linux["oneOf"] = json!([
        { "required": ["image"], "properties": {
            "oci_url": { "type": "null" },
            "image": {
                "type": "object",
                "anyOf": [{ "required": ["sha256"] }, { "required": ["name"] }],
                "dependentRequired": { "url": ["sha256"] },
            },
        } },
        { "required": ["oci_url"], "properties": {
            "oci_url": { "type": "string" },
            "image": { "properties": {
                "url": { "type": "null" }, "name": { "type": "null" }, "sha256": { "type": "null" },
            } },
        } },
    ]);
    let root = format!("#/$defs/{}", JobRecipeBody::name());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Recipe of Shoal",
        "$ref": root,
        "$defs": defs,
    })
    .to_string()
    .into()
}

/// References lead into the schema's own definitions; what is referred to is `wanted`.
fn refer_to_defs(schema: &mut Value, wanted: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match value.as_str().filter(|_| key == "$ref").and_then(|link| link.strip_prefix(SCHEMAS)) {
                    Some(name) => {
                        wanted.push(name.to_owned());
                        *value = json!(format!("#/$defs/{name}"));
                    }
                    None => refer_to_defs(value, wanted),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| refer_to_defs(value, wanted)),
        _ => {}
    }
}

/// The JSON Schema (draft 2020-12) of recipes.
#[utoipa::path(get, path = "/api/v1/recipe.schema.json", tag = "jobs", security(()),
    responses((status = 200, description = "JSON Schema", content_type = "application/schema+json")))]
pub async fn recipe_schema_json(State(state): State<ApiState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/schema+json")], state.recipe_schema.to_string())
}
