//! From a request to a job: what is wrong with it, who stands in its way, what it became.
//!
//! The order is part of the public contract, and the first row that fits counts:
//!
//! | the request | answer | stored |
//! |---|---|---|
//! | is no JSON object, or names no server | 400 | nothing |
//! | names an unknown server | 404 | nothing |
//! | repeats an `Idempotency-Key` with the same body | as the first time, with 200 for 202 | nothing |
//! | repeats it with another body | 422 | nothing |
//! | has an invalid recipe, template or kickstart | 422 with every fault | a job that has failed, for the record |
//! | is for a protected or busy server | 409 | nothing |
//! | is none of these | 202 | a queued job |
//!
//! Job, key, events and audit entry are one transaction. A client whose response was lost repeats the request with its key and
//! learns what became of it; without a key the second request is 409 while the first job is active.
//!
//! Invariant: nothing here talks to a BMC but the dry run and a template that asks for a disk, which change nothing.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use shoal_recipe::{ImageLocation, Target};
use utoipa::ToSchema;

use super::image::{self, PinError};
use super::{JobBody, accepted};
use crate::access::Act;
use crate::api::ApiState;
use crate::api::access::Who;
use crate::api::error::{ApiError, FieldProblem};
use crate::api::events::NewEventBody;
use crate::api::kickstart;
use crate::api::words::{FailureCodeName, StepName};
use crate::domain::{
    EventStatus, FailureCode, FieldError, JobId, JobSpec, Level, NewEvent, PathSpec, Server, Step,
    parse_recipe,
};
use crate::registry::WantedImage;
use crate::store::{IdempotencyKey, Inserted, NewJob, RefusedJob, StoreError};

/// What a dry run found.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryRunBody {
    dry_run: bool,
    ok: bool,
    #[schema(value_type = Option<StepName>)]
    failed_step: Option<&'static str>,
    #[schema(value_type = Option<FailureCodeName>)]
    failure_code: Option<&'static str>,
    reason: Option<String>,
    events: Vec<NewEventBody>,
}

/// What is answered where no job was made.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub enum FoundBody {
    DryRun(DryRunBody),
    Repeated(Box<JobBody>),
}

/// The body of a request for a job, of either form.
pub struct SubmitBody {
    serial: Option<Value>,
    pub recipe: Map<String, Value>,
}

impl SubmitBody {
    /// `{"server_serial", "recipe": {…}}`, or the recipe itself.
    pub fn read(mut body: Map<String, Value>) -> Result<SubmitBody, ApiError> {
        let Some(recipe) = body.remove("recipe") else {
            return Ok(SubmitBody { serial: body.get("server_serial").cloned(), recipe: body });
        };
        let outer = body.remove("server_serial");
        if let Some(key) = body.keys().next() {
            let shown: String = key.chars().take(40).collect();
            let detail = format!("`{shown}` does not go beside `recipe`: put it into the recipe");
            return Err(ApiError::BadRequest(detail));
        }
        match recipe {
            Value::Object(recipe) => {
                Ok(SubmitBody { serial: outer.or(recipe.get("server_serial").cloned()), recipe })
            }
            _ => Err(ApiError::BadRequest("`recipe` must be a JSON object".to_owned())),
        }
    }

    /// Whose job it is to be.
    pub fn serial(&self) -> Result<&str, ApiError> {
        let missing = || ApiError::BadRequest("`server_serial` is missing: name the server".to_owned());
        match self.serial.as_ref().filter(|serial| !serial.is_null()).ok_or_else(missing)? {
            Value::String(serial) => Ok(serial),
            _ => Err(ApiError::BadRequest("`server_serial` must be a string".to_owned())),
        }
    }
}

/// Which job is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    pub job: JobId,
    /// Even if it succeeded.
    pub force: bool,
}

/// A request for a job on a server that exists.
pub struct JobRequest {
    pub server: Server,
    pub recipe: Map<String, Value>,
    pub retry_of: Option<Retry>,
    pub key: Option<IdempotencyKey>,
    pub who: Who,
}

impl JobRequest {
    /// The audit entry of the job that this becomes.
    fn act(&self, state: &ApiState, job: JobId, refused: bool) -> Act {
        let (action, detail) = match self.retry_of {
            Some(Retry { job, force }) => {
                ("job.retry", json!({ "retry_of": job, "force": force, "refused": refused }))
            }
            None => ("job.submit", json!({ "refused": refused })),
        };
        let act = self.who.act(state.world.clock.now(), action);
        act.on_server(&self.server.serial).on_job(job).with(detail)
    }
}

