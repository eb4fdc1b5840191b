//! `/api/v1/jobs`: ask for an installation, watch it, end it, try it again.
//!
//! How a request becomes a job is in [`submit`], how a job is shown in [`view`]. Invariant: nothing
//! here drives a job; it is written into the store, and the engine finds it there.

pub(super) mod image;
mod reads;
mod recipe_body;
pub(super) mod submit;
mod view;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::ApiState;
use super::access::Who;
use super::body::{JobObject, Name, OptionalJsonObject, Params, at_location, page_limit};
use super::error::{ApiError, Problem};
use super::events::{self, EventBody};
use super::find;
use super::words::JobStatus;
use crate::access::Act;
use crate::domain::{BatchId, Cancel, Fields, Job, JobId, Serial, Status};
use crate::store::{CancelOutcome, JobFilter, PAGE_MAX, StoreError, StoredJob, UnreadableJob};
use submit::{JobRequest, Retry, SubmitBody};

pub use reads::{__path_reads, reads};
pub use recipe_body::{JobRecipeBody, MaintenanceRecipeBody};
use submit::FoundBody;
pub use view::{DeadlineBody, JobBody, JobList, ProgressBody};

const LIST_DEFAULT: usize = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CreateParams {
    /// All checks up to and including `resolve-server`; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// Ask for an installation. The body is the recipe, or `{"server_serial", "recipe": {…}}`.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", request_body = JobRecipeBody,
    params(CreateParams, ("Idempotency-Key" = Option<String>, Header,
        pattern = "^[!-~]{1,255}$", description = "The same key and body within 24 hours make one job")),
    responses((status = 202, description = "The job is queued", body = JobBody),
        (status = 200, description = "The job that this Idempotency-Key made; or the report of a dry run", body = FoundBody),
        (status = 404, description = "No such server; no job is left", body = Problem),
        (status = 409, description = "The server is protected, or busy with the job named", body = Problem),
        (status = 422, description = "The recipe is invalid; the job named has failed immediately", body = Problem)))]
pub async fn create(
    State(state): State<ApiState>,
    who: Who,
    Params(params): Params<CreateParams>,
    headers: HeaderMap,
    JobObject(body): JobObject,
) -> Result<Response, ApiError> {
    let key = submit::idempotency_key(&headers, "create", &Value::Object(body.clone()))?;
    let order = SubmitBody::read(body)?;
    let server = find::server(&state, order.serial()?).await?;
    let request = JobRequest { server, recipe: order.recipe, retry_of: None, key, who };
    match params.dry_run {
        true => submit::dry_run(&state, request).await,
        false => submit::submit(&state, request).await,
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobListParams {
    #[param(value_type = Option<JobStatus>)]
    status: Option<String>,
    #[param(pattern = "^[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*$", max_length = 64)]
    server_serial: Option<String>,
    /// `name=value`, of the server's labels when the job was made.
    #[param(pattern = "=")]
    label: Option<String>,
    /// With the submissions whose recipe was refused, which are not listed otherwise.
    #[serde(default)]
    refused: bool,
    /// Of one batch.
    #[param(pattern = "^[0-9a-f]{32}$")]
    batch_id: Option<String>,
    /// At most 500; 100 by default.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{32}$")]
    cursor: Option<String>,
}

impl JobListParams {
    fn filter(self) -> Result<JobFilter, ApiError> {
        let wrong = |what: &str| ApiError::BadRequest(format!("invalid query: {what}"));
        let status = self.status.map(|name| {
            let wrong = |_| wrong("status is queued, provisioning, succeeded, failed or cancelled");
            name.parse::<Status>().map_err(wrong)
        });
        let server = self.server_serial.map(|serial| {
            serial.parse::<Serial>().map_err(|_| wrong("server_serial is not a serial number"))
        });
        let label = self.label.map(|label| {
            let pair = label.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or_else(|| wrong("label is name=value"))
        });
        let batch = self.batch_id.map(|id| id.parse::<BatchId>().map_err(|_| wrong("batch_id is not an id")));
        let before = self
            .cursor
            .map(|cursor| cursor.parse::<JobId>().map_err(|_| wrong("cursor is not one that a page gave")));
        let limit = page_limit(self.limit, LIST_DEFAULT, PAGE_MAX)?;
        Ok(JobFilter {
            status: status.transpose()?,
            server: server.transpose()?,
            label: label.transpose()?,
            refused: self.refused,
            batch: batch.transpose()?,
            before: before.transpose()?,
            limit,
        })
    }
}

/// Jobs, newest first, without their events.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(JobListParams),
    responses((status = 200, body = JobList)))]
