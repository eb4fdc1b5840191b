//! What makers have beside the standard: actions, configurations, switches.
//!
//! A file for each; here are their paths and who serves them. Invariant: a persona without one of
//! these answers 404 to it, as a BMC does that never had it.

mod ami;
mod dell;
mod huawei;
mod ilo;
mod iso_config;
mod remote_map;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::personas::Way;
use super::body::Object;
use super::message::Message;
use super::resource::{ACT, READ, READ_DELETE, READ_PATCH, READ_POST, Resource};
use super::{Outcome, Refusal};

/// Everything that has a URI and is no standard resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oem {
    IloInsert(usize),
    IloEject(usize),
    VmmControl(usize),
    IsoConfig,
    IsoMount,
    IsoUnMount,
    MediaSwitch,
    CdInstances,
    Import,
    Attributes,
    RemoteMap,
    MapImages,
    MapImage(usize),
    MapMount,
    MapUnMount,
}

/// What these keep.
#[derive(Default)]
pub struct OemState {
    /// The address in the configuration, as it was written.
    pub iso_host: String,
    pub iso_path: String,
    /// What was added to the map.
    pub map_images: Vec<String>,
    /// When the media that were switched on are there.
    pub media_at: Option<Timestamp>,
    /// CD drives that were asked for.
    pub instances: usize,
    /// The word of the override that is armed.
    pub boot_word: Option<&'static str>,
    /// When the host was forced off.
    pub forced_off_at: Option<Timestamp>,
    /// A connection is open that must not be used again.
    pub kept_alive: bool,
}

impl Oem {
    pub fn methods(self) -> &'static [Method] {
        match self {
            Oem::IsoConfig => READ_PATCH,
            Oem::Attributes | Oem::RemoteMap => READ,
            Oem::MapImages => READ_POST,
            Oem::MapImage(_) => READ_DELETE,
            _ => ACT,
        }
    }
}

impl Bmc {
    /// Of a path below a slot.
    pub fn oem_of_slot(&self, drive: usize, parts: &[&str]) -> Option<Oem> {
        let (way, oem) = (self.config.persona.media.way, self.config.persona.oem);
        let of_ilo = way == Way::IloAction;
        match parts {
            ["Actions", "Oem", _, "HpiLOVirtualMedia.InsertVirtualMedia"] if of_ilo => {
                Some(Oem::IloInsert(drive))
            }
            ["Actions", "Oem", _, "HpiLOVirtualMedia.EjectVirtualMedia"] if of_ilo => {
                Some(Oem::IloEject(drive))
            }
            ["Oem", name, "Actions", "VirtualMedia.VmmControl"] if *name == oem && way == Way::VmmControl => {
                Some(Oem::VmmControl(drive))
            }
            _ => None,
        }
    }

    /// Of a path below the collection of slots.
    pub fn oem_of_slots(&self, parts: &[&str]) -> Option<Oem> {
        let has = self.config.persona.media.way == Way::IsoConfig;
        match parts {
            ["CfgCD"] if has => Some(Oem::IsoConfig),
            ["CfgCD", "Actions", "IsoConfig.Mount"] if has => Some(Oem::IsoMount),
            ["CfgCD", "Actions", "IsoConfig.UnMount"] if has => Some(Oem::IsoUnMount),
            _ => None,
        }
    }

    /// Of a path below the Manager.
    pub fn oem_of_manager(&self, parts: &[&str]) -> Option<Oem> {
        let persona = &self.config.persona;
        match parts {
            ["Actions", "Oem", rest @ ..] if persona.media.switched && !rest.is_empty() => {
                self.switch_of(&rest.join("/"))
            }
            ["Actions", "Oem", "EID_674_Manager.ImportSystemConfiguration"] if persona.boot.import => {
                Some(Oem::Import)
            }
            ["Attributes"] if persona.boot.import => Some(Oem::Attributes),
            ["Oem", name, "RemoteMap", rest @ ..] if *name == persona.oem => self.oem_of_map(rest),
            _ => None,
        }
    }

    /// Of a path below the map.
    fn oem_of_map(&self, parts: &[&str]) -> Option<Oem> {
        let oem = match parts {
            [] => Oem::RemoteMap,
            ["MountImages"] => Oem::MapImages,
            ["MountImages", number] => Oem::MapImage(number.parse().ok()?),
            ["Actions", "LenovoRemoteMapService.Mount"] => Oem::MapMount,
            ["Actions", "LenovoRemoteMapService.UMount"] => Oem::MapUnMount,
            _ => return None,
        };
        Some(oem).filter(|_| self.config.persona.media.way == Way::RemoteMap)
    }

