//! `cargo xtask lab`: virtual machines behind a real Redfish service, and this checkout's controller
//! installing them.
//!
//! The machines, the service and the stand-in installer are made by the scripts in `lab/`; here they
//! are called and judged. Invariant: nothing listens beyond loopback, and what was down before a test
//! is down after it.

mod controller;
mod gate;
mod http;
mod installer;
mod judge;
mod lanes;
mod machine;
mod scenario;
mod scenarios;
mod task;
mod trouble;

use std::collections::BTreeSet;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::closing::Tally;
use crate::debian;
use crate::process::{Done, command, fail, run};
use crate::program;
use crate::report::{self, Table};
use installer::Installer;
use scenario::{Round, Row};
use scenarios::{ALL, FAST, MACHINES};
use task::TaskRound;
use trouble::Trouble;

/// How much of the lab's proof is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent<'a> {
    /// Each firmware twice, by the scenarios that end soonest.
    Fast,
    /// All of ESXi's, and of Linux and Windows what a change must pass.
    All,
    /// Every scenario that there is.
    Long,
    /// The rounds that hold a scenario of one of these names.
    Named(&'a [&'a str]),
}

/// A round of either kind.
enum AnyRound {
    Esxi(&'static Round),
    Task(&'static TaskRound),
}

impl AnyRound {
    fn names(&self) -> Vec<&'static str> {
        match self {
            AnyRound::Esxi(round) => round.scenarios.iter().map(|scenario| scenario.name).collect(),
            AnyRound::Task(round) => round.names().collect(),
        }
    }

    fn machines(&self) -> BTreeSet<u32> {
        match self {
            AnyRound::Esxi(round) => {
                round.scenarios.iter().flat_map(|scenario| scenario.machines).copied().collect()
            }
            AnyRound::Task(round) => round.machines().collect(),
        }
    }

    /// It takes from all machines what they share.
    fn is_alone(&self) -> bool {
        matches!(self, AnyRound::Esxi(Round { trouble: Trouble::Hung, .. }))
    }

    fn run(&self) -> Done<Vec<Row>> {
        match self {
            AnyRound::Esxi(round) => round.run(),
            AnyRound::Task(round) => round.run(),
        }
    }
}

impl Extent<'_> {
    fn rounds(self) -> Done<Vec<AnyRound>> {
        let esxi = if self == Extent::Fast { FAST } else { ALL }.iter().map(AnyRound::Esxi);
        let (short, long) = (task::ALL.iter().map(AnyRound::Task), task::LONG.iter().map(AnyRound::Task));
        match self {
            Extent::Fast => Ok(esxi.collect()),
            Extent::All => Ok(esxi.chain(short).collect()),
            Extent::Long => Ok(esxi.chain(short).chain(long).collect()),
            Extent::Named(names) => named(names, esxi.chain(short).chain(long).collect()),
        }
    }
}

fn named(names: &[&str], mut rounds: Vec<AnyRound>) -> Done<Vec<AnyRound>> {
    let known: Vec<&str> = rounds.iter().flat_map(AnyRound::names).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return fail(format!("lab test: no scenario is called {unknown:?}; there are: {}", known.join("; ")));
    }
    rounds.retain(|round| round.names().iter().any(|name| names.contains(name)));
    Ok(rounds)
}

/// What machines and images are made of.
pub fn ensure_packages() -> Done {
    debian::ensure("the lab", debian::FOR_LAB)
}

/// What a change's scenarios boot and write, where it is not there yet. What is compiled takes two processors at times,
/// disk images take one.
pub fn make_images() -> Done {
    ensure_packages()?;
    let _alone = lock()?;
    program::build()?;
    Installer::Standin.ensure()?;
    std::thread::scope(|scope| {
        let disk_images = scope.spawn(|| task::ALL.iter().try_for_each(TaskRound::ensure_disk_images));
        ALL.iter().try_for_each(|round| round.installer.ensure().map(drop))?;
        task::ALL.iter().try_for_each(|round| round.iso.ensure().map(drop))?;
        disk_images.join().expect("no maker of images panics")
    })
}

