//! What must be true after an installation of Linux or Windows.
//!
//! Invariant: every claim is checked against the machine, its console, its disk and its BMC, and not against what the
//! controller says.

use std::fs::File;
use std::os::unix::fs::FileExt;

use serde_json::Value;

use super::{TaskEnd, TaskRun, shows_in_time};
use crate::lab::judge::{ended, released, summary};
use crate::lab::{home, write_bytes};
use crate::process::{Done, capture, command, fail};

/// Where the NTFS volume of the Windows image lies (lab/windows).
const NTFS: (u64, usize) = (10 << 20, 40 << 20);

pub fn judge(run: &TaskRun, job: &Value) -> Done {
    let serial = run.machine.serial();
    let reason = |text: &str| text.replace("SERIAL", &serial);
    match run.scenario.end {
        TaskEnd::Installed { confidence, evidence, warning } => {
            let first = &job["verdict"]["evidence"][0]["kind"];
            if job["verdict"]["confidence"] != confidence || first != evidence {
                return fail(format!("should have been {confidence}, by {evidence}, but: {}", summary(job)));
            }
            ended(job, "succeeded", "")?;
            if !warnings(job).contains(warning) {
                return fail(format!("should have warned of {warning:?}, but: {}", warnings(job)));
            }
            boots_what_was_installed(run, job)?;
            released(run.machine, "On")
        }
        TaskEnd::Untouched { reason: words } => {
            ended(job, "failed", &reason(words))?;
            match run.machine.is_disk_as_prepared(false)? {
                true => released(run.machine, "On"),
                false => fail("the disk was written"),
            }
        }
        TaskEnd::Unbootable { reason: words } => {
            ended(job, "failed", &reason(words))?;
            does_not_boot(run)
        }
    }
}

fn warnings(job: &Value) -> String {
    let events = job["events"].as_array().into_iter().flatten();
    let warnings = events.filter(|event| event["op"] == "task.warning");
    warnings.map(|event| event["message"].as_str().unwrap_or_default().to_owned() + "\n").collect()
}

/// The disk boots, and has this run's data; it was written once.
fn boots_what_was_installed(run: &TaskRun, job: &Value) -> Done {
    let firmware = run.machine.firmware().to_lowercase();
    if run.scenario.image.is_windows() {
        run.machine.await_console("WINDOWS STAND-IN BOOTED")?;
        answer_file_is_in_place(run)?;
    } else {
        let id = job["job_id"].as_str().or(job["id"].as_str()).unwrap_or_default();
        run.machine.await_console(&format!("INSTALLED OK firmware={firmware} instance={id}"))?;
        run.machine.await_console(&format!("user-data: # {}", run.text))?;
    }
    match run.machine.count("shoal: installed") {
        1 => Ok(()),
        count => fail(format!("it was installed {count} times")),
    }
}

/// By a program that is not ours.
fn answer_file_is_in_place(run: &TaskRun) -> Done {
    let (start, length) = NTFS;
    let mut bytes = vec![0; length];
    let read = File::open(run.machine.disk()).and_then(|disk| disk.read_exact_at(&mut bytes, start));
    read.or_else(|error| fail(format!("{}: {error}", run.machine.disk().display())))?;
    let volume = home().join(format!("ntfs.{}", run.machine.number));
    write_bytes(&volume, &bytes)?;
    let said = capture(command("ntfscat", &[]).arg(&volume).arg("Windows/Panther/unattend.xml"))?;
    match said == run.unattend() {
        true => Ok(()),
        false => fail(format!("unattend.xml is not the recipe's: {said}")),
    }
}

/// Neither as its bytes are nor as the firmware tries it.
fn does_not_boot(run: &TaskRun) -> Done {
    if run.machine.has_bootable_disk()? {
        return fail("the disk has a boot sector or a partition table");
    }
    let off = run.machine.system()?["PowerState"] == "Off";
    run.machine.reset(if off { "On" } else { "ForceRestart" })?;
    if shows_in_time(run.machine, "INSTALLED") || run.machine.count("Welcome to GRUB") > grubs(run) {
        return fail("the machine boots an incomplete disk");
    }
    released(run.machine, "On")
}

/// How often the maintenance system's own GRUB has shown itself: once, by UEFI.
fn grubs(run: &TaskRun) -> usize {
    usize::from(run.machine.firmware() == "UEFI")
}
