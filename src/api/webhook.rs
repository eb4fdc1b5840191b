//! `/api/v1/status-webhook`: a result reported from inside a server.
//!
//! Who reports, and what shows whose result it is:
//!
//! - the hook of an ESXi installer, by a token of its job that is good once;
//! - the maintenance system of a Linux or Windows job, by a token of its job that lasts until the result is known and
//!   for its repeats; it reports progress too;
//! - a maintenance system that has no token, by a secret of the settings and its server's serial number.
//!
//! A report counts once its job's host was started. It is durable before it is answered. Invariant: a caller with
//! neither token nor secret learns nothing of any job.

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use shoal_recipe::{REPORT_LOG_BYTES_MAX, Report, ReportStatus};
use utoipa::ToSchema;

use super::ApiState;
use super::access::{RequestSource, is_webhook_secret};
use super::body::{self, Name};
use super::error::{ApiError, Problem};
use crate::domain::{
    CompletionHook, FieldError, Fields, HookReport, Job, JobSpec, Medium, PathSpec, Reporter, Serial,
    TaskProgress, TaskResult,
};
use crate::store::Store;
use crate::token;
use shoal_base::UrlSecrets;
use shoal_base::world::{Clock, elapsed};

/// The largest body of a hook; a status, a step and an id are short.
const HOOK_BYTES_MAX: usize = 4 << 10;
/// Of a maintenance system, which may send the last 4 KiB of its log, escaped.
const REPORT_BYTES_MAX: usize = 64 << 10;
const STEP_CHARS_MAX: usize = 128;
const DETAIL_CHARS_MAX: usize = 1_024;
const WARNINGS_MAX: usize = 16;
/// No machine starts a maintenance system sooner.
const LEAST_START: Duration = Duration::from_secs(10);

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

/// A result from inside: `{"status": "success" | "failed" | "progress", "failed_step"?, "delivery_id"?, "detail"?}`.
/// Other members are ignored.
#[utoipa::path(post, path = "/api/v1/status-webhook/{serial}", tag = "webhook",
    params(("serial" = String, Path)), security(("webhook_secret" = [])),
    responses((status = 200, body = HookReceipt),
        (status = 404, description = "No secret is set, or no job of that server waits", body = Problem)))]
pub async fn by_secret(
    State(state): State<ApiState>,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    Name(serial): Name<Serial>,
    request: Request,
) -> Result<Json<HookReceipt>, ApiError> {
    if state.webhook_secrets.is_empty() {
        return Err(counted("off", nothing_waits()));
    }
    if !is_webhook_secret(&headers, &state.webhook_secrets) {
        if let Err(refusal) = state.access.count_failure(source) {
            return Err(counted("denied", refusal));
        }
        let denied = ApiError::Forbidden("X-Webhook-Secret is missing or wrong".to_owned());
        return Err(counted("denied", denied));
    }
    let typed = body::check_json_type(&headers);
    let body = body::read_at_most(request, REPORT_BYTES_MAX).await;
    let report =
        typed.and(body).and_then(|body| task_report(&body)).map_err(|error| counted("invalid", error))?;
    match state.hooks.find(&serial, is_maintenance).await? {
        Some(job) => state.hooks.take(&job, report, Reporter::SharedSecret).await,
        None => {
            tracing::warn!(server = %serial, "a webhook call found no job that waits");
            Err(counted("unexpected", nothing_waits()))
        }
    }
}

