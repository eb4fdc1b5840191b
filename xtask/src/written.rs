//! `cargo xtask failures` and `cargo xtask settings`: files that are written from a table in the controller.
//!
//! An example of the controller prints each, so that no chore has to be built with the controller in it. A test of the
//! table compares both.

use std::fs;
use std::path::Path;

use xtask::source::ROOT;

use crate::process::{Done, capture, command, fail};

/// The page of the failure codes.
pub fn failures() -> Done {
    write("failure_reference", "docs/failures.md")
}

/// The settings file that packages install.
pub fn settings() -> Done {
    write("settings_sample", "dist/shoal.toml")
}

fn write(example: &str, file: &str) -> Done {
    let arguments = ["run", "--quiet", "--locked", "--package", "shoal", "--example", example];
    let text = capture(&mut command("cargo", &arguments))?;
    let path = Path::new(ROOT).join(file);
    fs::write(&path, text).or_else(|error| fail(format!("{} cannot be written: {error}", path.display())))
}
