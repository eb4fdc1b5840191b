//! Made-up BMCs: the default, and three that lack one thing each; and two emulators as they are shipped.

use super::*;

pub const PERSONAS: &[Persona] = &[
    PLAIN,
    Persona {
        name: "power-only",
        vendor: "Contoso",
        root_vendor: Some("Contoso"),
        product: "Contoso BMC",
        model: "Contoso 1000",
        manager_model: "Contoso BMC",
        system: "Self",
        manager: "Self",
        chassis: "Self",
        sources: Sources::NONE,
        storage: &[],
        ..PLAIN
    },
    Persona {
        name: "one-cd",
        vendor: "Fabrikam",
        root_vendor: Some("Fabrikam"),
        product: "Fabrikam Lights-Out",
        model: "Fabrikam G10",
        manager_model: "Fabrikam Lights-Out",
        manager: "1",
        media: PersonaMedia { drives: &[cd("CD1", CD_DVD), stick("USB1", FLOPPY_STICK)], ..PLAIN_MEDIA },
        sources: Sources { last_reset_time: false, ..Sources::STANDARD },
        ..PLAIN
    },
    Persona {
        name: "emulator",
        vendor: "Northwind",
        root_vendor: Some("Northwind"),
        product: "Northwind Emulator",
        model: "Northwind VM",
        manager_model: "Northwind Emulator",
        system: "437XR1138R2",
        chassis: "1U",
        sources: Sources::NONE,
        faults: || vec![Fault::Prefetch, Fault::NoSessions, Fault::NoEject],
        ..PLAIN
    },
    Persona {
        name: "sushy",
        vendor: "Sushy Emulator",
        root_vendor: None,
        product: "sushy-emulator",
        model: "libvirt",
        manager_model: "sushy-emulator",
        system: "vm",
        manager: "vm",
        media: PersonaMedia {
            linked_by_system: true,
            drives: &[cd("Cd", CD_DVD), stick("Floppy", FLOPPY_STICK)],
            listed: Listed::Nowhere,
            ..PLAIN_MEDIA
        },
        boot: PersonaBoot {
            targets: &[("Pxe", BootTarget::Pxe), ("Hdd", BootTarget::Hdd), ("Cd", BootTarget::Cd)],
            lasts: true,
            ..PLAIN_BOOT
        },
        sources: Sources::NONE,
        faults: || {
            vec![Fault::NoSerial, Fault::Prefetch, Fault::NoSessions, Fault::NoEject, Fault::LiveMediaIgnored]
        },
        ..PLAIN
    },
];
