//! The systemd unit: whether it is as closed as docs/security.md says, and its form in packages.
//!
//! Invariant: `dist/shoal.service` is the only source; a package's unit differs in paths and in a group alone.

use xtask::source::ROOT;

use super::{Path, capture, failed, read, write};
use crate::process::{Done, command, fail, has};

const UNIT: &str = "dist/shoal.service";
/// Where the unit's head has an operator install the binary.
const BY_HAND: &str = "/usr/local/bin/shoal";
/// The worst exposure that the unit may have, in tenths; it has 12.
const EXPOSURE_MAX: &str = "--threshold=15";

/// What stands before `[Unit]` in a package.
const HEAD: &str = "\
# Installed by the package `shoal`. What a site adds belongs into `systemctl edit shoal`.

";

/// Whether the unit is as closed as it should be, and understood.
pub fn check() -> Done {
    if !has("systemd-analyze") {
        println!("the unit's sandbox is not measured: systemd-analyze is not here");
        return Ok(());
    }
    understood()?;
    let security = ["security", "--offline=true", "--no-pager", EXPOSURE_MAX, UNIT];
    let table = capture(&mut command("systemd-analyze", &security))?;
    println!("{}", table.lines().last().unwrap_or_default());
    Ok(())
}

/// Whether systemd knows every line of the unit, which it otherwise passes over with a warning. The binary
/// is not in its place on a machine that makes a release, so one that is stands in for it.
fn understood() -> Done {
    let checked = Path::new(ROOT).join("target/shoal.service");
    write(&checked, &text()?.replace(BY_HAND, "/bin/true"))?;
    let mut verify = command("systemd-analyze", &["verify", "--man=no"]);
    let output = match verify.arg(&checked).output() {
        Ok(output) => output,
        Err(error) => return failed("verify", &checked, &error),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() && said.trim().is_empty() {
        true => Ok(()),
        false => fail(format!("systemd does not understand {UNIT}: {}", said.trim())),
    }
}

fn text() -> Done<String> {
    read(&Path::new(ROOT).join(UNIT))
}

/// As packages install it.
pub fn packaged() -> Done<String> {
    in_package(&text()?)
}

/// The binary is in `/usr/bin`, and a group that the package makes may read TLS keys and passwords in files.
fn in_package(text: &str) -> Done<String> {
    let Some(start) = text.find("[Unit]") else {
        return fail(format!("{UNIT} has no [Unit]"));
    };
    let body = text[start..].replace(BY_HAND, "/usr/bin/shoal");
    let group = body.replace("\nDynamicUser=yes\n", "\nDynamicUser=yes\nSupplementaryGroups=shoal-files\n");
    match group.contains("ExecStart=/usr/bin/shoal ") && group != body {
        true => Ok(format!("{HEAD}{group}")),
        false => fail(format!("{UNIT} has no ExecStart={BY_HAND} or no DynamicUser=yes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_its_own_path_and_group() {
        let unit = packaged().expect("the unit has what is replaced");
        assert!(unit.contains("\nExecStart=/usr/bin/shoal serve --config /etc/shoal/shoal.toml\n"), "{unit}");
        assert!(
            unit.contains("\nSupplementaryGroups=shoal-files\n") && !unit.contains("/usr/local"),
            "{unit}"
        );
    }

    #[test]
    fn a_unit_without_what_is_replaced_is_refused() {
        for wrong in ["", "[Unit]\n", "[Unit]\nExecStart=/usr/local/bin/shoal serve\n"] {
            assert!(in_package(wrong).is_err(), "{wrong}");
        }
    }
}
