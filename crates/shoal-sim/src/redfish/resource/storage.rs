//! The paths of what is below the System's `Storage`.
//!
//! Its content is in [`storage`](super::super::storage). Invariant: an index in a [`StorageResource`] is one of
//! the persona's data.

use super::super::super::bmc::Bmc;
use super::super::super::personas::StorageUnit;

const STORAGE: &str = "Storage";

/// A resource below the System's `Storage`, by indices of the persona's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageResource {
    Units,
    Unit(usize),
    Drive(usize, usize),
    Volumes(usize),
    Volume(usize, usize),
}

impl Bmc {
    pub fn units(&self) -> &'static [StorageUnit] {
        self.config.persona.storage
    }

    pub fn has_storage(&self) -> bool {
        !self.units().is_empty()
    }

    /// The resource at a path below the System.
    pub fn resource_of_storage(&self, parts: &[&str]) -> Option<StorageResource> {
        let [STORAGE, rest @ ..] = parts else { return None };
        let [id, rest @ ..] = rest else { return self.has_storage().then_some(StorageResource::Units) };
        let at = self.units().iter().position(|unit| unit.id == *id)?;
        let unit = &self.units()[at];
        match rest {
            [] => Some(StorageResource::Unit(at)),
            ["Volumes"] => Some(StorageResource::Volumes(at)),
            ["Volumes", id] => {
                Some(StorageResource::Volume(at, unit.volumes.iter().position(|volume| volume.id == *id)?))
            }
            ["Drives", id] => {
                Some(StorageResource::Drive(at, unit.drives.iter().position(|drive| drive.id == *id)?))
            }
            _ => None,
        }
    }

    /// The path of a resource below the System.
    pub fn storage_path(&self, stored: StorageResource) -> String {
        let unit = |at: usize| self.units().get(at).map_or("", |unit| unit.id);
        match stored {
            StorageResource::Units => format!("/{STORAGE}"),
            StorageResource::Unit(at) => format!("/{STORAGE}/{}", unit(at)),
            StorageResource::Volumes(at) => format!("/{STORAGE}/{}/Volumes", unit(at)),
            StorageResource::Drive(at, drive) => {
                let id =
                    self.units().get(at).and_then(|unit| unit.drives.get(drive)).map_or("", |drive| drive.id);
                format!("/{STORAGE}/{}/Drives/{id}", unit(at))
            }
            StorageResource::Volume(at, volume) => {
                let id = self
                    .units()
                    .get(at)
                    .and_then(|unit| unit.volumes.get(volume))
                    .map_or("", |volume| volume.id);
                format!("/{STORAGE}/{}/Volumes/{id}", unit(at))
            }
        }
    }
}
