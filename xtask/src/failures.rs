//! `cargo xtask failures`: the page of the failure codes, from their table in the controller.
//!
//! An example of the controller prints it, so that no chore has to be built with the controller in it. A test of the
//! table compares both.

use std::fs;
use std::path::Path;

use xtask::source::ROOT;

use crate::process::{Done, capture, command, fail};

pub fn write() -> Done {
    let arguments = ["run", "--quiet", "--locked", "--package", "shoal", "--example", "failure_reference"];
    let page = capture(&mut command("cargo", &arguments))?;
    let path = Path::new(ROOT).join("docs/failures.md");
    fs::write(&path, page).or_else(|error| fail(format!("{} cannot be written: {error}", path.display())))
}