pub async fn list(
    State(state): State<ApiState>,
    Params(params): Params<JobListParams>,
) -> Result<Json<JobList>, ApiError> {
    let filter = params.filter()?;
    let jobs = state.store.jobs(&filter).await?;
    // After a full page there may be another one.
    let next_cursor = jobs.last().filter(|_| jobs.len() == filter.limit).map(|job| job.id().to_string());
    Ok(Json(JobList { jobs: jobs.into_iter().map(|job| JobBody::from(job).brief()).collect(), next_cursor }))
}

/// One job, with its events.
#[utoipa::path(get, path = "/api/v1/jobs/{job_id}", tag = "jobs",
    params(("job_id" = String, Path)), responses((status = 200, body = JobBody)))]
pub async fn show(State(state): State<ApiState>, Name(id): Name<JobId>) -> Result<Json<JobBody>, ApiError> {
    let job = find::job(&state, id).await?;
    Ok(Json(in_full(&state, job).await?))
}

async fn in_full(state: &ApiState, job: impl Into<StoredJob>) -> Result<JobBody, ApiError> {
    let job = job.into();
    let events = events::of_job(&state.store, job.id()).await?;
    Ok(JobBody::in_full(job, events.into_iter().map(EventBody::from).collect()))
}

/// End a job. It is still cleaned up: media are ejected once the installer cannot be running any
/// more, or immediately with `{"force": true}`.
#[utoipa::path(post, path = "/api/v1/jobs/{job_id}/cancel", tag = "jobs",
    params(("job_id" = String, Path)), request_body = Option<CancelInput>,
    responses((status = 202, body = JobBody), (status = 409, description = "The job is over", body = Problem)))]
pub async fn cancel(
    State(state): State<ApiState>,
    who: Who,
    Name(id): Name<JobId>,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Response, ApiError> {
    let cancel = CancelInput::read(&body)?;
    let job = find::job(&state, id).await?;
    let now = state.world.clock.now();
    let detail = json!({ "force": cancel.force });
    let act = who.act(now, "job.cancel").on_server(job.server()).on_job(id).with(detail);
    if let StoredJob::Unreadable(job) = job {
        return end_unreadable(&state, job, act, cancel.force).await;
    }
    match state.store.with_audit(act).request_cancel(id, Cancel { force: cancel.force }).await? {
        CancelOutcome::Recorded(job) => {
            tracing::info!(job = %id, force = cancel.force, "a job is to be cancelled");
            Ok((StatusCode::ACCEPTED, Json(in_full(&state, job).await?)).into_response())
        }
        CancelOutcome::Refused(job) => Err(ApiError::Conflict { detail: too_late(&job), job: Some(id) }),
    }
}

/// A job that this release cannot read is not driven by it: only a forced cancel ends the job, immediately.
async fn end_unreadable(
    state: &ApiState,
    job: UnreadableJob,
    act: Act,
    force: bool,
) -> Result<Response, ApiError> {
    let (id, conflict) = (job.id, |detail: String| ApiError::Conflict { detail, job: Some(job.id) });
    if !job.is_active {
        return Err(conflict("the job is over".to_owned()));
    }
    if !force {
        let detail = format!("{}; a cancel with force ends the job without touching its host", job.why);
        return Err(conflict(detail));
    }
    state.store.with_audit(act).end_unreadable_job(id, state.world.clock.now()).await?;
    tracing::warn!(job = %id, "a job that cannot be read was ended by force");
    let job = find::job(state, id).await?;
    Ok((StatusCode::ACCEPTED, Json(in_full(state, job).await?)).into_response())
}

#[derive(Debug, utoipa::ToSchema)]
pub struct CancelInput {
    /// Eject immediately, even from under a running installer, which destroys the installation.
    #[schema(value_type = Option<bool>, default = false)]
    force: bool,
}

impl CancelInput {
    fn read(body: &Map<String, Value>) -> Result<CancelInput, ApiError> {
        let mut fields = Fields::new(body, &["force"]);
        let force = fields.flag("force");
        match fields.errors.is_empty() {
            true => Ok(CancelInput { force }),
            false => Err(ApiError::invalid("invalid cancel request", fields.errors)),
        }
    }
}

fn too_late(job: &Job) -> String {
    let status = job.status.name();
    match job.is_active() {
        true => {
            format!(
                "the job has already {status} and is being cleaned up; force ejects its media immediately"
            )
        }
        false => format!("the job is over: {status}"),
    }
}

/// Try again: a new job with the same recipe.
#[utoipa::path(post, path = "/api/v1/jobs/{job_id}/retry", tag = "jobs",
    params(("job_id" = String, Path), CreateParams, ("Idempotency-Key" = Option<String>, Header,
        pattern = "^[!-~]{1,255}$", description = "The same key and body within 24 hours make one job")),
    request_body = Option<RetryInput>,
    responses((status = 202, description = "The job is queued", body = JobBody),
        (status = 200, description = "The job that this Idempotency-Key made; or the report of a dry run", body = FoundBody),
        (status = 409, description = "The job succeeded and `force` is not set; or the server is busy or protected", body = Problem)))]
