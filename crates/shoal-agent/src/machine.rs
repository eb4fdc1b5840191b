//! The machine: its files below one root, its programs, and time.
//!
//! Everything that touches the system goes through here, so that tests give it a folder and programs of their own.
//! Invariant: no other module names an absolute path without [`Machine::path`], starts a program, or sleeps.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::image::Firmware;

/// Runs programs of the maintenance system.
pub trait Programs: Send + Sync {
    /// Whether the program succeeded, and what it wrote.
    fn run(&self, program: &str, args: &[&str]) -> io::Result<(bool, String)>;

    /// Starts a program that reads what it is given.
    fn feed(&self, program: &str, args: &[&str]) -> io::Result<Box<dyn Feed>>;
}

/// A running program and its input.
pub trait Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Ends the input and waits. Whether the program succeeded, and what it wrote.
    fn finish(self: Box<Self>) -> io::Result<(bool, String)>;
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
        judge(program, self.programs.run(program, args))
    }

    /// Starts a program that reads what it is given.
    pub fn feed(&self, program: &str, args: &[&str]) -> Result<Fed, String> {
        let started = self.programs.feed(program, args);
        let feed = started.map_err(|error| format!("{program} cannot be started: {error}"))?;
        Ok(Fed { program: program.to_owned(), feed: Some(feed) })
    }

    /// Everything written is on the media.
    pub fn sync(&self) {
        if self.has_time {
            rustix::fs::sync();
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

/// The entry of that name, in any case, as Windows and FAT find it.
pub fn child(folder: &Path, name: &str) -> Option<PathBuf> {
    names(folder).into_iter().find(|found| found.eq_ignore_ascii_case(name)).map(|found| folder.join(found))
}

/// A program that is given its input.
pub struct Fed {
    program: String,
    feed: Option<Box<dyn Feed>>,
}

impl Fed {
    /// A program that has ended early and well needs no more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(feed) = &mut self.feed else { return Ok(()) };
        match feed.write(bytes) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.end(),
            Err(error) => Err(format!("{} takes no more input: {error}", self.program)),
        }
    }

    /// Waits for its end; a failure is its last line, for an operator.
    pub fn finish(mut self) -> Result<(), String> {
        self.end()
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(feed) = self.feed.take() else { return Ok(()) };
        judge(&self.program, feed.finish()).map(drop)
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        self.end().ok();
    }
}

fn judge(program: &str, ended: io::Result<(bool, String)>) -> Result<String, String> {
    match ended {
        Ok((true, text)) => Ok(text),
        Ok((false, text)) => {
            let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
            Err(format!("{program} failed: {line}"))
        }
        Err(error) => Err(format!("{program} cannot be started: {error}")),
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

const OUTPUT: &str = "/run/shoal-agent-program.log";

impl RealPrograms {
    /// Output goes to a file and not to a pipe: a DHCP client stays in the background and would keep a pipe open.
    fn command(program: &str, args: &[&str]) -> io::Result<Command> {
        let output = fs::File::create(OUTPUT)?;
        let mut command = Command::new(program);
        // The kernel gives its first process no path.
        command.args(args).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdout(output.try_clone()?).stderr(output);
        Ok(command)
    }

    fn output() -> io::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(OUTPUT)?).into_owned())
    }
}

impl Programs for RealPrograms {
    fn run(&self, program: &str, args: &[&str]) -> io::Result<(bool, String)> {
        let status = RealPrograms::command(program, args)?.stdin(Stdio::null()).status()?;
        Ok((status.success(), RealPrograms::output()?))
    }

    fn feed(&self, program: &str, args: &[&str]) -> io::Result<Box<dyn Feed>> {
        let mut child = RealPrograms::command(program, args)?.stdin(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        Ok(Box::new(RealFeed { child, input }))
    }
}

struct RealFeed {
    child: Child,
    input: Option<ChildStdin>,
}

impl Feed for RealFeed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.as_mut().map_or(Ok(()), |input| input.write_all(bytes))
    }

    fn finish(mut self: Box<Self>) -> io::Result<(bool, String)> {
        drop(self.input.take());
        let status = self.child.wait()?;
        Ok((status.success(), RealPrograms::output()?))
    }
}
