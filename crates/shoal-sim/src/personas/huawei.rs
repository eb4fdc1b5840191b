//! Huawei iBMC, xFusion iBMC and H3C HDM: one CD drive, and an action of their own. Shapes: field reports
//! of a 2288H V5 and of xFusion 3.08, Huawei's cmdlets, openUBMC's document.

use super::*;

const MEDIA: PersonaMedia = PersonaMedia {
    linked_by_system: false,
    drives: &[cd("CD", CD_DVD), stick("USBStick", &["USBStick"])],
    way: MediaMethod::VmmControl,
    // NFS and CIFS alone, which Shoal does not serve.
    protocols: &[],
    listed: Listed::Nowhere,
    ..PLAIN_MEDIA
};

const IBMC: Persona = Persona {
    name: "ibmc",
    vendor: "Huawei",
    root_vendor: Some("Huawei"),
    oem: "Huawei",
    product: "2288H V5",
    model: "2288H V5",
    manager_model: "iBMC",
    firmware: "6.41",
    manager: "1",
    names_manager: false,
    media: MEDIA,
    resets: &[
        ResetType::On,
        ResetType::ForceOff,
        ResetType::GracefulShutdown,
        ResetType::ForceRestart,
        ResetType::ForceOn,
    ],
    sources: Sources::NONE,
    quirks: &["vmm-control"],
    ..PLAIN
};

pub const PERSONAS: &[Persona] = &[
    IBMC,
    Persona {
        name: "xfusion",
        vendor: "XFUSION",
        root_vendor: Some("XFUSION"),
        oem: "xFusion",
        product: "2288H V7",
        model: "2288H V7",
        firmware: "3.08.04.21",
        names_manager: true,
        media: PersonaMedia {
            of_system: true,
            way: MediaMethod::Action,
            protocols: &["HTTPS"],
            listed: Listed::Info,
            required: &["TransferProtocolType"],
            drops_port: true,
            ..MEDIA
        },
        faults: || vec![Fault::InsertTask(std::time::Duration::from_secs(12))],
        quirks: &[],
        ..IBMC
    },
    Persona {
        name: "hdm",
        vendor: "H3C",
        root_vendor: Some("H3C"),
        oem: "Public",
        product: "R4900 G5",
        model: "UniServer R4900 G5",
        manager_model: "HDM2",
        firmware: "2.13",
        names_manager: true,
        media: PersonaMedia { protocols: &["HTTPS"], ..MEDIA },
        // `ConnectionFailed` now and then, as the iBMC that it resembles.
        faults: || vec![Fault::InsertTaskFailsLate(std::time::Duration::from_secs(15))],
        ..IBMC
    },
];