/// Makes the job, or says why not.
pub async fn submit(state: &ApiState, request: JobRequest) -> Result<Response, ApiError> {
    // Before the checks, which may have changed since (a setting, a record): a repeat is answered as the first was.
    // The insertion checks the key again, for two requests that arrive together.
    if let Some(key) = &request.key
        && let Some(first) = state.store.repeated(key, state.world.clock.now()).await?
    {
        return answer(state, first).await;
    }
    let (mut spec, events) = match check_recipe(state, &request.server, &request.recipe).await {
        Ok(checked) => checked,
        Err(refusal) => return refuse(state, request, refusal).await,
    };
    // Until the job is stored and keeps the image from being removed.
    let _images = state.images.hold().await;
    match image::pin(state, &mut spec).await {
        Ok(()) => {}
        Err(PinError::Faults(errors)) => {
            return refuse(state, request, Refusal::of(FailureCode::ImageNotResolved)(errors)).await;
        }
        Err(PinError::Failed(error)) => return Err(error),
    }
    check_protected(&request.server)?;
    // Taken now and not earlier: rendering may have waited for a BMC, and ids order jobs by time.
    let created_at = state.world.clock.now();
    let id = state.new_job_id(created_at);
    let store = state.store.with_audit(request.act(state, id, false));
    let new = NewJob {
        id,
        server: request.server.serial,
        task_target: target_as_typed(&request.recipe),
        spec,
        recipe: Value::Object(request.recipe),
        retry_of: request.retry_of.map(|retry| retry.job),
        created_at,
        events,
    };
    answer(state, store.insert_job(new, request.key).await?).await
}

/// Tries the job up to `resolve-server` and changes nothing.
pub async fn dry_run(state: &ApiState, request: JobRequest) -> Result<Response, ApiError> {
    let checked = check_recipe(state, &request.server, &request.recipe).await;
    let (mut spec, findings) = checked.map_err(|refusal| ApiError::invalid(REFUSED, refusal.errors))?;
    match image::pin(state, &mut spec).await {
        Ok(()) => {}
        Err(PinError::Faults(errors)) => return Err(ApiError::invalid(REFUSED, errors)),
        Err(PinError::Failed(error)) => return Err(error),
    }
    check_protected(&request.server)?;
    let serial = request.server.serial;
    if let Some(job) = state.store.active_job(&serial).await? {
        return Err(StoreError::Busy { server: serial, job }.into());
    }
    let report = (state.dry_run)(serial, spec).await;
    let body = DryRunBody {
        dry_run: true,
        ok: report.ok,
        failed_step: report.failed_step.map(Step::name),
        failure_code: report.failure_code.map(FailureCode::name),
        reason: report.reason,
        events: findings.into_iter().chain(report.events).map(NewEventBody::from).collect(),
    };
    Ok(Json(body).into_response())
}

const REFUSED: &str = "the recipe is refused";

/// Why a recipe becomes no job that is driven.
pub struct Refusal {
    pub code: FailureCode,
    pub errors: Vec<FieldError>,
}

impl Refusal {
    fn of(code: FailureCode) -> impl Fn(Vec<FieldError>) -> Refusal {
        move |errors| Refusal { code, errors }
    }
}

/// The job as it is meant, and events about its kickstart: the disks that a template chose, and what the linter found.
pub async fn check_recipe(
    state: &ApiState,
    server: &Server,
    recipe: &Map<String, Value>,
) -> Result<(JobSpec, Vec<NewEvent>), Refusal> {
    let mut spec = parse_recipe(recipe, &server.serial)
        .map_err(|error| Refusal::of(FailureCode::RecipeInvalid)(error.errors))?;
    check_urls(state, &spec).map_err(Refusal::of(FailureCode::SourceNotAllowed))?;
    let key = if recipe.contains_key("ks.cfg") { "ks.cfg" } else { "ks_cfg" };
    let is_templated = recipe.get("templated") == Some(&Value::Bool(true));
    let now = state.world.clock.now();
    let resolved = resolve_image(state, &mut spec).await;
    let resolved = resolved.map_err(Refusal::of(FailureCode::ImageNotResolved))?;
    let mut events: Vec<NewEvent> = resolved.into_iter().collect();
    if let Some(esxi) = spec.esxi_mut().filter(|_| is_templated) {
        let rendered = kickstart::of_recipe(state, recipe, &esxi.kickstart, server).await;
        let rendered = rendered.map_err(|message| vec![FieldError::of_key(key, message)]);
        let rendered = rendered.map_err(Refusal::of(FailureCode::TemplateNotRendered))?;
        events = rendered.events(now);
        esxi.kickstart = rendered.kickstart;
    }
    // The rendered text is judged, never the template: it is what the host will run.
    let Some(judgement) = state.kickstart_check.judge(&spec, is_templated).await else {
        return Ok((spec, events));
    };
    events.extend(judgement.events(now));
    match state.kickstart_check.refusals(&judgement, key) {
        errors if errors.is_empty() => Ok((spec, events)),
        errors => Err(Refusal { code: FailureCode::KickstartRefused, errors }),
    }
}

