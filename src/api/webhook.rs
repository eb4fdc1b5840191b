//! `/api/v1/status-webhook`: a result told from inside a server.
//!
//! No job of this version waits for one, so an honest call finds nothing; the rules of who may call
//! hold all the same. Invariant: without a secret in the settings the webhook is not there.

use axum::extract::State;
use http::HeaderMap;

use super::ApiState;
use super::access::is_webhook_secret;
use super::body::{JsonObject, Name};
use super::error::{ApiError, Problem};
use super::fields::Fields;
use crate::job::Serial;

/// A result from inside: `{"status": "success" | "failed", "failed_step"?, "delivery_id"?}`.
#[utoipa::path(post, path = "/api/v1/status-webhook/{serial}", tag = "webhook",
    params(("serial" = String, Path)), security(("webhook_secret" = [])),
    responses((status = 404, description = "No secret is set, or no job of that server waits", body = Problem)))]
pub async fn by_secret(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Name(serial): Name<Serial>,
    body: Result<JsonObject, ApiError>,
) -> ApiError {
    if state.webhook_secrets.is_empty() {
        return counted("off", nothing_waits());
    }
    if !is_webhook_secret(&headers, &state.webhook_secrets) {
        return counted("denied", ApiError::Forbidden("X-Webhook-Secret is missing or wrong".to_owned()));
    }
    match body.and_then(|JsonObject(body)| check(&body)) {
        Ok(()) => {
            tracing::warn!(server = %serial, "a webhook call found no job that waits");
            counted("unexpected", nothing_waits())
        }
        Err(error) => counted("invalid", error),
    }
}

/// The hook of an ESXi installer: a token of one job, good once.
#[utoipa::path(post, path = "/api/v1/status-webhook/{serial}/{token}", tag = "webhook",
    params(("serial" = String, Path), ("token" = String, Path)), security(()),
    responses((status = 404, description = "No job waits for that token", body = Problem)))]
pub async fn by_token() -> ApiError {
    counted("unexpected", nothing_waits())
}

fn check(body: &serde_json::Map<String, serde_json::Value>) -> Result<(), ApiError> {
    let mut fields = Fields::new(body, &["status", "failed_step", "delivery_id"]);
    match fields.text("status", 16).value().map(String::as_str) {
        Some("success" | "failed") => {}
        _ => fields.refuse("status", "is success or failed"),
    }
    fields.text("failed_step", 128);
    fields.text("delivery_id", 128);
    match fields.errors.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid("the result is not understood", fields.errors)),
    }
}

fn nothing_waits() -> ApiError {
    ApiError::NotFound("no job of that server waits for a result".to_owned())
}

fn counted(status: &'static str, error: ApiError) -> ApiError {
    metrics::counter!("shoal_provisioner_webhook_requests_total", "status" => status).increment(1);
    error
}
