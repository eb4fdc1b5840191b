//! Dell iDRAC 8, 9 and 10. Shapes: captures of 6.00.30, 7.10.30 and 1.20.50; older ones by Dell's scripts.

use std::time::Duration;

use super::*;

const ALL_KINDS: &[&str] = &["CD", "DVD", "USBStick"];

/// The drive of the chassis is what `Cd` means before the virtual one could be reached by it.
const OLD_BOOT: PersonaBoot = PersonaBoot {
    targets: &[
        ("None", BootTarget::None),
        ("Pxe", BootTarget::Pxe),
        ("Cd", BootTarget::EmptyDrive),
        ("Hdd", BootTarget::Hdd),
        ("BiosSetup", BootTarget::BiosSetup),
    ],
    import: true,
    ..PLAIN_BOOT
};

const OLD_MEDIA: PersonaMedia = PersonaMedia {
    linked_by_system: false,
    drives: &[cd("CD", CD_DVD), stick("RemovableDisk", &["USBStick"])],
    listed: Listed::Nowhere,
    ..PLAIN_MEDIA
};

const MEDIA: PersonaMedia = PersonaMedia {
    of_system: true,
    drives: &[cd("1", ALL_KINDS), cd("2", ALL_KINDS)],
    listed: Listed::Nowhere,
    ..PLAIN_MEDIA
};

const RESETS: &[ResetType] = &[
    ResetType::On,
    ResetType::ForceOff,
    ResetType::ForceRestart,
    ResetType::GracefulRestart,
    ResetType::GracefulShutdown,
    ResetType::PushPowerButton,
    ResetType::PowerCycle,
];

const IDRAC: Persona = Persona {
    vendor: "Dell Inc.",
    root_vendor: Some("Dell"),
    oem: "Dell",
    product: "Integrated Dell Remote Access Controller",
    system: "System.Embedded.1",
    manager: "iDRAC.Embedded.1",
    chassis: "System.Embedded.1",
    storage: storage::DELL,
    resets: RESETS,
    ..PLAIN
};

pub const PERSONAS: &[Persona] = &[
    Persona {
        name: "idrac8",
        model: "PowerEdge R730",
        manager_model: "13G Monolithic",
        firmware: "2.75.75.75",
        media: OLD_MEDIA,
        boot: OLD_BOOT,
        sources: Sources::NONE,
        faults: || {
            vec![
                Fault::StaleInserted(Duration::from_secs(5)),
                Fault::Insert500AfterEject(Duration::from_secs(8)),
                Fault::EjectEmpty500,
                Fault::ExtendedInfoObject,
                Fault::ImportBusy(3),
                Fault::ErrorBodiesCut,
            ]
        },
        quirks: &["boot-by-import"],
        ..IDRAC
    },
    Persona {
        name: "idrac9",
        model: "PowerEdge R750",
        manager_model: "15G Monolithic",
        firmware: "7.10.30.00",
        media: MEDIA,
        boot: PersonaBoot { settings: "Settings", ..PLAIN_BOOT },
        sources: Sources { boot_progress: true, last_reset_time: true, ..Sources::NONE },
        faults: || {
            vec![
                Fault::StaleInserted(Duration::from_secs(5)),
                Fault::Insert500AfterEject(Duration::from_secs(8)),
                Fault::EjectEmpty500,
                Fault::ExtendedInfoObject,
                Fault::InsertChecksUrl,
                Fault::ZeroLastResetTime,
            ]
        },
        ..IDRAC
    },
    Persona {
        name: "idrac10",
        model: "PowerEdge R670",
        manager_model: "17G Monolithic",
        firmware: "1.20.50.52",
        // Some units accept media only in slot 1 (ironic pins it).
        media: PersonaMedia {
            drives: &[cd("1", ALL_KINDS), reserved("2", ALL_KINDS)],
            listed: Listed::Inline,
            ..MEDIA
        },
        boot: PersonaBoot {
            listed: false,
            settings: "Settings",
            place: OverridePlace::Pending,
            ..PLAIN_BOOT
        },
        sources: Sources { boot_progress: true, ..Sources::NONE },
        faults: || vec![Fault::On409Once, Fault::ExtendedInfoObject],
        quirks: &["boot-in-settings"],
        ..IDRAC
    },
];
