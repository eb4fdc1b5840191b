//! The installer's commands and their options, as data.
//!
//! What a value means is judged in `lint`. Sources: the installer's code of 6.7, and the
//! documentation of 7.0, 8.0 and 9.x for what came later. Invariant: every name is unique.

use crate::version::Version;

/// A command that the installer acts on.
#[derive(Debug)]
pub struct CommandSpec {
    /// The documented name first.
    pub names: &'static [&'static str],
    pub options: &'static [OptionSpec],
    /// How many words that are no options it accepts.
    pub words_max: usize,
    /// Whether it may stand in a file more than once.
    pub repeats: bool,
}

/// An option of a command.
#[derive(Debug)]
pub struct OptionSpec {
    /// Spellings that are all accepted; the documented one first.
    pub names: &'static [&'static str],
    pub value: Value,
    pub since: Option<Version>,
}

/// Whether an option has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    None,
    Optional,
    Required,
}

const fn flag(names: &'static [&'static str]) -> OptionSpec {
    OptionSpec { names, value: Value::None, since: None }
}

const fn optional(names: &'static [&'static str]) -> OptionSpec {
    OptionSpec { names, value: Value::Optional, since: None }
}

const fn required(names: &'static [&'static str]) -> OptionSpec {
    OptionSpec { names, value: Value::Required, since: None }
}

const fn since(option: OptionSpec, major: u16) -> OptionSpec {
    OptionSpec { since: Some(Version::new(major, 0, 0)), ..option }
}

const fn command(names: &'static [&'static str], options: &'static [OptionSpec]) -> CommandSpec {
    CommandSpec { names, options, words_max: 0, repeats: false }
}

const fn words(max: usize, spec: CommandSpec) -> CommandSpec {
    CommandSpec { words_max: max, ..spec }
}

const fn repeating(spec: CommandSpec) -> CommandSpec {
    CommandSpec { repeats: true, ..spec }
}

/// Options that choose the disk of an installation.
pub const DISK: [&str; 3] = ["--disk", "--drive", "--firstdisk"];

const INTERPRETER: OptionSpec = required(&["--interpreter"]);

const INSTALL: &[OptionSpec] = &[
    required(&["--disk", "--drive"]),
    optional(&["--firstdisk"]),
    flag(&["--ignoressd"]),
    flag(&["--overwritevmfs"]),
    flag(&["--preservevmfs"]),
    flag(&["--novmfsondisk"]),
    flag(&["--overwritevsan"]),
    flag(&["--ignoreprereqwarnings"]),
    flag(&["--ignoreprereqerrors"]),
    since(required(&["--systemDisk", "--systemdisk"]), 7),
    since(flag(&["--repartitionSystemDisk", "--repartitionsystemdisk"]), 7),
    since(flag(&["--forceunsupportedinstall"]), 7),
    since(required(&["--dpuPciSlots", "--dpupcislots"]), 8),
];

const UPGRADE: &[OptionSpec] = &[
    required(&["--disk", "--drive"]),
    optional(&["--firstdisk"]),
    flag(&["--overwritevmfs"]),
    flag(&["--ignoreprereqwarnings"]),
    flag(&["--ignoreprereqerrors"]),
    flag(&["--forcemigrate"]),
    flag(&["--savebootbank"]),
    flag(&["--deletecosvmdk"]),
    optional(&["--diskBootedFrom"]),
    optional(&["--bootDiskMarker"]),
    since(flag(&["--forceunsupportedinstall"]), 7),
];

const INSTALL_OR_UPGRADE: &[OptionSpec] = &[
    required(&["--disk", "--drive"]),
    optional(&["--firstdisk"]),
    flag(&["--ignoressd"]),
    flag(&["--overwritevmfs"]),
    since(flag(&["--preservevmfs"]), 7),
    since(flag(&["--novmfsondisk"]), 7),
    flag(&["--overwritevsan"]),
    flag(&["--ignoreprereqwarnings"]),
    flag(&["--ignoreprereqerrors"]),
    flag(&["--forcemigrate"]),
    flag(&["--savebootbank"]),
    since(required(&["--systemDisk", "--systemdisk"]), 7),
    since(flag(&["--repartitionSystemDisk", "--repartitionsystemdisk"]), 7),
    since(flag(&["--forceunsupportedinstall"]), 7),
    since(required(&["--dpuPciSlots", "--dpupcislots"]), 8),
];

const CLEARPART: &[OptionSpec] = &[
    required(&["--drives"]),
    flag(&["--alldrives"]),
    flag(&["--all"]),
    required(&["--ignoredrives"]),
    optional(&["--firstdisk"]),
    flag(&["--overwritevmfs"]),
    optional(&["--initlabel"]),
];