pub async fn retry(
    State(state): State<ApiState>,
    who: Who,
    Name(id): Name<JobId>,
    Params(params): Params<CreateParams>,
    headers: HeaderMap,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Response, ApiError> {
    let input = RetryInput::read(&body)?;
    let job = find::job(&state, id).await?;
    if has_succeeded(&job) && !input.force {
        let detail = format!(
            "job {id} succeeded: a retry installs server {} again and erases what is on it; send \
             {{\"force\": true}} if that is what you want",
            job.server()
        );
        return Err(ApiError::Conflict { detail, job: Some(id) });
    }
    let recipe = state.store.job_recipe(id).await?.ok_or(StoreError::UnknownJob { job: id })?;
    let key = submit::idempotency_key(&headers, "retry", &input.key_body(id))?;
    let server = find::server(&state, job.server()).await?;
    let recipe = recipe.as_object().cloned().unwrap_or_default();
    let retry_of = Some(Retry { job: id, force: input.force });
    let request = JobRequest { server, recipe, retry_of, key, who };
    match params.dry_run {
        true => submit::dry_run(&state, request).await,
        false => submit::submit(&state, request).await,
    }
}

fn has_succeeded(job: &StoredJob) -> bool {
    let status = match job {
        StoredJob::Readable(job) => Some(job.status),
        StoredJob::Unreadable(job) => job.status,
    };
    status == Some(Status::Succeeded)
}

#[derive(Debug, utoipa::ToSchema)]
pub struct RetryInput {
    /// Install again although the job succeeded, which erases what it installed.
    #[schema(value_type = Option<bool>, default = false)]
    force: bool,
}

impl RetryInput {
    fn read(body: &Map<String, Value>) -> Result<RetryInput, ApiError> {
        let mut fields = Fields::new(body, &["force"]);
        let force = fields.flag("force");
        match fields.errors.is_empty() {
            true => Ok(RetryInput { force }),
            false => Err(ApiError::invalid(
                "a retry uses the recipe of the first job; only `force` may be set",
                fields.errors,
            )),
        }
    }

    /// What an idempotency key stands for.
    fn key_body(&self, id: JobId) -> Value {
        match self.force {
            true => json!({ "job": id, "force": true }),
            false => Value::String(id.to_string()),
        }
    }
}

/// Where a job is found.
fn location(id: JobId) -> String {
    format!("/api/v1/jobs/{id}")
}

/// The answer that a job was made.
async fn accepted(state: &ApiState, status: StatusCode, job: Job) -> Result<Response, ApiError> {
    let id = job.id;
    let body = Json(in_full(state, job).await?);
    Ok(at_location((status, body).into_response(), &location(id)))
}
