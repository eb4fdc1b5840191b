//! AMI MegaRAC: remote media are switched on, and have as many drives as were asked for.
//!
//! Source: Lenovo's TSM document and script; the shape is a DGX H100's. Invariant: the media are there
//! only a while after the switch.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::super::bmc::Bmc;
use super::super::super::body::{self, Object};
use super::super::super::message::Message;
use super::super::resource::{CONFIGURE_CDS, ENABLE_MEDIA, Oem};
use super::super::{Refusal, Reply};
use shoal_base::world;

/// The media service restarts meanwhile.
const RESTART: Duration = Duration::from_secs(12);

impl Bmc {
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
        match body::parameter(ENABLE_MEDIA, body, "RMediaState")? {
            Some("Enable") => {
                self.oem.media_at.get_or_insert(world::after(now, restart));
                Ok(Reply::no_content())
            }
            Some(other) => Err(Message::parameter_value(ENABLE_MEDIA, "RMediaState", other)),
            None => Err(Message::parameter_missing(ENABLE_MEDIA, "RMediaState")),
        }
    }

    /// Refused while media are on.
    pub(super) fn configure_cd_instances(&mut self, body: &Object) -> Result<Reply, Refusal> {
        let wanted = body.get("CDInstance").and_then(Value::as_u64);
        let wanted = wanted.ok_or_else(|| Message::parameter_missing(CONFIGURE_CDS, "CDInstance"))?;
        if self.oem.media_at.is_some() || wanted > self.slots.len() as u64 {
            return Err(Message::parameter_value(CONFIGURE_CDS, "CDInstance", &wanted.to_string()));
        }
        self.oem.instances = wanted as usize;
        Ok(Reply::no_content())
    }
}
