//! Failures of an ESXi installation, from the start of the host on.

use super::FailureCode as Code;
use super::{FailureEntry, entry};
use crate::domain::Step;

const WATCH: &[Step] = &[Step::EsxiAwaitBmc, Step::EsxiPollPower];

pub(super) const TABLE: &[FailureEntry] = &[
    entry(
        Code::InstallerNotBooted,
        WATCH,
        "CD1 was never read within `ESXI_BOOT_TIMEOUT` after the reset.",
        "The firmware did not boot from the virtual CD: boot mode, Secure Boot, a setup prompt, or a lost medium.",
        "Look at the host's console; check the boot mode and that the BMC reaches `MEDIA_BASE_URL`.",
    ),
    entry(
        Code::KickstartNotRead,
        WATCH,
        "The installer was read, and the kickstart was not read within `ESXI_KS_TIMEOUT` or the install timeout.",
        "The installer waits at a prompt, does not support the hardware, or does not see the second virtual CD.",
        "Look at the host's console; try `media_layout: single-cd`.",
    ),
    entry(
        Code::InstallerReportedFailure,
        WATCH,
        "The installer reported by its webhook that it failed.",
        "A command of the kickstart failed.",
        "Look at the host's console, and lint the kickstart.",
    ),
    entry(
        Code::HostOffBeforeKickstart,
        WATCH,
        "The host powered itself off before the kickstart was read, and stayed off.",
        "A power fault, an operator, or firmware that powers off on an error.",
        "Look at the host's console and the BMC's event log.",
    ),
    entry(
        Code::HostOffAfterKickstart,
        WATCH,
        "The host powered itself off after the kickstart was read, stayed off, and no hook announced that.",
        "A `%post` that powers the host off, or a power failure during the installation.",
        "Submit such a kickstart with `completion_hook: own-poweroff`; otherwise look at the host.",
    ),
    entry(
        Code::InstallerNeverRebooted,
        WATCH,
        "The kickstart was read or may have been, and a source of the BMC that records boots shows no second one.",
        "The installer stopped at an error dialog.",
        "Look at the host's console.",
    ),
    entry(
        Code::SecondBootMissed,
        WATCH,
        "No second boot was seen in a source of the BMC that keeps no record of one.",
        "The installer stopped at an error dialog, or the boot was shorter than the poll interval.",
        "Look at the host's console; use a `completion_hook` for proof.",
    ),
    entry(
        Code::SecondBootTooEarly,
        WATCH,
        "The only boot was seen within two minutes of the start, when it counts as the firmware's own.",
        "A simulated or very fast host, or firmware that restarts itself and then hangs.",
        "Look at the host's console; lower `ESXI_MIN_INSTALL_TIME` for stand-ins.",
    ),
    entry(
        Code::HostNotStable,
        WATCH,
        "The installation ended, and the host did not stay on for `ESXI_STABLE_WINDOW`.",
        "A host that restarts again and again, or a BMC that does not answer.",
        "Look at the host's power and console.",
    ),
    entry(
        Code::BootOverrideNotUsed,
        WATCH,
        "The host is on, and the one-time boot from the virtual CD is still armed.",
        "The host did not boot the installer, or the BMC applies the override at every start.",
        "Look at the host's console; use `completion_hook: poweroff`.",
    ),
    entry(
        Code::InstallationTimedOut,
        WATCH,
        "Nothing showed a finished installation within `ESXI_INSTALL_TIMEOUT`.",
        "A BMC that shows neither boots nor reads, or a host that hangs.",
        "Look at the host's console; use a `completion_hook` or a `management_address`.",
    ),
    entry(
        Code::SuccessNotConfirmed,
        WATCH,
        "The evidence makes a success, with less confidence than `ESXI_MIN_CONFIDENCE` requires.",
        "The BMC shows too little of the host's boots.",
        "Use a `completion_hook` or a `management_address`, or lower `ESXI_MIN_CONFIDENCE`.",
    ),
];