/// The URLs of a recipe lead where the settings allow.
fn check_urls(state: &ApiState, spec: &JobSpec) -> Result<(), Vec<FieldError>> {
    let refused = |pointer: &str, setting: &str| {
        Err(vec![FieldError::new(pointer, format!("is under none of the prefixes of {setting}"))])
    };
    match &spec.path {
        PathSpec::Esxi(spec) => match &spec.installer_url {
            Some(url) if !state.installer_allow.allow(url) => {
                refused("/esxi_installer_url", "ESXI_INSTALLER_ALLOW")
            }
            _ => Ok(()),
        },
        PathSpec::Maintenance(spec) => match &spec.recipe.image.location {
            ImageLocation::Url { url, .. } if !state.images_allow.allow(url) => {
                refused("/image/url", "IMAGES_ALLOW")
            }
            ImageLocation::Url { .. } | ImageLocation::Hosted { .. } => Ok(()),
            ImageLocation::Oci(reference) => match state.registries.settings().place(reference) {
                Some(place) if state.images_allow.allow(&place) => Ok(()),
                Some(place) => refused("/oci_url", &format!("IMAGES_ALLOW, where it counts as {place}")),
                None => Err(vec![FieldError::new("/oci_url", "names no host that can be reached")]),
            },
        },
    }
}

/// What a reference to a registry stands for from now on, and the event that says so.
async fn resolve_image(state: &ApiState, spec: &mut JobSpec) -> Result<Option<NewEvent>, Vec<FieldError>> {
    let Some(spec) = spec.maintenance_mut() else { return Ok(None) };
    let ImageLocation::Oci(reference) = &spec.recipe.image.location else { return Ok(None) };
    let platform = match spec.recipe.target {
        Target::Linux => "linux/amd64",
        Target::Windows => "windows/amd64",
    };
    let wanted = WantedImage { platform, is_archive: spec.recipe.partition_layout.is_some() };
    let image = state.registries.resolve(reference, wanted).await.map_err(|error| {
        tracing::info!(error = ?error, "an image's reference could not be resolved");
        vec![FieldError::new("/oci_url", error.to_string())]
    })?;
    let event = NewEvent {
        time: state.world.clock.now(),
        level: Level::Info,
        step: Step::ValidateRecipe,
        op: "image.resolve".to_owned(),
        status: EventStatus::Progress,
        attempt: 1,
        duration_ms: None,
        message: format!("{reference} is sha256:{}, an image of {} bytes", image.digest, image.size),
        detail: json!(image),
    };
    spec.registry_image = Some(image);
    Ok(Some(event))
}

fn check_protected(server: &Server) -> Result<(), ApiError> {
    match server.protected {
        true => Err(ApiError::Conflict { detail: protected(server), job: None }),
        false => Ok(()),
    }
}

/// Why a protected server takes no job.
pub fn protected(server: &Server) -> String {
    let serial = &server.serial;
    format!(
        "server {serial} is protected from jobs: `shoal server set '{serial}' --no-protected` takes the protection away"
    )
}

async fn answer(state: &ApiState, inserted: Inserted) -> Result<Response, ApiError> {
    match inserted {
        Inserted::New(job) => {
            tracing::info!(job = %job.id, server = %job.server, "a job was added");
            accepted(state, StatusCode::ACCEPTED, job).await
        }
        Inserted::Repeated { job, refusal: None } => accepted(state, StatusCode::OK, job).await,
        Inserted::Repeated { job, refusal: Some(errors) } => Err(refusal(job.id, errors)),
    }
}

fn refusal(job: JobId, errors: Vec<FieldError>) -> ApiError {
    ApiError::Invalid { detail: REFUSED.to_owned(), errors, job: Some(job) }
}

/// Records the job as failed.
async fn refuse(
    state: &ApiState,
    request: JobRequest,
    Refusal { code, errors }: Refusal,
) -> Result<Response, ApiError> {
    let created_at = state.world.clock.now();
    let faults: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let reason = format!("The recipe is refused: {}.", faults.join("; "));
    let events = refusal_events(created_at, &reason, code, &errors);
    let id = state.new_job_id(created_at);
    let store = state.store.with_audit(request.act(state, id, true));
    let refused = RefusedJob {
        id,
        server: request.server.serial,
        task_target: target_as_typed(&request.recipe),
        recipe: Value::Object(request.recipe),
        code,
        reason,
        errors: errors.clone(),
        retry_of: request.retry_of.map(|retry| retry.job),
        created_at,
    };
    match store.insert_refused_job(refused, events, request.key).await? {
        Inserted::New(job) => {
            tracing::info!(job = %job.id, server = %job.server, "a job's recipe was refused");
            count_refusal(&job.task_target, code);
            Err(refusal(job.id, errors))
        }
        repeated => answer(state, repeated).await,
    }
}

