//! The rules over all commands of a kickstart.
//!
//! What a single command takes is in the files of the commands. Invariant: the first rule that is
//! broken is the dialog.

use super::disks::{DiskAction, check_action, check_clearpart, check_part};
use super::file::{ParseStop, Reading};
use super::options::{CommandOptions, is_unknown, shown};
use super::{KickstartCommand, KickstartFindings, network, password};
use crate::machine::Disk;

const COMMANDS_MAX: usize = 256;
const LICENCE: [&str; 2] = ["accepteula", "vmaccepteula"];
/// Commands of which the last one holds.
const SINGLE: [&str; 9] = [
    "rootpw",
    "network",
    "keyboard",
    "serialnum",
    "vmserialnum",
    "reboot",
    "dryrun",
    "paranoid",
    "partitionembed",
];
const REPEATED: [&str; 3] = ["clearpart", "part", "partition"];
const UNSUPPORTED: [&str; 37] = [
    "auth",
    "authconfig",
    "autopart",
    "autostep",
    "bootloader",
    "cmdline",
    "device",
    "deviceprobe",
    "esxlocation",
    "firewall",
    "firewallport",
    "firstboot",
    "harddrive",
    "ignoredisk",
    "interactive",
    "lang",
    "langsupport",
    "lilo",
    "lilocheck",
    "logvol",
    "mouse",
    "raid",
    "skipx",
    "text",
    "timezone",
    "virtualdisk",
    "vmlicense",
    "vnc",
    "volgroup",
    "xconfig",
    "xdisplay",
    "zerombr",
    "cdrom",
    "nfs",
    "url",
    "usb",
    "%end",
];
const KEYBOARDS: [&str; 28] = [
    "Belgian",
    "Brazilian",
    "Croatian",
    "Czechoslovakian",
    "Danish",
    "Estonian",
    "Finnish",
    "French",
    "German",
    "Greek",
    "Icelandic",
    "Italian",
    "Japanese",
    "Latin American",
    "Norwegian",
    "Polish",
    "Portuguese",
    "Russian",
    "Slovenian",
    "Spanish",
    "Swedish",
    "Swiss French",
    "Swiss German",
    "Turkish",
    "Ukrainian",
    "United Kingdom",
    "US Default",
    "US Dvorak",
];

fn find<'a>(reading: &'a Reading<'_>, names: &[&str]) -> Option<&'a KickstartCommand> {
    reading.commands.iter().rfind(|command| names.contains(&command.name()))
}

/// The licence, and one command that installs. Where not everything is known they may be in what is
/// not.
pub fn check_needed(reading: &Reading<'_>) -> Result<(), ParseStop> {
    let is_action = |command: &&KickstartCommand| DiskAction::NAMES.contains(&command.name());
    let actions: Vec<&str> = reading.commands.iter().filter(is_action).map(KickstartCommand::name).collect();
    let dialog = match actions.as_slice() {
        _ if find(reading, &LICENCE).is_none() && !reading.is_opaque => {
            "vmaccepteula was not specified: the license agreement was not accepted".to_owned()
        }
        [] if !reading.is_opaque => {
            "install: no install, upgrade or installorupgrade command was given".to_owned()
        }
        [] | [_] => return Ok(()),
        [first, .., last] if first == last => format!("{first}: the command may be given only once"),
        [first, .., last] => format!("{last}: it cannot be used together with {first}"),
    };
    Err(ParseStop::Dialog(dialog))
}

/// Everything else that stops the installer or that it warns of.
pub fn check(reading: &Reading<'_>, disk: &Disk, findings: &mut KickstartFindings) -> Result<(), ParseStop> {
    if reading.commands.len() > COMMANDS_MAX {
        return Err(ParseStop::Dialog(format!("the script has more than {COMMANDS_MAX} commands")));
    }
    warn_of_commands(reading, findings);
    let Some(action) = find(reading, &DiskAction::NAMES) else { return Ok(()) };
    check_action(action, disk, findings)?;
    let is_upgrade = DiskAction::of(action) == DiskAction::Upgrade;
    match find(reading, &["rootpw"]) {
        Some(_) if is_upgrade => findings.warn("rootpw: it is ignored by an upgrade".to_owned()),
        Some(command) => password::check(&command.words, findings)?,
        None if is_upgrade || reading.is_opaque => {}
        None => return Err(ParseStop::Dialog("rootpw was not specified: a password is required".to_owned())),
    }
    match find(reading, &["network"]) {
        Some(_) if is_upgrade => findings.warn("network: it is ignored by an upgrade".to_owned()),
        Some(command) => network::check(&command.words, findings)?,
        None if is_upgrade || reading.is_opaque => {}
        None => findings.warn("network was not specified: DHCP is used".to_owned()),
    }
    check_partitions(reading, action, disk, findings)?;
    check_small(reading, is_upgrade, findings)?;
    Ok(())
}

