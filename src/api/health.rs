//! `/healthz` and `/readyz`: is the process alive, and can it do its work?
//!
//! Invariant: readiness is tried, not assumed: the database takes a write, and each directory a file.

use std::path::Path;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::error::{ApiError, Problem};

#[derive(Debug, Serialize, ToSchema)]
pub struct HealthBody {
    #[schema(value_type = String)]
    status: &'static str,
    /// Drawn anew at each start; a client learns whether a URL leads to this controller.
    instance_id: String,
    #[schema(value_type = String)]
    version: &'static str,
}

impl HealthBody {
    pub fn new(instance_id: String, status: &'static str) -> HealthBody {
        HealthBody { status, instance_id, version: env!("CARGO_PKG_VERSION") }
    }
}

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = HealthBody)))]
pub async fn healthz(State(state): State<ApiState>) -> Json<HealthBody> {
    Json(HealthBody::new(state.instance_id.clone(), "ok"))
}

/// The controller can do its work.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, body = HealthBody), (status = 503, description = "Why not", body = Problem)))]
pub async fn readyz(State(state): State<ApiState>) -> Result<Json<HealthBody>, ApiError> {
    let mut faults = Vec::new();
    if state.shutdown.is_cancelled() {
        faults.push("the controller is shutting down".to_owned());
    }
    if let Err(error) = state.store.check().await {
        tracing::warn!(error = %error, "the database does not take a write");
        faults.push(format!("the database is unreachable: {error}"));
    }
    for (setting, dir) in &state.writable_dirs {
        let (setting, dir) = (*setting, dir.clone());
        let tried = tokio::task::spawn_blocking(move || try_write(setting, &dir));
        match tried.await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => faults.push(fault),
            Err(_) => faults.push("the controller is shutting down".to_owned()),
        }
    }
    match faults.is_empty() {
        true => Ok(Json(HealthBody::new(state.instance_id.clone(), "ready"))),
        false => Err(ApiError::NotReady(faults.join("; "))),
    }
}

fn try_write(setting: &str, dir: &Path) -> Result<(), String> {
    let probe = dir.join(".readyz");
    let written = std::fs::write(&probe, b"ready").and_then(|()| std::fs::remove_file(&probe));
    written.map_err(|error| format!("{setting}: {} is not writable: {error}", dir.display()))
}
