//! `/openapi.json`: the API's description, generated from the code that answers.
//!
//! Invariant: every route that is served is described, which a test compares.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::Ref;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Info, OpenApi as Document, PathItem, RefOr};
use utoipa::{OpenApi, ToSchema};

use super::ApiState;
use super::error::{FieldProblem, Problem};

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
    document.paths.paths.values_mut().flat_map(operations).for_each(refusable);
    document.to_json().expect("the description has string keys").into()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, post, patch, delete, head, .. } = item;
    [get, post, patch, delete, head].into_iter().flatten()
}

/// Any route may answer with a problem.
fn refusable(operation: &mut Operation) {
    let reference = || RefOr::Ref(Ref::from_schema_name(Problem::name()));
    let content = || ContentBuilder::new().schema(Some(reference())).build();
    let responses = &mut operation.responses.responses;
    for response in responses.iter_mut().filter(|(status, _)| status.starts_with(['4', '5'])) {
        if let (_, RefOr::T(response)) = response {
            response.content = [("application/problem+json".to_owned(), content().into())].into();
        }
    }
    let problem =
        ResponseBuilder::new().description("A problem").content("application/problem+json", content());
    responses.insert("default".to_owned(), problem.build().into());
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "health", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub async fn openapi(State(state): State<ApiState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], state.openapi.to_string())
}
