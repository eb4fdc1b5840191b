//! Cisco CIMC of rack servers: one CD drive, and sentences where words belong. Shape: iserver's dumps.

use super::*;

pub const PERSONAS: &[Persona] = &[Persona {
    name: "cimc",
    vendor: "Cisco Systems Inc",
    root_vendor: Some("Cisco Systems Inc."),
    product: "UCS C240 M6",
    model: "UCSC-C240-M6S",
    manager_model: "CIMC",
    firmware: "4.3(2.230207)",
    system: "WZP25440ABC",
    manager: "CIMC",
    media: Media {
        linked_by_system: false,
        drives: &[cd("0", CD_DVD), stick("1", FLOPPY_STICK)],
        listed: Listed::Prose,
        ..PLAIN_MEDIA
    },
    boot: Boot { mode: Mode::Absent, ..PLAIN_BOOT },
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
}];
