//! Supermicro X10 to X14: the virtual CD is a USB drive. Shapes: captures of X10SDV 4.00, SYS-510T (X12)
//! and SYS-821GE (X13 11.01.01); X11 by sushy and community.general.

use std::time::Duration;
use strum::VariantArray as _;

use super::*;

const KINDS: &[&str] = &["CD", "DVD", "Floppy", "USBStick"];

const BOOT: PersonaBoot = PersonaBoot {
    targets: &[
        ("None", BootTarget::None),
        ("Pxe", BootTarget::Pxe),
        ("Cd", BootTarget::EmptyDrive),
        ("Hdd", BootTarget::Hdd),
        ("BiosSetup", BootTarget::BiosSetup),
        ("UsbCd", BootTarget::Cd),
    ],
    mode: Mode::FallsBack,
    ..PLAIN_BOOT
};

const OLD_RESETS: &[ResetType] = &[
    ResetType::On,
    ResetType::ForceOff,
    ResetType::GracefulShutdown,
    ResetType::GracefulRestart,
    ResetType::ForceRestart,
    ResetType::ForceOn,
];

const X11: Persona = Persona {
    name: "x11",
    vendor: "Supermicro",
    root_vendor: Some("Supermicro"),
    oem: "Supermicro",
    product: "Supermicro BMC",
    model: "SYS-1029U-TR4",
    manager_model: "ASPEED",
    firmware: "1.74.06",
    manager: "1",
    media: PersonaMedia {
        drives: &[cd("CD1", CD_DVD)],
        listed: Listed::Nowhere,
        refused: &["Inserted", "WriteProtected"],
        ..PLAIN_MEDIA
    },
    boot: BOOT,
    resets: OLD_RESETS,
    sources: Sources::NONE,
    faults: || vec![Fault::EjectEmpty400, Fault::Etag412Always],
    quirks: &["usb-cd", "boot-wants-mode"],
    ..PLAIN
};

const X13: Persona = Persona {
    name: "x13",
    root_vendor: None,
    model: "SYS-821GE-TNHR",
    firmware: "11.01.01",
    media: PersonaMedia {
        drives: &[cd("VirtualMedia1", KINDS), cd("VirtualMedia2", KINDS), cd("VirtualMedia3", KINDS)],
        listed: Listed::Info,
        eject_when_full: true,
        ..PLAIN_MEDIA
    },
    resets: ResetType::VARIANTS,
    sources: Sources { boot_progress: true, ..Sources::NONE },
    faults: || {
        vec![Fault::ResetActionInfo, Fault::Lockout(3), Fault::SessionTimeout(Duration::from_secs(300))]
    },
    ..X11
};

pub const PERSONAS: &[Persona] = &[
    Persona {
        name: "x10",
        root_vendor: None,
        oem: "",
        model: "Super Server",
        firmware: "4.0",
        media: PersonaMedia {
            linked_by_system: false,
            collection: "VM1",
            drives: &[cd("CD1", CD_DVD)],
            way: MediaMethod::IsoConfig,
            listed: Listed::Nowhere,
            ..PLAIN_MEDIA
        },
        boot: PersonaBoot {
            targets: &[
                ("None", BootTarget::None),
                ("Pxe", BootTarget::Pxe),
                ("Hdd", BootTarget::Hdd),
                ("CD/DVD", BootTarget::EmptyDrive),
                ("BiosSetup", BootTarget::BiosSetup),
                ("UsbCd", BootTarget::EmptyDrive),
                ("UefiCd", BootTarget::EmptyDrive),
                ("UefiUsbCd", BootTarget::Cd),
            ],
            mode: Mode::Absent,
            ..PLAIN_BOOT
        },
        faults: || vec![Fault::Lockout(5), Fault::SessionTimeout(Duration::from_secs(300))],
        quirks: &["iso-config", "usb-cd", "boot-wants-mode"],
        ..X11
    },
    X11,
    Persona {
        name: "x12",
        model: "SYS-510T-MR",
        firmware: "01.13.04",
        sources: Sources { boot_progress: true, ..Sources::NONE },
        ..X11
    },
    X13,
    Persona { name: "x14", model: "SYS-222H-TN", firmware: "01.03.10", ..X13 },
];
