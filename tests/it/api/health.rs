//! Health, readiness that really checks, metrics, and the description of the API.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use http::Method;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::Value;

use super::{Fixture, recipe};

/// The recorder is the process's, and tests share one.
fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| shoal::api::install_recorder(jiff::Timestamp::UNIX_EPOCH).unwrap()).clone()
}

#[tokio::test(start_paused = true)]
async fn health_names_the_instance_that_answers() {
    let fixture = Fixture::new();
    let health = fixture.get("/healthz").await.ok(200);
    assert_eq!((&health["status"], &health["instance_id"]), (&"ok".into(), &"abcdef".into()));
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_takes_no_file_is_named_by_readiness() {
    let dir = tempfile::tempdir().unwrap();
    let isos = dir.path().join("isos");
    let fixture = Fixture::with(|parts| parts.writable_dirs = vec![("TASK_ISO_DIR", isos.clone())]);
    let problem = fixture.get("/readyz").await.problem(503);
    assert!(problem["detail"].as_str().unwrap().starts_with("TASK_ISO_DIR: "), "{problem}");
    std::fs::create_dir(&isos).unwrap();
    fixture.get("/readyz").await.ok(200);
    assert_eq!(std::fs::read_dir(&isos).unwrap().count(), 0, "the probe is removed");
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_stops_is_not_ready() {
    let fixture = Fixture::new();
    fixture.shutdown.cancel();
    fixture.get("/readyz").await.problem(503);
}

#[tokio::test(start_paused = true)]
async fn metrics_count_jobs_by_status_and_the_process() {
    let handle = recorder();
    let fixture = Fixture::with(|parts| parts.metrics.handle = handle);
    fixture.add_server("A1").await;
    fixture.post("/api/v1/jobs", recipe("A1")).await.ok(202);
    metrics::histogram!("shoal_provisioner_provisioning_phase_duration_seconds", "phase" => "reset")
        .record(2.0);
    let answer = fixture.get("/metrics").await;
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "shoal_provisioner_jobs{status=\"queued\"} 1",
        "shoal_provisioner_jobs{status=\"failed\"} 0",
        "# TYPE shoal_provisioner_jobs gauge",
        "shoal_provisioner_provisioning_phase_duration_seconds_bucket{phase=\"reset\",le=\"2.5\"} 1",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    ] {
        assert!(answer.text.contains(line), "{line} is missing in\n{}", answer.text);
    }
}

/// All that there are.
const ROUTES: [&str; 58] = [
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /openapi.json",
    "GET /api/v1/recipe.schema.json",
    "POST /api/v1/servers",
    "GET /api/v1/servers",
    "GET /api/v1/servers/{serial}",
    "PATCH /api/v1/servers/{serial}",
    "PUT /api/v1/servers/{serial}",
    "DELETE /api/v1/servers/{serial}",
    "POST /api/v1/import/servers",
    "POST /api/v1/servers/{serial}/check",
    "POST /api/v1/servers/{serial}/release",
    "POST /api/v1/servers/{serial}/inspect",
    "POST /api/v1/jobs",
    "GET /api/v1/jobs",
    "GET /api/v1/jobs/{job_id}",
    "GET /api/v1/jobs/{job_id}/reads",
    "POST /api/v1/jobs/{job_id}/cancel",
    "POST /api/v1/jobs/{job_id}/retry",
    "GET /api/v1/jobs/{job_id}/events",
    "GET /api/v1/events",
    "POST /api/v1/batches",
    "GET /api/v1/batches",
    "GET /api/v1/batches/{batch_id}",
    "POST /api/v1/batches/{batch_id}/pause",
    "POST /api/v1/batches/{batch_id}/resume",
    "POST /api/v1/batches/{batch_id}/cancel",
    "POST /api/v1/batches/{batch_id}/retry",
    "POST /api/v1/kickstart/lint",
    "POST /api/v1/kickstart/render",
    "GET /api/v1/images",
    "POST /api/v1/images",
    "POST /api/v1/images/fetch",
    "DELETE /api/v1/images/{image}",
    "POST /api/v1/tokens",
    "GET /api/v1/tokens",
    "DELETE /api/v1/tokens/{id}",
    "GET /api/v1/audit",
    "GET /api/v1/audit/verify",
    "POST /api/v1/status-webhook/{serial}",
    "GET /api/v1/status-webhook/{serial}/{token}",
    "POST /api/v1/status-webhook/{serial}/{token}",
    "GET /media/tasks/{job_id}/task.iso",
    "HEAD /media/tasks/{job_id}/task.iso",
    "GET /media/tasks/{job_id}.{token}/task.iso",
    "HEAD /media/tasks/{job_id}.{token}/task.iso",
    "GET /media/tasks/{job_id}/task.img",
    "HEAD /media/tasks/{job_id}/task.img",
    "GET /media/tasks/{job_id}.{token}/task.img",
    "HEAD /media/tasks/{job_id}.{token}/task.img",
    "GET /media/images/{job_id}.{token}/image",
    "HEAD /media/images/{job_id}.{token}/image",
    "GET /media/probes/{token}/probe.iso",
    "HEAD /media/probes/{token}/probe.iso",
    "GET /media/installers/{job_id}.{token}/esxi.iso",
    "HEAD /media/installers/{job_id}.{token}/esxi.iso",
];

#[tokio::test(start_paused = true)]
async fn every_route_is_described_with_its_access_and_its_problems() {
    let fixture = Fixture::new();
    let document = fixture.get("/openapi.json").await.ok(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    assert_eq!(document["security"][0]["bearer"], Value::Array(Vec::new()));
    assert!(document["components"]["schemas"]["Problem"]["properties"]["detail"].is_object());
    let (mut operations, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.insert(format!("{} {path}", method.to_uppercase()));
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "two operations are called {name}");
            let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert_eq!(problem["schema"]["$ref"], "#/components/schemas/Problem", "{path}");
        }
    }
    assert_eq!(operations, ROUTES.map(str::to_owned).into());
}

#[tokio::test(start_paused = true)]
async fn every_reference_of_the_description_leads_somewhere() {
    fn check(value: &Value, document: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                object.values().for_each(|value| check(value, document));
            }
            Value::Array(items) => items.iter().for_each(|value| check(value, document)),
            _ => {}
        }
    }
    let document = Fixture::new().get("/openapi.json").await.ok(200);
    check(&document, &document);
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_where_get_is() {
    let answer = Fixture::new().call(Method::HEAD, "/healthz", None).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
}
