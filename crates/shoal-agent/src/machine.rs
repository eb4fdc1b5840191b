//! The machine: its files below one root, its programs, and time.
//!
//! Everything that touches the system goes through here, so that tests give it a folder and programs of their own.
//! Invariant: no other module names an absolute path without [`Machine::path`], starts a program, or sleeps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::image::Firmware;

/// Runs programs of the maintenance system.
pub trait Programs: Send + Sync {
    /// Whether the program succeeded, and what it wrote.
    fn run(&self, program: &str, args: &[&str]) -> io::Result<(bool, String)>;
}

pub struct Machine {
    root: PathBuf,
    programs: Box<dyn Programs>,
    /// Without, sleeping returns immediately.
    has_time: bool,
}

impl Machine {
    /// This machine.
    pub fn real() -> Machine {
        Machine::below(Path::new("/"))
    }

    /// The machine whose files are below `root`, with this machine's programs and time.
    pub fn below(root: &Path) -> Machine {
        Machine { root: root.to_owned(), programs: Box::new(RealPrograms), has_time: true }
    }

    /// A machine that is made of the files below `root`.
    #[cfg(test)]
    pub fn simulated(root: &Path, programs: Box<dyn Programs>) -> Machine {
        Machine { root: root.to_owned(), programs, has_time: false }
    }

    /// The file at an absolute path of the machine.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// The text of a small file, without white space around it; nothing where it cannot be read or is empty.
    pub fn text(&self, absolute: &str) -> Option<String> {
        trimmed(&self.path(absolute))
    }

    pub fn write(&self, absolute: &str, text: &str) -> io::Result<()> {
        let path = self.path(absolute);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
    }

    /// Names in a folder, in order; none where there is no such folder.
    pub fn names(&self, absolute: &str) -> Vec<String> {
        names(&self.path(absolute))
    }

    /// Runs a program; a failure is its last line, for an operator.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String, String> {
        match self.programs.run(program, args) {
            Ok((true, text)) => Ok(text),
            Ok((false, text)) => {
                let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
                Err(format!("{program} failed: {line}"))
            }
            Err(error) => Err(format!("{program} cannot be started: {error}")),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the agent has no simulated time, and its steps are synchronous"
    )]
    pub fn sleep(&self, duration: Duration) {
        if self.has_time {
            std::thread::sleep(duration);
        }
    }

    pub fn firmware(&self) -> Firmware {
        match self.path("/sys/firmware/efi").exists() {
            true => Firmware::Uefi,
            false => Firmware::Bios,
        }
    }

    /// Sixteen random bytes of the kernel, as a UUID of version 4.
    pub fn random_uuid(&self) -> [u8; 16] {
        let text = self.text("/proc/sys/kernel/random/uuid").unwrap_or_default();
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        shoal_base::unhex(&digits).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0x5a; 16])
    }
}

/// See [`Machine::text`].
pub fn trimmed(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// See [`Machine::names`].
pub fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

struct RealPrograms;

impl Programs for RealPrograms {
    /// Output goes to a file and not to a pipe: a DHCP client stays in the background and would keep a pipe open.
    fn run(&self, program: &str, args: &[&str]) -> io::Result<(bool, String)> {
        let folder = Path::new("/run");
        let path = folder.join("shoal-agent-program.log");
        let output = fs::File::create(&path)?;
        let status = Command::new(program)
            .args(args)
            // The kernel gives its first process none.
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()?;
        Ok((status.success(), String::from_utf8_lossy(&fs::read(&path)?).into_owned()))
    }
}
