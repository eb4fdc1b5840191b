//! Installations of the lab's machines by the real controller, and what must be true afterwards.
//!
//! In this lab PowerState never dips in a warm reboot. Without traits nothing tells of a second boot
//! either, and images are fetched whole when they are inserted. So a plain installation is `assumed`, after
//! the time that an installation takes at least, and one that powers off at its end is `probable`: nobody
//! sees its nonce read. With traits a BMC streams its media, or tells of boots.
//! Invariant: every claim is checked against the machine, not against what the controller says.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::controller::Controller;
use super::machine::{Account, Machine};
use super::{MACHINES, Scenarios, home};
use crate::closing::Tally;
use crate::process::{Done, capture, command, fail};
use crate::report::Table;

/// One controller with its settings, and every machine installed by it at once.
struct Scenario {
    name: &'static str,
    completion_hook: &'static str,
    media_layout: &'static str,
    /// What the machines' BMCs are like: see the head of lab/emulator.py.
    traits: &'static str,
    /// `ESXI_MIN_INSTALL_TIME`: longer than both machines take here together, or never reached.
    min_install_time: &'static str,
    install_timeout: &'static str,
    end: End,
}

/// How its jobs must end.
#[derive(Clone, Copy)]
enum End {
    /// Succeeded, with that confidence and that first evidence.
    Installed { confidence: &'static str, evidence: &'static str },
    /// Failed, for a reason with these words, and the console shows those.
    Refused { reason: &'static str, console: &'static str },
}

const OWN_POWEROFF: Scenario = Scenario {
    name: "own-poweroff",
    completion_hook: "own-poweroff",
    media_layout: "dual-cd",
    traits: "{}",
    min_install_time: "10m",
    install_timeout: "20m",
    end: End::Installed { confidence: "probable", evidence: "installer_hook" },
};
/// The section that Shoal adds, read and run by a real shell.
const HOOK: Scenario = Scenario { name: "poweroff-hook", completion_hook: "poweroff", ..OWN_POWEROFF };
/// Installer and kickstart on one image, read by real firmware, boot loaders and a Linux kernel.
const SINGLE_CD: Scenario = Scenario { name: "single-cd", media_layout: "single-cd", ..OWN_POWEROFF };
const POWER_ALONE: Scenario = Scenario {
    name: "power-alone",
    completion_hook: "none",
    min_install_time: "100s",
    end: End::Installed { confidence: "assumed", evidence: "power_stable" },
    ..OWN_POWEROFF
};
/// The machine's own drive reads the URL, so the nonce is seen read.
const HOOK_STREAMED: Scenario = Scenario {
    name: "poweroff-hook, streamed",
    traits: r#"{"media": "stream"}"#,
    end: End::Installed { confidence: "proven", evidence: "installer_hook" },
    ..HOOK
};
const SECOND_BOOT: Scenario = Scenario {
    name: "second boot",
    completion_hook: "none",
    traits: r#"{"media": "stream", "tells": ["LastResetTime", "BootProgress"]}"#,
    end: End::Installed { confidence: "probable", evidence: "second_boot" },
    ..OWN_POWEROFF
};
/// The installer stops at a dialog; nothing is ejected or reset while it might still run.
const REFUSED: Scenario = Scenario {
    name: "refused kickstart",
    install_timeout: "3m",
    min_install_time: "1m",
    end: End::Refused { reason: "the installer never rebooted", console: "the licence is not accepted" },
    ..SECOND_BOOT
};

const JOB: Duration = Duration::from_secs(5 * 60);
const CONSOLE: Duration = Duration::from_secs(2 * 60);
const POLL: Duration = Duration::from_secs(1);

pub fn run_all(scenarios: Scenarios) -> Done<Tally> {
    let chosen: &[Scenario] = match scenarios {
        Scenarios::Fast => &[HOOK_STREAMED, SINGLE_CD],
        Scenarios::All => &[HOOK_STREAMED, SINGLE_CD, SECOND_BOOT, REFUSED, HOOK, OWN_POWEROFF, POWER_ALONE],
    };
    let (mut rows, mut tally) = (Vec::new(), Tally::default());
    for scenario in chosen {
        for row in scenario.run()? {
            match row.fault {
                None => tally.passed += 1,
                Some(_) => tally.failed += 1,
            }
            rows.push(row);
        }
    }
    print_table(&rows);
    Ok(tally)
}

