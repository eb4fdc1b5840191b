//! What is wrong at a site and fails a job before anything on a BMC is changed: what the operator is
//! shown, and that the same job, tried again, succeeds once that was corrected.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use bytes::Bytes;
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};
use shoal_image::iso::{ReadAt, SparseImage, build_task_iso};
use shoal_sim::standin_installer;

use super::{Desk, assert_installed, assert_untouched};
use crate::process::{Machine, Sim, recipe};

/// A web server with installers, as a test puts them there.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl Shelf {
    /// Its URL.
    pub fn serve(&self) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let router = Router::new().route("/{name}", axum::routing::get(Shelf::get)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn get(State(shelf): State<Shelf>, Path(name): Path<String>) -> Result<Bytes, StatusCode> {
        shelf.0.lock().unwrap().get(&name).cloned().ok_or(StatusCode::NOT_FOUND)
    }

    pub fn put(&self, name: &str, image: &SparseImage) {
        let mut bytes = vec![0; usize::try_from(image.size).unwrap()];
        image.read_at(0, &mut bytes).unwrap();
        self.0.lock().unwrap().insert(name.to_owned(), bytes.into());
    }
}

/// One thing that is wrong.
struct Case {
    machine: Machine,
    /// The server's record as it stands in the inventory.
    record: Value,
    recipe: Value,
    failed_step: &'static str,
    /// What the reason must say.
    words: Vec<String>,
    /// What the operator changes in the record.
    correction: Value,
}

impl Case {
    /// Of a server under another serial number than its machine's, since those repeat.
    fn new(machine: &Machine, failed_step: &'static str, words: &[&str]) -> Case {
        let serial = machine.text("serial");
        Case {
            machine: machine.clone(),
            record: machine.record(),
            recipe: recipe(serial),
            failed_step,
            words: words.iter().map(|&word| word.to_owned()).collect(),
            correction: json!({}),
        }
    }

    fn named(mut self, serial: &str) -> Case {
        self.record["serial"] = json!(serial);
        self.recipe["server_serial"] = json!(serial);
        self
    }

    async fn run(&self, desk: &Desk, correct: impl Fn()) {
        desk.add(self.record.clone()).await;
        let id = desk.submit(self.recipe.clone()).await;
        let job = desk.served.settled(&id).await;
        let facts = (&job["status"], &job["failed_step"], &job["cleanup"]);
        assert_eq!(facts, (&json!("failed"), &json!(self.failed_step), &json!("done")), "{job:#}");
        let reason = job["reason"].as_str().unwrap();
        for word in &self.words {
            assert!(reason.contains(word.as_str()), "`{word}` is missing: {reason}");
        }
        assert_untouched(&self.machine).await;
        correct();
        let server = format!("/api/v1/servers/{}", self.record["serial"].as_str().unwrap());
        let (status, patched) = desk.served.patch(&server, self.correction.clone()).await;
        assert_eq!(status, 200, "{patched}");
        let state = assert_installed(&desk.retried(&id).await, &self.machine).await;
        assert_eq!((&state["installs"], &state["starts"]), (&json!(1), &json!(1)), "{state:#}");
    }
}

#[tokio::test]
async fn a_fault_of_a_bmc_is_reported_and_once_corrected_the_job_succeeds() {
    let desk = Desk::with_empty_inventory(&[], &["--count=4", "--install-seconds=1"]).await;
    // Its own prefix: a simulated UUID follows from the serial number.
    let flags = ["--fault=no-serial", "--install-seconds=1", "--serial-prefix=BARE"];
    let nameless = Sim::start(&flags).await;
    let [password, down, other, gone] = &desk.sim.machines[..] else { panic!("four machines") };
    let right = |machine: &Machine| json!({"bmc_address": machine.text("bmc_address"), "bmc_password": machine.text("password")});

    let mut wrong_password = Case::new(password, "resolve-server", &["SIM0001", "refused the account"]);
    wrong_password.record["bmc_password"] = json!("not the password");
    wrong_password.correction = json!({ "bmc_password": password.text("password") });

    // No server listens there: a port that was free a moment ago may be another test's by now.
    let closed = "127.77.77.77:9";
    let mut bmc_down = Case::new(down, "resolve-server", &["SIM0002", "cannot be reached", closed]);
    bmc_down.record["bmc_address"] = json!(format!("http://{closed}"));
    bmc_down.correction = right(down);

    let found = "is not that of server SIM0003";
    let mut another = Case::new(other, "resolve-server", &[found, "serial number SIM0004"]);
    another.record["bmc_address"] = json!(gone.text("bmc_address"));
    another.record["bmc_password"] = json!(gone.text("password"));
    another.correction = right(other);

    let words = ["NAMELESS", "no serial number", "system_uuid or system_id", "it has 1 "];
    let mut without = Case::new(&nameless.machines[0], "resolve-server", &words).named("NAMELESS");
    without.correction = json!({ "system_id": "1" });

    join_all([wrong_password, bmc_down, another, without].iter().map(|case| case.run(&desk, || {}))).await;
    assert_untouched(gone).await;
}

#[tokio::test]
async fn a_wrong_installer_is_reported_and_once_corrected_the_job_succeeds() {
    let shelf = Shelf::default();
    let url = shelf.serve();
    let flags = ["--esxi-installer-allow", &url];
    let desk = Desk::with_empty_inventory(&flags, &["--count=2", "--install-seconds=1"]).await;

    let absent = format!("{url}/absent.iso");
    let words = ["there is no", absent.as_str(), "404", "correct its URL"];
    let mut missing = Case::new(&desk.sim.machines[0], "build-task-iso", &words);
    missing.recipe["esxi_installer_url"] = json!(absent);

    shelf.put("other.iso", &build_task_iso(b"vmaccepteula\n", b"{}", None).image);
    let wrong = format!("{url}/other.iso");
    let words = [wrong.as_str(), "is not an ESXi installer", "BOOT.CFG"];
    let mut no_installer = Case::new(&desk.sim.machines[1], "build-task-iso", &words);
    no_installer.recipe["esxi_installer_url"] = json!(wrong);

    tokio::join!(
        missing.run(&desk, || shelf.put("absent.iso", &standin_installer())),
        no_installer.run(&desk, || shelf.put("other.iso", &standin_installer())),
    );
}

#[tokio::test]
async fn an_installer_that_is_gone_is_named() {
    // Before the start: a controller that runs has a copy, with which jobs go on.
    let desk = Desk::in_dir(tempfile::tempdir().unwrap(), &[], &[]).await;
    desk.add(desk.sim.machines[0].record()).await;
    let job = desk.served.settled(&desk.submit(recipe("SIM0001")).await).await;
    assert_eq!(
        (&job["status"], &job["failed_step"]),
        (&json!("failed"), &json!("build-task-iso")),
        "{job:#}"
    );
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains("esxi.iso") && reason.contains("cannot be read"), "{reason}");
    assert_untouched(&desk.sim.machines[0]).await;
}
