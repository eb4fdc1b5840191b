//! Rules about the end of the installation and about scripts.
//!
//! Data only. Invariant: see the table's.

use crate::lint::Hook;
use crate::version::Version;

super::rules! {
    NO_REBOOT "KS070" Breaks [whole = true, bad_line = 4]
        "Nothing reboots the host at the end"
        "Without `reboot` the installer waits for a key at its end, permanently. A `reboot` inside a section is part of the script."
        "Add `reboot` before the first section, or use the completion hook `poweroff`."
        "vmaccepteula\nrootpw q7X!mzr0T\ninstall --firstdisk=local --overwritevmfs\nnetwork --bootproto=dhcp\n"
        "vmaccepteula\nrootpw q7X!mzr0T\ninstall --firstdisk=local --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n";
    POST_HALTS "KS080" Lost [bad_line = 2]
        "A `%post` stops the host itself"
        "The host is off or reboots before the installer ends: later sections are lost, and a job without a hook sees an unexpected power-off and fails."
        "Remove the line and use `completion_hook: poweroff`; or keep it as the last one and use `own-poweroff`."
        "%post --interpreter=busybox\npoweroff -f\n"
        "%post --interpreter=busybox\nsync\n";
    OWN_POWEROFF_MISSING "KS081" Lost [hook = Hook::OwnPoweroff, bad_line = 2]
        "Nothing powers the host off"
        "The hook `own-poweroff` promises that the last `%post` powers the host off, and none does."
        "Add `poweroff -f` at the end of the last `%post`, or use the hook `poweroff`."
        "%post --interpreter=busybox\nsync\n"
        "%post --interpreter=busybox\npoweroff -f\n";
    NO_INTERPRETER "KS082" Style [warns = true]
        "The section does not name its interpreter"
        "The installer takes busybox and warns for 30 seconds."
        "Write `--interpreter=busybox` or `--interpreter=python`."
        "%post\nsync\n"
        "%post --interpreter=busybox\nsync\n";
    INTERPRETER_UNKNOWN "KS083" Breaks []
        "The interpreter does not exist"
        "Only busybox and python are known: the installer stops at any other."
        "Write `--interpreter=busybox` or `--interpreter=python`."
        "%post --interpreter=bash\nsync\n"
        "%post --interpreter=busybox\nsync\n";
    FIRSTBOOT_SECURE_BOOT "KS084" Lost [since = Some(Version::new(7, 0, 0))]
        "`%firstboot` does not run under Secure Boot"
        "With UEFI Secure Boot the installed system skips the section, and only its log says so."
        "Do it in `%post`, or over the API afterwards; or switch Secure Boot off for the first boot."
        "%firstboot --interpreter=busybox\nesxcli system maintenanceMode set -e true\n"
        "%post --interpreter=busybox\nsync\n";
    END_FAILS "KS085" Breaks [bad_line = 3]
        "`%end` makes the script fail"
        "The installer does not know `%end`: the line is part of the script, is not found as a program, and its status is that of the script. A failing `%pre` or `%post` stops the installation."
        "Remove the line."
        "%post --interpreter=busybox\nsync\n%end\n"
        "%post --interpreter=busybox\nsync\n";
    END_IGNORED "KS086" Style [bad_line = 3]
        "`%end` is no command"
        "The installer does not know `%end`: it ends nothing, and the lines behind it still belong to the script."
        "Remove the line."
        "%firstboot --interpreter=busybox\nsync\n%end\n"
        "%firstboot --interpreter=busybox\nsync\n";
    SWALLOWED_COMMAND "KS087" Lost [bad_line = 3]
        "A command of the installer stands inside a section"
        "All commands must stand before the first section: here the line is part of the script."
        "Move the line before the first section."
        "%firstboot --interpreter=busybox\nsync\nkeyboard German\n"
        "keyboard German\n%firstboot --interpreter=busybox\nsync\n";
    INCLUDE_ENDS_SECTION "KS088" Lost [bad_line = 4]
        "A line that begins with `include` ends the section"
        "An unindented line that begins so ends the script, and what follows is read as commands."
        "Indent the line."
        "%include /tmp/x\n%pre --interpreter=busybox\ntouch /tmp/x\nincludes=1\nsync\n"
        "%include /tmp/x\n%pre --interpreter=busybox\ntouch /tmp/x\n  includes=1\nsync\n";
    LAST_LINE_FAILS "KS089" Breaks [bad_line = 3]
        "The keyword on the last line is part of the script before it"
        "A section that begins on the very last line is not seen: the keyword is run as a program, is not found, and the script fails."
        "Remove the line, or put the section's script behind it."
        "%post --interpreter=busybox\nsync\n%firstboot\n"
        "%post --interpreter=busybox\nsync\n%firstboot --interpreter=busybox\nsync\n";
    LAST_LINE_LOST "KS090" Lost [bad_line = 3]
        "The keyword on the last line is not seen"
        "A keyword on the very last line after a section belongs to that section's script."
        "Remove the line, or put it before the sections."
        "%firstboot --interpreter=busybox\nsync\n%post\n"
        "%firstboot --interpreter=busybox\nsync\n";
    SCRIPT_FAILS "KS091" Breaks [bad_line = 3]
        "The script ends with a failure"
        "Its last command always fails: a `%pre` or `%post` that fails stops the installation, unless a `%post` has `--ignorefailure=true`."
        "End with `exit 0`, or add `--ignorefailure=true` to `%post`."
        "%post --interpreter=busybox\nsync\nexit 1\n"
        "%post --interpreter=busybox --ignorefailure=true\nsync\nexit 1\n";
    ESXCLI_FAILS "KS092" Breaks [bad_line = 2]
        "The script's last command needs a service that does not run"
        "`esxcli` and `vim-cmd` need hostd, which does not run in the installer: the command fails, and with it the script. A failing `%pre` is shown as a missing `vmaccepteula`."
        "Use `localcli`, move the line to `%firstboot`, or end with `exit 0`."
        "%post --interpreter=busybox\nesxcli system settings advanced set -o /Misc/X -i 1\n"
        "%post --interpreter=busybox\nlocalcli system settings advanced set -o /Misc/X -i 1\n";
    ESXCLI_LOST "KS093" Lost [bad_line = 2]
        "The command needs a service that does not run"
        "`esxcli` and `vim-cmd` need hostd, which does not run in the installer: the command fails and changes nothing."
        "Use `localcli`, or move the line to `%firstboot`."
        "%post --interpreter=busybox\nesxcli network ip dns server add -s 10.0.0.2\nsync\n"
        "%post --interpreter=busybox\nlocalcli network ip dns server add -s 10.0.0.2\nsync\n";
    SHADOW_EDIT "KS094" Lost [since = Some(Version::new(7, 0, 1)), bad_line = 2]
        "Editing /etc/shadow has no effect"
        "From 7.0.1 on the password is kept elsewhere, and a change of the file is lost."
        "Use `rootpw --iscrypted`."
        "%firstboot --interpreter=busybox\nsed -i s/x/y/ /etc/shadow\n"
        "%firstboot --interpreter=busybox\nsed -i s/x/y/ /etc/issue\n";
    SECTION_VALUE "KS095" Lost [warns = true]
        "The value of the option is not understood"
        "`--ignorefailure` is true or false, `--timeout` a number of seconds."
        "Correct the value."
        "%post --interpreter=busybox --ignorefailure=yes\nsync\n"
        "%post --interpreter=busybox --ignorefailure=true\nsync\n";
}
