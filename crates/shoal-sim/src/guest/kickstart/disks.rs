//! `install`, `upgrade`, `installorupgrade`, `clearpart` and `part`: which disk, and what may happen to
//! what is on it.
//!
//! The machine has one disk, which any name that ESXi gives to disks means. Source: the 6.7 installer.
//! Invariant: a value that is not known is a good one.

use super::options::{CommandOptions, is_unknown, shown};
use super::{KickstartCommand, KickstartFindings};
use crate::machine::Disk;

const DISK_OPTIONS: [&str; 4] = ["--disk", "--drive", "--firstdisk", "--diskBootedFrom"];
/// Filters of `--firstdisk` that mean a disk with an ESXi on it.
const ESX_FILTERS: [&str; 3] = ["esx", "localesx", "remoteesx"];
/// Filters that mean an SSD, which `--ignoressd` passes over.
const SSD_FILTERS: [&str; 3] = ["boss", "ns204", "nvme"];

const INSTALL: [&str; 17] = [
    "--disk",
    "--drive",
    "--firstdisk",
    "--ignoressd",
    "--overwritevmfs",
    "--preservevmfs",
    "--novmfsondisk",
    "--overwritevsan",
    "--ignoreprereqwarnings",
    "--ignoreprereqerrors",
    "--systemDisk",
    "--systemdisk",
    "--repartitionSystemDisk",
    "--repartitionsystemdisk",
    "--forceunsupportedinstall",
    "--dpuPciSlots",
    "--dpupcislots",
];
/// Of the others, beside their disk options.
const UPGRADE: [&str; 13] = [
    "--disk",
    "--drive",
    "--firstdisk",
    "--ignoreprereqwarnings",
    "--ignoreprereqerrors",
    "--forcemigrate",
    "--overwritevmfs",
    "--savebootbank",
    "--deletecosvmdk",
    "--diskBootedFrom",
    "--bootDiskMarker",
    "--overwritevsan",
    "--forceunsupportedinstall",
];
/// Words of older releases after `install`.
const OLD_SOURCES: [&str; 4] = ["cdrom", "nfs", "url", "usb"];

/// Which of the three it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DiskAction {
    Install,
    Upgrade,
    InstallOrUpgrade,
}

impl DiskAction {
    pub const NAMES: [&str; 3] = ["install", "upgrade", "installorupgrade"];

    pub fn of(command: &KickstartCommand) -> DiskAction {
        match command.name() {
            "upgrade" => DiskAction::Upgrade,
            "installorupgrade" => DiskAction::InstallOrUpgrade,
            _ => DiskAction::Install,
        }
    }
}

/// Why the installation is refused.
pub fn check_action(
    command: &KickstartCommand,
    disk: &Disk,
    findings: &mut KickstartFindings,
) -> Result<(), String> {
    let action = DiskAction::of(command);
    let known: Vec<&str> = match action {
        DiskAction::Install => INSTALL.to_vec(),
        DiskAction::Upgrade => UPGRADE.to_vec(),
        DiskAction::InstallOrUpgrade => UPGRADE.into_iter().chain(["--ignoressd"]).collect(),
    };
    refuse_repeated_disks(command)?;
    let options = CommandOptions::of(&command.words, &known, 1, findings);
    let name = command.name();
    if let Some(word) = options.rest.first() {
        let kind = if OLD_SOURCES.contains(word) { "deprecated" } else { "unknown" };
        findings.warn(format!("{name}: {kind} argument \"{}\"", shown(word)));
    }
    check_disk(&options, disk)?;
    match action {
        DiskAction::Upgrade if disk.esxi().is_none() => {
            return Err("upgrade: no ESXi was found on the disk".to_owned());
        }
        DiskAction::InstallOrUpgrade if options.has("--ignoressd") => {
            return Err("installorupgrade: --ignoressd is not supported".to_owned());
        }
        DiskAction::Install => check_vmfs(&options, disk)?,
        DiskAction::Upgrade | DiskAction::InstallOrUpgrade => {}
    }
    if options.has("--overwritevsan") {
        return Err(format!("{name}: --overwritevsan was given, and the disk is not claimed by vSAN"));
    }
    Ok(())
}

/// Of other options the first holds; of a disk there is but one.
fn refuse_repeated_disks(command: &KickstartCommand) -> Result<(), String> {
    let option = |word: &String| word.split('=').next().filter(|name| DISK_OPTIONS.contains(name)).is_some();
    if command.words.iter().filter(|word| option(word)).count() > 1 {
        return Err(format!("{}: only one disk option may be given", command.name()));
    }
    Ok(())
}

fn check_disk(options: &CommandOptions<'_>, disk: &Disk) -> Result<(), String> {
    let name = options.command();
    let ignores_ssd = options.has("--ignoressd") && name == "install";
    if let Some(device) = options.any(&["--disk", "--drive"]) {
        if ignores_ssd {
            return Err("install: --ignoressd can only be used with --firstdisk".to_owned());
        }
        return if is_device(device) { Ok(()) } else { Err(format!("{name}: {}", not_found(device))) };
    }
    let Some(filters) = options.value("--firstdisk") else {
        let is_marked = options.has("--diskBootedFrom") || options.has("--bootDiskMarker");
        return if is_marked { Ok(()) } else { Err(format!("{name}: no disk was specified")) };
    };
    check_filters(name, filters, ignores_ssd, disk)
}

