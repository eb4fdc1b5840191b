//! Rules about commands and options in general.
//!
//! Data only. Invariant: see the table's.

use crate::version::Version;

super::rules! {
    UNKNOWN_COMMAND "KS010" Lost [warns = true]
        "Unknown command"
        "The installer shows a warning for 30 seconds and ignores the line."
        "Correct the name, or remove the line."
        "selinux --disabled\n"
        "keyboard German\n";
    UNKNOWN_OPTION "KS011" Lost [warns = true]
        "Unknown option"
        "The installer shows a warning for 30 seconds and ignores the option."
        "Correct the name, or remove the option."
        "reboot --eject\n"
        "reboot --noeject\n";
    OPTION_CASE "KS012" Lost [warns = true]
        "The option is written in the wrong case"
        "Option names are case-sensitive: the installer ignores this one."
        "Write it as documented."
        "reboot --noEject\n"
        "reboot --noeject\n";
    OPTION_OF_OTHER_VERSION "KS013" Lost [warns = true, until = Some(Version::new(8, 0, 0))]
        "The option requires a later version"
        "This ESXi version does not support the option and ignores it."
        "Remove the option, or install a version that supports it."
        "install --disk=naa.600508b1001c3ad5f0d1a4c2e9b7c311 --overwritevmfs --dpuPciSlots=0000:01:00.0\n"
        "install --disk=naa.600508b1001c3ad5f0d1a4c2e9b7c311 --overwritevmfs\n";
    STRAY_WORD "KS014" Lost [warns = true]
        "A word is not part of any option"
        "The installer ignores the word. A value follows its option after `=`, without blanks; a value with blanks needs quotes."
        "Write `--option=value`, with quotes if the value has blanks."
        "network --bootproto=dhcp --device vmnic0\n"
        "network --bootproto=dhcp --device=vmnic0\n";
    VALUE_MISSING "KS015" Lost [warns = true]
        "The option has no value"
        "The option requires a value after `=` and has no effect without one."
        "Write `--option=value`."
        "network --bootproto=dhcp --device=vmnic0 --vlanid=\n"
        "network --bootproto=dhcp --device=vmnic0 --vlanid=20\n";
    VALUE_UNEXPECTED "KS016" Style [warns = true]
        "The option does not take a value"
        "The installer ignores the text after `=`."
        "Remove the value."
        "install --disk=naa.600508b1001c3ad5f0d1a4c2e9b7c311 --overwritevmfs=true\n"
        "install --disk=naa.600508b1001c3ad5f0d1a4c2e9b7c311 --overwritevmfs\n";
    OPTION_REPEATED "KS017" Lost [warns = true]
        "The option is repeated"
        "The installer uses the first one and warns about the others."
        "Keep one of them."
        "network --bootproto=dhcp --device=vmnic0 --vlanid=20 --vlanid=30\n"
        "network --bootproto=dhcp --device=vmnic0 --vlanid=30\n";
    COMMAND_REPEATED "KS018" Lost [warns = true, bad_line = 2]
        "The command is repeated"
        "The installer uses the last one and warns about the repetition."
        "Keep one of them. Further network adapters are configured after the installation, for example in `%firstboot`."
        "keyboard German\nkeyboard French\n"
        "keyboard French\n";
    DEPRECATED_COMMAND "KS019" Style [warns = true]
        "The command has no effect"
        "It is a leftover of versions before 5; the installer shows a warning for 30 seconds."
        "Remove the line."
        "timezone UTC\n"
        "keyboard German\n";
    NO_EULA "KS020" Breaks [whole = true]
        "The license agreement is not accepted"
        "Without `vmaccepteula` (or `accepteula`) the installer stops with an error. It shows the same error if a `%pre` fails."
        "Add the line `vmaccepteula`."
        "rootpw VMw4re!xq\ninstall --disk=naa.600508b1001c3ad5\nnetwork --bootproto=dhcp\nreboot\n"
        "vmaccepteula\nrootpw VMw4re!xq\ninstall --disk=naa.600508b1001c3ad5\nnetwork --bootproto=dhcp\nreboot\n";
    NO_INSTALL "KS021" Breaks [whole = true]
        "The install or upgrade command is missing"
        "One of `install`, `upgrade` and `installorupgrade` is required. `autopart` (ESX 4) does not replace it."
        "Add `install --disk=… --overwritevmfs`."
        "vmaccepteula\nrootpw VMw4re!xq\nautopart --firstdisk --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n"
        "vmaccepteula\nrootpw VMw4re!xq\ninstall --firstdisk --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n";
    TWO_INSTALLS "KS022" Breaks [bad_line = 2]
        "More than one of install, upgrade and installorupgrade"
        "The installer stops with an error at the second one."
        "Keep one of them."
        "install --disk=naa.600508b1001c3ad5\ninstall --disk=naa.600508b1001c3ad6\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    DRYRUN "KS023" Breaks []
        "`dryrun` installs nothing"
        "The installer checks the file and ends without installing, so the job cannot succeed."
        "Remove `dryrun`."
        "dryrun\n"
        "# dryrun\n";
    PARANOID "KS024" Style []
        "`paranoid` makes warnings fatal"
        "A warning that otherwise costs 30 seconds stops the installation at a dialog without a timeout."
        "Remove `paranoid` once the file works."
        "paranoid\n"
        "# paranoid\n";
    PARANOID_WARNING "KS025" Breaks [bad_line = 2]
        "`paranoid` makes a warning of this file fatal"
        "The installer warns about another line of this file, and stops there because of `paranoid`."
        "Remove `paranoid`, or correct the line."
        "paranoid\nkeyboard Klingon\n"
        "keyboard Klingon\n";
    KEYBOARD_UNKNOWN "KS026" Lost [warns = true]
        "Unknown keyboard layout"
        "The installer shows a warning for 30 seconds and uses the default. Names with blanks need quotes."
        "Use a documented name, such as 'US Default' or German."
        "keyboard de\n"
        "keyboard 'Swiss German'\n";
    SERIAL_FORMAT "KS027" Breaks []
        "The license key is malformed"
        "The installer stops with an error unless the key is five groups of five letters and digits."
        "Write `--esx=AAAAA-BBBBB-CCCCC-DDDDD-EEEEE`, or remove the command: a host can be licensed later."
        "serialnum --esx=12345\n"
        "serialnum --esx=00000-00000-00000-00000-00000\n";
    SERIAL_MOOT "KS028" Lost [since = Some(Version::new(9, 0, 0))]
        "Version 9 does not use license keys"
        "From 9.0 on, hosts are licensed through vCenter Server."
        "Remove the line."
        "serialnum --esx=00000-00000-00000-00000-00000\n"
        "keyboard German\n";
    INCLUDE_MISSING "KS029" Breaks []
        "The included file does not exist"
        "The installer stops with an error at an include that it cannot read. No `%pre` mentions this file, or its path is relative: the task medium contains no other file."
        "Write the file in `%pre`, include a URL, or insert its lines here."
        "%include /tmp/network.cfg\n"
        "%include /tmp/network.cfg\n%pre --interpreter=busybox\necho 'keyboard German' > /tmp/network.cfg\n";
}
