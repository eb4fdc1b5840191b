//! The one ComputerSystem: identity, power, boot override, reset.
//!
//! A reset is checked (its type has to be offered), may be refused once (409 after the last change of power), may
//! report a failure in the answer or by a Task that did happen or did not, and else reaches the machine before the
//! answer is sent: the host is on, off or in its self test by then. What follows a reset is elsewhere: resources that
//! are refused for a while (`passing`), a BMC that is down, a host that hangs because it was hurried (`manners`).
//!
//! Invariant: what is read here is what the machine is, but for the faults that say otherwise.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::body::{self, Object};
use super::super::faults::Fault;
use super::super::machine::{HostIsOff, ResetType};
use super::super::message::Message;
use super::resource::{Resource, StorageResource};
use super::{Refusal, Reply};
use shoal_base::world;

const RESET: &str = "ComputerSystem.Reset";

/// A Redfish date-time: whole seconds, with an offset.
pub fn date_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

impl Bmc {
    /// The collection: the host, and beside it a GPU baseboard where the persona has one.
    pub fn render_systems(&self) -> Value {
        self.collection(
            &Resource::Systems,
            "ComputerSystemCollection",
            "Computer System Collection",
            if self.config.persona.baseboard {
                &[Resource::System, Resource::Baseboard]
            } else {
                &[Resource::System]
            },
        )
    }

    /// The host, with the links, the override and the signs of a boot that the persona shows.
    pub fn render_system(&self) -> Value {
        let persona = &self.config.persona;
        let mut system = json!({
            "@odata.id": self.path(&Resource::System),
            "@odata.type": "#ComputerSystem.v1_22_0.ComputerSystem",
            "Id": persona.system,
            "Name": "System",
            "SystemType": "Physical",
            "Manufacturer": persona.vendor,
            "Model": persona.model,
            "UUID": self.uuid("system"),
            "PowerState": self.shown_power(),
            "Status": { "State": "Enabled", "Health": "OK" },
            "Boot": self.render_boot(),
            "Actions": { format!("#{RESET}"): self.render_reset() },
            "Links": {
                "Chassis": [self.link(&Resource::Chassis)],
            },
        });
        if persona.names_manager {
            system["Links"]["ManagedBy"] = json!([self.link(&Resource::Manager)]);
        }
        if self.has_storage() {
            system["Storage"] = self.link(&Resource::Stored(StorageResource::Units));
        }
        let linked = persona.media.of_system || persona.media.linked_by_system;
        if linked && !self.faults.has(&Fault::NoVirtualMedia) {
            system["VirtualMedia"] = self.link(&Resource::Slots);
        }
        if !persona.boot.settings.is_empty() {
            system["@Redfish.Settings"] = json!({ "SettingsObject": self.link(&Resource::Settings) });
        }
        if let Some(serial) = self.shown_serial() {
            system["SerialNumber"] = json!(serial);
        }
        if self.faults.has(&Fault::BoardSerial) {
            system["SKU"] = json!(self.config.serial);
        }
        self.add_parts(&mut system);
        self.add_sources(&mut system);
        self.add_system_oem(&mut system);
        system
    }

