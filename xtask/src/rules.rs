//! `cargo xtask rules`: the pages of the kickstart rules, from the rule table.
//!
//! A test of the table's crate compares both. Invariant: nothing but these pages is written, and the folder of the
//! rules' own pages holds nothing else.

use std::fs;
use std::path::Path;

use shoal_kickstart::rules::{FOLDER, all, page, reference};
use xtask::source::ROOT;

use crate::process::{Done, fail};

pub fn write() -> Done {
    let docs = Path::new(ROOT).join("docs");
    let folder = docs.join(FOLDER);
    // It is absent the first time.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).or_else(|error| fail(format!("{} cannot be made: {error}", folder.display())))?;
    put(&docs.join("kickstart-rules.md"), &reference())?;
    for rule in all() {
        put(&folder.join(format!("{}.md", rule.id)), &page(rule))?;
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> Done {
    fs::write(path, text).or_else(|error| fail(format!("{} cannot be written: {error}", path.display())))
}
