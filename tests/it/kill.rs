//! `kill -9` of the controller in each step, and a start anew on what it left behind.
//!
//! Real processes. The simulated BMCs answer slowly, so that a kill hits the step that it is meant
//! for; `often` kills one controller again and again while fifty hosts install. What happens at every
//! single request and save is enumerated under paused time in `moments.rs`.
//! Invariant: the job ends with one installing start, one installation and one verdict.

mod often;

use std::path::Path;

use serde_json::{Value, json};
use shoal_sim::standin_installer;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::process::{Machine, Served, Sim, is_left_clean, recipe, serve_at, start_command};

/// When a step is hit: as soon as it has begun, or as soon as this is true of its machine.
#[derive(Clone, Copy)]
enum Moment {
    Begun,
    Once(fn(&Value) -> bool),
}

use Moment::{Begun, Once};

/// One kill.
#[derive(Clone, Copy)]
struct Case {
    step: &'static str,
    moment: Moment,
    flags: &'static [&'static str],
}

const fn case(step: &'static str, moment: Moment) -> Case {
    Case { step, moment, flags: &[] }
}

/// On machines that are off and blank.
const FROM_OFF: [Case; 17] = [
    case("validate-recipe", Begun),
    case("resolve-server", Begun),
    case("build-task-iso", Begun),
    case("mount.maintenance", Begun),
    case("mount.maintenance", Once(|state| state["media"]["CD1"]["inserted"] == true)),
    case("mount.task", Begun),
    case("mount.task", Once(|state| state["media"]["CD2"]["inserted"] == true)),
    case("boot.override", Begun),
    case("boot.override", Once(|state| state["boot_override"]["enabled"] == "Once")),
    case("reset", Begun),
    case("reset", Once(|state| state["starts"] == 1)),
    case("esxi.await_bmc", Begun),
    case("esxi.poll_power", Begun),
    case("esxi.poll_power", Once(|state| state["guest"] == "installing")),
    case("cleanup.unmount-task", Begun),
    case("cleanup.unmount-task", Once(|state| state["media"]["CD2"]["inserted"] == false)),
    case("cleanup.unmount-maintenance", Begun),
];

/// On machines that run a system, and are started once more at the end.
const FROM_ON: [Case; 4] = [
    case("reset", Begun),
    case("reset", Once(|state| state["resets"]["GracefulShutdown"] == 1)),
    Case { step: "cleanup.reset", moment: Begun, flags: &["--esxi-final-reset=always"] },
    Case {
        step: "cleanup.reset",
        moment: Once(|state| state["starts"] == 2),
        flags: &["--esxi-final-reset=always"],
    },
];

#[tokio::test]
async fn a_controller_killed_in_any_step_installs_once_all_the_same() {
    let off = Sim::start(&["--count=51", "--fault=slow=300", "--install-seconds=3"]).await;
    let on = Sim::start(&["--count=12", "--power=on", "--fault=slow=300", "--install-seconds=3"]).await;
    let machines = |sim: &Sim| sim.machines.chunks(TRIES).map(<[Machine]>::to_vec).collect::<Vec<_>>();
    let cases = FROM_OFF.iter().zip(machines(&off)).chain(FROM_ON.iter().zip(machines(&on)));
    let mut running = JoinSet::new();
    for (number, (case, machines)) in (1u8..).zip(cases) {
        running.spawn(async move { hit(number, *case, &machines).await });
    }
    let mut failed = 0;
    while let Some(ended) = running.join_next().await {
        failed += usize::from(ended.is_err());
    }
    assert_eq!(failed, 0, "each has printed its story");
}

/// How often a kill may miss its step, each time on a new machine: on a busy computer it comes late.
const TRIES: usize = 3;

async fn hit(number: u8, case: Case, machines: &[Machine]) {
    let mut found = vec![];
    for machine in machines {
        let step = survive(number, case, machine).await;
        if step.as_ref().is_some_and(|step| next_steps(case.step).contains(&step.as_str())) {
            return;
        }
        found.push(step);
    }
    panic!("{} was meant, {found:?} were hit", case.step);
}

