//! The agent as it runs in the maintenance system: without shared libraries, and with the C library of releases (musl).
//!
//! Where the toolchain has no musl and cannot get it, it is linked with glibc instead, and that is said.

use std::path::PathBuf;

use crate::process::{Done, capture, command, has, run};

const MUSL: &str = "x86_64-unknown-linux-musl";
const GLIBC: &str = "x86_64-unknown-linux-gnu";

/// Builds it, and returns where it is.
pub fn build() -> Done<PathBuf> {
    let has_musl = has("musl-gcc") && available(MUSL).is_ok();
    let (target, flags) = if has_musl { (MUSL, "") } else { (GLIBC, "-C target-feature=+crt-static") };
    if !has_musl {
        eprintln!("the agent is linked with glibc, unlike that of a release: {MUSL} or musl-gcc is missing");
    }
    // With a target named, build scripts and macros are built as always, and only the agent without libraries.
    let build = ["build", "--release", "--locked", "--target", target, "--package", "shoal-agent"];
    run(command("cargo", &build).env("RUSTFLAGS", flags))?;
    Ok(PathBuf::from(format!("target/{target}/release/shoal-agent")))
}

/// The standard library for a target, from the toolchain's own distribution.
pub fn available(target: &str) -> Done {
    let installed = capture(&mut command("rustup", &["target", "list", "--installed"]))?;
    match installed.lines().any(|line| line == target) {
        true => Ok(()),
        false => run(&mut command("rustup", &["target", "add", target])),
    }
}
