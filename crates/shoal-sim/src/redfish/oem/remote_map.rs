//! Lenovo XCC before 2.50: images are added to a list, and the whole list is mounted.
//!
//! Source: Lenovo's scripts for the firmware of 2018. Invariant: an image is mounted only if it is the only
//! one of the list, since this machine has one drive for them.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::super::bmc::Bmc;
use super::super::super::body::{self, Object};
use super::super::super::message::Message;
use super::super::resource::Oem;
use super::super::virtual_media::Insert;
use super::super::{Refusal, Reply};

const KEYS: [&str; 7] = ["FilePath", "Type", "Username", "Password", "Domain", "Readonly", "Options"];

impl Bmc {
    pub(super) fn render_remote_map(&self) -> Value {
        let action = |oem| json!({ "target": self.oem_path(oem) });
        json!({
            "@odata.id": self.oem_path(Oem::RemoteMap),
            "@odata.type": "#LenovoRemoteMapService.v1_0_0.LenovoRemoteMapService",
            "Id": "RemoteMap",
            "Name": "Remote Map Service",
            "ServiceEnabled": true,
            "MountImages": { "@odata.id": self.oem_path(Oem::MapImages) },
            "Actions": {
                "#LenovoRemoteMapService.Mount": action(Oem::MapMount),
                "#LenovoRemoteMapService.UMount": action(Oem::MapUnMount),
            },
        })
    }

    pub(super) fn render_map_images(&self) -> Value {
        let members: Vec<Value> = (0..self.oem.map_images.len())
            .map(|number| json!({ "@odata.id": self.oem_path(Oem::MapImage(number)) }))
            .collect();
        json!({
            "@odata.id": self.oem_path(Oem::MapImages),
            "@odata.type": "#LenovoRemoteMapMediaCollection.LenovoRemoteMapMediaCollection",
            "Name": "Mount Images",
            "Members@odata.count": members.len(),
            "Members": members,
        })
    }

    pub(super) fn render_map_image(&self, number: usize) -> Option<Value> {
        let image = self.oem.map_images.get(number)?;
        let mounted = self.held(0).as_ref() == Some(image);
        Some(json!({
            "@odata.id": self.oem_path(Oem::MapImage(number)),
            "@odata.type": "#LenovoRemoteMapMedia.v1_0_0.LenovoRemoteMapMedia",
            "Id": number.to_string(),
            "Name": image.rsplit('/').next(),
            "FilePath": image,
            "Type": "HTTP",
            "Readonly": true,
            "Mounted": mounted,
        }))
    }

    pub(super) fn add_map_image(&mut self, body: &Object) -> Result<Reply, Refusal> {
        body::check_parameters("MountImages", body, &KEYS)?;
        let path = body::parameter("MountImages", body, "FilePath")?
            .ok_or_else(|| Message::parameter_missing("MountImages", "FilePath"))?;
        if body::parameter("MountImages", body, "Type")? != Some("HTTP") || !path.starts_with("http:") {
            return Err(Message::parameter_format("MountImages", "FilePath", path));
        }
        self.oem.map_images.push(path.to_owned());
        let entry = self.render_map_image(self.oem.map_images.len() - 1).unwrap_or_default();
        Ok(Reply::json(StatusCode::CREATED, entry))
    }

    pub(super) fn mount_map(&mut self) -> Result<Insert, Refusal> {
        match self.oem.map_images.clone().as_slice() {
            [image] => self.begin_insert(0, image),
            [] => Err(Message::no_operation()),
            _ => Err(Message::in_use()),
        }
    }

    /// Refused for an image that is mounted, or is being mounted.
    pub fn remove_map_image(&mut self, number: usize) -> Result<bool, Refusal> {
        let Some(image) = self.oem.map_images.get(number) else { return Ok(false) };
        let is_busy = self.slots.first().is_some_and(|slot| slot.busy);
        if is_busy || self.held(0).as_ref() == Some(image) {
            return Err(Message::in_use());
        }
        self.oem.map_images.remove(number);
        Ok(true)
    }
}
