//! Cisco CIMC of rack servers: one CD drive, and sentences where words belong. Shape: iserver's dumps.
//! UCS X and blades: drives for DVDs alone, of which some are the console's own. Shape: ironic's notes.

use super::*;

const DVD: &[&str] = &["DVD"];

const CIMC: Persona = Persona {
    name: "cimc",
    vendor: "Cisco Systems Inc",
    root_vendor: Some("Cisco Systems Inc."),
    product: "UCS C240 M6",
    model: "UCSC-C240-M6S",
    manager_model: "CIMC",
    firmware: "4.3(2.230207)",
    system: "WZP25440ABC",
    manager: "CIMC",
    media: PersonaMedia {
        linked_by_system: false,
        drives: &[cd("0", CD_DVD), stick("1", FLOPPY_STICK)],
        listed: Listed::Prose,
        ..PLAIN_MEDIA
    },
    boot: PersonaBoot { mode: Mode::Absent, ..PLAIN_BOOT },
    resets: &[
        ResetType::On,
        ResetType::ForceOff,
        ResetType::GracefulShutdown,
        ResetType::GracefulRestart,
        ResetType::ForceRestart,
        ResetType::PowerCycle,
    ],
    sources: Sources::NONE,
    ..PLAIN
};

pub const PERSONAS: &[Persona] = &[
    CIMC,
    Persona {
        name: "ucsx",
        product: "UCS X210c M7",
        model: "UCSX-210C-M7",
        firmware: "5.2(2.240074)",
        media: PersonaMedia {
            drives: &[applet("0", DVD), reserved("1", DVD), cd("2", DVD), stick("3", FLOPPY_STICK)],
            ..CIMC.media
        },
        ..CIMC
    },
];
