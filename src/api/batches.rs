//! `/api/v1/batches`: many installations under common limits.
//!
//! What a request says is read in [`input`], each of its rows is checked in [`rows`], how a batch is shown is in
//! [`view`]. Invariants: a batch is added with all of its jobs or not at all, and nothing of it starts before each row
//! has been checked; nothing here drives a job.

mod input;
mod rows;
mod view;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::ApiState;
use super::access::Who;
use super::body::{self, Name, OptionalJsonObject, Params, at_location, page_limit};
use super::error::{ApiError, Problem};
use super::find;
use super::jobs::submit::idempotency_key;
use crate::access::Act;
use crate::domain::{BatchId, Fields};
use crate::store::{Batch, BatchChange, BatchOutcome, InsertedBatch, NewBatch, PAGE_MAX};
use input::BatchRequest;

pub use input::{BatchInput, ResumeInput};
pub use view::{BatchBody, BatchList};

const LIST_DEFAULT: usize = 50;
/// Thousands of rows with variables of their own.
const BODY_BYTES_MAX: usize = 8 << 20;

/// The JSON object of a request for a batch.
pub struct BatchObject(Map<String, Value>);

impl<S: Sync> FromRequest<S> for BatchObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        body::check_json_type(request.headers())?;
        body::parse_object(&body::read_at_most(request, BODY_BYTES_MAX).await?).map(BatchObject)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BatchCreateParams {
    /// Check every row as a job is checked, up to and including `resolve-server`; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// Ask for installations of many servers. Every row is checked first; if one is refused, nothing is added.
#[utoipa::path(post, path = "/api/v1/batches", tag = "batches", request_body = BatchInput,
    params(BatchCreateParams, ("Idempotency-Key" = Option<String>, Header,
        pattern = "^[!-~]{1,255}$", description = "The same key and body within 24 hours make one batch")),
    responses((status = 202, description = "The batch is added", body = BatchBody),
        (status = 200, description = "The batch that this Idempotency-Key made; or the report of a dry run", body = view::FoundBatchBody),
        (status = 409, description = "A server has become busy with the job named", body = Problem),
        (status = 413, description = "The body is larger than 8 MiB", body = Problem),
        (status = 422, description = "The rows that are refused, each with the reason; nothing is added", body = Problem)))]
pub async fn create(
    State(state): State<ApiState>,
    who: Who,
    Params(params): Params<BatchCreateParams>,
    headers: HeaderMap,
    BatchObject(body): BatchObject,
) -> Result<Response, ApiError> {
    let key = idempotency_key(&headers, "batch", &Value::Object(body.clone()))?;
    let request = BatchRequest::read(&body)?;
    if let Some(key) = key.as_ref().filter(|_| !params.dry_run)
        && let Some(first) = state.store.repeated_batch(key, state.world.clock.now()).await?
    {
        return added(&state, StatusCode::OK, first).await;
    }
    let rows = rows::find(&state, &request).await?;
    let checked = rows::check(&state, rows).await?;
    if params.dry_run {
        let rows = rows::dry_run(&state, checked).await;
        return Ok(Json(view::BatchDryRunBody::from(rows)).into_response());
    }
    // Until the jobs are stored and keep their images from being removed.
    let _images = state.images.hold().await;
    let jobs = rows::jobs(&state, checked).await?;
    let created_at = state.world.clock.now();
    let id = state.new_batch_id(created_at);
    let detail = json!({ "batch": id, "name": request.name, "servers": jobs.len() });
    let store = state.store.with_audit(who.act(created_at, "batch.submit").with(detail));
    let created_by = who.actor.name.clone();
    let BatchRequest { name, limits, .. } = request;
    let new = NewBatch { id, name, limits, created_by, created_at, jobs };
    match store.insert_batch(new, key).await? {
        InsertedBatch::New(batch) => {
            tracing::info!(batch = %batch.id, servers = batch.counts.waiting, "a batch was added");
            added(&state, StatusCode::ACCEPTED, batch).await
        }
        InsertedBatch::Repeated(batch) => added(&state, StatusCode::OK, batch).await,
    }
}

async fn added(state: &ApiState, status: StatusCode, batch: Batch) -> Result<Response, ApiError> {
    let path = format!("/api/v1/batches/{}", batch.id);
    Ok(at_location((status, Json(with_rows(state, batch).await?)).into_response(), &path))
}

async fn with_rows(state: &ApiState, batch: Batch) -> Result<BatchBody, ApiError> {
    let rows = state.store.batch_rows(batch.id).await?;
    Ok(BatchBody::of(batch, Some(rows), state.world.clock.now()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BatchListParams {
    /// At most 500; 50 by default.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{32}$")]
    cursor: Option<String>,
}

/// Batches, newest first, without their rows.
#[utoipa::path(get, path = "/api/v1/batches", tag = "batches", params(BatchListParams),
    responses((status = 200, body = BatchList)))]
pub async fn list(
    State(state): State<ApiState>,
    Params(params): Params<BatchListParams>,
) -> Result<Json<BatchList>, ApiError> {
    let wrong = |what: &str| ApiError::BadRequest(format!("invalid query: {what}"));
    let limit = page_limit(params.limit, LIST_DEFAULT, PAGE_MAX)?;
    let before = params.cursor.map(|cursor| cursor.parse::<BatchId>()).transpose();
    let before = before.map_err(|_| wrong("cursor is not one that a page gave"))?;
    let batches = state.store.batches(before, limit).await?;
    let next_cursor = batches.last().filter(|_| batches.len() == limit).map(|batch| batch.id.to_string());
    let now = state.world.clock.now();
    let batches = batches.into_iter().map(|batch| BatchBody::of(batch, None, now)).collect();
    Ok(Json(BatchList { batches, next_cursor }))
}

/// One batch, with its rows.
#[utoipa::path(get, path = "/api/v1/batches/{batch_id}", tag = "batches",
    params(("batch_id" = String, Path)), responses((status = 200, body = BatchBody)))]
