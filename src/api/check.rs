//! `POST /api/v1/servers/{serial}/check`: can this server be installed, and what stands in the way?
//!
//! It looks and judges nothing itself: that is handed in. Invariant: nothing is mounted while a job
//! holds the server, or on one that is protected.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::ApiState;
use super::access::Who;
use super::body::{Name, OptionalJsonObject};
use super::error::{ApiError, Problem};
use super::find;
use super::words::{CheckStatus, CheckVerdict, ConfidenceName, MediaLayoutName};
use crate::doctor::{Check, CheckReport};
use crate::domain::{Fields, Serial, Server};
use crate::store::StoreError;

/// Checks that run in parallel; others wait.
pub const CHECKS_MAX: usize = 64;

/// What to look at.
#[derive(Debug, Default, ToSchema)]
pub struct CheckInput {
    /// Mount a small image for a moment, to see how the BMC fetches it. `false` where it is missing.
    #[schema(value_type = Option<bool>)]
    probe_media: bool,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckBody {
    serial: Option<String>,
    bmc_address: String,
    #[schema(value_type = CheckVerdict)]
    verdict: &'static str,
    /// The verdict with its reason, and what to do where it is a bad one.
    sentence: String,
    #[schema(value_type = Option<MediaLayoutName>)]
    media_layout: Option<String>,
    /// What a success would be worth without a hook.
    #[schema(value_type = Option<ConfidenceName>)]
    confidence: Option<String>,
    checks: Vec<CheckLine>,
    /// What was read, for programs; a version may add to it.
    #[schema(value_type = Object)]
    facts: Value,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckLine {
    /// `reach`, `tls`, `login`, `identity`, `power`, `media`, `insert`, `boot`, `reset`, `evidence`,
    /// `licence`, `clock`, `latency` or `probe`.
    name: String,
    #[schema(value_type = CheckStatus)]
    status: &'static str,
    found: String,
    /// What to do about it.
    remedy: Option<String>,
}

impl From<CheckReport> for CheckBody {
    fn from(report: CheckReport) -> CheckBody {
        CheckBody {
            serial: report.serial,
            bmc_address: report.bmc_address,
            verdict: report.verdict.name(),
            sentence: report.sentence,
            media_layout: report.media_layout,
            confidence: report.confidence,
            checks: report.checks.into_iter().map(CheckLine::from).collect(),
            facts: serde_json::to_value(report.facts).unwrap_or_default(),
        }
    }
}

impl From<Check> for CheckLine {
    fn from(check: Check) -> CheckLine {
        CheckLine { name: check.name, status: check.status.name(), found: check.found, remedy: check.remedy }
    }
}

/// Look whether a server can be installed. Changes nothing, but for a small image that is mounted for
/// a moment with `probe_media`.
#[utoipa::path(post, path = "/api/v1/servers/{serial}/check", tag = "servers",
    params(("serial" = String, Path)), request_body = Option<CheckInput>,
    responses((status = 200, body = CheckBody),
        (status = 409, description = "An image cannot be mounted: a job is active, or the server is protected", body = Problem)))]
pub async fn check(
    State(state): State<ApiState>,
    who: Who,
    Name(serial): Name<Serial>,
    OptionalJsonObject(body): OptionalJsonObject,
) -> Result<Json<CheckBody>, ApiError> {
    let input = read(&body)?;
    let server = find::server(&state, &serial).await?;
    if input.probe_media {
        refuse_if_in_use(&state, &server).await?;
        let act = who.act(state.world.clock.now(), "server.probe").on_server(&serial);
        state.store.record(act).await?;
    }
    let turn = state.checks.clone().acquire_owned().await.expect("it is never closed");
    // In a task of its own: a probe whose asker hangs up still takes its image out.
    let checker = Arc::clone(&state.check);
    let checking = tokio::spawn(async move {
        let report = checker(server, input.probe_media).await;
        drop(turn);
        report
    });
    let report = checking.await.map_err(|error| {
        tracing::error!(server = %serial, %error, "a check broke");
        ApiError::NotReady("the check broke; the log says how".to_owned())
    })?;
    Ok(Json(report.into()))
}

fn read(body: &Map<String, Value>) -> Result<CheckInput, ApiError> {
    let mut fields = Fields::new(body, &["probe_media"]);
    let probe_media = fields.flag("probe_media");
    if !fields.errors.is_empty() {
        return Err(ApiError::invalid("invalid check request", fields.errors));
    }
    Ok(CheckInput { probe_media })
}

async fn refuse_if_in_use(state: &ApiState, server: &Server) -> Result<(), ApiError> {
    if server.protected {
        let serial = &server.serial;
        let detail = format!(
            "server {serial} is protected, so nothing is mounted on it: `shoal server set '{serial}' --no-protected` takes \
             the protection away"
        );
        return Err(ApiError::Conflict { detail, job: None });
    }
    match state.store.active_job(&server.serial).await? {
        Some(job) => Err(StoreError::Busy { server: server.serial.clone(), job }.into()),
        None => Ok(()),
    }
}