    /// The power as it is shown: with transitions, or always on, where faults want that.
    fn shown_power(&self) -> &'static str {
        let machine = &self.computer.machine;
        let lasts = self.faults.find(|fault| match fault {
            Fault::PowerTransitions(lasts) => Some(*lasts),
            _ => None,
        });
        let changes = lasts.is_some_and(|lasts| self.asked_at < world::after(machine.power_since(), lasts));
        match machine.is_on() || self.faults.has(&Fault::PowerLies) {
            true if changes => "PoweringOn",
            true => "On",
            false if changes => "PoweringOff",
            false => "Off",
        }
    }

    /// The serial number, or what the board shows in its place.
    fn shown_serial(&self) -> Option<String> {
        let serial = &self.config.serial;
        match (self.faults.has(&Fault::NoSerial), self.faults.has(&Fault::WrongSerial)) {
            (true, _) => None,
            (_, true) => Some(format!("NOT-{serial}")),
            _ if self.faults.has(&Fault::BoardSerial) => Some(format!("CN-{serial}")),
            _ => Some(serial.clone()),
        }
    }

    fn reset_types(&self) -> Vec<&'static str> {
        self.config.persona.resets.iter().map(|reset| reset.name()).collect()
    }

    /// A GPU baseboard: neither a reset nor an override (DGX H100, GB200).
    pub fn render_baseboard(&self) -> Value {
        json!({
            "@odata.id": self.path(&Resource::Baseboard),
            "@odata.type": "#ComputerSystem.v1_22_0.ComputerSystem",
            "Id": "HGX_Baseboard_0",
            "Name": "HGX Baseboard",
            "SystemType": "Physical",
            "PowerState": "On",
        })
    }

    fn render_reset(&self) -> Value {
        let mut action = json!({ "target": self.path(&Resource::SystemReset) });
        if self.faults.has(&Fault::ResetActionInfo) {
            action["@Redfish.ActionInfo"] = json!(self.path(&Resource::ResetInfo));
        } else {
            action["ResetType@Redfish.AllowableValues"] = json!(self.reset_types());
        }
        action
    }

    pub fn render_reset_info(&self) -> Value {
        json!({
            "@odata.id": self.path(&Resource::ResetInfo),
            "@odata.type": "#ActionInfo.v1_4_2.ActionInfo",
            "Id": "ResetActionInfo",
            "Name": "Reset Action Info",
            "Parameters": [{
                "Name": "ResetType",
                "Required": true,
                "DataType": "String",
                "AllowableValues": self.reset_types(),
            }],
        })
    }

    /// The System, or its settings object.
    pub fn patch_system(
        &mut self,
        resource: &Resource,
        body: Object,
        now: Timestamp,
    ) -> Result<Vec<Refusal>, Refusal> {
        const READ_ONLY: [&str; 10] = [
            "Id",
            "Name",
            "SerialNumber",
            "SKU",
            "UUID",
            "PowerState",
            "Manufacturer",
            "Model",
            "Status",
            "BootProgress",
        ];
        let mut unknown = body::unknown(&body, &["Boot"], &READ_ONLY);
        match body.get("Boot") {
            Some(Value::Object(boot)) => self.patch_boot(resource, boot, now)?,
            Some(other) => return Err(Message::property_type("Boot", other)),
            None => return Err(unknown.pop().unwrap_or_else(Message::no_operation)),
        }
        Ok(unknown)
    }

    /// An answer that is a success and reports a failure, where a fault has it so; and whether the reset is done all
    /// the same.
    fn fail_reset(&mut self, now: Timestamp) -> Option<(Reply, bool)> {
        let by_task = |fault: &Fault| match fault {
            Fault::ResetTaskFails(times) | Fault::ResetDoneTaskFails(times) => Some(*times),
            _ => None,
        };
        let by_answer = |fault: &Fault| match fault {
            Fault::ResetCritical(times) | Fault::ResetDoneCritical(times) => Some(*times),
            _ => None,
        };
        let is_done = self
            .faults
            .iter()
            .any(|fault| matches!(fault, Fault::ResetDoneTaskFails(_) | Fault::ResetDoneCritical(_)));
        if self.happens_counted(by_task) {
            let task = self.tasks.begin(now);
            let accepted = self.task_accepted(task);
            self.tasks.end(task, Err(Message::reset_failed()), now);
            return Some((accepted, is_done));
        }
        let reported = || Reply::json(StatusCode::OK, Message::reset_failed().body());
        self.happens_counted(by_answer).then(|| (reported(), is_done))
    }

    /// The reset action. The machine has obeyed before the answer is made, so a lost answer means nothing.
    pub fn reset_system(&mut self, body: &Object, now: Timestamp) -> Result<Reply, Refusal> {
        body::check_parameters(RESET, body, &["ResetType"])?;
        let name = body::parameter(RESET, body, "ResetType")?
            .ok_or_else(|| Message::parameter_missing(RESET, "ResetType"))?;
        let offered = self.config.persona.resets;
        let reset = ResetType::parse(name).filter(|reset| offered.contains(reset));
        let reset = reset.ok_or_else(|| Message::parameter_value(RESET, "ResetType", name))?;
        if reset == ResetType::On && self.happens_once(&Fault::On409Once) {
            return Err(Message::parameter_conflict("ResetType", name));
        }
        let failure = self.fail_reset(now);
        if let Some((failure, false)) = failure {
            return Ok(failure);
        }
        tracing::info!(machine = self.config.serial, reset = name, "the host is reset");
        self.computer.request_reset(reset, now).map_err(|HostIsOff| Message::in_standby())?;
        (self.reset_asked_at, self.slots_unlisted) = (Some(now), true);
        self.hurry(reset, now);
        let down = self.faults.find(|fault| match fault {
            Fault::BmcDownAfterReset(down) => Some(*down),
            _ => None,
        });
        self.down_until = down.map(|down| world::after(now, down)).or(self.down_until);
        if let Some((failure, _)) = failure {
            return Ok(failure);
        }
        if self.happens_once(&Fault::ResetAnswerLost) {
            Err(Message::internal())
        } else {
            Ok(Reply::no_content())
        }
    }
}
