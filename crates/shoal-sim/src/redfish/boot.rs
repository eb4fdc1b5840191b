//! The boot override: how a persona words it, where it takes it, and what it makes of a PATCH.
//!
//! A PATCH of `Boot` is taken by the System or by its settings object, never by both: the other refuses it as
//! read-only. It is refused whole or stored whole: properties that the persona does not have, a target that it does
//! not offer, a mode that cannot be set, and what the faults refuse. Stored is what the word reaches (the virtual CD,
//! the disk, the network), so that the machine needs no words; the persona's table says which words reach the virtual
//! drive and which only the one in the chassis. The machine clears a one-time override with the start that uses it.
//!
//! Invariant: the machine knows what a word reaches, never the word; what is shown is the word that was sent, as
//! long as it is armed.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::body::{self, Object};
use super::super::faults::Fault;
use super::super::machine::{BootMode, BootOverride, BootTarget, OverrideEnabled};
use super::super::message::Message;
use super::super::personas::{Mode, OverridePlace};
use super::Refusal;
use super::resource::Resource;
use shoal_base::world;

const ENABLED: &str = "BootSourceOverrideEnabled";
const TARGET: &str = "BootSourceOverrideTarget";
const MODE: &str = "BootSourceOverrideMode";

/// What firmware lists for booting, beside what is inserted.
const BOOT_OPTIONS: [&str; 2] = ["Simulated Disk", "Simulated Network"];

fn reference(number: usize) -> String {
    format!("Boot{number:04}")
}

impl Bmc {
    /// `Boot` of the System.
    pub fn render_boot(&self) -> Value {
        let shape = self.config.persona.boot;
        let mut shown = match shape.place {
            _ if self.faults.has(&Fault::NoOverride) => json!({}),
            // What is pending shows in the settings object alone.
            OverridePlace::Pending => {
                json!({ ENABLED: "Disabled", TARGET: "None", MODE: self.computer.machine.boot.mode.name() })
            }
            OverridePlace::System | OverridePlace::Settings => {
                self.render_override(shape.place == OverridePlace::System)
            }
        };
        if self.has_boot_options() {
            shown["BootOptions"] = self.link(&Resource::BootOptions);
            shown["BootOrder"] = (0..BOOT_OPTIONS.len()).map(|number| json!(reference(number))).collect();
        }
        shown
    }

    /// The collection of boot options, which has nothing of what is inserted.
    pub fn render_boot_options(&self) -> Value {
        let members: Vec<Resource> = (0..BOOT_OPTIONS.len()).map(Resource::BootOption).collect();
        self.collection(&Resource::BootOptions, "BootOptionCollection", "Boot Options", &members)
    }

    /// One entry of the boot menu, named as firmware names it in the mode that the host boots in.
    pub fn render_boot_option(&self, number: usize) -> Option<Value> {
        let device = BOOT_OPTIONS.get(number)?;
        let prefix = match self.computer.machine.boot.mode {
            BootMode::Uefi => "UEFI",
            BootMode::Legacy => "BIOS",
        };
        Some(json!({
            "@odata.id": self.path(&Resource::BootOption(number)),
            "@odata.type": "#BootOption.v1_0_4.BootOption",
            "Id": reference(number),
            "Name": reference(number),
            "BootOptionReference": reference(number),
            "DisplayName": format!("{prefix}: {device}"),
            "BootOptionEnabled": true,
        }))
    }

    /// The override as it is armed; `lists` adds the words that are taken.
    fn render_override(&self, lists: bool) -> Value {
        let (shape, boot) = (self.config.persona.boot, &self.computer.machine.boot);
        let mut shown = json!({ ENABLED: boot.enabled.name(), TARGET: self.boot_word() });
        if lists && shape.listed {
            let words: Vec<&str> = shape.targets.iter().map(|(word, _)| *word).collect();
            shown[format!("{TARGET}@Redfish.AllowableValues")] = json!(words);
            let enabled = OverrideEnabled::ALL.map(OverrideEnabled::name);
            shown[format!("{ENABLED}@Redfish.AllowableValues")] = json!(enabled);
        }
        if shape.mode != Mode::Absent {
            let lies =
                self.faults.has(&Fault::LegacyWhileDisabled) && boot.enabled == OverrideEnabled::Disabled;
            shown[MODE] = json!(if lies { BootMode::Legacy } else { boot.mode }.name());
        }
        if lists && shape.mode == Mode::Plain {
            shown[format!("{MODE}@Redfish.AllowableValues")] = json!(BootMode::ALL.map(BootMode::name));
        }
        shown
    }

