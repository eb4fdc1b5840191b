//! The scenarios of the lab: data.
//!
//! In this lab PowerState never dips in a warm reboot. Without traits nothing shows a second boot
//! either, and images are fetched whole when they are inserted. So a plain installation is `assumed`, after
//! the time that an installation takes at least, and one that powers off at its end is `probable`: the
//! read of its nonce is not seen. With traits a BMC streams its media, or shows boots.

use super::installer::Installer;
use super::scenario::{End, Kickstart, Redfish, Round, Scenario};
use super::trouble::Trouble;

/// The machines that the scenarios need: 0 to 5 for ESXi, 6 to 9 with a network card for Linux and Windows.
pub const MACHINES: u32 = 10;

const STREAMED: &str = r#"{"media": "stream"}"#;
const SHOWING_BOOTS: &str = r#"{"media": "stream", "shows": ["LastResetTime", "BootProgress"]}"#;

const PLAIN: Kickstart = Kickstart {
    licence: "vmaccepteula",
    install: "install --firstdisk --overwritevmfs",
    reboot: "reboot",
    more: "",
};
const POWERS_OFF: Kickstart =
    Kickstart { more: "%post --interpreter=busybox --ignorefailure=true\npoweroff\n", ..PLAIN };

const PROVEN: End = End::Installed { confidence: "proven", evidence: "installer_hook" };
const PROBABLE: End = End::Installed { confidence: "probable", evidence: "installer_hook" };
const BOOTED_TWICE: End = End::Installed { confidence: "probable", evidence: "second_boot" };

/// The section that Shoal adds, read and run by a real shell; the machine's own drive reads the URL, so
/// the nonce is seen read.
const HOOK_STREAMED: Scenario = Scenario {
    name: "poweroff-hook, streamed",
    machines: &[0, 1],
    redfish: Redfish::Lab,
    traits: STREAMED,
    completion_hook: "poweroff",
    media_layout: Some("dual-cd"),
    kickstart: PLAIN,
    used_disk: false,
    end: PROVEN,
};
const HOOK: Scenario = Scenario { name: "poweroff-hook", traits: "{}", end: PROBABLE, ..HOOK_STREAMED };
const OWN_POWEROFF: Scenario =
    Scenario { name: "own-poweroff", completion_hook: "own-poweroff", kickstart: POWERS_OFF, ..HOOK };
/// Installer and kickstart on one image, read by real firmware, boot loaders and a Linux kernel; the layout
/// is chosen by what the machine has.
const SINGLE_CD: Scenario =
    Scenario { name: "single-cd", machines: &[2, 3], media_layout: None, ..OWN_POWEROFF };
/// The hook finds no nonce: a stick is no volume to the scripts of this installer.
const CD_USB: Scenario = Scenario {
    name: "cd-usb",
    machines: &[2, 3],
    media_layout: Some("cd-usb"),
    end: PROBABLE,
    ..HOOK_STREAMED
};
const SECOND_BOOT: Scenario = Scenario {
    name: "second boot",
    traits: SHOWING_BOOTS,
    completion_hook: "none",
    end: BOOTED_TWICE,
    ..HOOK_STREAMED
};

const REFUSED: Scenario = Scenario {
    name: "refused kickstart",
    kickstart: Kickstart { licence: "", ..PLAIN },
    end: End::Stopped { reason: "the installer never rebooted", console: "the licence is not accepted" },
    ..SECOND_BOOT
};
const USED_DISK: Scenario = Scenario {
    name: "used disk",
    machines: &[2, 3],
    media_layout: None,
    kickstart: Kickstart { install: "install --firstdisk", ..PLAIN },
    used_disk: true,
    end: End::Stopped { reason: "the installer never rebooted", console: "holds a VMFS datastore" },
    ..SECOND_BOOT
};
const NO_KS: Scenario = Scenario {
    name: "no ks=",
    machines: &[4, 5],
    end: End::Stopped { reason: "the kickstart was not read", console: "PROMPT: Welcome" },
    ..SECOND_BOOT
};

