//! `cargo xtask dist --check-reproducible`: the release for one platform made a second time, and compared.
//!
//! In another folder, with other places for cargo's files, another umask, time zone and number of jobs. Invariant: it uses
//! nothing that the first one made but the sources.

use std::path::Path;

use xtask::source::ROOT;

use super::{EPOCH, OUT, empty, epoch, failed, read, root};
use crate::process::{Done, capture, command, fail, run};

const PLACE: &str = "target/again";
/// The platform that is made a second time; the other one is made by the same code.
const PLATFORM: &str = "amd64";

pub fn compare() -> Done {
    let first = Path::new(ROOT).join(OUT).join("SHA256SUMS");
    if !first.is_file() {
        return fail("there is nothing to compare with: run `cargo xtask dist` first");
    }
    // The copy is made of what is committed or staged, and the first release of what is in the folder.
    if !capture(&mut command("git", &["diff", "--name-only"]))?.is_empty() {
        return fail(
            "files have changed since they were staged: commit, run `cargo xtask dist`, then compare",
        );
    }
    let place = root()?.join(PLACE);
    empty(&place)?;
    let copy = place.join("elsewhere/shoal");
    run(command("git", &["checkout-index", "--all", "--prefix"]).arg(format!("{}/", copy.display())))?;
    let cargo_home = place.join("cargo-home");
    std::os::unix::fs::symlink(home("CARGO_HOME", ".cargo")?, &cargo_home)
        .or_else(|error| failed("link", &cargo_home, &error))?;
    let mut again = command("sh", &["-c", "umask 077 && exec cargo xtask dist \"$0\"", PLATFORM]);
    again
        .current_dir(&copy)
        .env("CARGO_HOME", &cargo_home)
        .env("RUSTUP_HOME", home("RUSTUP_HOME", ".rustup")?);
    run(again.env(EPOCH, epoch()?).env("TZ", "Asia/Kathmandu").env("CARGO_BUILD_JOBS", "3"))?;
    let (first, second) = (read(&first)?, read(&copy.join(OUT).join("SHA256SUMS"))?);
    let differing: Vec<&str> =
        second.lines().filter(|line| !first.lines().any(|other| other == *line)).collect();
    match differing.is_empty() {
        true => {
            println!("the same bytes a second time:\n{second}");
            empty(&place)
        }
        false => {
            fail(format!("other bytes the second time; both are left in place: {}", differing.join(", ")))
        }
    }
}

fn home(variable: &str, folder: &str) -> Done<std::path::PathBuf> {
    match (std::env::var_os(variable), std::env::var_os("HOME")) {
        (Some(given), _) => Ok(given.into()),
        (None, Some(home)) => Ok(Path::new(&home).join(folder)),
        (None, None) => fail(format!("neither {variable} nor HOME is set")),
    }
}