/// The hook of an ESXi installer, by a token of its job, good once, after its reset; or a maintenance system with the
/// same body as with a secret, by a token that lasts until the result.
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

    async fn answer(
        &self,
        serial: &str,
        shown: &str,
        request: Request,
    ) -> Result<Json<HookReceipt>, ApiError> {
        // Link checkers and proxies send HEAD by themselves.
        if request.method() == Method::HEAD {
            return Err(counted("invalid", ApiError::MethodNotAllowed));
        }
        let job =
            self.of_token(serial, shown).await?.ok_or_else(|| counted("unexpected", nothing_waits()))?;
        if !is_maintenance(&job) {
            return self.take_hook(&job, body::read_at_most(request, HOOK_BYTES_MAX).await).await;
        }
        let body = body::read_at_most(request, REPORT_BYTES_MAX).await;
        let report = body.and_then(|body| task_report(&body)).map_err(|error| counted("invalid", error))?;
        self.take(&job, report, Reporter::Token).await
    }

    /// The oldest busybox has a wget that can only GET, and none sets a content type: the token says
    /// it all, and a body is read, once the token is known to be right, only to learn of a failure.
    async fn take_hook(
        &self,
        job: &Job,
        body: Result<Bytes, ApiError>,
    ) -> Result<Json<HookReceipt>, ApiError> {
        let succeeded = body.and_then(|body| reported(&body)).map_err(|error| counted("invalid", error))?;
        let report = HookReport { at: self.clock.now(), succeeded };
        if !self.store.save_hook_report(job.id, report).await? {
            return Err(counted("repeated", nothing_waits()));
        }
        tracing::info!(job = %job.id, server = %job.server, succeeded, "the installer's hook has called");
        metrics::counter!(REQUESTS, "status" => "accepted").increment(1);
        Ok(Json(HookReceipt { ok: true }))
    }

    /// Keeps what a maintenance system reports. A repeat of a result changes nothing and is answered as the first was.
    async fn take(&self, job: &Job, report: Report, by: Reporter) -> Result<Json<HookReceipt>, ApiError> {
        let at = self.clock.now();
        if by == Reporter::SharedSecret && !self.may_have_run(job, at).await? {
            // Of an earlier job of that server, and so are its repeats.
            if let Some(delivery_id) = report.delivery_id.filter(|_| report.status != ReportStatus::Progress)
            {
                self.store.refuse_delivery(job.id, &delivery_id).await?;
            }
            tracing::warn!(job = %job.id, server = %job.server, "a report came before its maintenance system can have run");
            return Err(counted("unexpected", nothing_waits()));
        }
        let urls = UrlSecrets::of(job.spec.iter().flat_map(JobSpec::urls));
        let report = cut(without(report, token::of_hook(&self.key, job.id).expose(), &urls));
        let status = match report.status {
            ReportStatus::Progress => {
                let Report { step, bytes, total, .. } = report;
                self.store.save_task_progress(job.id, TaskProgress { at, by, step, bytes, total }).await?;
                "progress"
            }
            ReportStatus::Success | ReportStatus::Failed => {
                let succeeded = report.status == ReportStatus::Success;
                match self.store.save_task_result(job.id, result(report, at, by)).await? {
                    true => {
                        tracing::info!(job = %job.id, server = %job.server, succeeded, "a maintenance system has reported");
                        "accepted"
                    }
                    false => "repeated",
                }
            }
        };
        metrics::counter!(REQUESTS, "status" => status).increment(1);
        Ok(Json(HookReceipt { ok: true }))
    }

    /// Whether the job's maintenance system can have been started by now, as far as reads of its medium show that.
    async fn may_have_run(&self, job: &Job, now: Timestamp) -> Result<bool, ApiError> {
        let is_late_enough = job.facts.reset.started_at.is_some_and(|at| elapsed(at, now) >= LEAST_START);
        let trace = self.store.load_trace(job.id, Medium::Boot.name()).await?.unwrap_or_default();
        Ok(is_late_enough && trace.may_be_loaded_by(now))
    }

    /// The job of that server whose token this is, if it waits for a report.
    async fn of_token(&self, serial: &str, shown: &str) -> Result<Option<Job>, ApiError> {
        let Ok(serial) = serial.parse::<Serial>() else { return Ok(None) };
        self.find(&serial, |job| {
            let asks = match job.spec.as_ref().map(|spec| &spec.path) {
                Some(PathSpec::Esxi(spec)) => {
                    spec.completion_hook == CompletionHook::Webhook && !job.status.is_decided()
                }
                Some(PathSpec::Maintenance(_)) => true,
                None => false,
            };
            asks && token::of_hook(&self.key, job.id).matches(shown)
        })
        .await
    }

    /// The active job of that server, if its host was started and it fits.
    async fn find(&self, serial: &Serial, fits: impl Fn(&Job) -> bool) -> Result<Option<Job>, ApiError> {
        let Some(id) = self.store.active_job(serial).await? else { return Ok(None) };
        let job = self.store.job(id).await?.filter(|job| job.facts.reset.started_at.is_some());
        Ok(job.filter(fits))
    }
}

