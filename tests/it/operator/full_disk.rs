//! A full disk under `TASK_ISO_DIR`.
//!
//! The controller gets a mount namespace of its own with a small disk in it, which goes with the
//! process. Where no namespace is to be had, a file in the place of the directory stands in for the
//! full disk, and the test says so.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use super::{Desk, assert_installed, assert_untouched, controller, installer_dir, log};
use crate::process::{Sim, recipe, start_command};

/// Mounts a disk of 1 MiB at the first argument and becomes what follows.
const ON_A_SMALL_DISK: &str = "mount -t tmpfs -o size=1m shoal \"$1\" && shift && exec env -i \"$@\"";
const NAMESPACE: [&str; 6] = ["--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh"];

/// How the disk is made full, and how room is made again.
enum Disk {
    /// Reached through the process that has it mounted.
    Small {
        filler: PathBuf,
    },
    Missing,
}

impl Disk {
    fn fill(&self, dir: &Path) {
        match self {
            Disk::Small { filler } => {
                let full = std::fs::write(filler, vec![0; 2 << 20]).unwrap_err();
                assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{}: {full}", filler.display());
            }
            Disk::Missing => {
                std::fs::remove_dir_all(dir).unwrap();
                std::fs::write(dir, "").unwrap();
            }
        }
    }

    fn make_room(&self, dir: &Path) {
        match self {
            Disk::Small { filler } => std::fs::remove_file(filler).unwrap(),
            Disk::Missing => {
                std::fs::remove_file(dir).unwrap();
                std::fs::create_dir(dir).unwrap();
            }
        }
    }
}

async fn can_have_a_small_disk(dir: &Path) -> bool {
    let probe = Command::new("unshare").args(NAMESPACE).arg(dir).arg("true").output().await;
    probe.is_ok_and(|output| output.status.success())
}

/// The same command where it sees a small disk.
fn on_a_small_disk(dir: &Path, task_isos: &Path, controller: &Command) -> Command {
    let controller = controller.as_std();
    let mut command = Command::new("unshare");
    command.args(NAMESPACE).arg(task_isos).arg(controller.get_program()).args(controller.get_args());
    command.current_dir(dir).kill_on_drop(true).stdout(Stdio::piped()).stderr(log(dir));
    command
}

#[tokio::test]
async fn a_full_disk_fails_the_job_before_its_bmc_is_touched() {
    let dir = installer_dir();
    let task_isos = dir.path().join("task-isos");
    std::fs::create_dir(&task_isos).unwrap();
    let is_small = can_have_a_small_disk(&task_isos).await;
    let command = controller(dir.path(), &["--task-iso-dir=task-isos"]);
    let command = if is_small { on_a_small_disk(dir.path(), &task_isos, &command) } else { command };
    if !is_small {
        eprintln!("no mount namespace here: a missing directory stands in for the full disk");
    }
    let desk = Desk {
        served: start_command(dir.path(), command).await,
        sim: Sim::start(&["--install-seconds=1"]).await,
        dir,
    };
    let inside = format!("/proc/{}/root{}/filler", desk.served.child.id().unwrap(), task_isos.display());
    let disk = if is_small { Disk::Small { filler: inside.into() } } else { Disk::Missing };
    desk.add(desk.sim.machines[0].record()).await;

    disk.fill(&task_isos);
    let id = desk.submit(recipe("SIM0001")).await;
    let job = desk.served.settled(&id).await;
    let facts = (&job["status"], &job["failed_step"], &job["cleanup"]);
    assert_eq!(facts, (&json!("failed"), &json!("build-task-iso"), &json!("done")), "{job:#}");
    let reason = job["reason"].as_str().unwrap();
    let cause = if is_small { "No space left" } else { "Not a directory" };
    for word in ["TASK_ISO_DIR", "task-isos", "free space", cause] {
        assert!(reason.contains(word), "`{word}` is missing: {reason}");
    }
    assert_untouched(&desk.sim.machines[0]).await;

    disk.make_room(&task_isos);
    let state = assert_installed(&desk.retried(&id).await, &desk.sim.machines[0]).await;
    assert_eq!((&state["installs"], &state["starts"]), (&json!(1), &json!(1)), "{state:#}");
}
