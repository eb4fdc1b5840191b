//! Virtual environments below `target/`, each made once from a locked list and used until the list changes.
//!
//! Invariant: what is installed is what was locked, by its hash; an environment that was not finished is
//! made anew.

use std::path::{Path, PathBuf};

use super::driver::home;
use crate::process::{Done, capture, command, fail, run};

/// One environment: what must be in it, with the hash of every file.
pub struct Locked {
    pub name: &'static str,
    pub requirements: &'static str,
}

/// Debian's own interpreter, which its `python3-venv` belongs to; elsewhere whichever there is.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// Makes the environment unless it is there as it should be.
pub fn ensure(locked: &Locked) -> Done {
    let place = place(locked);
    // Written last, so that it is there only where all else is.
    let (mark, wanted) = (place.join("made-from"), mark(locked)?);
    if std::fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    eprintln!("{}: a virtual environment is made, once", place.display());
    if place.exists() {
        std::fs::remove_dir_all(&place).or_else(|error| fail(format!("{}: {error}", place.display())))?;
    }
    let at = place.to_string_lossy();
    run(&mut command(system_python(), &["-m", "venv", &at]))?;
    let list = place.join("requirements.txt");
    write(&list, locked.requirements)?;
    let pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
    let mut pip = command(&interpreter(locked).to_string_lossy(), &pip);
    // A list names all that is needed, and nothing that a program does not use here.
    run(pip.args(["--require-hashes", "--no-deps", "--requirement"]).arg(&list))?;
    write(&mark, &wanted)
}

/// The environment's Python.
pub fn interpreter(locked: &Locked) -> PathBuf {
    place(locked).join("bin/python")
}

fn place(locked: &Locked) -> PathBuf {
    home().join("python").join(locked.name)
}

/// Another list or another interpreter makes another environment.
fn mark(locked: &Locked) -> Done<String> {
    let version = capture(&mut command(system_python(), &["--version"]))?;
    Ok(format!("{version}{}", locked.requirements))
}

fn system_python() -> &'static str {
    if Path::new(SYSTEM_PYTHON).is_file() { SYSTEM_PYTHON } else { "python3" }
}

fn write(path: &Path, text: &str) -> Done {
    std::fs::write(path, text).or_else(|error| fail(format!("{}: {error}", path.display())))
}
