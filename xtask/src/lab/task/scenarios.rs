//! The scenarios of Linux and Windows: data.

use super::images::{DiskImage, MaintenanceIso};
use super::{TaskEnd, TaskRound, TaskScenario, TaskTrouble};
use crate::lab::gate::Reports;

const COPIED: &str = "{}";
const STREAMED: &str = r#"{"media": "stream"}"#;
/// The first of two equal disks.
const FIRST: &str = r#"{"serial": "SERIAL-A"}"#;

const PROVEN: TaskEnd = TaskEnd::Installed { confidence: "proven", evidence: "task_report", warning: "" };

/// Two CDs, read piece by piece, and a network: Debian, whose first boot shows the user-data of the recipe.
const LINUX: TaskScenario = TaskScenario {
    name: "linux, streamed",
    machines: &[8, 9],
    traits: STREAMED,
    image: DiskImage::Linux,
    on_medium: false,
    wrong_digest: false,
    target_disk: FIRST,
    end: PROVEN,
};
const LINUX_COPIED: TaskScenario = TaskScenario { name: "linux, copied", traits: COPIED, ..LINUX };
const LINUX_ONE_CD: TaskScenario = TaskScenario { name: "linux, single-cd", machines: &[6, 7], ..LINUX };
const LINUX_ONE_CD_COPIED: TaskScenario =
    TaskScenario { name: "linux, single-cd, copied", traits: COPIED, ..LINUX_ONE_CD };
/// The network ends at the BMC: the image comes on CD2, and its reads are the report.
const NO_NETWORK: TaskScenario = TaskScenario {
    name: "linux, no network",
    machines: &[0, 3],
    on_medium: true,
    end: TaskEnd::Installed { confidence: "proven", evidence: "media_signal", warning: "" },
    ..LINUX
};
/// Nothing but the power shows the end.
const NO_NETWORK_COPIED: TaskScenario = TaskScenario {
    name: "linux, no network, copied",
    machines: &[1, 2],
    traits: COPIED,
    end: TaskEnd::Installed { confidence: "probable", evidence: "power_off", warning: "" },
    ..NO_NETWORK
};
/// GRUB is installed by the archive's own programs.
const ROOT_FILE_SYSTEM: TaskScenario =
    TaskScenario { name: "root file system", machines: &[9], image: DiskImage::Archive, ..LINUX };
const WINDOWS: TaskScenario =
    TaskScenario { name: "windows", machines: &[7], image: DiskImage::Windows, ..LINUX };

const WRONG_DIGEST: TaskScenario = TaskScenario {
    name: "wrong digest",
    machines: &[8],
    wrong_digest: true,
    end: TaskEnd::Unbootable { reason: "SHA-256" },
    ..LINUX
};
const SMALL_DISK: TaskScenario = TaskScenario {
    name: "disk too small",
    machines: &[6],
    image: DiskImage::TooLarge,
    end: TaskEnd::Untouched { reason: "the image needs" },
    ..LINUX
};
const EQUAL_DISKS: TaskScenario = TaskScenario {
    name: "two equal disks",
    machines: &[9],
    target_disk: r#"{"model": "QEMU HARDDISK"}"#,
    end: TaskEnd::Untouched { reason: "SERIAL-B" },
    ..LINUX
};
const POWER_CUT: TaskScenario = TaskScenario {
    name: "power cut",
    end: TaskEnd::Unbootable { reason: "went off without a result" },
    ..LINUX
};
const NVRAM_REFUSED: TaskScenario = TaskScenario {
    name: "NVRAM refused",
    machines: &[9],
    end: TaskEnd::Installed { confidence: "proven", evidence: "task_report", warning: "boot entry" },
    ..LINUX
};
const REPORTS_LOST: TaskScenario = TaskScenario {
    name: "reports lost",
    end: TaskEnd::Installed { confidence: "proven", evidence: "media_signal", warning: "" },
    ..LINUX
};
const REPORTS_REPEATED: TaskScenario = TaskScenario { name: "reports repeated", ..LINUX };
const KILLED: TaskScenario = TaskScenario { name: "controller killed, linux", ..LINUX };

const QUIET: TaskRound = TaskRound {
    scenarios: &[],
    trouble: TaskTrouble::None,
    iso: MaintenanceIso::Plain,
    reports: Reports::Delivered,
};

/// Each firmware, each layout, both systems, and the failures that end soonest.
pub const ALL: &[TaskRound] = &[
    TaskRound { scenarios: &[LINUX], ..QUIET },
    TaskRound { scenarios: &[WINDOWS, SMALL_DISK, ROOT_FILE_SYSTEM], ..QUIET },
    TaskRound { scenarios: &[WRONG_DIGEST, EQUAL_DISKS], ..QUIET },
];

pub const LONG: &[TaskRound] = &[
    TaskRound { scenarios: &[LINUX_COPIED], ..QUIET },
    TaskRound { scenarios: &[LINUX_ONE_CD], ..QUIET },
    TaskRound { scenarios: &[LINUX_ONE_CD_COPIED], ..QUIET },
    TaskRound { scenarios: &[NO_NETWORK], ..QUIET },
    TaskRound { scenarios: &[NO_NETWORK_COPIED], ..QUIET },
    TaskRound { scenarios: &[POWER_CUT], trouble: TaskTrouble::PowerCut, ..QUIET },
    TaskRound { scenarios: &[NVRAM_REFUSED], iso: MaintenanceIso::WithoutVariables, ..QUIET },
    TaskRound { scenarios: &[REPORTS_LOST], reports: Reports::Lost, ..QUIET },
    TaskRound { scenarios: &[REPORTS_REPEATED], reports: Reports::Unanswered, ..QUIET },
    TaskRound { scenarios: &[KILLED], trouble: TaskTrouble::Killed, ..QUIET },
];