fn check_filters(name: &str, filters: &str, ignores_ssd: bool, disk: &Disk) -> Result<(), String> {
    let filters = filters.to_ascii_lowercase();
    let finds = |filter: &str| {
        let filter = filter.trim();
        let wants_esx = ESX_FILTERS.contains(&filter);
        let wants_ssd = SSD_FILTERS.iter().any(|ssd| filter.contains(ssd));
        (!wants_esx || disk.esxi().is_some()) && !(wants_ssd && ignores_ssd)
    };
    if is_unknown(&filters) || filters.split(',').any(finds) {
        Ok(())
    } else {
        Err(format!("{name}: no disk was found for --firstdisk={}", shown(&filters)))
    }
}

fn check_vmfs(options: &CommandOptions<'_>, disk: &Disk) -> Result<(), String> {
    // `--preservevmfs` wins over `--overwritevmfs` without a word.
    let has = |name| options.has(name);
    if !disk.boots() || has("--overwritevmfs") {
        return Ok(());
    }
    if has("--novmfsondisk") {
        return Err("install: --novmfsondisk needs --overwritevmfs, because the disk holds a VMFS \
                    partition"
            .to_owned());
    }
    if has("--preservevmfs") {
        return Ok(());
    }
    Err("install: the disk holds a VMFS partition, and neither --overwritevmfs nor --preservevmfs was \
         given"
        .to_owned())
}

/// Why `clearpart` is refused.
pub fn check_clearpart(
    command: &KickstartCommand,
    disk: &Disk,
    findings: &mut KickstartFindings,
) -> Result<(), String> {
    let known = [
        "--drives",
        "--alldrives",
        "--all",
        "--ignoredrives",
        "--firstdisk",
        "--overwritevmfs",
        "--initlabel",
    ];
    let options = CommandOptions::of(&command.words, &known, 0, findings);
    if options.has("--initlabel") {
        findings.warn("clearpart: --initlabel is deprecated".to_owned());
    }
    let all = options.has("--alldrives") || options.has("--all");
    let ways = [all || options.has("--ignoredrives"), options.has("--drives"), options.has("--firstdisk")];
    match ways.into_iter().filter(|given| *given).count() {
        0 => return Err("clearpart: no drives were specified".to_owned()),
        1 => {}
        _ => return Err("clearpart: only one of its drive options may be given".to_owned()),
    }
    for drives in [options.value("--drives"), options.value("--ignoredrives")].into_iter().flatten() {
        if let Some(unknown) = drives.split(',').find(|device| !is_device(device)) {
            return Err(format!("clearpart: {}", not_found(unknown)));
        }
    }
    if let Some(filters) = options.value("--firstdisk") {
        check_filters("clearpart", filters, false, disk)?;
    }
    let spares_disk = options.has("--ignoredrives") && !all;
    if disk.boots() && !options.has("--overwritevmfs") && !spares_disk {
        return Err("clearpart: a disk holds a VMFS partition, and --overwritevmfs was not given".to_owned());
    }
    Ok(())
}

/// Why `part` is refused. Answers with the datastore's name.
pub fn check_part<'a>(
    command: &'a KickstartCommand,
    install: &KickstartCommand,
    findings: &mut KickstartFindings,
) -> Result<&'a str, String> {
    let known = ["--ondisk", "--ondrive", "--onfirstdisk", "--size", "--grow", "--maxsize", "--fstype"];
    let options = CommandOptions::of(&command.words, &known, 1, findings);
    for name in ["--size", "--grow", "--maxsize", "--fstype"] {
        if options.has(name) {
            findings.warn(format!("part: {name} is deprecated"));
        }
    }
    let Some(datastore) = options.rest.first() else {
        return Err("part: no datastore name was given".to_owned());
    };
    let target = options.any(&["--ondisk", "--ondrive"]);
    let first = options.value("--onfirstdisk");
    let on = match (target, first) {
        (None, None) => return Err("part: no disk was specified".to_owned()),
        (Some(_), Some(_)) => return Err("part: only one disk option may be given".to_owned()),
        (Some(device), None) if !is_device(device) => return Err(format!("part: {}", not_found(device))),
        (Some(device), None) => (bare_name(device), ["--disk", "--drive"].as_slice()),
        (None, Some(filters)) => (filters, ["--firstdisk"].as_slice()),
    };
    let mut quiet = KickstartFindings::default();
    let installed = CommandOptions::of(&install.words, &INSTALL, 0, &mut quiet).any(on.1).map(bare_name);
    if installed == Some(on.0) && !is_unknown(on.0) {
        return Err("part: the disk is the one that ESXi is installed on".to_owned());
    }
    Ok(datastore)
}

fn not_found(device: &str) -> String {
    format!("the disk \"{}\" was not found", shown(device))
}

fn bare_name(device: &str) -> &str {
    device.strip_prefix("/vmfs/devices/disks/").unwrap_or(device)
}

/// Whether it is a name of ESXi's for a disk.
fn is_device(device: &str) -> bool {
    let name = bare_name(device);
    let has_prefix = ["naa.", "eui.", "t10.", "vml.", "mpx.", "vmhba"]
        .into_iter()
        .any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()));
    has_prefix || is_unknown(device)
}
