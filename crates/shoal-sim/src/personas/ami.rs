//! AMI MegaRAC: off until it is switched on, Tasks, a future state that takes the override. Shapes: a
//! capture of DGX H100 23.11, Lenovo's TSM document and script, sushy.

use std::time::Duration;

use super::*;

const MEDIA: PersonaMedia = PersonaMedia {
    linked_by_system: false,
    drives: &[cd("CD1", CD_DVD), cd("CD2", CD_DVD), cd("CD3", CD_DVD), cd("CD4", CD_DVD)],
    required: &["TransferProtocolType", "TransferMethod"],
    switched: true,
    ..PLAIN_MEDIA
};

const MEGARAC: Persona = Persona {
    name: "megarac",
    vendor: "ASRockRack",
    root_vendor: Some("AMI"),
    oem: "Ami",
    product: "AMI Redfish Server",
    model: "1U4L2E-GENOA/2T",
    manager_model: "AST2600",
    firmware: "13.06",
    system: "Self",
    manager: "Self",
    chassis: "Self",
    media: MEDIA,
    boot: PersonaBoot { mode: Mode::FallsBack, settings: "SD", place: OverridePlace::Settings, ..PLAIN_BOOT },
    resets: &[ResetType::ForceOff, ResetType::ForceRestart, ResetType::GracefulShutdown, ResetType::On],
    manners: Manners { wants_tag: true, ..PLAIN_MANNERS },
    sources: Sources { last_reset_time: true, ..Sources::NONE },
    faults: || {
        vec![
            Fault::InsertTask(Duration::from_secs(5)),
            Fault::ResetActionInfo,
            Fault::SessionTimeout(Duration::from_secs(30)),
            Fault::Lockout(5),
            Fault::Busy503(2),
            Fault::Busy503AfterStart(Duration::from_secs(180)),
        ]
    },
    quirks: &["remote-media-switch", "cd-instances", "boot-wants-mode"],
    ..PLAIN
};

pub const PERSONAS: &[Persona] = &[
    MEGARAC,
    Persona {
        name: "gigabyte",
        vendor: "Giga Computing",
        model: "H262-Z63-00",
        firmware: "12.84.17",
        media: PersonaMedia {
            drives: &[untyped("CD1"), untyped("CD2"), untyped("CD3"), untyped("CD4")],
            plain_switches: true,
            ..MEDIA
        },
        faults: || vec![Fault::LegacyWhileDisabled, Fault::SessionTimeout(Duration::from_secs(30))],
        ..MEGARAC
    },
    Persona {
        name: "dgx",
        vendor: "NVIDIA",
        model: "DGXH100",
        manager_model: "77171220",
        firmware: "23.11.20",
        system: "DGX",
        manager: "BMC",
        chassis: "DGX",
        baseboard: true,
        media: PersonaMedia {
            required: &["TransferProtocolType", "TransferMethod", "UserName", "Password"],
            ..MEDIA
        },
        ..MEGARAC
    },
];
