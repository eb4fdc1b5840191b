//! `shoal_VERSION-1_PLATFORM.deb`, by cargo-deb from `[package.metadata.deb]` in Cargo.toml and the staged tree.
//!
//! Its maintainer scripts are those of `dist/debian/` with debhelper's parts for units in them.

use std::path::Path;

use xtask::source::ROOT;

use super::binaries::{PROFILE, Platform};
use super::{Release, capture, read, root, write};
use crate::process::{Done, command, fail, has, run};

const CARGO_DEB: &str = "cargo-deb@3.8.0";

pub fn make(release: &Release, platform: Platform) -> Done {
    if !has("cargo-deb") {
        run(&mut command("cargo", &["install", "--locked", CARGO_DEB]))?;
    }
    let date =
        capture(&mut command("date", &["--utc", "--rfc-email", &format!("--date=@{}", release.epoch)]))?;
    let changelog = changelog(&release.version, &maintainer()?, date.trim());
    write(&root()?.join("target/staged/debian/changelog"), &changelog)?;
    let built = ["deb", "--no-build", "--no-strip", "--profile", PROFILE, "--target", platform.target()];
    let mut deb = command("cargo", &built);
    run(deb.arg("--output").arg(&release.out).env("SOURCE_DATE_EPOCH", &release.epoch))
}

/// Name and address, of the manifest.
fn maintainer() -> Done<String> {
    let manifest = read(&Path::new(ROOT).join("Cargo.toml"))?;
    let given = |line: &str| Some(line.strip_prefix("maintainer = \"")?.strip_suffix('"')?.to_owned());
    match manifest.lines().find_map(given) {
        Some(maintainer) => Ok(maintainer),
        None => fail("[package.metadata.deb] of Cargo.toml names no maintainer"),
    }
}

/// In Debian's form; what has changed is in the project's own.
fn changelog(version: &str, maintainer: &str, date: &str) -> String {
    format!(
        "shoal ({version}-1) stable; urgency=medium\n\n  * Release {version}: see /usr/share/doc/shoal/CHANGELOG.md\n\n \
         -- {maintainer}  {date}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_has_a_maintainer_with_a_reserved_address() {
        let maintainer = maintainer().expect("the manifest names one");
        assert!(maintainer.ends_with(".invalid>") && maintainer.contains(" <"), "{maintainer}");
    }

    #[test]
    fn a_maintainer_script_is_shell_and_has_the_place_for_debhelpers_part() {
        for script in ["postinst", "postrm"] {
            let path = Path::new(ROOT).join("dist/debian").join(script);
            let text = read(&path).expect("the script is there");
            assert_eq!(text.lines().filter(|line| *line == "#DEBHELPER#").count(), 1, "{script}");
            assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{script}");
            capture(command("sh", &["-n"]).arg(&path)).expect("it is shell");
        }
    }

    #[test]
    fn what_the_manifest_packages_is_staged() {
        let manifest = read(&Path::new(ROOT).join("Cargo.toml")).expect("the manifest is there");
        let assets = manifest.lines().filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next());
        let assets: Vec<&str> = assets.collect();
        assert_eq!(assets.len(), 4, "{assets:?}");
        for asset in assets {
            assert!(asset == "target/release/shoal" || asset.starts_with("target/staged/"), "{asset}");
        }
    }
}
