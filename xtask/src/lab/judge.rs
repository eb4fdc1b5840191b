//! What must be true after a job of a scenario.
//!
//! Invariant: every claim is checked against the machine, its console, its disk and its BMC, and not
//! against what the controller says.

use std::time::Duration;

use serde_json::Value;

use super::machine::Machine;
use super::scenario::{End, Run};
use super::{home, write};
use crate::process::{Done, capture, command, fail};

/// How long the serial console must stay as it is before a loop counts as ended: longer than an installation.
const QUIET: Duration = Duration::from_secs(60);

pub fn judge(run: &Run, job: &Value) -> Done {
    match run.scenario.end {
        End::Installed { confidence, evidence } => {
            let first = &job["verdict"]["evidence"][0]["kind"];
            if job["verdict"]["confidence"] != confidence || first != evidence {
                return fail(format!("should have been {confidence}, by {evidence}, but: {}", summary(job)));
            }
            ended(job, "succeeded", "")?;
            installed_once(run, job)?;
            released(run.machine, "On")
        }
        End::Stopped { reason, console } => {
            ended(job, "failed", reason)?;
            stands_undisturbed(run, console)?;
            released(run.machine, "On")
        }
        End::NotStarted { reason } => {
            ended(job, "failed", reason)?;
            match run.machine.console().trim() {
                "" => released(run.machine, "Off"),
                _ => fail("the machine was started"),
            }
        }
        End::Looped { reason } => {
            ended(job, "failed", reason)?;
            loop_has_ended(run)?;
            released(run.machine, "On")
        }
        End::Cancelled => {
            ended(job, "cancelled", "")?;
            installed_once(run, job)?;
            released(run.machine, "On")
        }
    }
}

pub fn ended(job: &Value, status: &str, reason: &str) -> Done {
    match job["status"] == status && text(&job["reason"]).contains(reason) {
        true => Ok(()),
        false => fail(format!("should have {status} with {reason:?}, but: {}", summary(job))),
    }
}

/// The disk boots, says that it was installed by this very kickstart, and was installed once.
fn installed_once(run: &Run, job: &Value) -> Done {
    let used = match run.scenario.completion_hook {
        // With the section that was added: what the controller says it embedded.
        "poweroff" => embedded(job)?,
        _ => sha256(&run.kickstart)?,
    };
    let firmware = run.machine.firmware().to_lowercase();
    run.machine.await_console(&format!("INSTALLED OK firmware={firmware} ks_sha256={used}"))?;
    match run.machine.count("INSTALL COMPLETE") {
        1 => Ok(()),
        count => fail(format!("it was installed {count} times")),
    }
}

/// What an operator will want to read is undisturbed: the installer was started once, stands there, and
/// the disk is as it was.
fn stands_undisturbed(run: &Run, shown: &str) -> Done {
    let starts = run.machine.count("STANDIN: installer starts");
    if starts != 1 || run.machine.count(shown) == 0 || run.machine.count("INSTALL COMPLETE") > 0 {
        return fail(format!("the installer should stand before {shown:?}, and was started {starts} times"));
    }
    match run.machine.is_disk_as_prepared(run.scenario.used_disk)? {
        true => Ok(()),
        false => fail("the disk was written"),
    }
}

/// The installed system came up at last, and nothing has been started since.
fn loop_has_ended(run: &Run) -> Done {
    run.machine.await_console("INSTALLED OK")?;
    let seen = run.machine.console().len();
    std::thread::sleep(QUIET);
    match run.machine.console().len() == seen {
        true => Ok(()),
        false => fail("the machine was started again after its job had ended"),
    }
}

/// No medium is left, no override, and the power is as it should be.
pub fn released(machine: &Machine, power: &str) -> Done {
    let inserted = machine.inserted()?;
    if !inserted.is_empty() {
        return fail(format!("still inserted: {}", inserted.join(", ")));
    }
    let system = machine.system()?;
    let armed = &system["Boot"]["BootSourceOverrideTarget"];
    let boots = system["Boot"]["BootSourceOverrideEnabled"] == "Disabled" || armed == "Hdd";
    match boots && system["PowerState"] == power {
        true => Ok(()),
        false => fail(format!("the override is {} and the power {}", system["Boot"], system["PowerState"])),
    }
}

/// SHA-256 of the kickstart on the job's medium, as its events report it.
fn embedded(job: &Value) -> Done<String> {
    let mut events = job["events"].as_array().into_iter().flatten();
    match events.find_map(|event| event["detail"]["embedded"]["sha256"].as_str()) {
        Some(sha256) => Ok(sha256.to_owned()),
        None => fail("no event shows which kickstart was embedded"),
    }
}

/// By a program that is not ours.
fn sha256(text: &str) -> Done<String> {
    let path = home().join(format!("kickstart.{:?}", std::thread::current().id()));
    write(&path, text)?;
    let said = capture(command("sha256sum", &[]).arg(&path))?;
    Ok(said.split(' ').next().unwrap_or_default().to_owned())
}

/// For the table: the verdict, and the evidence or the reason.
pub fn shown(job: &Value) -> (String, String) {
    if job["status"] != "succeeded" {
        let reason: String = text(&job["reason"]).chars().take(70).collect();
        return (text(&job["status"]), reason);
    }
    let kinds = job["verdict"]["evidence"].as_array().into_iter().flatten();
    let kinds: Vec<String> = kinds.map(|evidence| text(&evidence["kind"])).collect();
    (text(&job["verdict"]["confidence"]), kinds.join(", "))
}

/// What the controller says of a job, without its whole story.
pub fn summary(job: &Value) -> String {
    let last = job["events"].as_array().and_then(|events| events.last()).unwrap_or(&Value::Null);
    format!(
        "{} at {}, reason {}, verdict {}, last event {}",
        job["status"], job["step"], job["reason"], job["verdict"], last["message"]
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
