//! The resources of the service: their paths, their methods, and who may see them.
//!
//! The paths follow the persona's names of its System, Manager and collections: a slot is below the System or below
//! the Manager, never below both. What only one maker has is in [`Oem`], what is below `Storage` in
//! [`StorageResource`]; each has the same two directions, from a path and to it. No content.
//!
//! Invariant: a path and its resource are each other's inverse, so a link that the service gives is one that it
//! serves.

mod oem;
mod parts;
mod storage;

use http::Method;
use serde_json::{Value, json};

pub use self::oem::{CONFIGURE_CDS, ENABLE_MEDIA, Oem};
pub use self::parts::{FIRMWARE, NICS, PartResource};
pub use self::storage::StorageResource;
use super::super::bmc::Bmc;
use super::super::faults::Fault;
use super::super::personas::MediaMethod;

/// Everything that has a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    Versions,
    Root,
    Odata,
    Metadata,
    SessionService,
    Sessions,
    Session(String),
    AccountService,
    Accounts,
    Account(String),
    Roles,
    Role(String),
    Systems,
    System,
    /// Its settings object, by the persona's name for it.
    Settings,
    /// A GPU baseboard beside the host.
    Baseboard,
    BootOptions,
    /// By its number.
    BootOption(usize),
    ResetInfo,
    SystemReset,
    Managers,
    Manager,
    ManagerReset,
    ChassisCollection,
    Chassis,
    Stored(StorageResource),
    Part(PartResource),
    Slots,
    /// By the index of the machine's drive.
    Slot(usize),
    /// The same, of a persona whose slots take a PATCH.
    OpenSlot(usize),
    InsertInfo(usize),
    Insert(usize),
    Eject(usize),
    TaskService,
    Tasks,
    Task(u64),
    TaskMonitor(u64),
    Oem(Oem),
}

/// NVIDIA's name for it.
const BASEBOARD: &str = "HGX_Baseboard_0";

pub const READ: &[Method] = &[Method::GET, Method::HEAD];
pub const READ_POST: &[Method] = &[Method::GET, Method::HEAD, Method::POST];
pub const READ_PATCH: &[Method] = &[Method::GET, Method::HEAD, Method::PATCH];
pub const READ_DELETE: &[Method] = &[Method::GET, Method::HEAD, Method::DELETE];
const READ_PATCH_DELETE: &[Method] = &[Method::GET, Method::HEAD, Method::PATCH, Method::DELETE];
pub const ACT: &[Method] = &[Method::POST];

