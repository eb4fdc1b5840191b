//! The disks of a host as its BMC reports them: drives and volumes below the System's `Storage`.
//!
//! What the host's system calls a disk is not decided here. Drives that the host does not see, since they belong to a
//! volume or wait behind a RAID controller, are counted and not listed. Invariant: a part that cannot be read is an
//! error, and so are more parts than [`PARTS_MAX`]: where a disk is missing, another one looks like the only match.

use serde_json::Value;

use super::Bmc;
use super::error::RedfishError;
use super::json;
use super::op::Op;
use super::session::Session;
use super::system::System;

/// Resources that are read for one host.
const PARTS_MAX: usize = 256;

/// What a host sees of its disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disks {
    pub disks: Vec<Disk>,
    /// Drives that belong to a volume, are spare, or are behind a RAID controller and in no volume.
    pub hidden: usize,
}

/// A drive or a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub id: String,
    pub name: Option<String>,
    pub is_volume: bool,
    pub vendor: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    pub bytes: Option<u64>,
    pub is_rotational: Option<bool>,
    /// `SAS`, `SATA`, `NVMe` …
    pub protocol: Option<String>,
    /// The model or name of its controller.
    pub controller: Option<String>,
    pub identifiers: Vec<DurableName>,
}

/// One of a disk's `Identifiers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableName {
    /// `NAA`, `EUI`, `NGUID` …; empty where it is not reported.
    pub format: String,
    pub name: String,
}

/// A storage unit as read, before it is decided what the host sees.
#[derive(Default)]
pub(super) struct StorageParts {
    controller: Option<String>,
    is_raid: bool,
    drives: Vec<(String, Value)>,
    volumes: Vec<Value>,
}

/// Reads what is below one System, and counts.
pub(super) struct StorageReader<'b> {
    session: &'b Session,
    system: &'b str,
    left: usize,
}

impl Bmc {
    /// The disks that a system's host sees, as far as the BMC reports them.
    pub async fn observe_disks(&self, system: &System) -> Result<Disks, RedfishError> {
        let mut reader = StorageReader::new(&self.0.session, &system.link);
        let body = reader.read(&system.link).await?;
        let Some(collection) = json::link(&body, "/Storage") else {
            return Err(RedfishError::unsupported(Op::Storage, &system.link, "has no Storage"));
        };
        let mut found = Disks::default();
        for link in reader.members(&collection).await? {
            reader.unit(&link).await?.sort_into(&mut found);
        }
        Ok(found)
    }
}

impl<'b> StorageReader<'b> {
    pub(super) fn new(session: &'b Session, system: &'b str) -> StorageReader<'b> {
        StorageReader { session, system, left: PARTS_MAX }
    }

    /// Reads one part, and counts it.
    async fn read(&mut self, link: &str) -> Result<Value, RedfishError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(RedfishError::unsupported(
                Op::Storage,
                link,
                "has more storage resources than are read",
            ));
        };
        self.left = left;
        Ok(self.session.read_link(Op::Storage, link, Some(self.system)).await?.body)
    }

    /// The members of a collection. Their links are not counted; reading them is.
    pub(super) async fn members(&mut self, collection: &str) -> Result<Vec<String>, RedfishError> {
        self.session.read_members(Op::Storage, collection, Some(self.system)).await
    }

    /// A unit with its controller, drives and volumes.
    pub(super) async fn unit(&mut self, link: &str) -> Result<StorageParts, RedfishError> {
        let body = self.read(link).await?;
        let controller = match json::list(&body, "/StorageControllers").first() {
            Some(controller) if json::link(controller, "").is_none() || controller.get("Name").is_some() => {
                controller.clone()
            }
            _ => self.controller(&body).await?,
        };
        let name = json::text(&controller, "/Model").or_else(|| json::text(&controller, "/Name"));
        let mut unit = StorageParts {
            controller: name.or_else(|| json::text(&body, "/Name")),
            is_raid: !json::list(&controller, "/SupportedRAIDTypes").is_empty(),
            ..StorageParts::default()
        };
        for drive in json::links(&body, "/Drives") {
            let body = self.read(&drive).await?;
            unit.drives.push((drive, body));
        }
        if let Some(collection) = json::link(&body, "/Volumes") {
            for volume in self.members(&collection).await? {
                unit.volumes.push(self.read(&volume).await?);
            }
        }
        Ok(unit)
    }

    /// The first controller of a unit that links to a collection of them.
    async fn controller(&mut self, unit: &Value) -> Result<Value, RedfishError> {
        let Some(collection) = json::link(unit, "/Controllers") else { return Ok(Value::Null) };
        match self.members(&collection).await?.first() {
            Some(link) => self.read(link).await,
            None => Ok(Value::Null),
        }
    }
}