fn warn_of_commands(reading: &Reading<'_>, findings: &mut KickstartFindings) {
    let mut seen: Vec<&str> = Vec::new();
    for command in &reading.commands {
        let name = command.name();
        let is_single = SINGLE.contains(&name) || LICENCE.contains(&name);
        if UNSUPPORTED.contains(&name) {
            findings.warn(format!("{name} is not supported"));
        } else if is_single && seen.contains(&name) {
            findings.warn(format!("{name} is repeated, and the last one holds"));
        } else if !is_single && !REPEATED.contains(&name) && !DiskAction::NAMES.contains(&name) {
            findings.warn(format!("unknown command \"{}\"", shown(name)));
        }
        seen.push(name);
    }
}

fn check_partitions(
    reading: &Reading<'_>,
    action: &KickstartCommand,
    disk: &Disk,
    findings: &mut KickstartFindings,
) -> Result<(), ParseStop> {
    let is_install = DiskAction::of(action) == DiskAction::Install;
    let mut datastores: Vec<&str> = Vec::new();
    for command in reading.commands.iter().filter(|command| REPEATED.contains(&command.name())) {
        let name = command.name();
        if !is_install {
            return Err(ParseStop::Dialog(format!("{name}: it cannot be used with {}", action.name())));
        }
        if name == "clearpart" {
            check_clearpart(command, disk, findings)?;
            continue;
        }
        let datastore = check_part(command, action, findings)?;
        if datastores.contains(&datastore) && !is_unknown(datastore) {
            return Err(ParseStop::Dialog(format!("part: the datastore \"{}\" exists", shown(datastore))));
        }
        datastores.push(datastore);
    }
    Ok(())
}

/// The commands with little to check.
fn check_small(
    reading: &Reading<'_>,
    is_upgrade: bool,
    findings: &mut KickstartFindings,
) -> Result<(), ParseStop> {
    for command in &reading.commands {
        let known: &[&str] = match command.name() {
            "reboot" => &["--noeject"],
            "accepteula" | "vmaccepteula" | "dryrun" | "paranoid" => &[],
            "keyboard" | "serialnum" | "vmserialnum" if is_upgrade => {
                findings.warn(format!("{}: it is ignored by an upgrade", command.name()));
                continue;
            }
            "keyboard" => {
                check_keyboard(command, findings);
                continue;
            }
            "serialnum" | "vmserialnum" => {
                check_serial_number(command, findings)?;
                continue;
            }
            _ => continue,
        };
        CommandOptions::of(&command.words, known, 0, findings);
    }
    Ok(())
}

fn check_keyboard(command: &KickstartCommand, findings: &mut KickstartFindings) {
    let options = CommandOptions::of(&command.words, &[], 1, findings);
    let layout = options.rest.first().copied().unwrap_or_default();
    if !KEYBOARDS.contains(&layout) && !is_unknown(layout) {
        findings.warn(format!("keyboard: unknown layout \"{}\", US Default is used", shown(layout)));
    }
}

/// Five groups of five letters and digits.
fn check_serial_number(
    command: &KickstartCommand,
    findings: &mut KickstartFindings,
) -> Result<(), ParseStop> {
    let name = command.name();
    let options = CommandOptions::of(&command.words, &["--esx"], 0, findings);
    let key = options.value("--esx").ok_or_else(|| format!("{name}: --esx was not given"))?;
    let groups: Vec<&str> = key.split('-').collect();
    let is_group = |group: &&str| group.len() == 5 && group.chars().all(|c| c.is_ascii_alphanumeric());
    let is_key = groups.len() == 5 && groups.iter().all(is_group);
    if is_key || is_unknown(key) {
        Ok(())
    } else {
        Err(ParseStop::Dialog(format!("{name}: the key is not valid")))
    }
}
