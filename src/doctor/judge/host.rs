//! Judges the host behind the BMC: who it is, its power, boot, reset, and what it shows of boots. Pure.

use super::{Check, CheckFacts, CheckStatus, check, failed, ok, warning};
use crate::doctor::SystemSeen;

pub fn identity(facts: &CheckFacts) -> Check {
    if let Some(trouble) = &facts.system_problem {
        let remedy = "correct bmc_address or the serial number of the record; where the BMC reports none, give it \
                      system_uuid or system_id";
        return failed("identity", trouble.text.clone(), remedy);
    }
    let Some(system) = &facts.system else {
        return check("identity", CheckStatus::Skipped, "no system was read");
    };
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let firmware =
        [&system.bmc_model, &system.bmc_firmware].into_iter().flatten().cloned().collect::<Vec<_>>();
    let firmware = if firmware.is_empty() { "unknown".to_owned() } else { firmware.join(" ") };
    let vendor = system.manufacturer.clone().or_else(|| facts.vendor.clone());
    let model = known(&system.model);
    let name = match vendor.filter(|vendor| !model.starts_with(vendor.as_str())) {
        Some(vendor) => format!("{vendor} {model}"),
        None => model,
    };
    let tag = system.service_tag.as_ref().map(|tag| format!(", service tag {tag}")).unwrap_or_default();
    let found = format!("{name}, serial number {}{tag}; BMC {firmware}", known(&system.serial));
    let Some(expected) = &facts.expected_serial else { return of_no_record(system, found) };
    let is_it = |shown: &Option<String>| shown.as_ref().is_some_and(|shown| shown.trim() == expected);
    let by = match () {
        () if is_it(&system.serial) => "the one of the record",
        () if is_it(&system.service_tag) => "its service tag is the serial number of the record",
        () => "matched by system_uuid or system_id",
    };
    ok("identity", format!("{found}: {by}"))
}

/// The server of an address that no record names.
fn of_no_record(system: &SystemSeen, found: String) -> Check {
    match system.serial.as_ref().or(system.service_tag.as_ref()) {
        Some(_) => ok("identity", found),
        None => warning(
            "identity",
            found,
            format!(
                "give its record a system_id ({}){}",
                system.id,
                system.uuid.as_ref().map(|uuid| format!(" or system_uuid ({uuid})")).unwrap_or_default()
            ),
        ),
    }
}

pub fn power(facts: &CheckFacts) -> Check {
    match facts.system.as_ref().and_then(|system| system.power.as_deref()) {
        Some("On") => warning(
            "power",
            "On: an installation shuts down what runs there",
            "make sure that nothing on it is needed; with ALLOW_POWERED_ON=false a recipe must say allow_powered_on",
        ),
        Some("Off") => ok("power", "Off"),
        Some(other) => warning("power", format!("{other} just now"), "look again when it is On or Off"),
        None => {
            warning("power", "the BMC reports no PowerState", "a verdict needs it: update the BMC's firmware")
        }
    }
}

pub fn boot(facts: &CheckFacts) -> Check {
    match (&facts.plan.boot.how, &facts.plan.boot.problem) {
        (Some(how), _) => armed(facts, how),
        (None, problem) => failed(
            "boot",
            problem.clone().unwrap_or_else(|| "the one-time boot is not known".to_owned()),
            "update the BMC's firmware, or allow the virtual CD as a boot device in the host's set-up; a BMC without \
             a one-time boot override cannot be used",
        ),
    }
}

/// An override that a job, or an operator, has left armed.
fn armed(facts: &CheckFacts, how: &str) -> Check {
    let Some(armed) = &facts.armed else { return ok("boot", how) };
    let occupied: Vec<&str> =
        facts.slots.iter().filter(|slot| slot.occupied).map(|slot| slot.id.as_str()).collect();
    let media = match occupied.as_slice() {
        [] => "no virtual drive holds an image".to_owned(),
        ids => format!(
            "with an image in {}: the next start of the host may boot and install it",
            ids.join(" and ")
        ),
    };
    warning(
        "boot",
        format!("{how}; a boot override is armed ({armed}), {media}"),
        "unless a job is at work: clear it before the host is started, with `shoal server release SERIAL` or in the BMC's \
         own interface",
    )
}

pub fn reset(facts: &CheckFacts) -> Check {
    match (&facts.plan.reset.how, &facts.plan.reset.problem) {
        (Some(how), _) => ok("reset", how.clone()),
        (None, problem) => failed(
            "reset",
            problem.clone().unwrap_or_else(|| "the reset is not known".to_owned()),
            "give the account the right to control power, or update the BMC's firmware",
        ),
    }
}

/// What a success can be worth without a hook.
pub fn confidence(facts: &CheckFacts) -> &'static str {
    if facts.sources.is_empty() { "assumed" } else { "probable" }
}

pub fn evidence(facts: &CheckFacts) -> Check {
    if facts.sources.is_empty() {
        let streams = match facts.probe.as_ref().filter(|probe| probe.insert_error.is_none() && probe.shown) {
            Some(probe) if probe.wholes > 0 => {
                "; and its reads show nothing, since it downloads images whole"
            }
            Some(_) => "; the host's reads of CD1 may still show a second boot",
            None => "; if it streams its media, the host's reads of CD1 may still show a second boot",
        };
        return warning(
            "evidence",
            format!("no source shows a second boot: a success is assumed{streams}"),
            "ask for completion_hook: poweroff, or give a management_address: then it can be proven",
        );
    }
    let shown: Vec<String> = facts
        .sources
        .iter()
        .map(|source| format!("{} ({}), {}", source.name, source.value, worth(&source.name)))
        .collect();
    ok("evidence", format!("{}; a success is probable, and proven with a hook", shown.join("; ")))
}

/// What one source is worth (docs/verdicts.md).
fn worth(name: &str) -> &'static str {
    match name {
        "BootProgress" => "falls back at each boot",
        "LastResetTime" => "changes at each boot, and shows one that happened unobserved",
        "PostState" => "falls back at each boot, seen only while it is polled",
        "NumberOfReboots" => "counts boots, and shows one that happened unobserved",
        "LastBootTimeSeconds" => "differs after most boots, so its silence means nothing",
        _ => "of unknown worth",
    }
}
