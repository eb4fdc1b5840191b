//! `cargo xtask ci`: what a change must pass, cheapest first, the tests last.
//!
//! Not a second set of rules: each step is a command that anyone can run alone. Invariant: the run
//! stops at the first step that fails, and the last lines are those of the tests.

use std::time::Instant;

use crate::process::{Done, command, has, run};
use crate::test;

const CARGO_DENY: &str = "cargo-deny@0.20.2";

pub fn check() -> Done {
    let start = Instant::now();
    run(&mut command("cargo", &["fmt", "--all", "--check"]))?;
    run(&mut command("cargo", &["fetch", "--locked"]))?;
    lints()?;
    dependencies()?;
    documentation()?;
    println!("checks passed after {:.0} s", start.elapsed().as_secs_f64());
    test::run(&test::Options { all: true, lab: true, outside: true, profile: "ci" })
}

fn lints() -> Done {
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    run(&mut command("cargo", &clippy))
}

/// Licences, bans and sources by deny.toml. Advisories are left out: they need a database from a
/// network that a build machine may not have.
fn dependencies() -> Done {
    if !has("cargo-deny") {
        // Unoptimised: it is built for longer than it runs.
        run(&mut command("cargo", &["install", "--locked", "--debug", CARGO_DENY]))?;
    }
    println!("advisories: not checked here; run `cargo deny check advisories` where the network allows");
    run(&mut command("cargo", &["deny", "--offline", "--locked", "check", "licenses", "bans", "sources"]))
}

fn documentation() -> Done {
    let mut doc =
        command("cargo", &["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
    run(doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
}
