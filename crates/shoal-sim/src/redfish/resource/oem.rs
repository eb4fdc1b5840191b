//! The paths and the methods of resources that only one maker has.
//!
//! Their content is in [`oem`](super::super::oem). Invariant: a persona without one of these has no
//! path for it, and answers 404 to it, as a BMC does that never had it.

use http::Method;

use super::super::super::bmc::Bmc;
use super::super::super::personas::MediaMethod;
use super::{ACT, READ, READ_DELETE, READ_PATCH, READ_POST, Resource};

pub const ENABLE_MEDIA: &str = "AMIVirtualMedia.EnableRMedia";
pub const CONFIGURE_CDS: &str = "AMIVirtualMedia.ConfigureCDInstance";

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
        let of_ilo = way == MediaMethod::IloAction;
        match parts {
            ["Actions", "Oem", _, "HpiLOVirtualMedia.InsertVirtualMedia"] if of_ilo => {
                Some(Oem::IloInsert(drive))
            }
            ["Actions", "Oem", _, "HpiLOVirtualMedia.EjectVirtualMedia"] if of_ilo => {
                Some(Oem::IloEject(drive))
            }
            ["Oem", name, "Actions", "VirtualMedia.VmmControl"]
                if *name == oem && way == MediaMethod::VmmControl =>
            {
                Some(Oem::VmmControl(drive))
            }
            _ => None,
        }
    }

    /// Of a path below the collection of slots.
    pub fn oem_of_slots(&self, parts: &[&str]) -> Option<Oem> {
        let has = self.config.persona.media.way == MediaMethod::IsoConfig;
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
        Some(oem).filter(|_| self.config.persona.media.way == MediaMethod::RemoteMap)
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

    /// Without the maker in 12.84 (Gigabyte H262-Z63), whose targets have a part of their own for it.
    pub fn switch_name(&self, oem: Oem) -> &'static str {
        let name = if oem == Oem::MediaSwitch { ENABLE_MEDIA } else { CONFIGURE_CDS };
        if self.config.persona.media.plain_switches { name.trim_start_matches("AMI") } else { name }
    }

    fn switch_path(&self, oem: Oem) -> String {
        let part = if self.config.persona.media.plain_switches { "Ami/" } else { "" };
        format!("{}/Actions/Oem/{part}{}", self.path(&Resource::Manager), self.switch_name(oem))
    }

    /// Of what follows `Actions/Oem/`.
    fn switch_of(&self, rest: &str) -> Option<Oem> {
        let is_it = |oem: &Oem| self.switch_path(*oem).ends_with(&format!("/Actions/Oem/{rest}"));
        [Oem::MediaSwitch, Oem::CdInstances].into_iter().find(is_it)
    }
}
