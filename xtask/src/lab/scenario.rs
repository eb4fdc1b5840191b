//! What a scenario is made of, and how a round of them is run.
//!
//! Which scenarios there are is in `scenarios`, what must be true afterwards in `judge`, what goes wrong
//! meanwhile in `trouble`. Invariant: each scenario begins with machines as they were when they were new.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::controller::Controller;
use super::gate::{Gate, Reports};
use super::installer::Installer;
use super::judge;
use super::machine::{Account, Machine};
use super::trouble::Trouble;
use super::{home, script, write};
use crate::process::{Done, fail, run};

/// One controller, and the scenarios that it drives in parallel.
pub struct Round {
    pub scenarios: &'static [Scenario],
    pub installer: Installer,
    pub trouble: Trouble,
    /// Settings of the controller beside [`SETTINGS`].
    pub settings: &'static [(&'static str, &'static str)],
}

/// Windows and pauses as short as machines on loopback allow.
const SETTINGS: [(&str, &str); 6] = [
    ("ESXI_STABLE_WINDOW", "5s"),
    ("ESXI_POLL_INTERVAL", "1s"),
    ("ESXI_PROOF_FLOOR", "1s"),
    ("ESXI_INSTALL_TIMEOUT", "20m"),
    ("RESET_GRACEFUL_TIMEOUT", "3s"),
    ("LOG_LEVEL", "info"),
];

/// The same installation on some machines.
pub struct Scenario {
    pub name: &'static str,
    /// Their numbers: even ones boot by BIOS, odd ones by UEFI; 2 and 3 have one CD drive and a USB port.
    pub machines: &'static [u32],
    pub redfish: Redfish,
    /// What the machines' BMCs are like: see the head of lab/emulator.py.
    pub traits: &'static str,
    pub completion_hook: &'static str,
    pub media_layout: Option<&'static str>,
    pub kickstart: Kickstart,
    /// The disk holds a datastore, or is blank.
    pub used_disk: bool,
    pub end: End,
}

/// Which of the two services is in front of the machines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Redfish {
    Lab,
    /// The emulator as it is shipped.
    Stock,
}

/// The lines that differ.
#[derive(Clone, Copy)]
pub struct Kickstart {
    pub licence: &'static str,
    pub install: &'static str,
    pub reboot: &'static str,
    pub more: &'static str,
}

/// How its jobs must end.
#[derive(Clone, Copy)]
pub enum End {
    /// Succeeded, with that confidence and that first evidence; the machine was installed once.
    Installed { confidence: &'static str, evidence: &'static str },
    /// Failed, for a reason with these words; the installer stands before those, undisturbed.
    Stopped { reason: &'static str, console: &'static str },
    /// Failed, for a reason with these words, before anything was started.
    NotStarted { reason: &'static str },
    /// Failed, for a reason with these words; what was being installed again and again came to an end.
    Looped { reason: &'static str },
    /// Cancelled in the middle; the installer was let end.
    Cancelled,
}

/// One installation, for the table.
pub struct Row {
    pub scenario: &'static str,
    pub machine: String,
    pub elapsed: Duration,
    pub verdict: String,
    pub evidence: String,
    pub fault: Option<String>,
}

/// A scenario's job on one machine.
pub struct Run<'a> {
    pub scenario: &'a Scenario,
    pub machine: &'a Machine,
    pub controller: &'a Controller,
    pub kickstart: String,
}

impl Round {
    pub fn run(&self) -> Done<Vec<Row>> {
        let mut machines = Vec::new();
        for scenario in self.scenarios {
            for number in scenario.machines {
                machines.push((scenario, scenario.prepare(*number)?));
            }
        }
        let name = self.scenarios[0].name;
        let served = self.installer.offer()?;
        let gate = Gate::open("127.0.0.1", Reports::Delivered)?;
        let mut settings = SETTINGS.to_vec();
        settings.extend(self.settings);
        let base = gate.url();
        settings.push(("MEDIA_BASE_URL", &base));
        settings.push(("ESXI_INSTALLER_URL", &served.url));
        let controller = Controller::start(name, &settings)?;
        gate.lead_to(controller.port);
        for (scenario, machine) in &machines {
            controller.add_server(machine, &Account::of(scenario.redfish)?)?;
        }
        let rows = self.run_on(&machines, &controller, &gate);
        if rows.iter().any(|row| row.fault.is_some()) {
            eprintln!("the controller's log ends:\n{}", controller.log_tail());
        }
        controller.stop()?;
        Ok(rows)
    }