/// A kill in this step, what the job came to, and the step that was hit: none if the job was over.
async fn survive(number: u8, case: Case, machine: &Machine) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let installer = std::fs::File::create(dir.path().join("esxi.iso")).unwrap();
    standin_installer().write_to(&installer).unwrap();
    // An address of its own, so that the port is still free when the same controller starts again.
    let address = format!("127.7.0.{number}:0");
    let mut served = start_command(dir.path(), controller(dir.path(), case, &address, "first.log")).await;
    let (status, answer) = served.post("/api/v1/servers", machine.record()).await;
    assert_eq!(status, 201, "{answer}");
    let (status, job) = served.post("/api/v1/jobs", recipe(machine.text("serial"))).await;
    assert_eq!(status, 202, "{job}");
    let id = job["job_id"].as_str().unwrap();
    reach(&served, id, case, machine).await;
    served.child.kill().await.unwrap();

    let address = served.url.strip_prefix("http://").unwrap();
    let again = start_command(dir.path(), controller(dir.path(), case, address, "second.log")).await;
    let job = again.settled(id).await;
    check(&job, case, &machine.state().await);
    step_taken_up(dir.path())
}

fn controller(dir: &Path, case: Case, address: &str, log: &str) -> Command {
    let mut command = serve_at(address, dir, &SHORT);
    command.args(case.flags).stderr(std::fs::File::create(dir.join(log)).unwrap());
    command
}

const SHORT: [&str; 4] = [
    "--esxi-installer-url=esxi.iso",
    "--esxi-stable-window=3s",
    "--esxi-poll-interval=1s",
    "--log-format=json",
];

async fn reach(served: &Served, job: &str, case: Case, machine: &Machine) {
    let mut events = served.events(job).await;
    events.until(|event| event["op"] == case.step && event["status"] == "started").await;
    if let Once(wanted) = case.moment {
        machine.until(wanted).await;
    }
}

/// Where the second controller found the job, which is where the first one was killed.
fn step_taken_up(dir: &Path) -> Option<String> {
    let log = std::fs::read_to_string(dir.join("second.log")).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut taken_up = lines.filter(|line| line["message"] == "job taken up");
    taken_up.next().map(|line| line["step"].as_str().unwrap().to_owned())
}

/// The step and the one after it: a kill takes a moment.
fn next_steps(step: &str) -> Vec<&'static str> {
    let steps: Vec<&str> = FROM_OFF.iter().chain(&FROM_ON).map(|case| case.step).collect();
    let mut order: Vec<&str> = vec![];
    for step in steps {
        if !order.contains(&step) {
            order.push(step);
        }
    }
    order.into_iter().skip_while(|name| *name != step).take(2).collect()
}

fn check(job: &Value, case: Case, state: &Value) {
    let context = || format!("killed in {}: {state:#}\n{}", case.step, story(job));
    assert_eq!((&job["status"], &job["cleanup"]), (&json!("succeeded"), &json!("done")), "{}", context());
    assert!(is_left_clean(state), "{}", context());
    assert_eq!((&state["installs"], &state["interrupted_installs"]), (&json!(1), &json!(0)), "{}", context());
    let starts: u64 = if case.flags.is_empty() { 1 } else { 2 };
    assert_eq!((&state["starts"], &state["resets"]["On"]), (&json!(starts), &json!(starts)), "{}", context());
    // One whose receipt was lost in the kill is requested again if the host is still on.
    let shutdowns = state["resets"]["GracefulShutdown"].as_u64();
    assert!(shutdowns.is_none_or(|count| (starts..=starts + 1).contains(&count)), "{}", context());
    check_events(job, &context());
}

/// One verdict, and no event lost or repeated.
fn check_events(job: &Value, context: &str) {
    let events = job["events"].as_array().unwrap();
    let verdicts =
        events.iter().filter(|event| event["op"] == "esxi.poll_power" && event["status"] == "succeeded");
    assert_eq!(verdicts.count(), 1, "{context}");
    let numbers = events.iter().map(|event| event["seq"].as_u64().unwrap());
    assert!(numbers.eq(1..=events.len() as u64), "{context}");
}

/// The job's events, a line each.
fn story(job: &Value) -> String {
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let events = job["events"].as_array().into_iter().flatten();
    let line = |event: &Value| {
        let keys = ["time", "op", "status", "message"];
        format!("{}\n", keys.map(|key| text(event, key)).join(" "))
    };
    format!("{}\n{}", job["reason"], events.map(line).collect::<String>())
}
