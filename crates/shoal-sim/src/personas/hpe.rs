//! HPE iLO 4 to 7: one CD drive and one for sticks. Shapes: captures of iLO 5, 6 and 7; iLO 4 by fakefish.

use std::time::Duration;

use super::*;

const MEDIA: PersonaMedia = PersonaMedia {
    linked_by_system: false,
    drives: &[stick("1", FLOPPY_STICK), cd("2", CD_DVD)],
    listed: Listed::Nowhere,
    ..PLAIN_MEDIA
};

const BOOT: PersonaBoot = PersonaBoot { mode: Mode::ReadOnly, by_slot: true, ..PLAIN_BOOT };

const RESETS: &[ResetType] = &[
    ResetType::On,
    ResetType::ForceOff,
    ResetType::GracefulShutdown,
    ResetType::ForceRestart,
    ResetType::PushPowerButton,
    ResetType::GracefulRestart,
];

const OLD_MANNERS: Manners = Manners { no_keep_alive: true, compresses: true, ..PLAIN_MANNERS };

const ILO: Persona = Persona {
    vendor: "HPE",
    root_vendor: Some("HPE"),
    oem: "Hpe",
    manager: "1",
    media: MEDIA,
    boot: BOOT,
    resets: RESETS,
    manners: OLD_MANNERS,
    sources: Sources { post_state: true, ..Sources::NONE },
    storage: storage::HPE,
    faults: || vec![Fault::SessionTimeout(Duration::from_secs(30)), Fault::Unauthorised401Once],
    quirks: &["no-keep-alive", "boot-on-next-reset"],
    ..PLAIN
};

const WITH_PROGRESS: Sources =
    Sources { boot_progress: true, last_boot_time: true, post_state: true, ..Sources::NONE };

pub const PERSONAS: &[Persona] = &[
    Persona {
        name: "ilo4",
        root_vendor: None,
        oem: "Hp",
        product: "ProLiant DL360 Gen9",
        model: "ProLiant DL360 Gen9",
        manager_model: "iLO 4",
        firmware: "iLO 4 v2.82",
        media: PersonaMedia { way: MediaMethod::IloAction, ..MEDIA },
        boot: PersonaBoot { mode: Mode::Absent, by_slot: false, ..PLAIN_BOOT },
        sources: Sources::NONE,
        quirks: &["no-keep-alive", "ilo-action"],
        ..ILO
    },
    Persona {
        name: "ilo5",
        product: "ProLiant DL360 Gen10 Plus",
        model: "ProLiant DL360 Gen10 Plus",
        manager_model: "iLO 5",
        firmware: "iLO 5 v2.72",
        ..ILO
    },
    Persona {
        name: "ilo6",
        product: "ProLiant DL380a Gen11",
        model: "ProLiant DL380a Gen11",
        manager_model: "iLO 6",
        firmware: "iLO 6 v1.66",
        sources: WITH_PROGRESS,
        ..ILO
    },
    Persona {
        name: "ilo7",
        product: "HPE ProLiant Compute DL360 Gen12",
        model: "HPE ProLiant Compute DL360 Gen12",
        manager_model: "iLO 7",
        firmware: "1.14.00 May 28 2025",
        manners: PLAIN_MANNERS,
        sources: WITH_PROGRESS,
        faults: || vec![Fault::SessionTimeout(Duration::from_secs(30))],
        quirks: &["boot-on-next-reset"],
        ..ILO
    },
];
