//! The list of what is in a release (CycloneDX), compared with what cargo links.
//!
//! Invariant: it holds neither a time, a random number nor a path of the machine that made it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use xtask::source::ROOT;

use super::binaries::Platform;
use super::{failed, read, root, write};
use crate::process::{Done, capture, command, fail, has, run};

const CARGO_CYCLONEDX: &str = "cargo-cyclonedx@0.5.9";
/// The name of the list while it is made, without its ending.
const LIST: &str = "shoal.cdx";
/// Both platforms link the same crates.
const TARGET: &str = Platform::Amd64.target();

/// Writes the list and compares it with what cargo links; gives the number of its crates.
pub fn of_materials(to: &Path) -> Done<usize> {
    if !has("cargo-cyclonedx") {
        run(&mut command("cargo", &["install", "--locked", CARGO_CYCLONEDX]))?;
    }
    let format = ["--format", "json", "--spec-version", "1.5", "--override-filename", LIST];
    let what = ["--manifest-path", "Cargo.toml", "--target", TARGET, "--no-build-deps"];
    run(command("cargo", &["cyclonedx"]).args(format).args(what))?;
    let text = take()?;
    let listed = listed(&text)?;
    let missing: Vec<String> = in_binary()?.difference(&listed).cloned().collect();
    if !missing.is_empty() {
        return fail(format!("{} leaves out what is in the binary: {}", to.display(), missing.join(", ")));
    }
    write(to, &reproducible(&text, &root()?)?)?;
    Ok(listed.len())
}

/// One is written beside every manifest of the workspace, and that of the controller is wanted.
fn take() -> Done<String> {
    let file = |folder: &Path| folder.join(format!("{LIST}.json"));
    let own = file(Path::new(ROOT));
    let text = read(&own)?;
    let crates = Path::new(ROOT).join("crates");
    let others = super::names(&crates)?.into_iter().map(|name| crates.join(name));
    for folder in others.chain([Path::new(ROOT).join("xtask")]) {
        let _not_there = fs::remove_file(file(&folder));
    }
    fs::remove_file(&own).or_else(|error| failed("remove", &own, &error))?;
    Ok(text)
}

/// Without what differs from run to run and from machine to machine. Cargo's id of a package has its name only where its
/// folder has another one.
fn reproducible(text: &str, root: &Path) -> Done<String> {
    let place = format!("file://{}", root.display());
    let text = text.replace(&format!("{place}#shoal@"), "file:///shoal#").replace(&place, "file:///shoal");
    let mut list: Value = parse(&text)?;
    if let Some(top) = list.as_object_mut() {
        top.remove("serialNumber");
    }
    if let Some(metadata) = list["metadata"].as_object_mut() {
        metadata.remove("timestamp");
    }
    Ok(format!("{list:#}\n"))
}

fn parse(text: &str) -> Done<Value> {
    serde_json::from_str(text).or_else(|error| fail(format!("the list is no JSON: {error}")))
}

/// `name version` of every component of a CycloneDX list.
fn listed(text: &str) -> Done<BTreeSet<String>> {
    let list = parse(text)?;
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

    #[test]
    fn a_list_shows_neither_when_nor_where_it_was_made() {
        let made = r#"{"serialNumber": "urn:uuid:1", "metadata": {"timestamp": "2026", "name": "file:///somewhere/a/shoal"}}"#;
        let kept = reproducible(made, Path::new("/somewhere/a")).expect("it is JSON");
        assert_eq!(
            parse(&kept).expect("it is JSON"),
            parse(r#"{"metadata": {"name": "file:///shoal/shoal"}}"#).expect("it is JSON")
        );
    }

    #[test]
    fn a_package_has_the_same_id_whatever_its_folder_is_called() {
        let kept = |place: &str, id: &str| {
            reproducible(&format!(r#"{{"ref": "path+file://{place}{id}"}}"#), Path::new(place))
        };
        let expected = kept("/a/shoal", "#0.1.0").expect("it is JSON");
        assert_eq!(kept("/a/work", "#shoal@0.1.0").expect("it is JSON"), expected);
        assert!(expected.contains("path+file:///shoal#0.1.0"), "{expected}");
    }
}