/// One installation, for the table.
struct Row {
    scenario: &'static str,
    firmware: &'static str,
    elapsed: Duration,
    verdict: String,
    evidence: String,
    fault: Option<String>,
}

impl Scenario {
    fn run(&self) -> Done<Vec<Row>> {
        let account = Account::of_lab()?;
        self.set_traits()?;
        let controller = Controller::start(self.name, &self.settings())?;
        let machines: Vec<Machine> = (0..MACHINES).map(|number| Machine::new(number, &account)).collect();
        let tls = [format!("pin:{}", account.pin), "insecure".to_owned()];
        for (machine, tls) in machines.iter().zip(tls.iter().cycle()) {
            controller.add_server(machine, &account, tls)?;
        }
        let rows = std::thread::scope(|scope| {
            let installs: Vec<_> =
                machines.iter().map(|machine| scope.spawn(|| self.install(&controller, machine))).collect();
            installs.into_iter().map(|install| install.join().expect("no install panics")).collect::<Vec<_>>()
        });
        if rows.iter().any(|row| row.fault.is_some()) {
            eprintln!("the controller's log ends:\n{}", controller.log_tail());
        }
        controller.stop()?;
        Ok(rows)
    }

    fn set_traits(&self) -> Done {
        for number in 0..MACHINES {
            write(&home().join(format!("run/traits/vm{number}.json")), self.traits)?;
        }
        Ok(())
    }

    fn settings(&self) -> [(&'static str, &'static str); 6] {
        [
            ("ESXI_MIN_INSTALL_TIME", self.min_install_time),
            ("ESXI_STABLE_WINDOW", "5s"),
            ("ESXI_POLL_INTERVAL", "1s"),
            ("ESXI_INSTALL_TIMEOUT", self.install_timeout),
            ("RESET_GRACEFUL_TIMEOUT", "3s"),
            ("LOG_LEVEL", "info"),
        ]
    }

    fn install(&self, controller: &Controller, machine: &Machine) -> Row {
        let start = Instant::now();
        let mut row = Row {
            scenario: self.name,
            firmware: machine.firmware(),
            elapsed: Duration::ZERO,
            verdict: String::new(),
            evidence: String::new(),
            fault: None,
        };
        if let Err(fault) = self.install_and_judge(controller, machine, &mut row) {
            let console = machine.console();
            let tail = console.get(console.len().saturating_sub(1500)..).unwrap_or(&console);
            eprintln!("{} {}: {fault}\nits console ends:\n{tail}", self.name, machine.firmware());
            row.fault = Some(fault.to_string());
        }
        row.elapsed = start.elapsed();
        row
    }

    fn install_and_judge(&self, controller: &Controller, machine: &Machine, row: &mut Row) -> Done {
        let kickstart = self.kickstart(machine);
        let id = controller.submit(&json!({
            "task_target": "install-esxi.target",
            "server_serial": machine.serial(),
            "ks_cfg": kickstart,
            "completion_hook": self.completion_hook,
            "media_layout": self.media_layout,
        }))?;
        let job = await_end(controller, &id)?;
        row.verdict = text(&job["verdict"]["confidence"]);
        row.evidence = evidence(&job);
        match self.end {
            End::Installed { confidence, evidence } => {
                let found = job["verdict"]["evidence"][0]["kind"].as_str();
                if job["status"] != "succeeded" || row.verdict != confidence || found != Some(evidence) {
                    return fail(format!(
                        "should have succeeded, {confidence}, by {evidence}, but: {}",
                        summary(&job)
                    ));
                }
                self.check_installed(machine, &kickstart, &job)
            }
            End::Refused { reason, console } => {
                "failed".clone_into(&mut row.verdict);
                if job["status"] != "failed" || !text(&job["reason"]).contains(reason) {
                    return fail(format!("should have failed because {reason}, but: {}", summary(&job)));
                }
                check_refused(machine, console)
            }
        }
    }

    fn check_installed(&self, machine: &Machine, kickstart: &str, job: &Value) -> Done {
        let used = match self.completion_hook {
            // With the section that was added: what the controller says it embedded.
            "poweroff" => embedded(job)?,
            _ => sha256(kickstart)?,
        };
        await_installed_system(machine, &used)?;
        check_machine(machine)
    }