const POWER_ALONE: Scenario = Scenario {
    name: "power alone",
    machines: &[4, 5],
    completion_hook: "none",
    end: End::Installed { confidence: "assumed", evidence: "power_stable" },
    ..HOOK
};
/// An override that nothing spends, a BMC that shows nothing, a kickstart that leaves the CDs in.
const LOOP: Scenario = Scenario {
    name: "reinstall loop",
    machines: &[4],
    traits: r#"{"override": "sticky"}"#,
    kickstart: Kickstart { reboot: "reboot --noeject", ..PLAIN },
    end: End::Looped { reason: "still armed" },
    ..POWER_ALONE
};
const STOCK: Scenario = Scenario {
    name: "stock emulator",
    machines: &[5],
    redfish: Redfish::Stock,
    media_layout: None,
    end: End::NotStarted { reason: "completion_hook: poweroff" },
    ..POWER_ALONE
};
const STOCK_HOOK: Scenario = Scenario {
    name: "stock emulator, hook",
    machines: &[4, 5],
    redfish: Redfish::Stock,
    media_layout: None,
    ..HOOK
};
const STAYS: Scenario = Scenario {
    name: "override that stays",
    machines: &[4, 5],
    traits: r#"{"media": "stream", "shows": ["LastResetTime", "BootProgress"], "override": "sticky"}"#,
    kickstart: Kickstart { reboot: "reboot --noeject", ..PLAIN },
    ..SECOND_BOOT
};
const FOUR: Scenario = Scenario { name: "four in parallel", machines: &[0, 1, 4, 5], ..HOOK_STREAMED };
const SLOW: Scenario = Scenario {
    name: "slow BMC",
    machines: &[4, 5],
    traits: r#"{"media": "stream", "shows": ["LastResetTime", "BootProgress"], "slow": 4}"#,
    ..SECOND_BOOT
};

const LARGE: Scenario = Scenario { name: "1 GB image", ..HOOK_STREAMED };
const CANCELLED: Scenario =
    Scenario { name: "cancelled", machines: &[4, 5], end: End::Cancelled, ..SECOND_BOOT };
const KILLED: Scenario = Scenario { name: "controller killed", ..SECOND_BOOT };
const HUNG: Scenario = Scenario { name: "service hung for a minute", ..SECOND_BOOT };
const BLOCKED: Scenario = Scenario { name: "media port blocked", ..HOOK_STREAMED };

const QUIET: Round =
    Round { scenarios: &[], installer: Installer::Standin, trouble: Trouble::None, settings: &[] };
/// Nothing is ejected from under an installer, even one that stands still, before its time is over: three minutes.
/// Power alone convinces once six machines that start together can have installed.
const IMPATIENT: Round =
    Round { settings: &[("ESXI_INSTALL_TIMEOUT", "3m"), ("ESXI_MIN_INSTALL_TIME", "100s")], ..QUIET };

/// Each firmware, each way to read media, and the layout of half of the fleet.
pub const FAST: &[Round] =
    &[Round { scenarios: &[HOOK_STREAMED], ..QUIET }, Round { scenarios: &[SINGLE_CD], ..QUIET }];

pub const ALL: &[Round] = &[
    Round { scenarios: &[HOOK_STREAMED], ..QUIET },
    Round { scenarios: &[SINGLE_CD], ..QUIET },
    Round { scenarios: &[SECOND_BOOT], ..QUIET },
    Round { scenarios: &[CD_USB], ..QUIET },
    Round { scenarios: &[HOOK], ..QUIET },
    Round { scenarios: &[OWN_POWEROFF], ..QUIET },
    Round { scenarios: &[STOCK_HOOK], ..QUIET },
    Round { scenarios: &[STAYS], ..QUIET },
    Round { scenarios: &[SLOW], ..QUIET },
    Round { scenarios: &[REFUSED, USED_DISK, LOOP, STOCK], ..IMPATIENT },
    Round {
        scenarios: &[NO_KS],
        installer: Installer::Direct,
        settings: &[
            ("ESXI_INSTALLER_DELIVERY", "direct"),
            ("ESXI_BOOT_TIMEOUT", "45s"),
            ("ESXI_KS_TIMEOUT", "45s"),
            ("ESXI_INSTALL_TIMEOUT", "2m"),
        ],
        ..QUIET
    },
    Round { scenarios: &[FOUR], ..QUIET },
    Round { scenarios: &[LARGE], installer: Installer::Large, ..QUIET },
    Round { scenarios: &[CANCELLED], ..QUIET },
    Round { scenarios: &[KILLED], trouble: Trouble::Killed, ..QUIET },
    Round { scenarios: &[HUNG], trouble: Trouble::Hung, ..QUIET },
    Round { scenarios: &[BLOCKED, POWER_ALONE], trouble: Trouble::Blocked, ..IMPATIENT },
];
