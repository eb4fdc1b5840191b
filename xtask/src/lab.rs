//! `cargo xtask lab`: virtual machines behind a real Redfish service, and this checkout's controller
//! installing them.
//!
//! The machines, the service and the stand-in installer are made by the scripts in `lab/`; here they
//! are called and judged. Invariant: nothing listens beyond loopback, and what was down before a test
//! is down after it.

mod controller;
mod http;
mod machine;
mod scenario;

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::closing::Tally;
use crate::debian;
use crate::process::{Done, command, fail, run};

/// One machine that boots by BIOS, one by UEFI.
pub const MACHINES: u32 = 2;

/// How much of the lab's proof is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scenarios {
    /// Each firmware once, by the scenario that ends soonest.
    Fast,
    All,
}

pub fn up(count: u32) -> Done {
    debian::ensure("the lab", debian::FOR_LAB)?;
    run(script("up").arg(count.to_string()))?;
    ensure_standin().map(drop)
}

/// The stand-in installer, which is made once.
pub fn ensure_standin() -> Done<PathBuf> {
    if !standin().exists() {
        run(script("standin").arg(standin()))?;
    }
    Ok(standin())
}

pub fn down(purge: bool) -> Done {
    run(script("down").args(purge.then_some("--purge")))
}

pub fn test(scenarios: Scenarios) -> Done {
    match prove(scenarios)? {
        Tally { failed: 0, .. } => Ok(()),
        tally => fail(format!("lab: {tally}")),
    }
}

/// Brings the lab up, runs the scenarios, and leaves the lab as it was found.
pub fn prove(scenarios: Scenarios) -> Done<Tally> {
    let _alone = lock()?;
    let was_up = home().join("run/emulator.pid").exists();
    up(MACHINES)?;
    run(&mut command("cargo", &["build", "--locked", "--bin", "shoal"]))?;
    let tally = scenario::run_all(scenarios)?;
    if tally.failed > 0 {
        eprintln!("lab: is it the lab itself? Its own proof, without the controller:");
        run(&mut script("smoke"))?;
    }
    if !was_up {
        down(false)?;
    }
    Ok(tally)
}

/// Two runs at once would fight for the same machines.
fn lock() -> Done<File> {
    let path = home().with_extension("lock");
    let open = File::create(&path).and_then(|file| file.lock().map(|()| file));
    open.or_else(|error| fail(format!("{}: {error}", path.display())))
}

/// Where the lab lives, `LAB` or `/tmp/shoal-lab`.
fn home() -> PathBuf {
    std::env::var_os("LAB").map_or_else(|| PathBuf::from("/tmp/shoal-lab"), PathBuf::from)
}

/// The installer that the machines boot.
fn standin() -> PathBuf {
    home().join("standin.iso")
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
