//! The agent as it runs in the maintenance system: without shared libraries.

use crate::process::{Done, command, run};

/// Where it is, once it is built.
pub const STATIC: &str = "target/x86_64-unknown-linux-gnu/release/shoal-agent";
/// With a target named, build scripts and macros are built as always, and only the agent without libraries.
const TARGET: &str = "x86_64-unknown-linux-gnu";

pub fn build() -> Done {
    let build = ["build", "--release", "--locked", "--target", TARGET, "--package", "shoal-agent"];
    run(command("cargo", &build).env("RUSTFLAGS", "-C target-feature=+crt-static"))
}