impl StorageParts {
    /// Every drive that is there, and every volume that is more than a drive under another name.
    pub(super) fn into_all(self) -> Vec<Disk> {
        let drives = self.drives.iter().map(|(_, drive)| drive).filter(|drive| is_present(drive));
        let drives = drives.map(|drive| parse(drive, self.controller.clone()));
        let volumes = self.volumes.iter().filter(|volume| !is_raw(volume));
        let volumes =
            volumes.map(|volume| Disk { is_volume: true, ..parse(volume, self.controller.clone()) });
        drives.chain(volumes).collect()
    }

    /// Adds what the host sees of the unit, and counts the rest. A drive is seen unless it is in a volume, spare, or
    /// behind a RAID controller that does not present it.
    fn sort_into(self, found: &mut Disks) {
        let drives_of = |volume: &Value| json::links(volume, "/Links/Drives");
        let (raw, volumes): (Vec<Value>, Vec<Value>) = self.volumes.iter().cloned().partition(is_raw);
        for (link, drive) in self.drives.iter().filter(|(_, drive)| is_present(drive)) {
            let names: Vec<&Value> =
                raw.iter().filter(|volume| drives_of(volume) == [link.clone()]).collect();
            let is_member = volumes.iter().any(|volume| drives_of(volume).contains(link));
            let is_presented = !self.is_raid || !names.is_empty() || is_pass_through(drive);
            if is_member || is_spare(drive) || !is_presented {
                found.hidden += 1;
                continue;
            }
            let mut disk = parse(drive, self.controller.clone());
            disk.identifiers.extend(names.into_iter().flat_map(identifiers));
            found.disks.push(disk);
        }
        for volume in volumes {
            let members: Vec<bool> = self
                .drives
                .iter()
                .filter(|(link, _)| drives_of(&volume).contains(link))
                .filter_map(|(_, drive)| is_rotational(drive))
                .collect();
            let mut disk = parse(&volume, self.controller.clone());
            disk.is_volume = true;
            disk.is_rotational = members.iter().copied().reduce(|one, other| one || other);
            found.disks.push(disk);
        }
    }
}

/// Whether a volume is a drive, or a namespace of one, under another name.
fn is_raw(volume: &Value) -> bool {
    let is = |pointer: &str, value: &str| json::text(volume, pointer).is_some_and(|text| text == value);
    let has_raid = json::text(volume, "/RAIDType").is_some_and(|raid| raid != "None");
    let is_one = json::links(volume, "/Links/Drives").len() == 1;
    is_one
        && !has_raid
        && (is("/VolumeType", "RawDevice")
            || is("/RAIDType", "None")
            || volume.get("NVMeNamespaceProperties").is_some())
}

/// Whether the bay holds a drive.
fn is_present(drive: &Value) -> bool {
    json::text(drive, "/Status/State").is_none_or(|state| state != "Absent")
}

/// Whether it waits for another drive to fail.
fn is_spare(drive: &Value) -> bool {
    json::text(drive, "/HotspareType").is_some_and(|spare| spare != "None")
}

/// Dell's name for a drive that its RAID controller hands through.
fn is_pass_through(drive: &Value) -> bool {
    let status = json::text(drive, "/Oem/Dell/DellPhysicalDisk/RaidStatus");
    status.is_some_and(|status| status.eq_ignore_ascii_case("NonRAID"))
}

fn is_rotational(drive: &Value) -> Option<bool> {
    match json::text(drive, "/MediaType")?.as_str() {
        "HDD" | "SMR" => Some(true),
        "SSD" => Some(false),
        _ => None,
    }
}

fn parse(body: &Value, controller: Option<String>) -> Disk {
    let text = |pointer: &str| json::text(body, pointer);
    Disk {
        id: text("/Id").unwrap_or_default(),
        name: text("/Name"),
        is_volume: false,
        vendor: text("/Manufacturer"),
        model: text("/Model"),
        serial: text("/SerialNumber"),
        bytes: text("/CapacityBytes").and_then(|bytes| bytes.parse().ok()),
        is_rotational: is_rotational(body),
        protocol: text("/Protocol"),
        controller,
        identifiers: identifiers(body),
    }
}

fn identifiers(body: &Value) -> Vec<DurableName> {
    let listed = json::list(body, "/Identifiers").iter();
    listed
        .filter_map(|entry| {
            let format = json::text(entry, "/DurableNameFormat").unwrap_or_default();
            Some(DurableName { format, name: json::text(entry, "/DurableName")? })
        })
        .collect()
}
