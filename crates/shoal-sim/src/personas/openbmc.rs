//! OpenBMC: upstream's bmcweb, and NVIDIA's machines with a baseboard beside the host. Shapes: captures of
//! GB200 24.12 and GB300; upstream by its source; GH200 by reports of what it refuses.

use super::*;

const MEDIA: PersonaMedia = PersonaMedia {
    linked_by_system: false,
    drives: &[cd("USB1", &["CD", "USBStick"]), cd("USB2", &["CD", "USBStick"])],
    listed: Listed::Nowhere,
    ..PLAIN_MEDIA
};

pub const PERSONAS: &[Persona] = &[
    Persona {
        name: "openbmc",
        vendor: "OpenBMC Project",
        root_vendor: None,
        oem: "OpenBmc",
        product: "bmcweb",
        model: "Witherspoon",
        manager_model: "OpenBmc",
        firmware: "2.18.0",
        system: "system",
        manager: "bmc",
        chassis: "chassis",
        media: PersonaMedia {
            drives: &[cd("Slot_0", &["CD", "USBStick"]), cd("Slot_1", &["CD", "USBStick"])],
            // bmcweb refuses http.
            protocols: &["HTTPS"],
            ..MEDIA
        },
        ..PLAIN
    },
    Persona {
        name: "gh200",
        vendor: "NVIDIA",
        root_vendor: Some("NVIDIA"),
        oem: "Nvidia",
        product: "GH200",
        model: "P3880",
        manager_model: "OpenBmc",
        firmware: "24.06-1",
        system: "System_0",
        manager: "BMC_0",
        chassis: "Chassis_0",
        media: PersonaMedia { protocols: &["HTTPS"], lists_images: true, ..MEDIA },
        boot: PersonaBoot {
            mode: Mode::Absent,
            settings: "Settings",
            place: OverridePlace::Settings,
            ..PLAIN_BOOT
        },
        faults: || vec![Fault::ResetActionInfo],
        ..PLAIN
    },
    Persona {
        name: "gb200",
        vendor: "NVIDIA",
        root_vendor: Some("NVIDIA"),
        oem: "Nvidia",
        product: "GB200 NVL",
        model: "GB200 NVL",
        manager_model: "OpenBmc",
        firmware: "GB200Nvl-24.12-8",
        system: "System_0",
        manager: "BMC_0",
        chassis: "Chassis_0",
        baseboard: true,
        media: MEDIA,
        boot: PersonaBoot {
            mode: Mode::Absent,
            settings: "Settings",
            place: OverridePlace::Settings,
            ..PLAIN_BOOT
        },
        faults: || vec![Fault::ResetActionInfo],
        ..PLAIN
    },
    Persona {
        name: "gb300",
        vendor: "Supermicro",
        root_vendor: Some("Supermicro"),
        oem: "OpenBmc",
        product: "GB300 NVL72",
        model: "ARS-121GL-NB3B",
        manager_model: "OpenBmc",
        firmware: "70.01.00.09",
        system: "System_0",
        manager: "BMC_0",
        chassis: "Chassis_0",
        baseboard: true,
        media: PersonaMedia {
            drives: &[
                console("Slot_0", &["CD", "USBStick"]),
                cd("USB1", &["CD", "USBStick"]),
                cd("USB2", &["CD", "USBStick"]),
            ],
            ..MEDIA
        },
        boot: PersonaBoot {
            mode: Mode::Absent,
            settings: "Settings",
            place: OverridePlace::Settings,
            ..PLAIN_BOOT
        },
        faults: || vec![Fault::ResetActionInfo],
        ..PLAIN
    },
];
