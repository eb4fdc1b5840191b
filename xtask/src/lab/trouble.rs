//! What goes wrong while machines install: a controller that is killed, a Redfish service that hangs, a
//! media port that is blocked.
//!
//! Invariant: whatever is taken away comes back before the scenario ends.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::controller::Controller;
use super::gate::Gate;
use super::machine::Machine;
use super::scenario::Scenario;
use super::{home, read};
use crate::process::{Done, capture, command, fail};

const HUNG: Duration = Duration::from_secs(60);
/// Less than the timeout of the machines' drives (lab/emulator.py).
const BLOCKED: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(100);
/// Stages of an installation by what the console shows.
const STAGES: [&str; 5] = [
    "STANDIN: installer starts",
    "STANDIN: installs to",
    "STANDIN: INSTALL COMPLETE",
    "STANDIN: REBOOTING",
    "INSTALLED OK",
];
/// Of the steps in a job's life some are over before anybody can look.
const KILLS_MIN: usize = 10;

#[derive(Clone, Copy)]
pub enum Trouble {
    None,
    /// The controller dies by SIGKILL whenever a job is seen in a step, or a machine in a stage, for the first
    /// time, and is started again.
    Killed,
    /// The Redfish service stands still for a minute in the middle of the installation.
    Hung,
    /// Nothing comes through to the controller's media in the middle of the installer's loading.
    Blocked,
}

impl Trouble {
    /// Makes it, and says what it came to.
    pub fn make(
        self,
        machines: &[(&Scenario, Machine)],
        controller: &Controller,
        gate: &Gate,
        over: &AtomicBool,
    ) -> Done<String> {
        let first = &machines[0].1;
        match self {
            Trouble::None => Ok(String::new()),
            Trouble::Killed => {
                let machines: Vec<&Machine> = machines.iter().map(|(_, machine)| machine).collect();
                kill_in_every_phase(&machines, &STAGES, controller, over)
            }
            Trouble::Hung => {
                first.await_console(STAGES[1])?;
                let service = read(&home().join("run/emulator.pid"))?;
                let signal = |name: &str| capture(&mut command("kill", &[name, &service]));
                signal("-STOP")?;
                std::thread::sleep(HUNG);
                signal("-CONT")?;
                Ok(format!("; hung for {} s", HUNG.as_secs()))
            }
            Trouble::Blocked => {
                first.await_console(STAGES[0])?;
                gate.close(BLOCKED);
                Ok(format!("; blocked for {} s", BLOCKED.as_secs()))
            }
        }
    }
}

/// See [`Trouble::Killed`]; `stages` are words of the consoles.
pub fn kill_in_every_phase(
    machines: &[&Machine],
    stages: &[&str],
    controller: &Controller,
    over: &AtomicBool,
) -> Done<String> {
    let mut seen = BTreeSet::new();
    while !over.load(Ordering::Acquire) {
        let mut now: Vec<String> = controller.steps().unwrap_or_default();
        if now.len() < machines.len() {
            // No request for a job may be lost here: another test covers that.
            continue;
        }
        let stages = machines.iter().flat_map(|machine| stages.iter().map(move |stage| (machine, stage)));
        now.extend(
            stages
                .filter(|(machine, stage)| machine.count(stage) > 0)
                .map(|(machine, stage)| format!("{} {stage}", machine.number)),
        );
        let known = seen.len();
        seen.extend(now);
        if seen.len() > known {
            controller.kill_and_start_again()?;
        }
        std::thread::sleep(LOOK);
    }
    let kills = controller.kills();
    match kills {
        KILLS_MIN.. => Ok(format!("; killed {kills} times")),
        _ => fail(format!("the controller was killed {kills} times only, in: {seen:?}")),
    }
}
