//! Supermicro X10 and older X11: the address of an image is written into a configuration and mounted.
//!
//! Source: badfish; the shape is an X10SDV's. Invariant: the collection has a member only while
//! something is mounted.

use serde_json::{Value, json};

use super::super::super::bmc::Bmc;
use super::super::super::body::{self, Object};
use super::super::Refusal;
use super::super::resource::Oem;
use super::super::virtual_media::Insert;

impl Bmc {
    pub(super) fn render_iso_config(&self) -> Value {
        let action = |oem| json!({ "target": self.oem_path(oem) });
        json!({
            "@odata.id": self.oem_path(Oem::IsoConfig),
            "@odata.type": "#IsoConfig.v1_0_0.IsoConfig",
            "Id": "CfgCD",
            "Name": "Virtual Media Configuration",
            "Host": self.oem.iso_host,
            "Path": self.oem.iso_path,
            "Username": "",
            "Password": "",
            "Actions": {
                "#IsoConfig.Mount": action(Oem::IsoMount),
                "#IsoConfig.UnMount": action(Oem::IsoUnMount),
            },
        })
    }

    pub fn patch_iso_config(&mut self, body: Object) -> Result<Vec<Refusal>, Refusal> {
        let unknown = body::unknown(&body, &["Host", "Path", "Username", "Password"], &["Id", "Name"]);
        if let Some(host) = body::text(&body, "Host")? {
            self.oem.iso_host = host.to_owned();
        }
        if let Some(path) = body::text(&body, "Path")? {
            self.oem.iso_path = path.to_owned();
        }
        Ok(unknown)
    }

    pub(super) fn mount_iso(&mut self) -> Result<Insert, Refusal> {
        let image = format!("{}{}", self.oem.iso_host, self.oem.iso_path);
        self.begin_insert(0, &image)
    }
}
