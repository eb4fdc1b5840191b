//! Programs as the chores run them: in the project's root, named in every error.
//!
//! Not a shell: no quoting, no globbing. Invariant: nothing fails silently.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use xtask::source::ROOT;

/// Why a chore ended, in a sentence for its user.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub type Done<T = ()> = Result<T, Failure>;

pub fn fail<T>(sentence: impl Into<String>) -> Done<T> {
    Err(Failure(sentence.into()))
}

/// A program with its arguments, to be run in the project's root.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(ROOT);
    forget_own_package(&mut command);
    command
}

/// The variables that cargo sets for this program's own package make build scripts that watch such variables run anew
/// (ring's does), and with them a third of all dependencies be compiled, each time.
fn forget_own_package(command: &mut Command) {
    let is_own = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    let own = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_str().is_some_and(is_own));
    for name in own {
        command.env_remove(name);
    }
}

/// Runs a program whose output people read as it comes.
pub fn run(command: &mut Command) -> Done {
    announce(command);
    let status = command.stdin(Stdio::null()).status();
    match status.map_err(|error| cannot_start(command, &error))? {
        status if status.success() => Ok(()),
        status => fail(format!("`{}` failed ({status})", shown(command))),
    }
}

/// Runs a program for its standard output.
pub fn capture(command: &mut Command) -> Done<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| cannot_start(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let (status, said) = (output.status, String::from_utf8_lossy(&output.stderr).into_owned());
    fail(format!("`{}` failed ({status}): {}", shown(command), said.trim()))
}

/// Runs a program whose output is passed on line by line, and seen by `watch` too. Says whether it
/// succeeded.
pub fn tee(command: &mut Command, watch: impl FnMut(&str) + Send) -> Done<bool> {
    announce(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| cannot_start(command, &error))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let watch = Mutex::new(watch);
    std::thread::scope(|scope| {
        scope.spawn(|| pass_on(out, std::io::stdout(), &watch));
        scope.spawn(|| pass_on(err, std::io::stderr(), &watch));
    });
    let status = child.wait().map_err(|error| cannot_start(command, &error))?;
    Ok(status.success())
}

fn pass_on(from: Option<impl std::io::Read>, mut to: impl Write, watch: &Mutex<impl FnMut(&str)>) {
    let Some(from) = from else { return };
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        // The reader of the output may have gone; the program still runs to its end.
        let _ = writeln!(to, "{line}");
        (watch.lock().expect("no watcher panics"))(&line);
    }
}

/// Whether a program is on the PATH.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn announce(command: &Command) {
    eprintln!("$ {}", shown(command));
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command, error: &std::io::Error) -> Failure {
    Failure(format!("`{}` cannot be run: {error}", shown(command)))
}
