//! `cargo xtask rules`: the page of the kickstart rules, from the rule table.
//!
//! A test of the table's crate compares both. Invariant: nothing but the page is written.

use std::path::Path;

use shoal_kickstart::rules::reference;
use xtask::source::ROOT;

use crate::process::{Done, fail};

const PAGE: &str = "docs/kickstart-rules.md";

pub fn write() -> Done {
    std::fs::write(Path::new(ROOT).join(PAGE), reference())
        .or_else(|error| fail(format!("{PAGE} cannot be written: {error}")))
}