pub async fn show(
    State(state): State<ApiState>,
    Name(id): Name<BatchId>,
) -> Result<Json<BatchBody>, ApiError> {
    let batch = find::batch(&state, id).await?;
    Ok(Json(with_rows(&state, batch).await?))
}

/// Start no more rows. Those that run go on.
#[utoipa::path(post, path = "/api/v1/batches/{batch_id}/pause", tag = "batches",
    params(("batch_id" = String, Path)),
    responses((status = 200, body = BatchBody), (status = 409, description = "It is not running", body = Problem)))]
pub async fn pause(
    State(state): State<ApiState>,
    who: Who,
    Name(id): Name<BatchId>,
) -> Result<Json<BatchBody>, ApiError> {
    let act = act(&state, &who, "batch.pause", id, json!({}));
    change(&state, id, BatchChange::Pause, act).await.map(Json)
}

/// Start rows again. Failures and overdue rows so far no longer count against the limits.
#[utoipa::path(post, path = "/api/v1/batches/{batch_id}/resume", tag = "batches",
    params(("batch_id" = String, Path)), request_body = Option<ResumeInput>,
    responses((status = 200, body = BatchBody),
        (status = 409, description = "It is neither paused nor halted", body = Problem)))]
pub async fn resume(
    State(state): State<ApiState>,
    who: Who,
    Name(id): Name<BatchId>,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Json<BatchBody>, ApiError> {
    let batch = find::batch(&state, id).await?;
    let (not_before, not_after) = input::window(&body, &batch.limits)?;
    let act = act(&state, &who, "batch.resume", id, Value::Object(body));
    change(&state, id, BatchChange::Resume { not_before, not_after }, act).await.map(Json)
}

#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct BatchCancelInput {
    /// Cancel the rows that are running too; their media stay until their installers cannot be running any more.
    #[schema(default = false)]
    running: Option<bool>,
}

/// Cancel the rows that have not started; the others go on, unless `running` is set.
#[utoipa::path(post, path = "/api/v1/batches/{batch_id}/cancel", tag = "batches",
    params(("batch_id" = String, Path)), request_body = Option<BatchCancelInput>,
    responses((status = 202, body = BatchBody), (status = 409, description = "It is over", body = Problem)))]
pub async fn cancel(
    State(state): State<ApiState>,
    who: Who,
    Name(id): Name<BatchId>,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<(StatusCode, Json<BatchBody>), ApiError> {
    let mut fields = Fields::new(&body, &["running"]);
    let running = fields.flag("running");
    if !fields.errors.is_empty() {
        return Err(ApiError::invalid("invalid cancel request", fields.errors));
    }
    let act = act(&state, &who, "batch.cancel", id, json!({ "running": running }));
    let body = change(&state, id, BatchChange::Cancel { running }, act).await?;
    Ok((StatusCode::ACCEPTED, Json(body)))
}

#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct BatchRetryInput {
    /// Serial numbers of rows that failed or were cancelled. Without it, all that failed.
    #[schema(min_items = 1, max_items = 5000)]
    servers: Option<Vec<String>>,
}

/// Try rows again: each gets a new job with its recipe, under the limits of the batch.
#[utoipa::path(post, path = "/api/v1/batches/{batch_id}/retry", tag = "batches",
    params(("batch_id" = String, Path)), request_body = Option<BatchRetryInput>,
    responses((status = 202, body = BatchBody),
        (status = 409, description = "It is cancelled, or a server is busy, or no row has failed", body = Problem),
        (status = 422, description = "The rows that are refused, each with the reason", body = Problem)))]
pub async fn retry(
    State(state): State<ApiState>,
    who: Who,
    Name(id): Name<BatchId>,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<(StatusCode, Json<BatchBody>), ApiError> {
    let batch = find::batch(&state, id).await?;
    let named = rows::named(&body)?;
    let rows = rows::to_retry(&state, &batch, named).await?;
    let checked = rows::check(&state, rows).await?;
    let _images = state.images.hold().await;
    let jobs = rows::jobs(&state, checked).await?;
    let servers: Vec<String> = jobs.iter().map(|job| job.server.to_string()).collect();
    let act = act(&state, &who, "batch.retry", id, json!({ "servers": servers }));
    let now = state.world.clock.now();
    let outcome = state.store.with_audit(act).retry_rows(id, jobs, now).await?;
    let body = with_rows(&state, accepted(outcome)?).await?;
    Ok((StatusCode::ACCEPTED, Json(body)))
}

fn act(state: &ApiState, who: &Who, action: &str, id: BatchId, mut detail: Value) -> Act {
    detail["batch"] = json!(id);
    who.act(state.world.clock.now(), action).with(detail)
}

async fn change(state: &ApiState, id: BatchId, change: BatchChange, act: Act) -> Result<BatchBody, ApiError> {
    let now = state.world.clock.now();
    let batch = accepted(state.store.with_audit(act).change_batch(id, change, now).await?)?;
    tracing::info!(batch = %id, status = batch.status.name(), "a batch was changed");
    with_rows(state, batch).await
}

fn accepted(outcome: BatchOutcome) -> Result<Batch, ApiError> {
    match outcome {
        BatchOutcome::Changed(batch) => Ok(batch),
        BatchOutcome::Refused(batch) => {
            let detail = format!("not possible: the batch is {}", batch.status.name());
            Err(ApiError::Conflict { detail, job: None })
        }
    }
}