    /// Every machine and the trouble, in parallel.
    fn run_on(&self, machines: &[(&Scenario, Machine)], controller: &Controller, gate: &Gate) -> Vec<Row> {
        let installs = machines
            .iter()
            .map(|(scenario, machine)| || Run::new(scenario, machine, controller).to_its_end());
        in_parallel(installs, |over| self.trouble.make(machines, controller, gate, over))
    }
}

impl Scenario {
    /// The machine as it was when it was new, or with a datastore on its disk.
    fn prepare(&self, number: u32) -> Done<Machine> {
        renew(number, self.traits)?;
        let machine = Machine::new(number, &Account::of(self.redfish)?);
        if self.used_disk {
            machine.make_datastore()?;
        }
        Ok(machine)
    }

    /// Unlike that of any other machine or run, so that its SHA-256 identifies its machine.
    fn kickstart(&self, machine: &Machine) -> String {
        let run = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let Kickstart { licence, install, reboot, more } = self.kickstart;
        let serial = machine.serial();
        format!("# {serial} of {run}\n{licence}\nrootpw VMware1!\n{install}\n{reboot}\n{more}")
    }
}

impl Run<'_> {
    fn new<'a>(scenario: &'a Scenario, machine: &'a Machine, controller: &'a Controller) -> Run<'a> {
        Run { scenario, machine, controller, kickstart: scenario.kickstart(machine) }
    }

    fn to_its_end(&self) -> Row {
        row_of((self.scenario.name, self.machine), |row| self.install_and_judge(row))
    }

    fn install_and_judge(&self, row: &mut Row) -> Done {
        let mut recipe = json!({
            "task_target": "install-esxi.target",
            "server_serial": self.machine.serial(),
            "ks_cfg": self.kickstart,
            "completion_hook": self.scenario.completion_hook,
        });
        if let Some(layout) = self.scenario.media_layout {
            recipe["media_layout"] = layout.into();
        }
        let id = self.controller.submit(&recipe)?;
        if let End::Cancelled = self.scenario.end {
            self.machine.await_console("STANDIN: installs to")?;
            self.controller.cancel(&id)?;
        }
        let job = await_end(self.controller, &id)?;
        let (verdict, evidence) = judge::shown(&job);
        (row.verdict, row.evidence) = (verdict, evidence);
        judge::judge(self, &job)
    }
}

/// Makes a machine as it was when it was new, with a BMC of these traits.
pub fn renew(number: u32, traits: &str) -> Done {
    let file = home().join(format!("run/traits/vm{number}.json"));
    write(&file, "{}")?;
    Machine::new(number, &Account::of(Redfish::Lab)?).release()?;
    run(script("renew").arg(number.to_string()))?;
    write(&file, traits)
}

/// Runs installations and the trouble with them in parallel. `trouble` ends soon after its flag is set, which is when
/// all of them have ended; its note, or its failure, belongs to each.
pub fn in_parallel<I: FnOnce() -> Row + Send>(
    installs: impl Iterator<Item = I>,
    trouble: impl FnOnce(&AtomicBool) -> Done<String> + Send,
) -> Vec<Row> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let trouble = scope.spawn(|| trouble(&over));
        let installs: Vec<_> = installs.map(|install| scope.spawn(install)).collect();
        let rows = installs.into_iter().map(|install| install.join().expect("no install panics"));
        let mut rows: Vec<Row> = rows.collect();
        over.store(true, Ordering::Release);
        match trouble.join().expect("no trouble panics") {
            Ok(note) => rows.iter_mut().for_each(|row| row.evidence += &note),
            Err(failure) => rows.iter_mut().for_each(|row| row.fault = Some(failure.to_string())),
        }
        rows
    })
}

/// Runs one installation, and says how it went. `install` fills in what the controller says.
pub fn row_of((scenario, machine): (&'static str, &Machine), install: impl FnOnce(&mut Row) -> Done) -> Row {
    let start = Instant::now();
    let mut row = Row {
        scenario,
        machine: format!("{} {}", machine.number, machine.firmware()),
        elapsed: Duration::ZERO,
        verdict: String::new(),
        evidence: String::new(),
        fault: None,
    };
    if let Err(fault) = install(&mut row) {
        let console = machine.console();
        let tail = console.get(console.len().saturating_sub(1500)..).unwrap_or(&console);
        eprintln!("{} {}: {fault}\nits console ends:\n{tail}", row.scenario, row.machine);
        row.fault = Some(fault.to_string());
    }
    row.elapsed = start.elapsed();
    let result = row.fault.as_deref().unwrap_or("ok");
    println!("lab: {} on {}: {} s, {result}", row.scenario, row.machine, row.elapsed.as_secs());
    row
}

/// The job once its cleanup is over too.
pub fn await_end(controller: &Controller, id: &str) -> Done<Value> {
    const JOB: Duration = Duration::from_secs(10 * 60);
    let start = Instant::now();
    loop {
        let job = controller.job(id)?;
        if !job["finished_at"].is_null() {
            return Ok(job);
        }
        if start.elapsed() > JOB {
            return fail(format!("no end of it: {}", judge::summary(&job)));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
