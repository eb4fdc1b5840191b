//! `/metrics`: what was counted and measured, as Prometheus text.
//!
//! Others record where things happen; here they are described and shown. Invariant: no label has
//! unbounded values.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use jiff::Timestamp;
use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use strum::VariantArray as _;

use super::ApiState;
use super::error::ApiError;
use crate::domain::Status;

/// Bounds of durations, seconds: from a request to a BMC to a whole installation.
const DURATION_BUCKETS: [f64; 16] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0];
/// An image is built in less than a millisecond.
const BUILD_BUCKETS: [f64; 10] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 10.0];

/// Who may read the metrics, and where they are kept.
#[derive(Clone)]
pub struct MetricsAccess {
    pub handle: PrometheusHandle,
    /// The listener is on loopback: anybody who reaches it may.
    pub open: bool,
}

/// Makes this process, which began at `started_at`, record its metrics. Once a process.
pub fn install_recorder(started_at: Timestamp) -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full("shoal_provisioner_iso_build_duration_seconds".to_owned()),
            &BUILD_BUCKETS,
        )?
        .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".to_owned()), &DURATION_BUCKETS)?
        .install_recorder()?;
    describe();
    // The collector reads it in `/proc/stat`, which a sandbox may hide (`ProcSubset=pid`).
    metrics::gauge!("process_start_time_seconds").set(started_at.as_second() as f64);
    Ok(handle)
}

fn describe() {
    use metrics::{describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram};
    let seconds = || Unit::Seconds;
    histogram!("shoal_provisioner_redfish_request_duration_seconds", seconds(), "Redfish requests");
    counter!("shoal_provisioner_redfish_requests_total", "Redfish requests, by status code or failure");
    counter!("shoal_provisioner_redfish_retries_total", "Redfish requests that were tried again");
    histogram!("shoal_provisioner_provisioning_phase_duration_seconds", seconds(), "Steps of jobs");
    gauge!("shoal_provisioner_jobs", "Jobs, by status");
    counter!("shoal_provisioner_jobs_total", "Jobs that were decided");
    histogram!("shoal_provisioner_iso_build_duration_seconds", seconds(), "Task ISOs built");
    counter!("shoal_provisioner_media_bytes_total", Unit::Bytes, "Bytes of media sent");
    counter!("shoal_provisioner_media_requests_total", "Requests for media");
    counter!("shoal_provisioner_media_refused_total", "Paths of media that opened nothing, by reason");
    counter!("shoal_provisioner_auth_failures_total", "Requests without a valid token, by reason");
    counter!("shoal_provisioner_webhook_requests_total", "Calls of the status webhook");
    counter!("shoal_provisioner_job_failures_total", "Failed jobs, by step and failure code");
    counter!(
        "shoal_provisioner_notifications_total",
        "Attempts to report ends of jobs and batches, by outcome"
    );
    gauge!("shoal_provisioner_self_test_passed", "1 where a self-test of the controller passed, by test");
    counter!("shoal_provisioner_connections_refused_total", "Connections for which there was no room");
    metrics_process::Collector::default().describe();
}

/// Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let counts = state.store.status_counts().await?;
    for (status, count) in Status::VARIANTS.iter().zip(counts) {
        metrics::gauge!("shoal_provisioner_jobs", "status" => status.name()).set(count as f64);
    }
    metrics_process::Collector::default().collect();
    let text = state.metrics.handle.render();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
