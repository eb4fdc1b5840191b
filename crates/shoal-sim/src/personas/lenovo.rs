//! Lenovo XCC, XCC2 and XCC3: slots that are changed by PATCH; before 2.50 a list that is mounted. Shape: a
//! capture of XCC 2.83; the others by Lenovo's documents and scripts.

use super::*;

const KINDS: &[&str] = &["CD", "DVD", "Floppy", "USBStick"];

const MEDIA: PersonaMedia = PersonaMedia {
    of_system: true,
    // In the order in which some show them: those of no use first (python-redfish-lenovo#21).
    drives: &[
        reserved("RDOC1", KINDS),
        reserved("RDOC2", KINDS),
        reserved("Remote1", KINDS),
        cd("EXT1", KINDS),
        cd("EXT2", KINDS),
        cd("EXT3", KINDS),
        cd("EXT4", KINDS),
    ],
    way: MediaMethod::Patch,
    listed: Listed::Nowhere,
    required: &["Inserted"],
    ..PLAIN_MEDIA
};

const RESETS: &[ResetType] = &[
    ResetType::On,
    ResetType::GracefulShutdown,
    ResetType::GracefulRestart,
    ResetType::ForceOn,
    ResetType::ForceOff,
    ResetType::ForceRestart,
];

const XCC: Persona = Persona {
    name: "xcc",
    vendor: "Lenovo",
    root_vendor: Some("Lenovo"),
    oem: "Lenovo",
    product: "XClarity Controller",
    model: "ThinkSystem SR670 V2",
    manager_model: "Lenovo XClarity Controller",
    firmware: "TGBT42S 2.83 2023-07-05",
    manager: "1",
    media: MEDIA,
    boot: PersonaBoot { settings: "Pending", ..PLAIN_BOOT },
    resets: RESETS,
    manners: Manners { wants_tag: true, ..PLAIN_MANNERS },
    sources: Sources { number_of_reboots: true, ..Sources::NONE },
    quirks: &["reserved-slots"],
    ..PLAIN
};

pub const PERSONAS: &[Persona] = &[
    Persona {
        name: "xcc1",
        model: "ThinkSystem SR650",
        firmware: "CDI327H 2.10 2018-10-19",
        media: PersonaMedia {
            of_system: false,
            linked_by_system: false,
            drives: &[cd("RemoteMap", CD_DVD)],
            way: MediaMethod::RemoteMap,
            protocols: &["HTTP"],
            listed: Listed::Nowhere,
            ..PLAIN_MEDIA
        },
        quirks: &["reserved-slots", "remote-map"],
        ..XCC
    },
    XCC,
    Persona {
        name: "xcc2",
        model: "ThinkSystem SR675 V3",
        manager_model: "Lenovo XClarity Controller 2",
        firmware: "QGX330E 5.40 2024-08-13",
        manners: Manners { wants_tag: true, hangs_when_hurried: true, ..PLAIN_MANNERS },
        quirks: &["reserved-slots", "pause-before-on"],
        ..XCC
    },
    Persona {
        name: "xcc3",
        model: "ThinkSystem SR650 V4",
        manager_model: "Lenovo XClarity Controller 3",
        firmware: "IHX304E 1.20 2025-04-02",
        media: PersonaMedia {
            drives: &[cd("EXT1", KINDS), cd("EXT2", KINDS), cd("EXT3", KINDS), cd("EXT4", KINDS)],
            ..MEDIA
        },
        ..XCC
    },
];