    /// The word of the armed target: the one that was sent, else the first that reaches it.
    fn boot_word(&self) -> &'static str {
        match self.computer.machine.boot.target {
            BootTarget::None => "None",
            target => self.oem.boot_word.unwrap_or(target.name()),
        }
    }

    /// The settings object, with the override where it takes that.
    /// The settings object, where the persona has one.
    pub fn render_settings(&self) -> Option<Value> {
        let shape = self.config.persona.boot;
        let armed = self.computer.machine.boot.enabled != OverrideEnabled::Disabled;
        let boot = match shape.place {
            _ if self.faults.has(&Fault::NoOverride) => json!({ "BootOrder": [] }),
            OverridePlace::Settings => self.render_override(true),
            OverridePlace::Pending if armed => self.render_override(false),
            OverridePlace::System | OverridePlace::Pending => json!({ "BootOrder": [] }),
        };
        (!shape.settings.is_empty()).then(|| {
            json!({
                "@odata.id": self.path(&Resource::Settings),
                "@odata.type": "#ComputerSystem.v1_22_0.ComputerSystem",
                "Id": shape.settings,
                "Name": "Pending Settings",
                "Boot": boot,
            })
        })
    }

    /// A PATCH of the System or of its settings object.
    pub fn patch_boot(&mut self, resource: &Resource, boot: &Object, now: Timestamp) -> Result<(), Refusal> {
        if self.faults.has(&Fault::NoOverride) {
            return Err(Message::property_unknown(&format!("Boot/{TARGET}")));
        }
        self.refuse_override(resource, boot)?;
        let (word, boot) = self.wanted_boot(boot)?;
        let refuses = |fault: &Fault| match fault {
            Fault::ClearRefused(times) => Some(*times),
            _ => None,
        };
        if boot.enabled == OverrideEnabled::Disabled && self.happens_counted(refuses) {
            return Err(Message::property_value("Boot/BootSourceOverrideEnabled", "Disabled"));
        }
        if self.computer.machine.is_in_post() {
            if self.config.persona.boot.by_slot {
                return Err(Message::unable_in_post());
            }
            if self.faults.has(&Fault::BootPatch400InPost) {
                return Err(Message::in_post());
            }
        }
        if !self.faults.has(&Fault::OverrideNotStored) {
            self.oem.boot_word = word;
            self.store_override(boot, now);
        }
        Ok(())
    }

    /// What faults refuse of a PATCH, and the resource that takes no override.
    fn refuse_override(&mut self, resource: &Resource, boot: &Object) -> Result<(), Refusal> {
        let shape = self.config.persona.boot;
        let is_its_place = (*resource == Resource::Settings) == (shape.place != OverridePlace::System);
        let is_moved = !shape.settings.is_empty() && self.faults.has(&Fault::OverrideElsewhere);
        if !is_its_place && !is_moved {
            return Err(Message::property_not_writable("Boot/BootSourceOverrideTarget"));
        }
        let is_disabled = boot.get(ENABLED).and_then(Value::as_str) == Some("Disabled");
        let refused = match boot.get(TARGET).and_then(Value::as_str) {
            Some(target) if is_its_place && is_moved => {
                (Fault::OverrideElsewhere, Message::property_value("Boot/BootSourceOverrideTarget", target))
            }
            Some(target) if !is_disabled => (
                Fault::OverrideValueRefused,
                Message::property_value("Boot/BootSourceOverrideTarget", target),
            ),
            Some(target) => (
                Fault::DisabledWithTargetRefused,
                Message::property_value("Boot/BootSourceOverrideTarget", target),
            ),
            None if is_disabled => {
                (Fault::DisabledAloneRefused, Message::property_missing("Boot/BootSourceOverrideTarget"))
            }
            None => return Ok(()),
        };
        let (fault, refusal) = refused;
        if !self.faults.has(&fault) {
            return Ok(());
        }
        self.note(fault.name());
        Err(refusal)
    }

    /// Arms the machine; faults make it last, or forget it after a while.
    fn store_override(&mut self, boot: BootOverride, now: Timestamp) {
        self.computer.machine.boot = boot;
        if boot.enabled == OverrideEnabled::Once && self.faults.has(&Fault::OverrideTurnedContinuous) {
            self.computer.machine.boot.enabled = OverrideEnabled::Continuous;
        }
        self.override_lost_at = self.faults.find(|fault| match fault {
            Fault::OverrideLost(wait) if !self.calm => Some(world::after(now, *wait)),
            _ => None,
        });
    }

    /// An override that some BMCs forget a while after it was set.
    pub fn lose_override(&mut self, now: Timestamp) {
        if self.override_lost_at.take_if(|lost_at| *lost_at <= now).is_some() {
            self.note("override-lost");
            let boot = &mut self.computer.machine.boot;
            (boot.enabled, boot.target) = (OverrideEnabled::Disabled, BootTarget::None);
        }
    }

    /// What a PATCH of `Boot` asks for, on top of what holds.
    fn wanted_boot(&self, wanted: &Object) -> Result<(Option<&'static str>, BootOverride), Refusal> {
        let shape = self.config.persona.boot;
        if let Some(name) = wanted.keys().find(|name| ![ENABLED, TARGET, MODE].contains(&name.as_str())) {
            return Err(Message::property_unknown(&format!("Boot/{name}")));
        }
        if wanted.contains_key(MODE) && matches!(shape.mode, Mode::Absent | Mode::ReadOnly) {
            return Err(Message::property_not_writable(&format!("Boot/{MODE}")));
        }
        if shape.lasts && !wanted.contains_key(TARGET) {
            return Err(Message::property_missing(&format!("Boot/{TARGET}")));
        }
        let mut boot = self.computer.machine.boot;
        let enabled = choose(wanted, ENABLED, OverrideEnabled::ALL, OverrideEnabled::name)?;
        let target = choose(wanted, TARGET, shape.targets.iter().copied(), |(word, _)| word)?;
        let mode = choose(wanted, MODE, BootMode::ALL, BootMode::name)?;
        let fallen = (shape.mode == Mode::FallsBack).then_some(BootMode::Legacy);
        boot.enabled = enabled.unwrap_or(boot.enabled);
        boot.target = target.map_or(boot.target, |(_, target)| target);
        boot.mode = mode.or(fallen).unwrap_or(boot.mode);
        if shape.lasts {
            boot.enabled = OverrideEnabled::Continuous;
        }
        if boot.enabled == OverrideEnabled::Disabled {
            boot.target = BootTarget::None;
        }
        Ok((target.map(|(word, _)| word).or(self.oem.boot_word), boot))
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
