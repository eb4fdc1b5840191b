//! Judges what a Linux or Windows job would boot. Pure. Nothing here stops an installation of ESXi, so the worst is a
//! warning.

use super::{Check, CheckFacts, CheckStatus, check, ok, warning};
use crate::doctor::MaintenanceIsoFacts;

const NAME: &str = "maintenance";
const FAILS: &str = "a Linux or Windows job would fail";

pub fn maintenance(facts: &CheckFacts) -> Check {
    let Some(iso) = &facts.maintenance else {
        return check(NAME, CheckStatus::Skipped, "no maintenance ISO is set: only ESXi can be installed");
    };
    let is_single = facts.layout.chosen.as_deref() == Some("single-cd");
    let source = &iso.source;
    if let Some(problem) = iso.problem.as_ref().filter(|_| !iso.is_direct) {
        let found = format!("{FAILS}: the maintenance ISO {source}: {problem}");
        return warning(
            NAME,
            found,
            "set MAINTENANCE_ISO_URL to the path of a maintenance ISO that can be read",
        );
    }
    if iso.is_direct && is_single {
        let found = format!(
            "{FAILS}: with one virtual CD drive the task goes onto the maintenance ISO, and that is at {source}"
        );
        return warning(
            NAME,
            found,
            "set MAINTENANCE_ISO_URL to the path of a file, which the controller serves",
        );
    }
    if let Some(problem) = &iso.refused {
        let found = format!("{FAILS}: this BMC does not accept {source} ({problem})");
        let remedy = "give a URL of a protocol that the BMC supports, or the path of a file, which the controller serves";
        return warning(NAME, found, remedy);
    }
    if !iso.is_direct && is_single && !iso.takes_files {
        let found =
            format!("{FAILS}: {source} has neither Rock Ridge nor Joliet, and has to carry the task's files");
        return warning(
            NAME,
            found,
            "make the ISO with Rock Ridge, or use a server with two virtual CD drives",
        );
    }
    if let Some(problem) = &iso.problem {
        let found = format!("{source} cannot be read from here ({problem}); the BMC fetches it itself");
        return warning(NAME, found, "nothing if the BMC reaches it; otherwise give the path of a file");
    }
    if !iso.is_direct && iso.boots.len() < 2 {
        let found = match iso.boots.first() {
            Some(only) => format!("{source} boots by {only} only: a host in the other mode skips it"),
            None => format!("{FAILS}: {source} has no boot catalogue for BIOS or UEFI"),
        };
        return warning(NAME, found, "use a maintenance ISO that boots by BIOS and UEFI");
    }
    ok(NAME, format!("a Linux or Windows job would boot {source} ({})", how(iso, facts)))
}

fn how(iso: &MaintenanceIsoFacts, facts: &CheckFacts) -> String {
    let kind = match iso.size {
        Some(size) => format!("{} MB, BIOS and UEFI, served by the controller", size / 1_000_000),
        None => "fetched by the BMC, so its reads are not seen".to_owned(),
    };
    match facts.layout.chosen.as_deref() {
        Some("single-cd") => format!("{kind}; the task on the same CD"),
        Some("cd-usb") => format!("{kind}; the task on a USB stick"),
        Some(_) => format!("{kind}; the task on the second CD"),
        None => kind,
    }
}
