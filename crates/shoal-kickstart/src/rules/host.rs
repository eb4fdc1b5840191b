//! Rules about disks: install, upgrade, clearpart, part.
//!
//! Data only. Invariant: see the table's.

use crate::version::Version;

super::rules! {
    NO_DISK "KS040" Breaks []
        "No disk is chosen"
        "`install`, `upgrade` and `installorupgrade` need `--disk=` (or `--drive=`) or `--firstdisk`: the installer stops without one. ESX 4 chose the disk in `autopart`."
        "Add `--disk=naa.…`, or `--firstdisk=` with the vendor or model."
        "install --overwritevmfs\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    TWO_DISKS "KS041" Breaks []
        "The disk is chosen twice"
        "`--disk` and `--firstdisk` exclude each other, and neither may be repeated."
        "Keep one of them."
        "install --disk=naa.600508b1001c3ad5 --firstdisk --overwritevmfs\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    DISK_NAME "KS042" Breaks []
        "ESXi has no disk of this name"
        "Disks are named naa.…, eui.…, t10.…, vml.… or mpx.…, with /vmfs/devices/disks/ before it or not. Names such as sda belong to Linux. The installer stops where the disk is not found."
        "Use a name that `esxcli storage core device list` shows."
        "install --disk=/dev/sda --overwritevmfs\n"
        "install --disk=/vmfs/devices/disks/naa.600508b1001c3ad5 --overwritevmfs\n";
    FIRSTDISK_UNFILTERED "KS043" Dangerous []
        "`--firstdisk` takes whichever disk is found first"
        "The order of discovery is not stable: another controller or a data disk may come first, and is overwritten."
        "Name the disk (`--disk=naa.…`), or filter by vendor, model or driver (`--firstdisk=\"DELLBOSS VD\"`)."
        "install --firstdisk --overwritevmfs\n"
        "install --firstdisk=\"DELLBOSS VD\" --overwritevmfs\n";
    VMFS_UNDECIDED "KS044" Dangerous []
        "A disk with a VMFS datastore stops the installation"
        "Where the disk holds a VMFS datastore, as after an earlier installation, the installer stops without `--overwritevmfs` or `--preservevmfs`."
        "Add `--overwritevmfs` to erase it, or `--preservevmfs` to keep it."
        "install --disk=naa.600508b1001c3ad5\n"
        "install --disk=naa.600508b1001c3ad5 --preservevmfs\n";
    VMFS_BOTH "KS045" Lost []
        "`--preservevmfs` overrules `--overwritevmfs`"
        "The installer does not notice the contradiction and keeps the datastore."
        "Keep one of them."
        "install --disk=naa.600508b1001c3ad5 --preservevmfs --overwritevmfs\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    NOVMFS_ALONE "KS046" Dangerous []
        "`--novmfsondisk` stops on a disk that has a datastore"
        "Without `--overwritevmfs` the installer stops where the disk already holds VMFS."
        "Add `--overwritevmfs`."
        "install --disk=naa.600508b1001c3ad5 --novmfsondisk\n"
        "install --disk=naa.600508b1001c3ad5 --novmfsondisk --overwritevmfs\n";
    IGNORESSD_BOOT_DEVICE "KS047" Breaks []
        "`--ignoressd` excludes the boot device that is named"
        "BOSS cards, NS204i and NVMe devices are SSDs: the option applies to named filters too, and no disk is left."
        "Remove `--ignoressd`."
        "install --firstdisk=\"DELLBOSS VD\" --ignoressd --overwritevmfs\n"
        "install --firstdisk=\"DELLBOSS VD\" --overwritevmfs\n";
    IGNORESSD_UPGRADE "KS048" Breaks []
        "`installorupgrade` does not take `--ignoressd`"
        "The installer stops at the option."
        "Remove `--ignoressd`, or use `install`."
        "installorupgrade --firstdisk=local --ignoressd --overwritevmfs\n"
        "installorupgrade --firstdisk=local --overwritevmfs\n";
    IGNORESSD_DISK "KS049" Lost [warns = true]
        "`--ignoressd` has no effect beside `--disk`"
        "It filters what `--firstdisk` finds."
        "Remove `--ignoressd`."
        "install --disk=naa.600508b1001c3ad5 --ignoressd --overwritevmfs\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    OVERWRITEVSAN "KS050" Dangerous []
        "`--overwritevsan` stops on a disk that vSAN does not use"
        "The option is right only where the disk is claimed by vSAN; on any other disk the installer stops."
        "Remove the option, unless the disk belongs to vSAN."
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs --overwritevsan\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    DISK_NOT_DURABLE "KS051" Style []
        "The name of the disk is not durable"
        "Names that begin with mpx. or vml., and paths such as vmhba0:C0:T0:L0, depend on the order of discovery."
        "Use naa.…, eui.… or t10.…, or a filter by model."
        "install --disk=mpx.vmhba0:C0:T0:L0 --overwritevmfs\n"
        "install --disk=naa.600508b1001c3ad5 --overwritevmfs\n";
    CLEARPART_NOTHING "KS052" Breaks []
        "`clearpart` does not say which disks"
        "One of `--drives=`, `--alldrives`, `--ignoredrives=` and `--firstdisk` is required: the installer stops without one."
        "Add one of them, or remove the line: `install` partitions its own disk."
        "clearpart --overwritevmfs\n"
        "clearpart --drives=naa.600508b1001c3ad5 --overwritevmfs\n";
    CLEARPART_SEVERAL "KS053" Lost []
        "`clearpart` names disks in several ways"
        "Exactly one of `--drives=`, `--alldrives`, `--ignoredrives=` and `--firstdisk` is meant to be given."
        "Keep one of them."
        "clearpart --firstdisk=local --drives=naa.600508b1001c3ad5 --overwritevmfs\n"
        "clearpart --drives=naa.600508b1001c3ad5 --overwritevmfs\n";
    CLEARPART_ALL "KS054" Dangerous []
        "`clearpart` erases data disks"
        "`--alldrives` erases every disk that the host sees, datastores on shared storage included; `--ignoredrives=` all but the named ones."
        "Name the disks: `--drives=naa.…`."
        "clearpart --alldrives --overwritevmfs\n"
        "clearpart --drives=naa.600508b1001c3ad5 --overwritevmfs\n";
    NEEDS_INSTALL "KS055" Breaks [bad_line = 2]
        "The command goes with `install` only"
        "`clearpart` and `part` stop an `upgrade` or `installorupgrade`."
        "Remove the command, or use `install`."
        "upgrade --firstdisk\nclearpart --firstdisk --overwritevmfs\n"
        "install --firstdisk=local --overwritevmfs\nclearpart --firstdisk=local --overwritevmfs\n";
    PART_NO_DISK "KS056" Breaks []
        "`part` lacks the name of its datastore or its disk"
        "A name and one of `--ondisk=`, `--ondrive=` and `--onfirstdisk` are required."
        "Write `part datastore1 --ondisk=naa.…`."
        "part datastore2\n"
        "part datastore2 --ondisk=naa.600508b1001c3ad6\n";
    IGNORED_IN_UPGRADE "KS057" Lost [whole = true, bad_line = 3]
        "The command has no effect in an upgrade"
        "An upgrade keeps password, network, keyboard and licence of the installed system."
        "Remove the line."
        "vmaccepteula\nupgrade --firstdisk\nkeyboard German\nreboot\n"
        "vmaccepteula\nupgrade --firstdisk\nreboot\n";
    UPGRADE_PRESERVE "KS058" Lost [until = Some(Version::new(7, 0, 0))]
        "`installorupgrade` does not know the option"
        "In 6.7 it has neither `--preservevmfs` nor `--novmfsondisk`, and ignores them with a warning."
        "Remove the option, or use `install`."
        "installorupgrade --firstdisk=local --preservevmfs\n"
        "install --firstdisk=local --preservevmfs\n";
}
