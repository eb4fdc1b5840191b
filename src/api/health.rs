//! `/healthz` and `/readyz`: is the process alive, and can it do its work?
//!
//! Invariant: readiness is tried, not assumed: the database takes a write, and each directory a file; what takes longer is
//! tested in the background, see [`SelfTests`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use shoal_base::with_causes;
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
    /// What does not keep the controller from its work and may keep jobs from succeeding. Only of `/readyz`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// What a controller found when it tested itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelfTest {
    Passed,
    /// It may pass without a change of the settings, or is not sure.
    Warning(String),
    /// It fails until a setting is changed.
    Failed(String),
}

/// The last result of each test, by its name.
#[derive(Clone, Debug, Default)]
pub struct SelfTests(Arc<Mutex<BTreeMap<&'static str, SelfTest>>>);

impl SelfTests {
    /// Keeps the result, and returns it where it is another one than before.
    pub fn set(&self, name: &'static str, result: SelfTest) -> Option<SelfTest> {
        let before = self.results().insert(name, result.clone());
        (before.as_ref() != Some(&result)).then_some(result)
    }

    fn failures(&self) -> Vec<String> {
        let failed = |result: &SelfTest| match result {
            SelfTest::Failed(reason) => Some(reason.clone()),
            _ => None,
        };
        self.results().values().filter_map(failed).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let warning = |result: &SelfTest| match result {
            SelfTest::Warning(reason) => Some(reason.clone()),
            _ => None,
        };
        self.results().values().filter_map(warning).collect()
    }

    fn results(&self) -> MutexGuard<'_, BTreeMap<&'static str, SelfTest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HealthBody {
    pub fn new(instance_id: String, status: &'static str) -> HealthBody {
        HealthBody { status, instance_id, version: env!("CARGO_PKG_VERSION"), warnings: vec![] }
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
        tracing::warn!(error = %with_causes(&error), "the database does not take a write");
        faults.push(format!("the database is unreachable: {}", with_causes(&error)));
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
    faults.extend(state.self_tests.failures());
    match faults.is_empty() {
        true => {
            let ready = HealthBody::new(state.instance_id.clone(), "ready");
            Ok(Json(HealthBody { warnings: state.self_tests.warnings(), ..ready }))
        }
        false => Err(ApiError::NotReady(faults.join("; "))),
    }
}

fn try_write(setting: &str, dir: &Path) -> Result<(), String> {
    let probe = dir.join(".readyz");
    let written = std::fs::write(&probe, b"ready").and_then(|()| std::fs::remove_file(&probe));
    written.map_err(|error| format!("{setting}: {} is not writable: {error}", dir.display()))
}
