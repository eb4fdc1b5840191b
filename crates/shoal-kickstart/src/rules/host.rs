//! Rules about disks: install, upgrade, clearpart, part.
//!
//! Data only. Invariant: see the table's.

use crate::version::Version;

super::rules! {
    NO_DISK "KS040" Breaks []
        "No disk is selected"
        "`install`, `upgrade` and `installorupgrade` require `--disk=` (or `--drive=`) or `--firstdisk`: the installer stops with an error without one. ESX 4 selected the disk in `autopart`."
        "Add `--disk=naa.…`, or `--firstdisk=` with the vendor or model."
        "install --overwritevmfs\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    TWO_DISKS "KS041" Breaks []
        "The disk is selected twice"
        "`--disk` and `--firstdisk` are mutually exclusive, and neither may be repeated."
        "Keep one of them."
        "install --disk=naa.600508b1001c3ad5 --firstdisk --overwritevmfs\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    DISK_NAME "KS042" Breaks []
        "Not an ESXi disk name"
        "ESXi names disks naa.…, eui.…, t10.…, vml.… or mpx.…, with or without /vmfs/devices/disks/ before it. Names such as sda are Linux names. The installer stops with an error if it does not find the disk."
        "Use a name that `esxcli storage core device list` shows."
        "install --disk=/dev/sda --overwritevmfs\n"
        "install --disk=/vmfs/devices/disks/naa.600508b1001c3ad5 --overwritevmfs\n";
    FIRSTDISK_UNFILTERED "KS043" Dangerous []
        "`--firstdisk` without a filter selects the first disk found"
        "The order of discovery is not stable: a disk of another controller, or a data disk, may come first and is overwritten."
        "Name the disk (`--disk=naa.…`, or `disk()` in a template), or filter by vendor, model or driver (`--firstdisk=\"DELLBOSS VD\"`)."
        "install --firstdisk --overwritevmfs\n"
        "install --firstdisk=\"DELLBOSS VD\" --overwritevmfs\n";
    VMFS_UNDECIDED "KS044" Dangerous []
        "An existing VMFS datastore stops the installation"
        "If the disk has a VMFS datastore, for example from an earlier installation, the installer stops with an error without `--overwritevmfs` or `--preservevmfs`."
        "Add `--overwritevmfs` to erase it, or `--preservevmfs` to keep it."
        "install --disk=naa.600508b1001c3ad5\n"
        "install --disk=naa.600508b1001c3ad5 --preservevmfs\n";
    VMFS_BOTH "KS045" Lost []
        "`--preservevmfs` overrides `--overwritevmfs`"
        "The installer does not report the contradiction and keeps the datastore."
        "Keep one of them."
        "install --disk=naa.600508b1001c3ad5 --preservevmfs --overwritevmfs\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    NOVMFS_ALONE "KS046" Dangerous []
        "`--novmfsondisk` fails on a disk with a datastore"
        "Without `--overwritevmfs` the installer stops with an error if the disk already has a VMFS datastore."
        "Add `--overwritevmfs`."
        "install --disk=naa.600508b1001c3ad5 --novmfsondisk\n"
        "install --disk=naa.600508b1001c3ad5 --novmfsondisk --overwritevmfs\n";
    IGNORESSD_BOOT_DEVICE "KS047" Breaks []
        "`--ignoressd` excludes the selected boot device"
        "BOSS cards, NS204i and NVMe devices are SSDs. The option also applies to named filters, so no disk is left."
        "Remove `--ignoressd`."
        "install --firstdisk=\"DELLBOSS VD\" --ignoressd --overwritevmfs\n"
        "install --firstdisk=\"DELLBOSS VD\" --overwritevmfs\n";
    IGNORESSD_UPGRADE "KS048" Breaks []
        "`installorupgrade` does not support `--ignoressd`"
        "The installer stops with an error at the option."
        "Remove `--ignoressd`, or use `install`."
        "installorupgrade --firstdisk=local --ignoressd --overwritevmfs\n"
        "installorupgrade --firstdisk=local --overwritevmfs\n";
    IGNORESSD_DISK "KS049" Lost [warns = true]
        "`--ignoressd` has no effect with `--disk`"
        "It only filters the disks that `--firstdisk` considers."
        "Remove `--ignoressd`."
        "install --disk=naa.600508b1001c3ad5 --ignoressd --overwritevmfs\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    OVERWRITEVSAN "KS050" Dangerous []
        "`--overwritevsan` fails on a disk that vSAN does not use"
        "The option is valid only for a disk that vSAN has claimed; on any other disk the installer stops with an error."
        "Remove the option, unless the disk belongs to vSAN."
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs --overwritevsan\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    DISK_NOT_DURABLE "KS051" Style []
        "The disk name is not persistent"
        "Names that begin with mpx. or vml., and paths such as vmhba0:C0:T0:L0, can change with the order of discovery."
        "Use naa.…, eui.… or t10.…, or a filter by model."
        "install --disk=mpx.vmhba0:C0:T0:L0 --overwritevmfs\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    CLEARPART_NOTHING "KS052" Breaks []
        "`clearpart` does not select a disk"
        "One of `--drives=`, `--alldrives`, `--ignoredrives=` and `--firstdisk` is required: the installer stops with an error without one."
        "Add one of them, or remove the line: `install` partitions its own disk."
        "clearpart --overwritevmfs\n"
        "clearpart --drives=naa.600508b1001c3ad5 --overwritevmfs\n";
    CLEARPART_SEVERAL "KS053" Lost []
        "`clearpart` selects disks in several ways"
        "Exactly one of `--drives=`, `--alldrives`, `--ignoredrives=` and `--firstdisk` is expected."
        "Keep one of them."
        "clearpart --firstdisk=local --drives=naa.600508b1001c3ad5 --overwritevmfs\n"
        "clearpart --drives=naa.600508b1001c3ad5 --overwritevmfs\n";
    CLEARPART_ALL "KS054" Dangerous []
        "`clearpart` erases data disks"
        "`--alldrives` erases every disk that the host sees, datastores on shared storage included; `--ignoredrives=` erases all but the named ones."
        "Name the disks: `--drives=naa.…`."
        "clearpart --alldrives --overwritevmfs\n"
        "clearpart --drives=naa.600508b1001c3ad5 --overwritevmfs\n";
    NEEDS_INSTALL "KS055" Breaks [bad_line = 2]
        "The command requires `install`"
        "With `upgrade` or `installorupgrade` the installer stops with an error at `clearpart` and `part`."
        "Remove the command, or use `install`."
        "upgrade --firstdisk\nclearpart --firstdisk --overwritevmfs\n"
        "install --firstdisk=local --overwritevmfs\nclearpart --firstdisk=local --overwritevmfs\n";
    PART_NO_DISK "KS056" Breaks []
        "`part` has no datastore name or no disk"
        "A name and one of `--ondisk=`, `--ondrive=` and `--onfirstdisk` are required."
        "Write `part datastore1 --ondisk=naa.…`."
        "part datastore2\n"
        "part datastore2 --ondisk=naa.600508b1001c3ad6\n";
    IGNORED_IN_UPGRADE "KS057" Lost [whole = true, bad_line = 3]
        "The command has no effect in an upgrade"
        "An upgrade keeps password, network, keyboard and license of the installed system."
        "Remove the line."
        "vmaccepteula\nupgrade --firstdisk\nkeyboard German\nreboot\n"
        "vmaccepteula\nupgrade --firstdisk\nreboot\n";
    UPGRADE_PRESERVE "KS058" Lost [until = Some(Version::new(7, 0, 0))]
        "`installorupgrade` does not support the option"
        "6.7 supports neither `--preservevmfs` nor `--novmfsondisk` here, and ignores them with a warning."
        "Remove the option, or use `install`."
        "installorupgrade --firstdisk=local --preservevmfs\n"
        "install --firstdisk=local --preservevmfs\n";
}
