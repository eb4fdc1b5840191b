//! The paths of what an inventory of hardware is read from beside `Storage`: network interfaces and firmware.
//!
//! Their content is in [`parts`](super::super::parts). Invariant: an index in a [`PartResource`] is one of those served.

use super::super::super::bmc::Bmc;

/// Network interfaces of every host.
pub const NICS: usize = 2;
/// Entries of the firmware inventory: the BMC's and the host's.
pub const FIRMWARE: [&str; 2] = ["BMC", "BIOS"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartResource {
    Nics,
    Nic(usize),
    UpdateService,
    FirmwareInventory,
    Firmware(usize),
}

impl Bmc {
    /// The resource at a path below the System.
    pub fn part_of_system(parts: &[&str]) -> Option<PartResource> {
        match parts {
            ["EthernetInterfaces"] => Some(PartResource::Nics),
            ["EthernetInterfaces", id] => {
                (0..NICS).find(|nic| (nic + 1).to_string() == *id).map(PartResource::Nic)
            }
            _ => None,
        }
    }

    /// The resource at a path below `/redfish/v1/UpdateService`.
    pub fn part_of_updates(parts: &[&str]) -> Option<PartResource> {
        match parts {
            [] => Some(PartResource::UpdateService),
            ["FirmwareInventory"] => Some(PartResource::FirmwareInventory),
            ["FirmwareInventory", id] => {
                FIRMWARE.iter().position(|known| known == id).map(PartResource::Firmware)
            }
            _ => None,
        }
    }

    /// The path of a resource, where that of the System is `system`.
    pub fn part_path(system: &str, part: PartResource) -> String {
        let updates = "/redfish/v1/UpdateService";
        match part {
            PartResource::Nics => format!("{system}/EthernetInterfaces"),
            PartResource::Nic(nic) => format!("{system}/EthernetInterfaces/{}", nic + 1),
            PartResource::UpdateService => updates.to_owned(),
            PartResource::FirmwareInventory => format!("{updates}/FirmwareInventory"),
            PartResource::Firmware(at) => {
                format!("{updates}/FirmwareInventory/{}", FIRMWARE.get(at).unwrap_or(&""))
            }
        }
    }
}
