//! Dell iDRAC: a configuration import that boots once from the virtual CD, and the attributes that show it.
//!
//! Source: Dell's scripts, sushy-oem-idrac. Invariant: an import knows the two attributes of the
//! one-time boot and no other.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::super::bmc::Bmc;
use super::super::super::body::{self, Object};
use super::super::super::faults::Fault;
use super::super::super::message::Message;
use super::super::resource::Oem;
use super::super::resource::Resource;
use super::super::{Refusal, Reply};

const IMPORT: &str = "OemManager.ImportSystemConfiguration";
const DEVICE: &str = "<Attribute Name=\"ServerBoot.1#FirstBootDevice\">";

impl Bmc {
    pub(super) fn add_import(&self, manager: &mut Value) {
        manager["Actions"]["Oem"] = json!({
            format!("#{IMPORT}"): { "target": self.oem_path(Oem::Import) },
            format!("#{IMPORT}Preview"): { "target": format!("{}Preview", self.oem_path(Oem::Import)) },
        });
        manager["Links"]["Oem"]["Dell"]["DellAttributes"] = json!([
            { "@odata.id": format!("{}/System/Attributes", self.path(&Resource::Manager)) },
            { "@odata.id": self.oem_path(Oem::Attributes) },
        ]);
    }

    pub(super) fn render_attributes(&self) -> Value {
        let armed = self.computer.machine.boots_cd_next();
        json!({
            "@odata.id": self.oem_path(Oem::Attributes),
            "@odata.type": "#DellAttributes.v1_0_0.DellAttributes",
            "Id": "iDRACAttributes",
            "Name": "OEMAttributeRegistry",
            "Attributes": {
                "ServerBoot.1.BootOnce": if armed { "Enabled" } else { "Disabled" },
                "ServerBoot.1.FirstBootDevice": if armed { "VCD-DVD" } else { "Normal" },
            },
        })
    }

    pub(super) fn import_configuration(&mut self, body: &Object, now: Timestamp) -> Result<Reply, Refusal> {
        let target = body.get("ShareParameters").and_then(|parameters| parameters.get("Target"));
        if !target.is_some_and(Value::is_array) {
            return Err(Message::parameter_missing(IMPORT, "Target"));
        }
        let buffer = body::parameter(IMPORT, body, "ImportBuffer")?
            .ok_or_else(|| Message::parameter_missing(IMPORT, "ImportBuffer"))?;
        let is_busy = self.happens_counted(|fault| match fault {
            Fault::ImportBusy(times) => Some(*times),
            _ => None,
        });
        if is_busy {
            return Err(Message::job_running());
        }
        let device = buffer.split_once(DEVICE).and_then(|(_, rest)| rest.split('<').next());
        match device {
            Some("VCD-DVD") => self.computer.machine.boot_cd_next(true),
            Some("Normal") => self.computer.machine.boot_cd_next(false),
            _ => return Err(Message::parameter_format(IMPORT, "ImportBuffer", buffer)),
        }
        let id = self.tasks.begin(now);
        self.tasks.end(id, Ok(()), now);
        Ok(self.task_accepted(id))
    }
}