pub fn up(count: u32) -> Done {
    ensure_packages()?;
    run(script("up").arg(count.to_string()))?;
    Installer::Standin.ensure().map(drop)
}

/// The stand-in installer, which is made once.
pub fn ensure_standin() -> Done<PathBuf> {
    Installer::Standin.ensure()
}

/// The Redfish service, for a lab of a driver's own: it is installed once, and not started.
pub fn ensure_service() -> Done {
    run(script("up").arg("0"))
}

/// Where it is, once it is made.
pub fn standin() -> PathBuf {
    home().join(installer::STANDIN)
}

pub fn down(purge: bool) -> Done {
    run(script("down").args(purge.then_some("--purge")))
}

pub fn test(extent: Extent) -> Done {
    report::begin();
    match prove(extent)? {
        Tally { failed: 0, .. } => Ok(()),
        tally => fail(format!("lab: {tally}")),
    }
}

/// Brings the lab up, runs the scenarios, and leaves the lab as it was found.
pub fn prove(extent: Extent) -> Done<Tally> {
    let rounds = extent.rounds()?;
    let _alone = lock()?;
    let was_up = home().join("run/emulator.pid").exists();
    up(MACHINES)?;
    program::build()?;
    let tally = run_rounds(&rounds)?;
    if tally.failed > 0 {
        eprintln!("lab: is it the lab itself? Its own proof, without the controller:");
        scenario::renew(0, "{}").and_then(|()| scenario::renew(1, "{}"))?;
        run(&mut script("smoke"))?;
    }
    if !was_up {
        down(false)?;
    }
    Ok(tally)
}

fn run_rounds(rounds: &[AnyRound]) -> Done<Tally> {
    let (rows, mut tally) = (lanes::run(rounds)?, Tally::default());
    for row in &rows {
        match row.fault {
            None => tally.passed += 1,
            Some(_) => tally.failed += 1,
        }
    }
    show(&rows);
    Ok(tally)
}

fn show(rows: &[Row]) {
    let head = ["scenario", "machine", "time", "verdict", "evidence or reason", "result"];
    let mut table = Table::new("Installations in the lab", &head);
    for row in rows {
        let time = format!("{} s", row.elapsed.as_secs());
        let result = row.fault.as_deref().map_or("ok", |_| "FAILED");
        table.row(&[row.scenario, &row.machine, &time, &row.verdict, &row.evidence, result]);
    }
    table.show();
    for row in rows {
        if let Some(fault) = &row.fault {
            eprintln!("lab: {}, {}: {fault}", row.scenario, row.machine);
        }
    }
}

/// Two simultaneous runs would fight for the same machines.
fn lock() -> Done<File> {
    let path = home().with_extension("lock");
    let open = File::create(&path).and_then(|file| file.lock().map(|()| file));
    open.or_else(|error| fail(format!("{}: {error}", path.display())))
}

/// Where the lab lives, `LAB` or `/tmp/shoal-lab`.
fn home() -> PathBuf {
    std::env::var_os("LAB").map_or_else(|| PathBuf::from("/tmp/shoal-lab"), PathBuf::from)
}

fn script(name: &str) -> std::process::Command {
    let mut script = command(&format!("lab/{name}"), &[]);
    script.env("LAB", home());
    script
}

fn read(path: &Path) -> Done<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => fail(format!("{}: {error}", path.display())),
    }
}

fn write(path: &Path, text: &str) -> Done {
    write_bytes(path, text.as_bytes())
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Done {
    std::fs::write(path, bytes).or_else(|error| fail(format!("{}: {error}", path.display())))
}

fn free_port() -> Done<u16> {
    free_port_at("127.0.0.1")
}

fn free_port_at(address: &str) -> Done<u16> {
    let port = TcpListener::bind((address, 0)).and_then(|listener| listener.local_addr());
    port.map(|address| address.port()).or_else(|error| fail(format!("a free port: {error}")))
}
