//! Huawei, xFusion, H3C: one action that connects and disconnects.
//!
//! Source: Huawei's cmdlets, a field report of a 2288H V5. Invariant: it takes these two words alone.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::super::bmc::Bmc;
use super::super::super::body::{self, Object};
use super::super::super::message::Message;
use super::super::resource::Oem;
use super::super::{Refusal, RequestOutcome};

const ACTION: &str = "VirtualMedia.VmmControl";

impl Bmc {
    pub(super) fn vmm_action(&self, drive: usize) -> Value {
        json!({ format!("#{ACTION}"): { "target": self.oem_path(Oem::VmmControl(drive)) } })
    }

    pub(super) fn control_vmm(
        &mut self,
        drive: usize,
        body: &Object,
        now: Timestamp,
    ) -> Result<RequestOutcome, Refusal> {
        body::check_parameters(ACTION, body, &["VmmControlType", "Image"])?;
        match body::parameter(ACTION, body, "VmmControlType")? {
            Some("Disconnect") => self.eject_media(drive, now).map(RequestOutcome::Reply),
            Some("Connect") => {
                let image = body::parameter(ACTION, body, "Image")?
                    .ok_or_else(|| Message::parameter_missing(ACTION, "Image"))?;
                self.begin_insert(drive, image).map(RequestOutcome::Insert)
            }
            Some(other) => Err(Message::parameter_value(ACTION, "VmmControlType", other)),
            None => Err(Message::parameter_missing(ACTION, "VmmControlType")),
        }
    }
}
