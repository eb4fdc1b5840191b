//! Fujitsu iRMC: images by HTTPS alone; iRMC S4 by shares alone. Shape: Fsas's own provider and modules.

use super::*;

const IRMC: Persona = Persona {
    name: "irmc",
    vendor: "FUJITSU",
    root_vendor: Some("Fujitsu"),
    oem: "ts_fujitsu",
    product: "iRMC S6",
    model: "PRIMERGY RX2540 M7",
    manager_model: "iRMC S6",
    firmware: "2.40S",
    system: "0",
    manager: "iRMC",
    chassis: "0",
    media: PersonaMedia {
        linked_by_system: false,
        drives: &[cd("0", CD_DVD), cd("1", CD_DVD), stick("2", &["USBStick"])],
        protocols: &["HTTPS"],
        listed: Listed::Inline,
        ..PLAIN_MEDIA
    },
    manners: Manners { wants_tag: true, ..PLAIN_MANNERS },
    sources: Sources::NONE,
    ..PLAIN
};

pub const PERSONAS: &[Persona] = &[
    Persona {
        name: "irmc4",
        product: "iRMC S4",
        model: "PRIMERGY RX2530 M2",
        manager_model: "iRMC S4",
        firmware: "9.69F",
        media: PersonaMedia { drives: &[], way: MediaMethod::Shares, protocols: &[], ..IRMC.media },
        quirks: &["share-mount"],
        ..IRMC
    },
    IRMC,
];
