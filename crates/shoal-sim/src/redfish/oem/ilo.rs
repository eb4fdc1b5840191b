//! HPE iLO 4: the standard's actions under another name.
//!
//! Source: fakefish, community.general. Invariant: the image is the only parameter.

use serde_json::{Value, json};

use super::super::super::bmc::Bmc;
use super::super::super::body::{self, Object};
use super::super::super::message::Message;
use super::super::Refusal;
use super::super::resource::Oem;
use super::super::virtual_media::Insert;

const INSERT: &str = "HpiLOVirtualMedia.InsertVirtualMedia";
const EJECT: &str = "HpiLOVirtualMedia.EjectVirtualMedia";

impl Bmc {
    pub(super) fn ilo_actions(&self, drive: usize) -> Value {
        json!({
            format!("#{INSERT}"): { "target": self.oem_path(Oem::IloInsert(drive)) },
            format!("#{EJECT}"): { "target": self.oem_path(Oem::IloEject(drive)) },
        })
    }

    pub(super) fn insert_by_ilo(&mut self, drive: usize, body: &Object) -> Result<Insert, Refusal> {
        body::check_parameters(INSERT, body, &["Image"])?;
        let image = body::parameter(INSERT, body, "Image")?
            .ok_or_else(|| Message::parameter_missing(INSERT, "Image"))?;
        self.begin_insert(drive, image)
    }
}