impl Resource {
    /// The methods that it takes; any other is answered 405 with these.
    pub fn methods(&self) -> &'static [Method] {
        match self {
            Resource::Sessions | Resource::Accounts => READ_POST,
            Resource::System | Resource::Settings | Resource::OpenSlot(_) | Resource::SessionService => {
                READ_PATCH
            }
            Resource::Oem(oem) => oem.methods(),
            Resource::Session(_) => READ_DELETE,
            Resource::Account(_) => READ_PATCH_DELETE,
            Resource::SystemReset | Resource::ManagerReset | Resource::Insert(_) | Resource::Eject(_) => ACT,
            _ => READ,
        }
    }

    /// The `Allow` header.
    pub fn allow(&self) -> String {
        self.methods().iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Whether the request needs no authentication (DSP0266, "Resource and operation authentication
    /// requirements").
    pub fn is_open(&self, method: &Method) -> bool {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match self {
            Resource::Versions | Resource::Root | Resource::Odata | Resource::Metadata => reads,
            Resource::Sessions => *method == Method::POST,
            _ => false,
        }
    }
}

impl Bmc {
    /// The resource at a path, with or without a slash at its end.
    pub fn resource(&self, path: &str) -> Option<Resource> {
        let parts: Vec<&str> = path.trim_start_matches('/').trim_end_matches('/').split('/').collect();
        match parts.as_slice() {
            ["redfish"] => Some(Resource::Versions),
            ["redfish", "v1", rest @ ..] => self.resource_of_v1(rest),
            _ => None,
        }
    }

    fn resource_of_v1(&self, parts: &[&str]) -> Option<Resource> {
        let persona = &self.config.persona;
        let found = match parts {
            [] => Resource::Root,
            ["odata"] => Resource::Odata,
            ["$metadata"] => Resource::Metadata,
            ["SessionService", ..] if self.faults.has(&Fault::NoSessions) => return None,
            ["SessionService"] => Resource::SessionService,
            ["SessionService", "Sessions"] | ["SessionService", "Sessions", "Members"] => Resource::Sessions,
            ["SessionService", "Sessions", id] => Resource::Session((*id).to_owned()),
            ["AccountService"] => Resource::AccountService,
            ["AccountService", "Accounts"] => Resource::Accounts,
            ["AccountService", "Accounts", id] => Resource::Account((*id).to_owned()),
            ["AccountService", "Roles"] => Resource::Roles,
            ["AccountService", "Roles", id] => Resource::Role((*id).to_owned()),
            ["Systems"] => Resource::Systems,
            ["Systems", id, rest @ ..] if *id == persona.system => return self.resource_of_system(rest),
            ["Systems", BASEBOARD] if persona.baseboard => Resource::Baseboard,
            ["Managers"] => Resource::Managers,
            ["Managers", id, rest @ ..] if *id == persona.manager => return self.resource_of_manager(rest),
            ["Chassis"] => Resource::ChassisCollection,
            ["Chassis", id] if *id == persona.chassis => Resource::Chassis,
            ["UpdateService", rest @ ..] => return Bmc::part_of_updates(rest).map(Resource::Part),
            ["TaskService"] => Resource::TaskService,
            ["TaskService", "Tasks"] => Resource::Tasks,
            ["TaskService", "Tasks", id] => Resource::Task(id.parse().ok()?),
            ["TaskService", "TaskMonitors", id] => Resource::TaskMonitor(id.parse().ok()?),
            _ => return None,
        };
        Some(found)
    }

    /// Of a path below the System.
    fn resource_of_system(&self, parts: &[&str]) -> Option<Resource> {
        let persona = &self.config.persona;
        match parts {
            [] => Some(Resource::System),
            ["BootOptions"] if self.has_boot_options() => Some(Resource::BootOptions),
            ["BootOptions", id] if self.has_boot_options() => {
                Some(Resource::BootOption(id.strip_prefix("Boot")?.parse().ok()?))
            }
            ["ResetActionInfo"] => Some(Resource::ResetInfo),
            ["Actions", "ComputerSystem.Reset"] => Some(Resource::SystemReset),
            [name] if !name.is_empty() && *name == persona.boot.settings => Some(Resource::Settings),
            [name, rest @ ..] if *name == persona.media.collection && persona.media.of_system => {
                self.resource_of_slots(rest)
            }
            ["EthernetInterfaces", ..] => Bmc::part_of_system(parts).map(Resource::Part),
            _ => self.resource_of_storage(parts).map(Resource::Stored),
        }
    }

    /// Of a path below the Manager.
    fn resource_of_manager(&self, parts: &[&str]) -> Option<Resource> {
        let media = &self.config.persona.media;
        match parts {
            [] => Some(Resource::Manager),
            ["Actions", "Manager.Reset"] => Some(Resource::ManagerReset),
            [name, rest @ ..] if *name == media.collection && !media.of_system => {
                self.resource_of_slots(rest)
            }
            _ => self.oem_of_manager(parts).map(Resource::Oem),
        }
    }

    /// Of a path below the collection of slots: only slots that are shown now have one.
    fn resource_of_slots(&self, parts: &[&str]) -> Option<Resource> {
        let [id, rest @ ..] = parts else { return Some(Resource::Slots) };
        let Some(drive) = self.slots.iter().take(self.drives_shown()).position(|slot| slot.id == *id) else {
            return self.oem_of_slots(parts).map(Resource::Oem);
        };
        let standard = self.config.persona.media.way == MediaMethod::Action;
        match rest {
            [] if self.takes_patch(drive) => Some(Resource::OpenSlot(drive)),
            [] => Some(Resource::Slot(drive)),
            ["Actions", "VirtualMedia.InsertMedia"] if standard => Some(Resource::Insert(drive)),
            ["Actions", "VirtualMedia.EjectMedia"] if standard => Some(Resource::Eject(drive)),
            ["InsertMediaActionInfo"] if standard => Some(Resource::InsertInfo(drive)),
            _ => self.oem_of_slot(drive, rest).map(Resource::Oem),
        }
    }

    /// Whether the slot takes a PATCH: of an image, of its boot switch, or in vain (an applet's).
    fn takes_patch(&self, drive: usize) -> bool {
        let persona = &self.config.persona;
        let by_slot = persona.boot.by_slot && self.slots[drive].is_cd();
        persona.media.way == MediaMethod::Patch || by_slot || self.slots[drive].applet
    }

    /// The path of a resource.
    pub fn path(&self, resource: &Resource) -> String {
        let persona = &self.config.persona;
        let system = format!("/redfish/v1/Systems/{}", persona.system);
        let manager = format!("/redfish/v1/Managers/{}", persona.manager);
        let owner = if persona.media.of_system { &system } else { &manager };
        let slots = format!("{owner}/{}", persona.media.collection);
        let slot = |drive: &usize| {
            let id = self.slots.get(*drive).map_or("", |slot| slot.id);
            format!("{slots}/{id}")
        };
        match resource {
            Resource::Versions => "/redfish".to_owned(),
            Resource::Root => "/redfish/v1/".to_owned(),
            Resource::Odata => "/redfish/v1/odata".to_owned(),
            Resource::Metadata => "/redfish/v1/$metadata".to_owned(),
            Resource::SessionService => "/redfish/v1/SessionService".to_owned(),
            Resource::Sessions => "/redfish/v1/SessionService/Sessions".to_owned(),
            Resource::Session(id) => format!("/redfish/v1/SessionService/Sessions/{id}"),
            Resource::AccountService => "/redfish/v1/AccountService".to_owned(),
            Resource::Accounts => "/redfish/v1/AccountService/Accounts".to_owned(),
            Resource::Account(id) => format!("/redfish/v1/AccountService/Accounts/{id}"),
            Resource::Roles => "/redfish/v1/AccountService/Roles".to_owned(),
            Resource::Role(id) => format!("/redfish/v1/AccountService/Roles/{id}"),
            Resource::Systems => "/redfish/v1/Systems".to_owned(),
            Resource::System => system,
            Resource::BootOptions => format!("{system}/BootOptions"),
            Resource::BootOption(number) => format!("{system}/BootOptions/Boot{number:04}"),
            Resource::ResetInfo => format!("{system}/ResetActionInfo"),
            Resource::SystemReset => format!("{system}/Actions/ComputerSystem.Reset"),
            Resource::Managers => "/redfish/v1/Managers".to_owned(),
            Resource::Manager => manager,
            Resource::ManagerReset => format!("{manager}/Actions/Manager.Reset"),
            Resource::ChassisCollection => "/redfish/v1/Chassis".to_owned(),
            Resource::Chassis => format!("/redfish/v1/Chassis/{}", persona.chassis),
            Resource::Stored(stored) => system + &self.storage_path(*stored),
            Resource::Part(part) => Bmc::part_path(&system, *part),
            Resource::Slots => slots,
            Resource::Slot(drive) | Resource::OpenSlot(drive) => slot(drive),
            Resource::InsertInfo(drive) => format!("{}/InsertMediaActionInfo", slot(drive)),
            Resource::Oem(oem) => self.oem_path(*oem),
            Resource::Settings => format!("{system}/{}", persona.boot.settings),
            Resource::Baseboard => format!("/redfish/v1/Systems/{BASEBOARD}"),
            Resource::Insert(drive) => format!("{}/Actions/VirtualMedia.InsertMedia", slot(drive)),
            Resource::Eject(drive) => format!("{}/Actions/VirtualMedia.EjectMedia", slot(drive)),
            Resource::TaskService => "/redfish/v1/TaskService".to_owned(),
            Resource::Tasks => "/redfish/v1/TaskService/Tasks".to_owned(),
            Resource::Task(id) => format!("/redfish/v1/TaskService/Tasks/{id}"),
            Resource::TaskMonitor(id) => format!("/redfish/v1/TaskService/TaskMonitors/{id}"),
        }
    }

    /// A reference to a resource.
    pub fn link(&self, resource: &Resource) -> Value {
        json!({ "@odata.id": self.path(resource) })
    }

    /// A collection of these members.
    pub fn collection(&self, of: &Resource, kind: &str, name: &str, members: &[Resource]) -> Value {
        let links: Vec<Value> = members.iter().map(|member| self.link(member)).collect();
        json!({
            "@odata.id": self.path(of),
            "@odata.type": format!("#{kind}.{kind}"),
            "Name": name,
            "Members@odata.count": links.len(),
            "Members": links,
        })
    }
}