    pub fn oem_path(&self, oem: Oem) -> String {
        let (slots, manager) = (self.path(&Resource::Slots), self.path(&Resource::Manager));
        let slot = |drive: usize| self.path(&Resource::Slot(drive));
        let name = self.config.persona.oem;
        match oem {
            Oem::IloInsert(drive) => {
                format!("{}/Actions/Oem/{name}/HpiLOVirtualMedia.InsertVirtualMedia", slot(drive))
            }
            Oem::IloEject(drive) => {
                format!("{}/Actions/Oem/{name}/HpiLOVirtualMedia.EjectVirtualMedia", slot(drive))
            }
            Oem::VmmControl(drive) => format!("{}/Oem/{name}/Actions/VirtualMedia.VmmControl", slot(drive)),
            Oem::IsoConfig => format!("{slots}/CfgCD"),
            Oem::IsoMount => format!("{slots}/CfgCD/Actions/IsoConfig.Mount"),
            Oem::IsoUnMount => format!("{slots}/CfgCD/Actions/IsoConfig.UnMount"),
            Oem::MediaSwitch | Oem::CdInstances => self.switch_path(oem),
            Oem::Import => format!("{manager}/Actions/Oem/EID_674_Manager.ImportSystemConfiguration"),
            Oem::Attributes => format!("{manager}/Attributes"),
            Oem::RemoteMap => format!("{manager}/Oem/{name}/RemoteMap"),
            Oem::MapImages => format!("{manager}/Oem/{name}/RemoteMap/MountImages"),
            Oem::MapImage(number) => format!("{manager}/Oem/{name}/RemoteMap/MountImages/{number}"),
            Oem::MapMount => {
                format!("{manager}/Oem/{name}/RemoteMap/Actions/LenovoRemoteMapService.Mount")
            }
            Oem::MapUnMount => {
                format!("{manager}/Oem/{name}/RemoteMap/Actions/LenovoRemoteMapService.UMount")
            }
        }
    }

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

    pub fn post_oem(&mut self, oem: Oem, body: &Object, now: Timestamp) -> Result<Outcome, Refusal> {
        match oem {
            Oem::IloInsert(drive) => self.insert_by_ilo(drive, body).map(Outcome::Insert),
            Oem::IloEject(drive) => self.eject_media(drive, now).map(Outcome::Reply),
            Oem::VmmControl(drive) => self.control_vmm(drive, body, now),
            Oem::IsoMount => self.mount_iso().map(Outcome::Insert),
            Oem::IsoUnMount => self.eject_media(0, now).map(Outcome::Reply),
            Oem::MediaSwitch => self.switch_media_on(body, now).map(Outcome::Reply),
            Oem::CdInstances => self.configure_cd_instances(body).map(Outcome::Reply),
            Oem::Import => self.import_configuration(body, now).map(Outcome::Reply),
            Oem::MapImages => self.add_map_image(body).map(Outcome::Reply),
            Oem::MapMount => self.mount_map().map(Outcome::Insert),
            Oem::MapUnMount => self.eject_media(0, now).map(Outcome::Reply),
            Oem::IsoConfig | Oem::Attributes | Oem::RemoteMap | Oem::MapImage(_) => {
                Err(Message::method_not_allowed(&Resource::Oem(oem)))
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
        if persona.media.way == Way::RemoteMap {
            manager["Oem"][persona.oem]["RemoteMap"] = json!({ "@odata.id": self.oem_path(Oem::RemoteMap) });
        }
    }

    /// Adds what the System has of its maker.
    pub fn add_system_oem(&self, system: &mut Value) {
        let persona = &self.config.persona;
        if persona.media.way == Way::Shares {
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
            Way::IloAction => slot["Oem"][name]["Actions"] = self.ilo_actions(drive),
            Way::VmmControl => slot["Oem"][name]["Actions"] = self.vmm_action(drive),
            _ => {}
        }
        if persona.boot.by_slot && self.slots.get(drive).is_some_and(|slot| slot.is_cd()) {
            slot["Oem"][name]["BootOnNextServerReset"] = json!(self.computer.machine.boots_cd_next());
        }
    }
}