    /// Unlike that of any other machine or run, so that its SHA-256 tells whose it was.
    fn kickstart(&self, machine: &Machine) -> String {
        let run = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let post = match self.completion_hook {
            "own-poweroff" => "%post --interpreter=busybox --ignorefailure=true\npoweroff\n",
            _ => "",
        };
        let licence = match self.end {
            End::Installed { .. } => "vmaccepteula\n",
            End::Refused { .. } => "",
        };
        format!(
            "# {} of {run}\n{licence}rootpw VMware1!\ninstall --firstdisk --overwritevmfs\nreboot\n{post}",
            machine.serial()
        )
    }
}

/// The job once its cleanup is over too.
fn await_end(controller: &Controller, id: &str) -> Done<Value> {
    let start = Instant::now();
    loop {
        let job = controller.job(id)?;
        if !job["finished_at"].is_null() {
            return Ok(job);
        }
        if start.elapsed() > JOB {
            return fail(format!("no end of it: {}", summary(&job)));
        }
        std::thread::sleep(POLL);
    }
}

/// The disk must boot, say that it was installed by this very kickstart, and have been installed once.
fn await_installed_system(machine: &Machine, ks_sha256: &str) -> Done {
    let expected =
        format!("INSTALLED OK firmware={} ks_sha256={ks_sha256}", machine.firmware().to_lowercase());
    let start = Instant::now();
    while !machine.console().contains(&expected) {
        if start.elapsed() > CONSOLE {
            return fail(format!("the console never showed: {expected}"));
        }
        std::thread::sleep(POLL);
    }
    match machine.console().matches("INSTALL COMPLETE").count() {
        1 => Ok(()),
        count => fail(format!("it was installed {count} times")),
    }
}

/// Nobody disturbed what an operator will want to read: the installer was started once and stands there.
fn check_refused(machine: &Machine, shown: &str) -> Done {
    let console = machine.console();
    let starts = console.matches("STANDIN: installer starts").count();
    if starts != 1 || !console.contains(shown) || console.contains("INSTALL COMPLETE") {
        return fail(format!(
            "the installer should have been started once and show {shown:?}, not {starts} times"
        ));
    }
    check_machine(machine)
}

fn check_machine(machine: &Machine) -> Done {
    let inserted = machine.inserted()?;
    if !inserted.is_empty() {
        return fail(format!("still inserted: {}", inserted.join(", ")));
    }
    let system = machine.system()?;
    let boot = &system["Boot"]["BootSourceOverrideEnabled"];
    match (boot.as_str(), system["PowerState"].as_str()) {
        (Some("Disabled"), Some("On")) => Ok(()),
        (boot, power) => fail(format!("the override is {boot:?} and the power {power:?}")),
    }
}

/// SHA-256 of the kickstart on the job's medium, as its events tell.
fn embedded(job: &Value) -> Done<String> {
    let mut events = job["events"].as_array().into_iter().flatten();
    match events.find_map(|event| event["detail"]["embedded"]["sha256"].as_str()) {
        Some(sha256) => Ok(sha256.to_owned()),
        None => fail("no event tells which kickstart was embedded".to_owned()),
    }
}

/// What the controller says of a job, without its whole story.
fn summary(job: &Value) -> String {
    let last = job["events"].as_array().and_then(|events| events.last()).unwrap_or(&Value::Null);
    format!(
        "{} at {}, reason {}, verdict {}, last event {}",
        job["status"], job["step"], job["reason"], job["verdict"], last["message"]
    )
}

fn evidence(job: &Value) -> String {
    let kinds = job["verdict"]["evidence"].as_array().into_iter().flatten();
    kinds.map(|evidence| text(&evidence["kind"])).collect::<Vec<_>>().join(", ")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// By a program that is not ours.
fn sha256(text: &str) -> Done<String> {
    let path = home().join(format!("kickstart.{:?}", std::thread::current().id()));
    write(&path, text)?;
    let said = capture(command("sha256sum", &[]).arg(&path))?;
    Ok(said.split(' ').next().unwrap_or_default().to_owned())
}

fn write(path: &Path, text: &str) -> Done {
    std::fs::write(path, text).or_else(|error| fail(format!("{}: {error}", path.display())))
}

fn print_table(rows: &[Row]) {
    let mut table = Table::new(
        "Installations in the lab",
        &["scenario", "firmware", "time", "verdict", "evidence", "result"],
    );
    for row in rows {
        let time = format!("{} s", row.elapsed.as_secs());
        let result = row.fault.as_deref().map_or("ok", |_| "FAILED");
        table.row(&[row.scenario, row.firmware, &time, &row.verdict, &row.evidence, result]);
    }
    table.show();
}
