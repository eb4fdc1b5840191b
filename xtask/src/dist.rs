//! `cargo xtask dist`: what a release is made of, in `target/dist`.
//!
//! The binary, the agent of the maintenance system, the systemd unit, its documents, the list of what is in it (CycloneDX) and the hashes of
//! all that. It signs and uploads nothing. Invariants: everything is built from the lock file, and every
//! crate that the lock file brings into the binary stands in the list.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use xtask::source::ROOT;

use crate::agent;
use crate::process::{Done, capture, command, fail, has, run};

const CARGO_CYCLONEDX: &str = "cargo-cyclonedx@0.5.9";
/// The only platform whose binary is made.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const OUT: &str = "target/dist";
/// The name of the list while it is made, without its ending.
const LIST: &str = "shoal.cdx";
const FILES: [&str; 11] = [
    "target/release/shoal",
    agent::STATIC,
    "dist/shoal.service",
    "dist/prometheus/shoal.rules.yml",
    "dist/grafana/shoal.json",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "docs/operations.md",
    "docs/api.md",
    "docs/security.md",
];

/// The worst exposure that the unit may have, in tenths; it has 12.
const EXPOSURE_MAX: &str = "--threshold=15";

pub fn release() -> Done {
    sandbox()?;
    let out = Path::new(ROOT).join(OUT);
    if out.exists() {
        fs::remove_dir_all(&out).or_else(|error| failed("empty", &out, &error))?;
    }
    fs::create_dir_all(&out).or_else(|error| failed("make", &out, &error))?;
    run(&mut command("cargo", &["build", "--release", "--locked", "--package", "shoal", "--bin", "shoal"]))?;
    agent::build()?;
    for file in FILES {
        copy(&Path::new(ROOT).join(file), &out)?;
    }
    let parts = bill_of_materials(&out.join("shoal.cdx.json"))?;
    hashes(&out)?;
    println!("{OUT}: the release, with a list of the {parts} crates in it");
    Ok(())
}

/// Whether the unit is still as closed as docs/security.md says.
fn sandbox() -> Done {
    if !has("systemd-analyze") {
        println!("the unit's sandbox is not measured: systemd-analyze is not here");
        return Ok(());
    }
    understood()?;
    let security = ["security", "--offline=true", "--no-pager", EXPOSURE_MAX, "dist/shoal.service"];
    let table = capture(&mut command("systemd-analyze", &security))?;
    println!("{}", table.lines().last().unwrap_or_default());
    Ok(())
}

/// Whether systemd knows every line of the unit, which it otherwise passes over with a warning. The binary
/// is not in its place on a machine that makes a release, so one that is stands in for it.
fn understood() -> Done {
    let unit = Path::new(ROOT).join("dist/shoal.service");
    let text = fs::read_to_string(&unit).or_else(|error| failed("read", &unit, &error))?;
    let checked = Path::new(ROOT).join("target/shoal.service");
    let text = text.replace("/usr/local/bin/shoal", "/bin/true");
    fs::write(&checked, text).or_else(|error| failed("write", &checked, &error))?;
    let mut verify = command("systemd-analyze", &["verify", "--man=no"]);
    let output = match verify.arg(&checked).output() {
        Ok(output) => output,
        Err(error) => return failed("verify", &checked, &error),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() && said.trim().is_empty() {
        true => Ok(()),
        false => fail(format!("systemd does not understand dist/shoal.service: {}", said.trim())),
    }
}

fn failed<T>(doing: &str, path: &Path, error: &std::io::Error) -> Done<T> {
    fail(format!("cannot {doing} {}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Done {
    let name = from.file_name().unwrap_or_default();
    fs::copy(from, to.join(name)).map(drop).or_else(|error| failed("copy", from, &error))
}

/// Writes the list and compares it with what cargo links; gives the number of its crates.
fn bill_of_materials(to: &Path) -> Done<usize> {
    if !has("cargo-cyclonedx") {
        run(&mut command("cargo", &["install", "--locked", CARGO_CYCLONEDX]))?;
    }
    let format = ["--format", "json", "--spec-version", "1.5", "--override-filename", LIST];
    let what = ["--manifest-path", "Cargo.toml", "--target", TARGET, "--no-build-deps"];
    run(command("cargo", &["cyclonedx"]).args(format).args(what))?;
    // One is written beside every manifest of the workspace; the chores are in no release.
    let made = Path::new(ROOT).join(format!("{LIST}.json"));
    let _not_there = fs::remove_file(Path::new(ROOT).join("xtask").join(format!("{LIST}.json")));
    let text = fs::read_to_string(&made).or_else(|error| failed("read", &made, &error))?;
    fs::rename(&made, to).or_else(|error| failed("move", &made, &error))?;
    let listed = listed(&text)?;
    let missing: Vec<String> = in_binary()?.difference(&listed).cloned().collect();
    if !missing.is_empty() {
        return fail(format!("{} leaves out what is in the binary: {}", to.display(), missing.join(", ")));
    }
    Ok(listed.len())
}

/// `name version` of every component of a CycloneDX list.
fn listed(text: &str) -> Done<BTreeSet<String>> {
    let list: Value =
        serde_json::from_str(text).or_else(|error| fail(format!("the list is no JSON: {error}")))?;
    let components = list["components"].as_array().into_iter().flatten();
    let part = |component: &Value| {
        let text = |key: &str| component[key].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("name"), text("version"))
    };
    Ok(components.map(part).collect())
}

/// The same of the crates that are linked into the binary, by cargo's own word.
fn in_binary() -> Done<BTreeSet<String>> {
    let tree = ["tree", "--locked", "--package", "shoal", "--edges", "normal", "--target", TARGET];
    let text = capture(command("cargo", &tree).args(["--prefix", "none", "--format", "{p}"]))?;
    let part = |line: &str| {
        let mut words = line.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?.trim_start_matches('v')))
    };
    let is_own = |line: &&str| line.starts_with("shoal ") || line.contains("(proc-macro)");
    Ok(text.lines().filter(|line| !is_own(line)).filter_map(part).collect())
}

fn hashes(out: &Path) -> Done {
    let entries = fs::read_dir(out).or_else(|error| failed("read", out, &error))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let text = capture(command("sha256sum", &[]).args(&names).current_dir(out))?;
    let file = out.join("SHA256SUMS");
    fs::write(&file, text).or_else(|error| failed("write", &file, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_by_names_and_versions() {
        let list = r#"{"components": [{"name": "axum", "version": "0.8.9"}, {"name": "ring", "version": "0.17.14"}]}"#;
        let parts = listed(list).expect("it is JSON");
        assert!(parts.contains("axum 0.8.9") && parts.len() == 2);
        assert!(listed("[").is_err());
    }
}
