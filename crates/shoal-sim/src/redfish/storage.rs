//! `Storage` of the System: units with their drives and volumes, as the persona's data has them.
//!
//! Nothing here changes. Invariant: whatever a resource links to is served.

use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::personas::{PhysicalDrive, RaidVolume, StorageUnit};
use super::resource::{Resource, StorageResource};

impl Bmc {
    pub fn render_storage(&self, stored: StorageResource) -> Value {
        let unit = |at: usize| &self.units()[at];
        match stored {
            StorageResource::Units => {
                let members: Vec<Resource> =
                    (0..self.units().len()).map(|at| Resource::Stored(StorageResource::Unit(at))).collect();
                let of = Resource::Stored(stored);
                self.collection(&of, "StorageCollection", "Storage Collection", &members)
            }
            StorageResource::Volumes(at) => {
                let members: Vec<Resource> = (0..unit(at).volumes.len())
                    .map(|volume| Resource::Stored(StorageResource::Volume(at, volume)))
                    .collect();
                self.collection(&Resource::Stored(stored), "VolumeCollection", "Volume Collection", &members)
            }
            StorageResource::Unit(at) => self.render_unit(at, unit(at)),
            StorageResource::Drive(at, drive) => self.render_drive(stored, &unit(at).drives[drive]),
            StorageResource::Volume(at, volume) => self.render_volume(at, stored, &unit(at).volumes[volume]),
        }
    }

    fn render_unit(&self, at: usize, unit: &StorageUnit) -> Value {
        let link = self.path(&Resource::Stored(StorageResource::Unit(at)));
        let drives: Vec<Value> = (0..unit.drives.len())
            .map(|drive| self.link(&Resource::Stored(StorageResource::Drive(at, drive))))
            .collect();
        json!({
            "@odata.id": link,
            "@odata.type": "#Storage.v1_10_0.Storage",
            "Id": unit.id,
            "Name": unit.controller,
            "Status": { "State": "Enabled", "Health": "OK" },
            "StorageControllers": [{
                "@odata.id": format!("{link}#/StorageControllers/0"),
                "MemberId": "0",
                "Name": unit.controller,
                "Model": unit.controller,
                "SupportedRAIDTypes": unit.raid_types,
            }],
            "Drives": drives,
            "Volumes": self.link(&Resource::Stored(StorageResource::Volumes(at))),
        })
    }

    fn render_drive(&self, stored: StorageResource, drive: &PhysicalDrive) -> Value {
        json!({
            "@odata.id": self.path(&Resource::Stored(stored)),
            "@odata.type": "#Drive.v1_12_0.Drive",
            "Id": drive.id,
            "Name": drive.id,
            "Manufacturer": drive.vendor,
            "Model": drive.model,
            "SerialNumber": drive.serial,
            "CapacityBytes": drive.bytes,
            "MediaType": drive.media,
            "Protocol": drive.protocol,
            "Identifiers": identifiers(drive.names),
            "Status": { "State": "Enabled", "Health": "OK" },
        })
    }

    fn render_volume(&self, at: usize, stored: StorageResource, volume: &RaidVolume) -> Value {
        let drives: Vec<Value> = volume
            .drives
            .iter()
            .map(|drive| self.link(&Resource::Stored(StorageResource::Drive(at, *drive))))
            .collect();
        json!({
            "@odata.id": self.path(&Resource::Stored(stored)),
            "@odata.type": "#Volume.v1_6_0.Volume",
            "Id": volume.id,
            "Name": volume.name,
            "RAIDType": volume.raid,
            "CapacityBytes": volume.bytes,
            "Identifiers": identifiers(volume.names),
            "Links": { "Drives": drives },
            "Status": { "State": "Enabled", "Health": "OK" },
        })
    }
}

fn identifiers(names: &[(&str, &str)]) -> Vec<Value> {
    names.iter().map(|(format, name)| json!({ "DurableNameFormat": format, "DurableName": name })).collect()
}
