//! What makers have beside the standard: actions, configurations, switches.
//!
//! A file for each; their paths are in [`resource`](super::resource). Invariant: what is kept for them is
//! in the BMC's [`OemState`](super::super::bmc::OemState), so a restart of the service loses nothing.

mod ami;
mod dell;
mod huawei;
mod ilo;
mod iso_config;
mod remote_map;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::body::Object;
use super::super::message::Message;
use super::super::personas::MediaMethod;
use super::resource::{Oem, Resource};
use super::{Refusal, RequestOutcome};

impl Bmc {
    pub fn render_oem(&self, oem: Oem) -> Option<Value> {
        match oem {
            Oem::IsoConfig => Some(self.render_iso_config()),
            Oem::Attributes => Some(self.render_attributes()),
            Oem::RemoteMap => Some(self.render_remote_map()),
            Oem::MapImages => Some(self.render_map_images()),
            Oem::MapImage(number) => self.render_map_image(number),
            _ => None,
        }
    }

    pub fn post_oem(&mut self, oem: Oem, body: &Object, now: Timestamp) -> Result<RequestOutcome, Refusal> {
        match oem {
            Oem::IloInsert(drive) => self.insert_by_ilo(drive, body).map(RequestOutcome::Insert),
            Oem::IloEject(drive) => self.eject_media(drive, now).map(RequestOutcome::Reply),
            Oem::VmmControl(drive) => self.control_vmm(drive, body, now),
            Oem::IsoMount => self.mount_iso().map(RequestOutcome::Insert),
            Oem::IsoUnMount => self.eject_media(0, now).map(RequestOutcome::Reply),
            Oem::MediaSwitch => self.switch_media_on(body, now).map(RequestOutcome::Reply),
            Oem::CdInstances => self.configure_cd_instances(body).map(RequestOutcome::Reply),
            Oem::Import => self.import_configuration(body, now).map(RequestOutcome::Reply),
            Oem::MapImages => self.add_map_image(body).map(RequestOutcome::Reply),
            Oem::MapMount => self.mount_map().map(RequestOutcome::Insert),
            Oem::MapUnMount => self.eject_media(0, now).map(RequestOutcome::Reply),
            Oem::IsoConfig | Oem::Attributes | Oem::RemoteMap | Oem::MapImage(_) => {
                Err(Message::method_not_allowed(Resource::Oem(oem).allow()))
            }
        }
    }

    /// `Oem` of the service root.
    pub fn root_oem(&self) -> Option<Value> {
        let persona = &self.config.persona;
        let mut oem = json!({});
        if matches!(persona.oem, "Hp" | "Hpe") {
            oem["Manager"] = json!([{ "ManagerType": persona.manager_model }]);
        }
        (!persona.oem.is_empty()).then(|| json!({ persona.oem: oem }))
    }

    /// Adds what the Manager has of its maker.
    pub fn add_manager_oem(&self, manager: &mut Value) {
        let persona = &self.config.persona;
        if persona.media.switched {
            self.add_media_switch(manager);
        }
        if persona.boot.import {
            self.add_import(manager);
        }
        if persona.media.way == MediaMethod::RemoteMap {
            manager["Oem"][persona.oem]["RemoteMap"] = json!({ "@odata.id": self.oem_path(Oem::RemoteMap) });
        }
    }

    /// Adds what the System has of its maker.
    pub fn add_system_oem(&self, system: &mut Value) {
        let persona = &self.config.persona;
        if persona.media.way == MediaMethod::Shares {
            system["Actions"]["Oem"]["#FTSComputerSystem.VirtualMedia"] = json!({
                "target": format!("{}/Actions/Oem/FTSComputerSystem.VirtualMedia", self.path(&Resource::System)),
                "FTSVirtualMediaAction@Redfish.AllowableValues": ["ConnectCD", "ConnectHD"],
            });
        }
    }

    /// Adds what a slot has of its maker.
    pub fn add_slot_oem(&self, drive: usize, slot: &mut Value) {
        let persona = &self.config.persona;
        let name = persona.oem;
        match persona.media.way {
            MediaMethod::IloAction => slot["Oem"][name]["Actions"] = self.ilo_actions(drive),
            MediaMethod::VmmControl => slot["Oem"][name]["Actions"] = self.vmm_action(drive),
            _ => {}
        }
        if persona.boot.by_slot && self.slots.get(drive).is_some_and(|slot| slot.is_cd()) {
            slot["Oem"][name]["BootOnNextServerReset"] = json!(self.computer.machine.boots_cd_next());
        }
    }
}
