//! The recipe of the public contract, to its end.

use serde_json::json;
use sha2::{Digest, Sha256};
use shoal_base::hex;

use super::{Desk, assert_installed};
use crate::process::recipe;

#[tokio::test]
async fn the_recipe_of_the_contract_installs_its_server_once() {
    let desk = Desk::open(&[], &["--install-seconds=1", "--fault=busy-503=1"]).await;
    let recipe = recipe("SIM0001");
    let job = desk.served.settled(&desk.submit(recipe.clone()).await).await;
    let state = assert_installed(&job, &desk.sim.machines[0]).await;
    assert_eq!((&state["installs"], &state["starts"]), (&json!(1), &json!(1)), "{state:#}");
    assert_eq!(state["resets"], json!({ "On": 1 }));
    let sha256 = hex(&Sha256::digest(recipe["ks_cfg"].as_str().unwrap()));
    assert_eq!(state["installed_ks_sha256"], json!(sha256));

    assert_eq!((&job["verdict"]["confidence"], &job["failed_step"]), (&json!("probable"), &json!(null)));
    assert_eq!(job["verdict"]["evidence"][0]["kind"], "second_boot", "{job:#}");
    assert_eq!(job["progress"]["ks_read"], true);
    let events = job["events"].as_array().unwrap();
    let steps = |status: &str| {
        let of_steps =
            events.iter().filter(|event| event["op"] == event["step"] && event["status"] == status);
        of_steps.map(|event| event["step"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(steps("started"), STEPS);
    assert_eq!(
        [steps("succeeded"), steps("skipped")].concat(),
        STEPS,
        "each ends once, the last as needless"
    );
    let task_isos = std::fs::read_dir(desk.dir.path().join("var/shoal/task-isos")).unwrap();
    assert_eq!(task_isos.count(), 0, "task ISOs are gone with their jobs");
    assert_metrics(&desk).await;
    assert_described(&desk).await;
}

const STEPS: [&str; 12] = [
    "validate-recipe",
    "resolve-server",
    "build-task-iso",
    "mount.maintenance",
    "mount.task",
    "boot.override",
    "reset",
    "esxi.await_bmc",
    "esxi.poll_power",
    "cleanup.unmount-task",
    "cleanup.unmount-maintenance",
    "cleanup.reset",
];

async fn assert_metrics(desk: &Desk) {
    let (status, metrics) = desk.served.get("/metrics").await;
    let metrics = metrics.as_str().unwrap().to_owned();
    assert_eq!(status, 200);
    for line in [
        "shoal_provisioner_redfish_request_duration_seconds_count{",
        "shoal_provisioner_redfish_requests_total{",
        "shoal_provisioner_redfish_retries_total{",
        "shoal_provisioner_provisioning_phase_duration_seconds_count{phase=\"reset\"} 1",
        "shoal_provisioner_jobs{status=\"succeeded\"} 1",
        "shoal_provisioner_jobs_total{task_target=\"install-esxi.target\",outcome=\"succeeded\",confidence=\"probable\"} 1",
        "shoal_provisioner_iso_build_duration_seconds_count 1",
        "shoal_provisioner_media_bytes_total{",
        "shoal_provisioner_media_requests_total{",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    for step in STEPS {
        assert!(metrics.contains(&format!("seconds_count{{phase=\"{step}\"}} 1")), "{step}\n{metrics}");
    }
}

async fn assert_described(desk: &Desk) {
    let (status, openapi) = desk.served.get("/openapi.json").await;
    assert_eq!((status, openapi["openapi"].as_str().map(|version| &version[..3])), (200, Some("3.1")));
    for path in [
        "/api/v1/servers",
        "/api/v1/servers/{serial}",
        "/api/v1/jobs",
        "/api/v1/jobs/{job_id}",
        "/api/v1/jobs/{job_id}/cancel",
        "/api/v1/jobs/{job_id}/retry",
        "/api/v1/jobs/{job_id}/events",
        "/api/v1/events",
    ] {
        assert!(openapi["paths"][path].is_object(), "{path}");
    }
}
