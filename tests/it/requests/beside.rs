//! An installation, and everything else that the controller may ask the same BMC for meanwhile.
//!
//! Real processes: the API's own doctor, inspection and release, and a job of another record of that BMC. Invariant: the
//! BMC, which counts, has never had two requests at the same time.

use serde_json::{Value, json};
use shoal_sim::standin_installer;

use crate::process::{Served, Sim, recipe, serve, start_command};

/// Serial numbers of more records at the same address, which no host there has: one for jobs, one for releases.
const OTHERS: [&str; 2] = ["RACK7-12", "RACK7-13"];

#[tokio::test]
async fn an_installation_beside_checks_releases_and_another_job_has_one_request_in_flight() {
    let sim = Sim::start(&["--count=1", "--fault=slow=50", "--install-seconds=5"]).await;
    let machine = &sim.machines[0];
    let dir = tempfile::tempdir().unwrap();
    standin_installer().write_to(&std::fs::File::create(dir.path().join("esxi.iso")).unwrap()).unwrap();
    let mut command = serve(dir.path(), &["--esxi-stable-window=3s", "--esxi-poll-interval=1s"]);
    command.arg("--esxi-installer-url=esxi.iso");
    let served = start_command(dir.path(), command).await;
    let records = OTHERS.map(|serial| {
        let mut record = machine.record();
        record["serial"] = json!(serial);
        record
    });
    for record in std::iter::once(machine.record()).chain(records) {
        let (status, answer) = served.post("/api/v1/servers", record).await;
        assert_eq!(status, 201, "{answer}");
    }
    let serial = machine.text("serial");
    let job = submit(&served, serial).await;
    let (installed, beside) = tokio::join!(served.settled(&job), async {
        let mut beside = Beside::default();
        while !is_over(&served, &job).await {
            beside.ask(&served, serial).await;
        }
        beside
    });
    assert_eq!(installed["status"], "succeeded", "{installed}");
    assert!(beside.checks > 1 && beside.jobs > 1, "little ran meanwhile: {beside:?}");
    // Without a job it is released, while the others still ask.
    let mut after = Beside::default();
    after.ask(&served, serial).await;
    assert_eq!(after.releases, 1);
    let state = machine.state().await;
    assert_eq!(state["redfish_in_parallel"], 1, "{beside:?}: {state:#}");
}

/// What was done beside the installation.
#[derive(Debug, Default)]
struct Beside {
    checks: u32,
    releases: u32,
    jobs: u32,
}

impl Beside {
    /// One of each, all at the same time.
    async fn ask(&mut self, served: &Served, serial: &str) {
        let call = async |serial: &str, verb: &str, body: Value| {
            served.post(&format!("/api/v1/servers/{serial}/{verb}"), body).await
        };
        let other = async {
            let id = submit(served, OTHERS[0]).await;
            served.settled(&id).await
        };
        let force = || json!({ "force": true });
        let (check, inspection, release, _, other) = tokio::join!(
            call(serial, "check", json!({})),
            call(serial, "inspect", json!({})),
            call(serial, "release", force()),
            call(OTHERS[1], "release", force()),
            other
        );
        assert_eq!((check.0, inspection.0), (200, 200), "{check:?} {inspection:?}");
        assert_eq!(other["status"], "failed", "no host there has that serial number: {other}");
        self.checks += 1;
        self.releases += u32::from(release.0 == 200);
        self.jobs += 1;
    }
}

async fn submit(served: &Served, serial: &str) -> String {
    let (status, job) = served.post("/api/v1/jobs", recipe(serial)).await;
    assert_eq!(status, 202, "{job}");
    job["job_id"].as_str().unwrap().to_owned()
}

async fn is_over(served: &Served, job: &str) -> bool {
    let (_, job): (u16, Value) = served.get(&format!("/api/v1/jobs/{job}")).await;
    !job["finished_at"].is_null()
}
