//! Rules about commands and options in general.
//!
//! Data only. Invariant: see the table's.

use crate::version::Version;

super::rules! {
    UNKNOWN_COMMAND "KS010" Lost [warns = true]
        "The installer does not know the command"
        "It shows a warning for 30 seconds and ignores the line."
        "Correct the name, or remove the line."
        "selinux --disabled\n"
        "keyboard German\n";
    UNKNOWN_OPTION "KS011" Lost [warns = true]
        "The command does not know the option"
        "The installer shows a warning for 30 seconds and ignores the option."
        "Correct the name, or remove the option."
        "reboot --eject\n"
        "reboot --noeject\n";
    OPTION_CASE "KS012" Lost [warns = true]
        "An option is written in another case"
        "Names of options are compared exactly: this one is unknown and ignored."
        "Write it in the documented case."
        "reboot --noEject\n"
        "reboot --noeject\n";
    OPTION_OF_OTHER_VERSION "KS013" Lost [warns = true, until = Some(Version::new(8, 0, 0))]
        "The option belongs to a later version"
        "The version that is installed does not know the option and ignores it."
        "Remove the option, or install the version that knows it."
        "install --disk=naa.600508b1001c3ad5f0d1a4c2e9b7c311 --overwritevmfs --dpuPciSlots=0000:01:00.0\n"
        "install --disk=naa.600508b1001c3ad5f0d1a4c2e9b7c311 --overwritevmfs\n";
    STRAY_WORD "KS014" Lost [warns = true]
        "A word belongs to no option"
        "The command takes no such word: it is ignored. Values follow their option after `=`, without blanks; values with blanks need quotes."
        "Write `--option=value`, with quotes where the value has blanks."
        "network --bootproto=dhcp --device vmnic0\n"
        "network --bootproto=dhcp --device=vmnic0\n";
    VALUE_MISSING "KS015" Lost [warns = true]
        "An option has no value"
        "The option needs a value after `=` and has no effect without one."
        "Write `--option=value`."
        "network --bootproto=dhcp --device=vmnic0 --vlanid=\n"
        "network --bootproto=dhcp --device=vmnic0 --vlanid=20\n";
    VALUE_UNEXPECTED "KS016" Style [warns = true]
        "An option takes no value"
        "The option stands alone; what follows `=` is ignored."
        "Remove the value."
        "install --disk=naa.600508b1001c3ad5f0d1a4c2e9b7c311 --overwritevmfs=true\n"
        "install --disk=naa.600508b1001c3ad5f0d1a4c2e9b7c311 --overwritevmfs\n";
    OPTION_REPEATED "KS017" Lost [warns = true]
        "An option is repeated"
        "The first one holds; the installer warns about the others and ignores them."
        "Keep one of them."
        "network --bootproto=dhcp --device=vmnic0 --vlanid=20 --vlanid=30\n"
        "network --bootproto=dhcp --device=vmnic0 --vlanid=30\n";
    COMMAND_REPEATED "KS018" Lost [warns = true, bad_line = 2]
        "A command is repeated"
        "The last one holds; the installer warns about the repetition."
        "Keep one of them."
        "keyboard German\nkeyboard French\n"
        "keyboard French\n";
    DEPRECATED_COMMAND "KS019" Style [warns = true]
        "The command has no effect any more"
        "It is left from versions before 5 and costs a warning of 30 seconds."
        "Remove the line."
        "timezone UTC\n"
        "keyboard German\n";
    NO_EULA "KS020" Breaks [whole = true]
        "The licence agreement is not accepted"
        "Without `vmaccepteula` (or `accepteula`) the installer stops with an error. A `%pre` that fails is shown as this error, too."
        "Add the line `vmaccepteula`."
        "rootpw VMw4re!xq\ninstall --disk=naa.600508b1001c3ad5\nnetwork --bootproto=dhcp\nreboot\n"
        "vmaccepteula\nrootpw VMw4re!xq\ninstall --disk=naa.600508b1001c3ad5\nnetwork --bootproto=dhcp\nreboot\n";
    NO_INSTALL "KS021" Breaks [whole = true]
        "Neither install nor upgrade is asked for"
        "One of `install`, `upgrade` and `installorupgrade` is required. `autopart` of ESX 4 is not one of them."
        "Add `install --disk=… --overwritevmfs`."
        "vmaccepteula\nrootpw VMw4re!xq\nautopart --firstdisk --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n"
        "vmaccepteula\nrootpw VMw4re!xq\ninstall --firstdisk --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n";
    TWO_INSTALLS "KS022" Breaks [bad_line = 2]
        "More than one of install, upgrade and installorupgrade"
        "The installer stops at the second one."
        "Keep one of them."
        "install --disk=naa.600508b1001c3ad5\ninstall --disk=naa.600508b1001c3ad6\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    DRYRUN "KS023" Breaks []
        "`dryrun` installs nothing"
        "The installer reads the file and ends without an installation, so the job cannot succeed."
        "Remove `dryrun`."
        "dryrun\n"
        "# dryrun\n";
    PARANOID "KS024" Style []
        "`paranoid` makes warnings fatal"
        "What costs 30 seconds otherwise stops the installation at a dialog without a timeout."
        "Remove `paranoid` when the file is known to work."
        "paranoid\n"
        "# paranoid\n";
    PARANOID_WARNING "KS025" Breaks [bad_line = 2]
        "`paranoid` makes a warning of this file fatal"
        "The installer warns about another line of this file, and with `paranoid` it stops there."
        "Remove `paranoid`, or mend the line."
        "paranoid\nkeyboard Klingon\n"
        "keyboard Klingon\n";
    KEYBOARD_UNKNOWN "KS026" Lost [warns = true]
        "The installer does not know the keyboard"
        "It shows a warning for 30 seconds and keeps the default. Names with blanks need quotes."
        "Use one of the documented names, such as 'US Default' or German."
        "keyboard de\n"
        "keyboard 'Swiss German'\n";
    SERIAL_FORMAT "KS027" Breaks []
        "The licence key does not have its form"
        "The installer stops at a key that is not five groups of five letters and digits."
        "Write `--esx=AAAAA-BBBBB-CCCCC-DDDDD-EEEEE`, or leave the command out: a host can be licensed later."
        "serialnum --esx=12345\n"
        "serialnum --esx=00000-00000-00000-00000-00000\n";
    SERIAL_MOOT "KS028" Lost [since = Some(Version::new(9, 0, 0))]
        "Version 9 takes no licence key"
        "From 9.0 on, hosts are licensed through vCenter Server."
        "Remove the line."
        "serialnum --esx=00000-00000-00000-00000-00000\n"
        "keyboard German\n";
    INCLUDE_MISSING "KS029" Breaks []
        "The included file does not exist"
        "The installer stops at an include that it cannot read. No `%pre` mentions this file, or the path is relative to the script, beside which the task medium holds nothing."
        "Write the file in `%pre`, include a URL, or put its lines here."
        "%include /tmp/network.cfg\n"
        "%include /tmp/network.cfg\n%pre --interpreter=busybox\necho 'keyboard German' > /tmp/network.cfg\n";
}