const NETWORK: &[OptionSpec] = &[
    required(&["--bootproto"]),
    required(&["--device"]),
    required(&["--ip"]),
    required(&["--netmask"]),
    required(&["--gateway"]),
    required(&["--nameserver"]),
    required(&["--hostname"]),
    required(&["--vlanid"]),
    required(&["--addvmportgroup"]),
    optional(&["--nodns"]),
];

const PART: &[OptionSpec] = &[
    required(&["--ondisk", "--ondrive"]),
    optional(&["--onfirstdisk"]),
    optional(&["--size"]),
    optional(&["--grow"]),
    optional(&["--maxsize"]),
    optional(&["--fstype"]),
];

pub const COMMANDS: &[CommandSpec] = &[
    command(&["vmaccepteula", "accepteula"], &[]),
    words(1, command(&["rootpw"], &[flag(&["--iscrypted"])])),
    command(&["install"], INSTALL),
    command(&["upgrade"], UPGRADE),
    command(&["installorupgrade"], INSTALL_OR_UPGRADE),
    repeating(command(&["clearpart"], CLEARPART)),
    command(&["network"], NETWORK),
    repeating(words(1, command(&["part", "partition"], PART))),
    repeating(words(usize::MAX, command(&["partitionembed"], PART))),
    words(1, command(&["keyboard"], &[])),
    command(&["serialnum", "vmserialnum"], &[required(&["--esx"])]),
    command(&["reboot"], &[flag(&["--noeject"])]),
    command(&["dryrun"], &[]),
    command(&["paranoid"], &[]),
    repeating(words(1, command(&["%include", "include"], &[]))),
    repeating(command(&["%pre"], &[INTERPRETER])),
    repeating(command(&["%post"], &[INTERPRETER, required(&["--timeout"]), required(&["--ignorefailure"])])),
    repeating(command(&["%firstboot"], &[INTERPRETER])),
];

/// Words that the installer knows and does nothing with; each costs a dialog of 30 s.
pub const DEPRECATED: [&str; 34] = [
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
    "lilo",
    "lilocheck",
    "logvol",
    "mouse",
    "raid",
    "skipx",
    "text",
    "timezone",
    "virtualdisk",
    "vnc",
    "volgroup",
    "xconfig",
    "xdisplay",
    "vmlicense",
    "zerombr",
    "%packages",
    "%vmlicense_text",
    "lang",
    "langsupport",
];

/// Words that older versions took behind `install`.
pub const INSTALL_SOURCES: [&str; 4] = ["cdrom", "nfs", "url", "usb"];

/// Keyboards by the names that the installer knows.
pub const KEYBOARDS: [&str; 28] = [
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

/// The command of this name.
pub fn find(name: &str) -> Option<&'static CommandSpec> {
    COMMANDS.iter().find(|command| command.names.contains(&name))
}

impl CommandSpec {
    pub fn option(&self, name: &str) -> Option<&'static OptionSpec> {
        self.options.iter().find(|option| option.names.contains(&name))
    }

    /// The documented option that differs from `name` in case alone, or was most likely meant.
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        let names = self.options.iter().flat_map(|option| option.names.iter().copied());
        nearest(name, names)
    }
}

/// The command that was most likely meant.
pub fn nearest_command(name: &str) -> Option<&'static str> {
    nearest(name, COMMANDS.iter().flat_map(|command| command.names.iter().copied()))
}

/// Longer than any name that is meant.
const NAME_MAX: usize = 64;

fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if name.len() > NAME_MAX {
        return None;
    }
    let name = name.to_lowercase();
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(&name, &known.to_lowercase());
    let rated = known.map(|known| (likeness(known), known));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.7).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_unique() {
        let names = COMMANDS.iter().flat_map(|command| command.names);
        let mut names: Vec<&str> = names.chain(&DEPRECATED).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for command in COMMANDS {
            let mut options: Vec<&str> =
                command.options.iter().flat_map(|option| option.names).copied().collect();
            let count = options.len();
            options.sort_unstable();
            options.dedup();
            assert_eq!(options.len(), count, "{:?}", command.names);
        }
    }

    #[test]
    fn a_near_name_is_proposed_and_a_far_one_is_not() {
        assert_eq!(nearest_command("vmacceptelua"), Some("vmaccepteula"));
        assert_eq!(nearest_command("Reboot"), Some("reboot"));
        assert_eq!(nearest_command("esxcli"), None);
        assert_eq!(find("install").and_then(|install| install.nearest("--systemMediaSize")), None);
        assert_eq!(find("network").and_then(|network| network.nearest("--gatway")), Some("--gateway"));
        assert_eq!(find("install").and_then(|install| install.nearest("--firstDisk")), Some("--firstdisk"));
    }
}
