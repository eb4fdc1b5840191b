//! One driver at work: in an empty folder of its own, bounded, its talk kept in a log.
//!
//! Invariant: nothing that a driver started outlives it, since it is ended as a group.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xtask::source::ROOT;

use super::programs::Program;
use super::python;
use crate::lab;
use crate::process::{Done, fail};
use crate::program;

const KILL_AFTER_SECS: &str = "60";
const LOG_TAIL: usize = 12;

/// What a driver printed, and how it ended if that was not well.
pub struct DriverReport {
    pub lines: Vec<String>,
    pub ended: Option<String>,
}

/// The drivers' own folder.
pub fn folder() -> PathBuf {
    Path::new(ROOT).join("tests/outside")
}

/// Where all that is made for them is.
pub fn home() -> PathBuf {
    Path::new(ROOT).join("target/outside")
}

/// Runs a driver to its end.
pub fn run(program: &Program) -> Done<DriverReport> {
    let Program { name, driver, python: locked, limit_secs, .. } = *program;
    let place = home().join("run").join(name);
    let log_path = place.join("driver.log");
    let made = std::fs::remove_dir_all(&place).or(Ok(())).and_then(|()| std::fs::create_dir_all(&place));
    let log = made.and_then(|()| File::create(&log_path));
    let log = log.or_else(|error| fail(format!("{}: {error}", log_path.display())))?;
    // `timeout` leads a group of its own, and what it signals is the group; should this chore be
    // interrupted, it hears of that from the kernel.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "timeout", "--kill-after", KILL_AFTER_SECS]);
    command.arg(limit_secs.to_string());
    command.arg(python::interpreter(locked));
    command.arg(folder().join(driver)).current_dir(&place);
    command.env("SHOAL", Path::new(ROOT).join(program::PATH)).env("SHOAL_STANDIN", lab::standin());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
    let mut child = child.or_else(|error| fail(format!("timeout {driver}: {error}")))?;
    let out = child.stdout.take().expect("piped");
    let lines = BufReader::new(out).lines().map_while(Result::ok).collect();
    let status = child.wait().or_else(|error| fail(format!("{driver}: {error}")))?;
    let ended = (!status.success()).then(|| format!("{driver} ended with {status}; {}", tail(&log_path)));
    Ok(DriverReport { lines, ended })
}

/// The end of a log, shown with the failure.
fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LOG_TAIL)..];
    format!("{} ends with\n    {}", path.display(), last.join("\n    "))
}
