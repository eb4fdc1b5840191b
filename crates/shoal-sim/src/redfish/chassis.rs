//! The one Chassis: there because clients expect one.
//!
//! Invariant: it shows nothing that the System does not.

use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::resource::Resource;

impl Bmc {
    pub fn render_chassis_collection(&self) -> Value {
        self.collection(
            &Resource::ChassisCollection,
            "ChassisCollection",
            "Chassis Collection",
            &[Resource::Chassis],
        )
    }

    pub fn render_chassis(&self) -> Value {
        let persona = &self.config.persona;
        json!({
            "@odata.id": self.path(&Resource::Chassis),
            "@odata.type": "#Chassis.v1_25_1.Chassis",
            "Id": persona.chassis,
            "Name": "Chassis",
            "ChassisType": "RackMount",
            "Manufacturer": persona.vendor,
            "Model": persona.model,
            "Status": { "State": "Enabled", "Health": "OK" },
            "Links": {
                "ComputerSystems": [self.link(&Resource::System)],
                "ManagedBy": [self.link(&Resource::Manager)],
            },
        })
    }
}
