//! The one Manager: the BMC itself.
//!
//! Its reset is the BMC's own: sessions and Tasks end, nothing answers for a while, the host runs on. Invariant:
//! `LastResetTime` is when the BMC came back, so a client that watches image reads can distinguish a restart of the
//! BMC from one of the host.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::body::{self, Object};
use super::super::faults::Fault;
use super::super::message::Message;
use super::resource::Resource;
use super::systems::date_time;
use super::{Refusal, Reply};

const RESET: &str = "Manager.Reset";
const RESET_TYPES: [&str; 2] = ["ForceRestart", "GracefulRestart"];

impl Bmc {
    pub fn render_managers(&self) -> Value {
        self.collection(&Resource::Managers, "ManagerCollection", "Manager Collection", &[Resource::Manager])
    }

    pub fn render_manager(&self) -> Value {
        let persona = &self.config.persona;
        let mut manager = json!({
            "@odata.id": self.path(&Resource::Manager),
            "@odata.type": "#Manager.v1_19_1.Manager",
            "Id": persona.manager,
            "Name": "Manager",
            "ManagerType": "BMC",
            "Manufacturer": persona.vendor,
            "Model": persona.manager_model,
            "FirmwareVersion": persona.firmware,
            "UUID": self.uuid("manager"),
            "ServiceEntryPointUUID": self.uuid("service"),
            "LastResetTime": date_time(self.started_at),
            "PowerState": "On",
            "Status": { "State": "Enabled", "Health": "OK" },
            "Links": {
                "ManagerForServers": [self.link(&Resource::System)],
                "ManagerForChassis": [self.link(&Resource::Chassis)],
                "ManagerInChassis": self.link(&Resource::Chassis),
            },
            "Actions": { format!("#{RESET}"): {
                "target": self.path(&Resource::ManagerReset),
                "ResetType@Redfish.AllowableValues": RESET_TYPES,
            }},
        });
        if !self.faults.has(&Fault::NoVirtualMedia) {
            manager["VirtualMedia"] = self.link(&Resource::Slots);
        }
        self.add_manager_oem(&mut manager);
        manager
    }

    /// Restarts the BMC; the answer is still sent.
    pub fn reset_manager(&mut self, body: &Object, now: Timestamp) -> Result<Reply, Refusal> {
        body::check_parameters(RESET, body, &["ResetType"])?;
        let name = body::parameter(RESET, body, "ResetType")?.unwrap_or(RESET_TYPES[1]);
        if !RESET_TYPES.contains(&name) {
            return Err(Message::parameter_value(RESET, "ResetType", name));
        }
        self.restart(now);
        Ok(Reply::no_content())
    }
}