/// Other jobs are counted where they are decided. A refused recipe may name any target, and a label
/// must not.
fn count_refusal(target: &str, code: FailureCode) {
    let known = ["install-esxi.target", "install-linux.target", "install-windows.target"];
    let target = known.into_iter().find(|known| *known == target).unwrap_or("unknown");
    let labels = [("task_target", target), ("outcome", "failed"), ("confidence", "none")];
    metrics::counter!("shoal_provisioner_jobs_total", &labels).increment(1);
    let labels = [("failed_step", Step::ValidateRecipe.name()), ("code", code.name())];
    metrics::counter!("shoal_provisioner_job_failures_total", &labels).increment(1);
}

/// A start and an end, as of every step.
fn refusal_events(
    time: jiff::Timestamp,
    reason: &str,
    code: FailureCode,
    errors: &[FieldError],
) -> Vec<NewEvent> {
    let start = NewEvent {
        time,
        level: Level::Info,
        step: Step::ValidateRecipe,
        op: Step::ValidateRecipe.name().to_owned(),
        status: EventStatus::Started,
        attempt: 1,
        duration_ms: None,
        message: "The recipe is being checked.".to_owned(),
        detail: Value::Null,
    };
    let errors: Vec<FieldProblem> = errors.iter().map(FieldProblem::from).collect();
    let end = NewEvent {
        level: Level::Error,
        status: EventStatus::Failed,
        duration_ms: Some(0),
        message: reason.to_owned(),
        detail: serde_json::json!({ "failure_code": code, "errors": errors }),
        ..start.clone()
    };
    vec![start, end]
}

/// For the record; a refused recipe may name anything, at any length.
pub fn target_as_typed(recipe: &Map<String, Value>) -> String {
    let typed = recipe.get("task_target").and_then(Value::as_str).unwrap_or_default();
    typed.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// The key of a request, and a hash of all that the key must stand for. Two texts of one JSON value
/// are the same body.
pub fn idempotency_key(
    headers: &HeaderMap,
    what: &str,
    body: &Value,
) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let is_sound = |key: &&str| (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    let key =
        key.to_str().ok().filter(is_sound).ok_or_else(|| {
            ApiError::BadRequest("Idempotency-Key has 1 to 255 visible characters".to_owned())
        })?;
    let body_sha256 = Sha256::digest(format!("{what} {body}")).into();
    Ok(Some(IdempotencyKey { key: key.to_owned(), body_sha256 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(body: Value) -> Result<SubmitBody, ApiError> {
        SubmitBody::read(body.as_object().unwrap().clone())
    }

    #[test]
    fn both_forms_name_the_server() {
        for body in [
            serde_json::json!({"server_serial": "A1", "ks_cfg": "x"}),
            serde_json::json!({"server_serial": "A1", "recipe": {"ks_cfg": "x"}}),
            serde_json::json!({"recipe": {"server_serial": "A1", "ks_cfg": "x"}}),
        ] {
            let order = order(body).unwrap();
            assert_eq!(order.serial().unwrap(), "A1");
            assert_eq!(order.recipe["ks_cfg"], "x");
        }
    }

    #[test]
    fn a_body_without_a_server_is_a_bad_request() {
        for body in [
            serde_json::json!({}),
            serde_json::json!({"server_serial": null}),
            serde_json::json!({"server_serial": 7}),
            serde_json::json!({"server_serial": "A1", "recipe": []}),
            serde_json::json!({"server_serial": "A1", "recipe": {}, "dry_run": true}),
        ] {
            let error = order(body).and_then(|order| order.serial().map(str::to_owned)).unwrap_err();
            assert!(matches!(error, ApiError::BadRequest(_)), "{error:?}");
        }
    }

    #[test]
    fn a_key_stands_for_a_value_and_not_for_its_text() {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("idempotency-key"),
            http::HeaderValue::from_static("k"),
        )]);
        let hash = |what, text: &str| {
            let body = serde_json::from_str(text).unwrap();
            idempotency_key(&headers, what, &body).unwrap().unwrap().body_sha256
        };
        assert_eq!(hash("create", r#"{"a":1,"b":2}"#), hash("create", r#"{ "b": 2, "a": 1 }"#));
        assert_ne!(hash("create", r#"{"a":1}"#), hash("create", r#"{"a":2}"#));
        assert_ne!(hash("create", r#""a""#), hash("retry", r#""a""#));
        assert!(idempotency_key(&HeaderMap::new(), "create", &Value::Null).unwrap().is_none());
    }
}
