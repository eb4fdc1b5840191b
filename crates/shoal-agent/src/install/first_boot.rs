//! What the installed system reads when it starts for the first time, from the medium to the disk.

use std::io::{self, Read};

use shoal_recipe::{FIRST_BOOT_FILES, FailedStep, Target, TaskRecipe, UNATTEND_FILE};

use crate::block::DeviceFile;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::medium::Medium;
use crate::seed::{SEED_BYTES, default_meta_data, write_seed};
use crate::table::{Fitted, SeedPartition, Table};
use crate::windows::{NtfsVolume, write_unattend};
use crate::writer::Writer;

const FILE_BYTES_MAX: u64 = 2 << 20;
const NTFS: &[u8] = b"NTFS    ";

/// The files of the medium.
pub enum FirstBoot {
    None,
    NoCloud(Vec<(&'static str, Vec<u8>)>),
    Unattend(Vec<u8>),
}

impl FirstBoot {
    pub fn read(medium: &Medium, recipe: &TaskRecipe) -> Result<FirstBoot, Failure> {
        let read = |name: &str| {
            let failed = Failure::of(FailedStep::Seed, format!("{name} on the task medium cannot be read"));
            medium.read(name, FILE_BYTES_MAX).map_err(failed)
        };
        if recipe.target == Target::Windows {
            return Ok(read(UNATTEND_FILE)?.map_or(FirstBoot::None, FirstBoot::Unattend));
        }
        let mut files = Vec::new();
        for name in FIRST_BOOT_FILES {
            files.extend(read(name)?.map(|content| (name, content)));
        }
        if files.is_empty() {
            return Ok(FirstBoot::None);
        }
        // cloud-init ignores a volume without either of them.
        let defaults =
            [("user-data", "#cloud-config\n".to_owned()), ("meta-data", default_meta_data(&recipe.job.id))];
        for (name, content) in defaults {
            if !files.iter().any(|(file, _)| *file == name) {
                files.push((name, content.into_bytes()));
            }
        }
        Ok(FirstBoot::NoCloud(files))
    }

    /// The partition that it needs.
    pub fn partition(&self, machine: &Machine) -> Option<SeedPartition> {
        match self {
            FirstBoot::NoCloud(_) => Some(SeedPartition { size: SEED_BYTES, guid: machine.random_uuid() }),
            _ => None,
        }
    }

    pub fn write(
        &self,
        machine: &Machine,
        writer: &mut Writer<'_, DeviceFile>,
        disk: &Disk,
        table: &Table,
        fitted: &Fitted,
    ) -> Result<(), Failure> {
        match (self, &fitted.seed) {
            (FirstBoot::NoCloud(files), Some(range)) => {
                let files: Vec<(&str, &[u8])> =
                    files.iter().map(|(name, content)| (*name, &content[..])).collect();
                write_seed(writer.window(range.clone()), disk.sector, &files)
                    .map_err(Failure::of(FailedStep::Seed, "the first-boot data cannot be written"))
            }
            (FirstBoot::Unattend(unattend), _) => {
                let volumes = ntfs_volumes(writer, table)
                    .map_err(Failure::of(FailedStep::Seed, "the image's partitions cannot be read"))?;
                let device = machine.path("/dev").join(&disk.name);
                write_unattend(machine, &device.to_string_lossy(), &volumes, unattend)
                    .map_err(|error| Failure::new(FailedStep::Seed, error))
            }
            _ => Ok(()),
        }
    }
}

/// The NTFS volumes that lie wholly between what the writer withholds.
fn ntfs_volumes(writer: &mut Writer<'_, DeviceFile>, table: &Table) -> io::Result<Vec<NtfsVolume>> {
    let (mut volumes, end) = (Vec::new(), writer.tail_start());
    for partition in table.partitions().iter().filter(|partition| partition.end() <= end) {
        let mut start = [0; 11];
        let mut window = writer.window(partition.start..partition.end());
        if window.read_exact(&mut start).is_ok() && start.ends_with(NTFS) {
            volumes.push(NtfsVolume { start: partition.start, size: partition.size });
        }
    }
    Ok(volumes)
}
