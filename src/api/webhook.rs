//! `/api/v1/status-webhook`: a result reported from inside a server.
//!
//! Two callers: the installer of a job with `completion_hook: webhook`, by a token of that job that
//! is good once and only after its reset; and, with a secret of the settings, a maintenance system,
//! for which no job of this version waits. Invariant: a caller with neither learns nothing of any job.

use axum::extract::{Path, Request, State};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ApiState;
use super::access::{RequestSource, is_webhook_secret};
use super::body::{self, Name};
use super::error::{ApiError, Problem};
use crate::domain::Fields;
use crate::domain::{CompletionHook, HookReport, Job, Serial};
use crate::store::Store;
use crate::token;
use shoal_base::world::Clock;

/// The largest body of a report; a status, a step and an id are short.
const REPORT_BYTES_MAX: usize = 4 << 10;

/// What takes the reports of installers.
#[derive(Clone)]
pub struct Hooks {
    pub store: Store,
    pub clock: Clock,
    /// Makes the tokens.
    pub key: [u8; 32],
}

#[derive(Serialize, ToSchema)]
pub struct HookReceipt {
    ok: bool,
}

/// A result from inside: `{"status": "success" | "failed", "failed_step"?, "delivery_id"?}`.
#[utoipa::path(post, path = "/api/v1/status-webhook/{serial}", tag = "webhook",
    params(("serial" = String, Path)), security(("webhook_secret" = [])),
    responses((status = 404, description = "No secret is set, or no job of that server waits", body = Problem)))]
pub async fn by_secret(
    State(state): State<ApiState>,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    Name(serial): Name<Serial>,
    request: Request,
) -> ApiError {
    if state.webhook_secrets.is_empty() {
        return counted("off", nothing_waits());
    }
    if !is_webhook_secret(&headers, &state.webhook_secrets) {
        if let Err(refusal) = state.access.count_failure(source) {
            return counted("denied", refusal);
        }
        return counted("denied", ApiError::Forbidden("X-Webhook-Secret is missing or wrong".to_owned()));
    }
    let typed = body::check_json_type(&headers);
    let body = body::read_at_most(request, REPORT_BYTES_MAX).await;
    match typed.and(body).and_then(|body| succeeded(&body::parse_object(&body)?, true)) {
        Ok(_) => {
            tracing::warn!(server = %serial, "a webhook call found no job that waits");
            counted("unexpected", nothing_waits())
        }
        Err(error) => counted("invalid", error),
    }
}

/// The hook of an ESXi installer: a token of one job, good once, after its reset.
#[utoipa::path(method(get, post), path = "/api/v1/status-webhook/{serial}/{token}", tag = "webhook",
    params(("serial" = String, Path), ("token" = String, Path)), security(()),
    responses((status = 200, body = HookReceipt),
        (status = 404, description = "No job waits for that token", body = Problem)))]
pub async fn by_token(
    State(state): State<ApiState>,
    Path((serial, token)): Path<(String, String)>,
    request: Request,
) -> Result<Json<HookReceipt>, ApiError> {
    state.hooks.answer(&serial, &token, request).await
}

impl Hooks {
    /// The same route for a listener that is not the API's.
    pub fn router(self) -> Router {
        let answer = async |State(hooks): State<Hooks>,
                            Path((serial, token)): Path<(String, String)>,
                            request| { hooks.answer(&serial, &token, request).await };
        Router::new()
            .route("/api/v1/status-webhook/{serial}/{token}", axum::routing::get(answer).post(answer))
            .with_state(self)
    }

    /// The oldest busybox has a wget that can only GET, and none sets a content type: the token says
    /// it all, and a body is read, once the token is known to be right, only to learn of a failure. HEAD is what
    /// link checkers and proxies send by themselves, so it reports nothing.
    async fn answer(
        &self,
        serial: &str,
        shown: &str,
        request: Request,
    ) -> Result<Json<HookReceipt>, ApiError> {
        if request.method() == Method::HEAD {
            return Err(counted("invalid", ApiError::MethodNotAllowed));
        }
        let waiting = self.waiting_job(serial, shown).await?;
        let job = waiting.ok_or_else(|| counted("unexpected", nothing_waits()))?;
        let body = body::read_at_most(request, REPORT_BYTES_MAX).await;
        let succeeded = body.and_then(|body| reported(&body)).map_err(|error| counted("invalid", error))?;
        let report = HookReport { at: self.clock.now(), succeeded };
        if !self.store.save_hook_report(job.id, report).await? {
            return Err(counted("repeated", nothing_waits()));
        }
        tracing::info!(job = %job.id, server = %job.server, succeeded, "the installer's hook has called");
        metrics::counter!(REQUESTS, "status" => "accepted").increment(1);
        Ok(Json(HookReceipt { ok: true }))
    }

    /// The job of that server that waits for this token.
    async fn waiting_job(&self, serial: &str, shown: &str) -> Result<Option<Job>, ApiError> {
        let Ok(serial) = serial.parse::<Serial>() else { return Ok(None) };
        let Some(id) = self.store.active_job(&serial).await? else { return Ok(None) };
        let Some(job) = self.store.job(id).await? else { return Ok(None) };
        let asks =
            job.spec.as_ref().is_some_and(|spec| spec.esxi().completion_hook == CompletionHook::Webhook);
        let is_started = job.facts.reset.started_at.is_some() && !job.status.is_decided();
        let is_its_token = token::of_hook(&self.key, job.id).matches(shown);
        Ok((asks && is_started && is_its_token).then_some(job))
    }
}

fn reported(body: &Bytes) -> Result<bool, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(body)) => succeeded(&body, false),
        _ => Ok(true),
    }
}

/// Whether the result is a success. Only one that is sent with a secret must say so.
fn succeeded(body: &Map<String, Value>, must_say: bool) -> Result<bool, ApiError> {
    let mut fields = Fields::new(body, &["status", "failed_step", "delivery_id"]);
    let status = fields.text("status", 16).value().cloned();
    match status.as_deref() {
        Some("success" | "failed") => {}
        None if !must_say => {}
        _ => fields.refuse("status", "is success or failed"),
    }
    fields.text("failed_step", 128);
    fields.text("delivery_id", 128);
    match fields.errors.is_empty() {
        true => Ok(status.as_deref() != Some("failed")),
        false => Err(ApiError::invalid("invalid result", fields.errors)),
    }
}

fn nothing_waits() -> ApiError {
    ApiError::NotFound("no job of that server waits for a result".to_owned())
}

const REQUESTS: &str = "shoal_provisioner_webhook_requests_total";

fn counted(status: &'static str, error: ApiError) -> ApiError {
    metrics::counter!(REQUESTS, "status" => status).increment(1);
    error
}
