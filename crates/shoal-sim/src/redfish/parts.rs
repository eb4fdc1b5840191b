//! Network interfaces and firmware, which an inventory of hardware is read from.
//!
//! Nothing here changes, and no installation depends on it. Invariant: the addresses of a machine are the same each
//! time, and those of two machines differ.

use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::resource::{FIRMWARE, NICS, PartResource, Resource};

impl Bmc {
    pub fn render_part(&self, part: PartResource) -> Value {
        let collection = |kind: &str, name: &str, members: Vec<PartResource>| {
            let members: Vec<Resource> = members.into_iter().map(Resource::Part).collect();
            self.collection(&Resource::Part(part), kind, name, &members)
        };
        match part {
            PartResource::Nics => collection(
                "EthernetInterfaceCollection",
                "Ethernet Interface Collection",
                (0..NICS).map(PartResource::Nic).collect(),
            ),
            PartResource::FirmwareInventory => collection(
                "SoftwareInventoryCollection",
                "Firmware Inventory Collection",
                (0..FIRMWARE.len()).map(PartResource::Firmware).collect(),
            ),
            PartResource::Nic(nic) => self.render_nic(nic),
            PartResource::UpdateService => json!({
                "@odata.id": self.path(&Resource::Part(part)),
                "@odata.type": "#UpdateService.v1_14_0.UpdateService",
                "Id": "UpdateService",
                "Name": "Update Service",
                "ServiceEnabled": false,
                "FirmwareInventory": self.link(&Resource::Part(PartResource::FirmwareInventory)),
            }),
            PartResource::Firmware(at) => json!({
                "@odata.id": self.path(&Resource::Part(part)),
                "@odata.type": "#SoftwareInventory.v1_10_0.SoftwareInventory",
                "Id": FIRMWARE.get(at),
                "Name": FIRMWARE.get(at),
                "Version": self.config.persona.firmware,
                "Updateable": false,
                "Status": { "State": "Enabled", "Health": "OK" },
            }),
        }
    }

    fn render_nic(&self, nic: usize) -> Value {
        json!({
            "@odata.id": self.path(&Resource::Part(PartResource::Nic(nic))),
            "@odata.type": "#EthernetInterface.v1_12_0.EthernetInterface",
            "Id": (nic + 1).to_string(),
            "Name": format!("Port {}", nic + 1),
            "MACAddress": self.mac(nic),
            "PermanentMACAddress": self.mac(nic),
            "SpeedMbps": 25_000,
            "LinkStatus": if nic == 0 { "LinkUp" } else { "LinkDown" },
            "InterfaceEnabled": true,
            "Status": { "State": "Enabled", "Health": "OK" },
        })
    }

    /// A locally administered address, after the machine's UUID.
    fn mac(&self, nic: usize) -> String {
        let uuid = self.uuid("system");
        let digits: Vec<char> = uuid.chars().filter(char::is_ascii_hexdigit).take(8).collect();
        let pairs = digits.chunks(2).map(|pair| pair.iter().collect::<String>());
        format!("02:{}:{:02x}", pairs.collect::<Vec<_>>().join(":"), nic)
    }

    /// The summaries of the System.
    pub fn add_parts(&self, system: &mut Value) {
        system["BiosVersion"] = json!(self.config.persona.firmware);
        system["ProcessorSummary"] = json!({
            "Count": 2, "CoreCount": 32, "LogicalProcessorCount": 64, "Model": "Simulated Processor",
            "Status": { "HealthRollup": "OK" },
        });
        system["MemorySummary"] = json!({ "TotalSystemMemoryGiB": 512, "Status": { "HealthRollup": "OK" } });
        system["EthernetInterfaces"] = self.link(&Resource::Part(PartResource::Nics));
    }
}
