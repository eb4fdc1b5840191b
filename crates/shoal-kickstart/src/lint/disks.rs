//! Which disk is installed, cleared and partitioned.
//!
//! Whether a host has the disk is not known here. Invariant: what depends on the host's disks is
//! `dangerous` and never `breaks`.

use super::Lint;
use crate::commands::DISK;
use crate::rules;
use crate::syntax::Command;

const INSTALLS: [&str; 2] = ["install", "installorupgrade"];
const CLEARPART: [&str; 5] = ["--drives", "--alldrives", "--all", "--ignoredrives", "--firstdisk"];
/// Boot devices that are SSDs, by parts of their models.
const SSD_MODELS: [&str; 3] = ["BOSS", "NS204I", "NVME"];

pub fn check(lint: &mut Lint<'_, '_>) {
    for command in lint.commands(&["install", "installorupgrade", "upgrade"]) {
        choice(lint, command);
        names(lint, command);
        first_disk(lint, command);
    }
    for command in lint.commands(&["install"]) {
        vmfs(lint, command);
    }
    for command in lint.commands(&INSTALLS) {
        ssd(lint, command);
        if let Some(arg) = command.option(&["--overwritevsan"]) {
            lint.report_title(&rules::OVERWRITEVSAN, &arg.word.span);
        }
    }
    for command in lint.commands(&["clearpart"]) {
        clearpart(lint, command);
    }
    for command in lint.commands(&["part", "partition"]) {
        part(lint, command);
    }
    needs_install(lint);
}

fn choice(lint: &mut Lint<'_, '_>, command: &Command) {
    let chosen =
        command.args.iter().filter(|arg| arg.option.as_deref().is_some_and(|option| DISK.contains(&option)));
    let chosen: Vec<_> = chosen.collect();
    match chosen.as_slice() {
        [] => lint.report_title(&rules::NO_DISK, &command.name.span),
        [_, second, ..] => lint.report_title(&rules::TWO_DISKS, &second.word.span),
        _ => {}
    }
}

fn names(lint: &mut Lint<'_, '_>, command: &Command) {
    let Some(arg) = command.option(&["--disk", "--drive"]) else { return };
    let name = arg.value.as_deref().unwrap_or_default().trim();
    let bare = name.strip_prefix("/vmfs/devices/disks/").unwrap_or(name);
    if bare.is_empty() {
        lint.report(&rules::DISK_NAME, &arg.word.span, "the disk name after `=` is empty");
    } else if !is_name(bare) {
        lint.report_title(&rules::DISK_NAME, &arg.word.span);
    } else if ["mpx.", "vml.", "vmhba"].iter().any(|start| bare.starts_with(start)) {
        lint.report_title(&rules::DISK_NOT_DURABLE, &arg.word.span);
    }
}

/// Names that ESXi gives; `sda`, `/dev/sda1` and `nvme0n1` belong to Linux.
fn is_name(name: &str) -> bool {
    let starts = ["naa.", "eui.", "t10.", "vml.", "mpx.", "vmhba"];
    starts.iter().any(|start| name.strip_prefix(start).is_some_and(|rest| !rest.is_empty()))
}

fn first_disk(lint: &mut Lint<'_, '_>, command: &Command) {
    if command.name.text == "upgrade" {
        return;
    }
    let Some(arg) = command.option(&["--firstdisk"]) else { return };
    if arg.value.as_deref().unwrap_or_default().trim().is_empty() {
        lint.report_title(&rules::FIRSTDISK_UNFILTERED, &arg.word.span);
    }
}

fn vmfs(lint: &mut Lint<'_, '_>, command: &Command) {
    let (overwrite, preserve) = (command.has(&["--overwritevmfs"]), command.option(&["--preservevmfs"]));
    let is_cleared = lint.commands(&["clearpart"]).any(|clearpart| clearpart.has(&["--overwritevmfs"]));
    match (overwrite, preserve, command.option(&["--novmfsondisk"])) {
        (true, Some(preserve), _) => lint.report_title(&rules::VMFS_BOTH, &preserve.word.span),
        (false, _, Some(novmfs)) => lint.report_title(&rules::NOVMFS_ALONE, &novmfs.word.span),
        (false, None, None) if !is_cleared => {
            lint.report_title(&rules::VMFS_UNDECIDED, &command.name.span);
        }
        _ => {}
    }
}

fn ssd(lint: &mut Lint<'_, '_>, command: &Command) {
    let Some(arg) = command.option(&["--ignoressd"]) else { return };
    let span = &arg.word.span;
    let filters = command.value(&["--firstdisk"]).unwrap_or_default().to_ascii_uppercase();
    let is_ssd = |filter: &str| SSD_MODELS.iter().any(|model| filter.contains(model));
    if command.name.text == "installorupgrade" {
        lint.report_title(&rules::IGNORESSD_UPGRADE, span);
    } else if !filters.is_empty() && filters.split(',').all(is_ssd) {
        lint.report_title(&rules::IGNORESSD_BOOT_DEVICE, span);
    } else if !command.has(&["--firstdisk"]) {
        lint.report_title(&rules::IGNORESSD_DISK, span);
    }
}

fn clearpart(lint: &mut Lint<'_, '_>, command: &Command) {
    let given: Vec<_> = CLEARPART.iter().filter_map(|name| command.option(&[name])).collect();
    let is_pair = command.has(&["--ignoredrives"]) && command.has(&["--alldrives", "--all"]);
    match given.as_slice() {
        [] => lint.report_title(&rules::CLEARPART_NOTHING, &command.name.span),
        [_, second, ..] if !(is_pair && given.len() == 2) => {
            lint.report_title(&rules::CLEARPART_SEVERAL, &second.word.span);
        }
        _ => {}
    }
    if let Some(arg) = command.option(&["--alldrives", "--all", "--ignoredrives"]) {
        lint.report_title(&rules::CLEARPART_ALL, &arg.word.span);
    }
    first_disk(lint, command);
}

fn part(lint: &mut Lint<'_, '_>, command: &Command) {
    let has_disk = command.has(&["--ondisk", "--ondrive", "--onfirstdisk"]);
    if !has_disk || command.positional().next().is_none() {
        lint.report_title(&rules::PART_NO_DISK, &command.span());
    }
}

fn needs_install(lint: &mut Lint<'_, '_>) {
    let upgrade = lint.command(&["upgrade", "installorupgrade"]).map(|command| command.name.text.as_str());
    let Some(upgrade) = upgrade.filter(|_| lint.command(&["install"]).is_none()) else { return };
    for command in lint.commands(&["clearpart", "part", "partition"]) {
        let message = format!("`{}` stops an `{upgrade}`", command.name.text);
        lint.report(&rules::NEEDS_INSTALL, &command.name.span, message);
    }
    if upgrade == "upgrade" {
        for command in lint.commands(&["rootpw", "network", "keyboard", "serialnum", "vmserialnum"]) {
            let message = format!("`{}` has no effect in an upgrade", command.name.text);
            lint.report(&rules::IGNORED_IN_UPGRADE, &command.name.span, message);
        }
    }
}
