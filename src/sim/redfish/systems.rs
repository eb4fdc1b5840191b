//! The one ComputerSystem: identity, power, boot override, reset.
//!
//! Invariant: what is read here is what the machine is, but for the faults that say otherwise.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::faults::Fault;
use super::super::machine::{BootMode, BootOverride, BootTarget, HostIsOff, OverrideEnabled, ResetType};
use super::body::{self, Object};
use super::message::Message;
use super::resource::Resource;
use super::{Refusal, Reply};
use crate::world;

const RESET: &str = "ComputerSystem.Reset";

/// A Redfish date-time: whole seconds, with an offset.
pub fn date_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

impl Bmc {
    pub fn render_systems(&self) -> Value {
        self.collection(
            &Resource::Systems,
            "ComputerSystemCollection",
            "Computer System Collection",
            &[Resource::System],
        )
    }

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
            "VirtualMedia": self.link(&Resource::Slots),
            "Actions": { format!("#{RESET}"): self.render_reset() },
            "Links": {
                "ManagedBy": [self.link(&Resource::Manager)],
                "Chassis": [self.link(&Resource::Chassis)],
            },
        });
        if let Some(serial) = self.shown_serial() {
            system["SerialNumber"] = json!(serial);
        }
        self.add_sources(&mut system);
        system
    }

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

    fn shown_serial(&self) -> Option<String> {
        let serial = &self.config.serial;
        match (self.faults.has(&Fault::NoSerial), self.faults.has(&Fault::WrongSerial)) {
            (true, _) => None,
            (_, true) => Some(format!("NOT-{serial}")),
            _ => Some(serial.clone()),
        }
    }

    fn render_boot(&self) -> Value {
        let boot = &self.computer.machine.boot;
        json!({
            "BootSourceOverrideEnabled": boot.enabled.name(),
            "BootSourceOverrideEnabled@Redfish.AllowableValues": OverrideEnabled::ALL.map(OverrideEnabled::name),
            "BootSourceOverrideTarget": boot.target.name(),
            "BootSourceOverrideTarget@Redfish.AllowableValues": BootTarget::ALL.map(BootTarget::name),
            "BootSourceOverrideMode": boot.mode.name(),
            "BootSourceOverrideMode@Redfish.AllowableValues": BootMode::ALL.map(BootMode::name),
        })
    }

    fn render_reset(&self) -> Value {
        let mut action = json!({ "target": self.path(&Resource::SystemReset) });
        if self.faults.has(&Fault::ResetActionInfo) {
            action["@Redfish.ActionInfo"] = json!(self.path(&Resource::ResetInfo));
        } else {
            action["ResetType@Redfish.AllowableValues"] = json!(ResetType::ALL.map(ResetType::name));
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
                "AllowableValues": ResetType::ALL.map(ResetType::name),
            }],
        })
    }

    /// An override that some BMCs forget a while after it was set.
    pub fn lose_override(&mut self, now: Timestamp) {
        if self.override_lost_at.take_if(|lost_at| *lost_at <= now).is_some() {
            self.note("override-lost");
            let boot = &mut self.computer.machine.boot;
            (boot.enabled, boot.target) = (OverrideEnabled::Disabled, BootTarget::None);
        }
    }

    pub fn patch_system(&mut self, body: Object, now: Timestamp) -> Result<Vec<Refusal>, Refusal> {
        const READ_ONLY: [&str; 9] = [
            "Id",
            "Name",
            "SerialNumber",
            "UUID",
            "PowerState",
            "Manufacturer",
            "Model",
            "Status",
            "BootProgress",
        ];
        let mut unknown = body::unknown(&body, &["Boot"], &READ_ONLY);
        let boot = match body.get("Boot") {
            Some(Value::Object(boot)) => self.wanted_boot(boot)?,
            Some(other) => return Err(Message::property_type("Boot", other)),
            None => return Err(unknown.pop().unwrap_or_else(Message::no_operation)),
        };
        if self.faults.has(&Fault::BootPatch400InPost) && self.computer.machine.is_in_post() {
            return Err(Message::in_post());
        }
        if !self.faults.has(&Fault::OverrideNotStored) {
            self.computer.machine.boot = boot;
            if boot.enabled == OverrideEnabled::Once && self.faults.has(&Fault::OverrideTurnedContinuous) {
                self.computer.machine.boot.enabled = OverrideEnabled::Continuous;
            }
            self.override_lost_at = self.faults.find(|fault| match fault {
                Fault::OverrideLost(wait) if !self.calm => Some(world::after(now, *wait)),
                _ => None,
            });
        }
        Ok(unknown)
    }

    /// What a PATCH of `Boot` asks for, on top of what holds.
    fn wanted_boot(&self, wanted: &Object) -> Result<BootOverride, Refusal> {
        const PROPERTIES: [&str; 3] =
            ["BootSourceOverrideEnabled", "BootSourceOverrideTarget", "BootSourceOverrideMode"];
        if let Some(name) = wanted.keys().find(|name| !PROPERTIES.contains(&name.as_str())) {
            return Err(Message::property_unknown(&format!("Boot/{name}")));
        }
        let mut boot = self.computer.machine.boot;
        let enabled = choose(wanted, PROPERTIES[0], OverrideEnabled::ALL, OverrideEnabled::name)?;
        let target = choose(wanted, PROPERTIES[1], BootTarget::ALL, BootTarget::name)?;
        let mode = choose(wanted, PROPERTIES[2], BootMode::ALL, BootMode::name)?;
        boot.enabled = enabled.unwrap_or(boot.enabled);
        boot.target = target.unwrap_or(boot.target);
        boot.mode = mode.unwrap_or(boot.mode);
        if boot.enabled == OverrideEnabled::Disabled {
            boot.target = BootTarget::None;
        }
        Ok(boot)
    }

    pub fn reset_system(&mut self, body: &Object, now: Timestamp) -> Result<Reply, Refusal> {
        body::check_parameters(RESET, body, &["ResetType"])?;
        let name = body::parameter(RESET, body, "ResetType")?
            .ok_or_else(|| Message::parameter_missing(RESET, "ResetType"))?;
        let reset =
            ResetType::parse(name).ok_or_else(|| Message::parameter_value(RESET, "ResetType", name))?;
        if reset == ResetType::On && self.happens_once(&Fault::On409Once) {
            return Err(Message::parameter_conflict("ResetType", name));
        }
        tracing::info!(machine = self.config.serial, reset = name, "the host is reset");
        self.computer.request_reset(reset, now).map_err(|HostIsOff| Message::in_standby())?;
        let down = self.faults.find(|fault| match fault {
            Fault::BmcDownAfterReset(down) => Some(*down),
            _ => None,
        });
        self.down_until = down.map(|down| world::after(now, down)).or(self.down_until);
        if self.happens_once(&Fault::ResetAnswerLost) {
            Err(Message::internal())
        } else {
            Ok(Reply::no_content())
        }
    }
}

/// The value of a property among those that are allowed.
fn choose<T: Copy>(
    wanted: &Object,
    property: &str,
    all: impl IntoIterator<Item = T>,
    name: impl Fn(T) -> &'static str,
) -> Result<Option<T>, Refusal> {
    let Some(value) = body::text(wanted, property)? else { return Ok(None) };
    let found = all.into_iter().find(|one| name(*one) == value);
    found.map(Some).ok_or_else(|| Message::property_value(&format!("Boot/{property}"), value))
}
