//! AMI MegaRAC: remote media are switched on, and have as many drives as were asked for.
//!
//! Source: Lenovo's TSM document and script; the shape is a DGX H100's. Invariant: the media are there
//! only a while after the switch.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::super::bmc::Bmc;
use super::super::body::{self, Object};
use super::super::message::Message;
use super::super::resource::Resource;
use super::super::{Refusal, Reply};
use super::Oem;
use shoal_base::world;

const ENABLE: &str = "AMIVirtualMedia.EnableRMedia";
const CONFIGURE: &str = "AMIVirtualMedia.ConfigureCDInstance";
/// The media service restarts meanwhile.
const RESTART: Duration = Duration::from_secs(12);

impl Bmc {
    /// Slots that are there now.
    pub fn drives_shown(&self) -> usize {
        let all = self.slots.len();
        let on = self.oem.media_at.is_some_and(|at| at <= self.asked_at);
        match self.config.persona.media.switched {
            false => all,
            true if on => self.oem.instances.clamp(1, all),
            true => 0,
        }
    }

    /// Without the maker in 12.84 (Gigabyte H262-Z63), whose targets have a part of their own for it.
    fn switch_name(&self, oem: Oem) -> &'static str {
        let name = if oem == Oem::MediaSwitch { ENABLE } else { CONFIGURE };
        if self.config.persona.media.plain_switches { name.trim_start_matches("AMI") } else { name }
    }

    pub(super) fn switch_path(&self, oem: Oem) -> String {
        let part = if self.config.persona.media.plain_switches { "Ami/" } else { "" };
        format!("{}/Actions/Oem/{part}{}", self.path(&Resource::Manager), self.switch_name(oem))
    }

    /// Of what follows `Actions/Oem/`.
    pub(super) fn switch_of(&self, rest: &str) -> Option<Oem> {
        let is_it = |oem: &Oem| self.switch_path(*oem).ends_with(&format!("/Actions/Oem/{rest}"));
        [Oem::MediaSwitch, Oem::CdInstances].into_iter().find(is_it)
    }

    pub(super) fn add_media_switch(&self, manager: &mut Value) {
        for oem in [Oem::CdInstances, Oem::MediaSwitch] {
            let name = format!("#{}", self.switch_name(oem));
            manager["Actions"]["Oem"][name] = json!({ "target": self.oem_path(oem) });
        }
        manager["Oem"]["Ami"]["VirtualMedia"] = json!({
            "CDInstances": self.oem.instances.max(1),
            "RMediaStatus": if self.oem.media_at.is_some() { "Enabled" } else { "Disabled" },
        });
    }

    pub(super) fn switch_media_on(&mut self, body: &Object, now: Timestamp) -> Result<Reply, Refusal> {
        let restart = RESTART.min(self.config.timings.lateness_max);
        match body::parameter(ENABLE, body, "RMediaState")? {
            Some("Enable") => {
                self.oem.media_at.get_or_insert(world::after(now, restart));
                Ok(Reply::no_content())
            }
            Some(other) => Err(Message::parameter_value(ENABLE, "RMediaState", other)),
            None => Err(Message::parameter_missing(ENABLE, "RMediaState")),
        }
    }

    /// Refused while media are on.
    pub(super) fn configure_cd_instances(&mut self, body: &Object) -> Result<Reply, Refusal> {
        let wanted = body.get("CDInstance").and_then(Value::as_u64);
        let wanted = wanted.ok_or_else(|| Message::parameter_missing(CONFIGURE, "CDInstance"))?;
        if self.oem.media_at.is_some() || wanted > self.slots.len() as u64 {
            return Err(Message::parameter_value(CONFIGURE, "CDInstance", &wanted.to_string()));
        }
        self.oem.instances = wanted as usize;
        Ok(Reply::no_content())
    }
}