/// A Linux or Windows job. Until its cleanup is over it takes repeats.
fn is_maintenance(job: &Job) -> bool {
    job.spec.as_ref().is_some_and(|spec| spec.maintenance().is_some())
}

/// The body of a maintenance system's report.
fn task_report(body: &Bytes) -> Result<Report, ApiError> {
    let report: Report = serde_json::from_slice(body).map_err(|error| {
        let place = format!("at line {}, column {}", error.line(), error.column());
        ApiError::invalid(
            "the report is invalid",
            vec![FieldError::new(
                "",
                format!("is not a report {place}: `status` is success, failed or progress"),
            )],
        )
    })?;
    if report.failed_step.as_ref().is_some_and(|step| step.chars().count() > STEP_CHARS_MAX) {
        let fault = FieldError::of_key("failed_step", format!("is longer than {STEP_CHARS_MAX} characters"));
        return Err(ApiError::invalid("the report is invalid", vec![fault]));
    }
    Ok(report)
}

/// Texts cut to what is kept of them; only after secrets were hidden, or a part of one would stay.
fn cut(report: Report) -> Report {
    let text = |text: Option<String>, chars_max: usize| {
        text.map(|text| text.chars().filter(|c| !c.is_control() || *c == '\n').take(chars_max).collect())
    };
    Report {
        failed_step: text(report.failed_step, STEP_CHARS_MAX),
        delivery_id: text(report.delivery_id, STEP_CHARS_MAX),
        detail: text(report.detail, DETAIL_CHARS_MAX),
        step: text(report.step, STEP_CHARS_MAX),
        log: text(report.log.map(last_part), usize::MAX),
        warnings: report
            .warnings
            .into_iter()
            .take(WARNINGS_MAX)
            .filter_map(|warning| text(Some(warning), DETAIL_CHARS_MAX))
            .collect(),
        ..report
    }
}

/// The end of a log, as much of it as is kept.
fn last_part(log: String) -> String {
    let from = log.len().saturating_sub(REPORT_LOG_BYTES_MAX);
    let from = (from..=log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(log.len());
    log[from..].to_owned()
}

/// A log may quote the URL that it was sent to, and that of the image, and events are shown to viewers.
fn without(report: Report, token: &str, urls: &UrlSecrets) -> Report {
    let hidden = |text: String| urls.hide(&text.replace(token, "…"));
    Report {
        step: report.step.map(hidden),
        detail: report.detail.map(hidden),
        failed_step: report.failed_step.map(hidden),
        log: report.log.map(hidden),
        warnings: report.warnings.into_iter().map(hidden).collect(),
        ..report
    }
}

fn result(report: Report, at: Timestamp, by: Reporter) -> TaskResult {
    let Report { status, failed_step, detail, warnings, log, delivery_id, .. } = report;
    TaskResult {
        at,
        succeeded: status == ReportStatus::Success,
        by,
        failed_step,
        detail,
        warnings,
        log,
        delivery_id,
    }
}

fn reported(body: &Bytes) -> Result<bool, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(body)) => succeeded(&body),
        _ => Ok(true),
    }
}

/// Whether a hook's result is a success, as one is that says nothing.
fn succeeded(body: &Map<String, Value>) -> Result<bool, ApiError> {
    let mut fields = Fields::new(body, &["status", "failed_step", "delivery_id"]);
    let status = fields.text("status", 16).value().cloned();
    if !matches!(status.as_deref(), None | Some("success" | "failed")) {
        fields.refuse("status", "is success or failed");
    }
    fields.text("failed_step", STEP_CHARS_MAX);
    fields.text("delivery_id", STEP_CHARS_MAX);
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
