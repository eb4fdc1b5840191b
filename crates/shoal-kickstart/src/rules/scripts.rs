//! Rules about the end of the installation and about scripts.
//!
//! Data only. Invariant: see the table's.

use crate::hook::Hook;
use crate::version::Version;

super::rules! {
    NO_REBOOT "KS070" Breaks [whole = true, bad_line = 4]
        "The host does not reboot at the end"
        "Without `reboot` the installer waits for a key press at its end, without a timeout. A `reboot` inside a section is part of the script."
        "Add `reboot` before the first section, or use the completion hook `poweroff`."
        "vmaccepteula\nrootpw q7X!mzr0T\ninstall --firstdisk=local --overwritevmfs\nnetwork --bootproto=dhcp\n"
        "vmaccepteula\nrootpw q7X!mzr0T\ninstall --firstdisk=local --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n";
    POST_HALTS "KS080" Lost [bad_line = 2]
        "A `%post` halts the host"
        "The host powers off or reboots before the installer ends: later sections do not run, and a job without a hook fails because of an unexpected power-off."
        "Remove the line and use `completion_hook: poweroff`; or keep it as the last line and use `own-poweroff`."
        "%post --interpreter=busybox\npoweroff -f\n"
        "%post --interpreter=busybox\nsync\n";
    OWN_POWEROFF_MISSING "KS081" Lost [hook = Hook::OwnPoweroff, bad_line = 2]
        "Nothing powers off the host"
        "With the hook `own-poweroff` the last `%post` must power off the host, and none does."
        "Add `poweroff -f` at the end of the last `%post`, or use the hook `poweroff`."
        "%post --interpreter=busybox\nsync\n"
        "%post --interpreter=busybox\npoweroff -f\n";
    NO_INTERPRETER "KS082" Style [warns = true]
        "The section has no interpreter"
        "The installer uses busybox and shows a warning for 30 seconds."
        "Write `--interpreter=busybox` or `--interpreter=python`."
        "%post\nsync\n"
        "%post --interpreter=busybox\nsync\n";
    INTERPRETER_UNKNOWN "KS083" Breaks []
        "Unknown interpreter"
        "The installer supports busybox and python, and stops with an error at any other."
        "Write `--interpreter=busybox` or `--interpreter=python`."
        "%post --interpreter=bash\nsync\n"
        "%post --interpreter=busybox\nsync\n";
    FIRSTBOOT_SECURE_BOOT "KS084" Lost [since = Some(Version::new(7, 0, 0))]
        "`%firstboot` does not run under Secure Boot"
        "With UEFI Secure Boot the installed system skips the section and reports it only in its log."
        "Use `%post`, or the API after the installation; or disable Secure Boot for the first boot."
        "%firstboot --interpreter=busybox\nesxcli system maintenanceMode set -e true\n"
        "%post --interpreter=busybox\nsync\n";
    END_FAILS "KS085" Breaks [bad_line = 3]
        "`%end` makes the script fail"
        "The installer does not support `%end`: the line is part of the script and fails as an unknown program, and so does the script. A failing `%pre` or `%post` stops the installation."
        "Remove the line."
        "%post --interpreter=busybox\nsync\n%end\n"
        "%post --interpreter=busybox\nsync\n";
    END_IGNORED "KS086" Style [bad_line = 3]
        "`%end` has no effect"
        "The installer does not support `%end`: lines after it still belong to the script."
        "Remove the line."
        "%firstboot --interpreter=busybox\nsync\n%end\n"
        "%firstboot --interpreter=busybox\nsync\n";
    SWALLOWED_COMMAND "KS087" Lost [bad_line = 3]
        "An installer command is inside a section"
        "All commands must precede the first section: this line is part of the script."
        "Move the line before the first section."
        "%firstboot --interpreter=busybox\nsync\nkeyboard German\n"
        "keyboard German\n%firstboot --interpreter=busybox\nsync\n";
    INCLUDE_ENDS_SECTION "KS088" Lost [bad_line = 4]
        "A line that starts with `include` ends the section"
        "An unindented line that starts with `include` ends the script, and the lines after it are read as commands."
        "Indent the line."
        "%include /tmp/x\n%pre --interpreter=busybox\ntouch /tmp/x\nincludes=1\nsync\n"
        "%include /tmp/x\n%pre --interpreter=busybox\ntouch /tmp/x\n  includes=1\nsync\n";
    LAST_LINE_FAILS "KS089" Breaks [bad_line = 3]
        "The keyword on the last line is part of the script above"
        "A section that starts on the very last line is not recognized: the keyword runs as an unknown program, and the script fails."
        "Remove the line, or add the lines of its section."
        "%post --interpreter=busybox\nsync\n%firstboot\n"
        "%post --interpreter=busybox\nsync\n%firstboot --interpreter=busybox\nsync\n";
    LAST_LINE_LOST "KS090" Lost [bad_line = 3]
        "The keyword on the last line is not recognized"
        "A keyword on the very last line is part of the script above."
        "Remove the line, or move it before the sections."
        "%firstboot --interpreter=busybox\nsync\n%post\n"
        "%firstboot --interpreter=busybox\nsync\n";
    SCRIPT_FAILS "KS091" Breaks [bad_line = 3]
        "The script ends with an error"
        "Its last command always fails. A failing `%pre` or `%post` stops the installation, unless the `%post` has `--ignorefailure=true`."
        "End with `exit 0`, or add `--ignorefailure=true` to `%post`."
        "%post --interpreter=busybox\nsync\nexit 1\n"
        "%post --interpreter=busybox --ignorefailure=true\nsync\nexit 1\n";
    ESXCLI_FAILS "KS092" Breaks [bad_line = 2]
        "The last command of the script requires a service that is not running"
        "`esxcli` and `vim-cmd` require hostd, which is not running in the installer: the command fails, and the script with it. A failing `%pre` is reported as a missing `vmaccepteula`."
        "Use `localcli`, move the line to `%firstboot`, or end with `exit 0`."
        "%post --interpreter=busybox\nesxcli system settings advanced set -o /Misc/X -i 1\n"
        "%post --interpreter=busybox\nlocalcli system settings advanced set -o /Misc/X -i 1\n";
    ESXCLI_LOST "KS093" Lost [bad_line = 2]
        "The command requires a service that is not running"
        "`esxcli` and `vim-cmd` require hostd, which is not running in the installer: the command fails and changes nothing."
        "Use `localcli`, or move the line to `%firstboot`."
        "%post --interpreter=busybox\nesxcli network ip dns server add -s 10.0.0.2\nsync\n"
        "%post --interpreter=busybox\nlocalcli network ip dns server add -s 10.0.0.2\nsync\n";
    SHADOW_EDIT "KS094" Lost [since = Some(Version::new(7, 0, 1)), bad_line = 2]
        "Editing /etc/shadow has no effect"
        "From 7.0.1 on the password is stored elsewhere, and changes to the file are lost."
        "Use `rootpw --iscrypted`."
        "%firstboot --interpreter=busybox\nsed -i s/x/y/ /etc/shadow\n"
        "%firstboot --interpreter=busybox\nsed -i s/x/y/ /etc/issue\n";
    SECTION_VALUE "KS095" Lost [warns = true]
        "Invalid value of a section option"
        "`--ignorefailure` is true or false, `--timeout` is a number of seconds."
        "Correct the value."
        "%post --interpreter=busybox --ignorefailure=yes\nsync\n"
        "%post --interpreter=busybox --ignorefailure=true\nsync\n";
}
