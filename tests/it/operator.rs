//! What an operator can do with `shoal serve`, `curl` and a Redfish service, and what they see
//! when it does not work.
//!
//! Real processes over real sockets; what happens inside is proved elsewhere. Invariant: whatever a
//! job came to, nothing is left mounted and its server is free for the next one.

mod export;
pub mod failures;
mod fleet;
mod follow;
mod full_disk;
mod install;
mod kickstart;
mod log;
mod management;
mod refusals;
mod release;
mod secrets;
mod support;
mod terminal;
mod tls;

use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use serde_json::Value;
use shoal_sim::standin_installer;
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::{Machine, Served, Sim, is_left_clean, serve, start_command};

/// A controller whose waits are short, and simulated servers in its inventory.
struct Desk {
    dir: TempDir,
    served: Served,
    sim: Sim,
}

impl Desk {
    async fn open(flags: &[&str], sim: &[&str]) -> Desk {
        let desk = Desk::with_empty_inventory(flags, sim).await;
        for machine in &desk.sim.machines {
            desk.add(machine.record()).await;
        }
        desk
    }

    async fn with_empty_inventory(flags: &[&str], sim: &[&str]) -> Desk {
        Desk::in_dir(installer_dir(), flags, sim).await
    }

    async fn in_dir(dir: TempDir, flags: &[&str], sim: &[&str]) -> Desk {
        let sim = Sim::start(sim).await;
        let served = start_command(dir.path(), controller(dir.path(), flags)).await;
        Desk { dir, served, sim }
    }

    async fn add(&self, server: Value) {
        let (status, answer) = self.served.post("/api/v1/servers", server).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// Submits what must be accepted.
    async fn submit(&self, recipe: Value) -> String {
        let (status, job) = self.served.post("/api/v1/jobs", recipe).await;
        assert_eq!(status, 202, "{job}");
        id(&job)
    }

    async fn job(&self, id: &str) -> Value {
        self.served.get(&format!("/api/v1/jobs/{id}")).await.1
    }

    /// Tries a job again, to its end.
    async fn retried(&self, job: &str) -> Value {
        let retrying = self.served.request("POST", &format!("/api/v1/jobs/{job}/retry"));
        let (status, retry) = self.served.send(retrying, Bytes::new()).await;
        assert_eq!((status, &retry["retry_of"]), (202, &Value::from(job)), "{retry}");
        self.served.settled(&id(&retry)).await
    }
}

/// A directory with an installer in it.
fn installer_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("esxi.iso")).unwrap();
    standin_installer().write_to(&file).unwrap();
    dir
}

/// A controller in such a directory, with its log in `controller.log`.
fn controller(dir: &Path, flags: &[&str]) -> Command {
    let mut command = serve(dir, &SHORT);
    command.args(flags).stderr(log(dir));
    command
}

fn log(dir: &Path) -> Stdio {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("controller.log"));
    log.unwrap().into()
}

const SHORT: [&str; 6] = [
    "--esxi-installer-url=esxi.iso",
    "--esxi-stable-window=1s",
    "--esxi-poll-interval=300ms",
    "--log-level=trace",
    "--log-format=json",
    "--drain-timeout=1s",
];

fn id(job: &Value) -> String {
    job["job_id"].as_str().unwrap_or_else(|| panic!("no job_id: {job}")).to_owned()
}

/// The job succeeded and left nothing behind; gives the truth about its machine.
async fn assert_installed(job: &Value, machine: &Machine) -> Value {
    assert_eq!((&job["status"], &job["cleanup"]), (&"succeeded".into(), &"done".into()), "{job:#}");
    let state = machine.state().await;
    assert!(is_left_clean(&state), "{state:#}");
    assert_eq!(state["interrupted_installs"], 0, "{state:#}");
    state
}

/// The machine is as it was before any job.
async fn assert_untouched(machine: &Machine) {
    let state = machine.state().await;
    assert!(is_left_clean(&state), "{state:#}");
    assert_eq!((&state["power"], &state["starts"], &state["boots"]), (&"Off".into(), &0.into(), &0.into()));
    assert_eq!(state["resets"], Value::Object(Default::default()));
}
