//! Debian's programs, run one at a time.
//!
//! Invariant: a program ends when the command that waits for it is dropped.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::BuildError;

/// A program, and the package to install where it is missing.
#[derive(Clone, Copy)]
pub struct Program {
    pub name: &'static str,
    pub package: &'static str,
}

pub const APT_GET: Program = Program { name: "apt-get", package: "apt" };
pub const APT_CACHE: Program = Program { name: "apt-cache", package: "apt" };
pub const DPKG_DEB: Program = Program { name: "dpkg-deb", package: "dpkg" };
/// By its path: it is not on every user's PATH.
pub const DEPMOD: Program = Program { name: "/sbin/depmod", package: "kmod" };

impl Program {
    /// What it prints. A failure is the last lines of what it prints as errors.
    pub async fn run(self, args: &[&str], dir: &Path) -> Result<String, BuildError> {
        let mut command = Command::new(self.name);
        command.args(args).current_dir(dir).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
        let failed = |message: String| BuildError::Program { program: self.name, message };
        let output = command.output().await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => BuildError::NoProgram { program: self.name, package: self.package },
            _ => failed(error.to_string()),
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let message = lines[lines.len().saturating_sub(3)..].join("; ");
        Err(failed(if message.is_empty() { output.status.to_string() } else { message }))
    }
}
