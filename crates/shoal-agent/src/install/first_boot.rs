//! What the installed system reads when it starts for the first time, from the medium to the disk.

use std::io::{self, Read};

use shoal_recipe::{FIRST_BOOT_FILES, FailedStep, Target, TaskRecipe, UNATTEND_FILE};

use crate::block::BlockDevice;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::medium::Medium;
use crate::seed::{SEED_BYTES, default_meta_data, holds_seed, write_seed};
use crate::table::{Fitted, SeedPartition, Table};
use crate::windows::{NtfsVolume, check_unattend, write_unattend};
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

    /// Writes it to the disk and reads it back.
    pub fn write<D: BlockDevice + ?Sized>(
        &self,
        machine: &Machine,
        writer: &mut Writer<'_, D>,
        disk: &Disk,
        table: &Table,
        fitted: &Fitted,
    ) -> Result<(), Failure> {
        match (self, &fitted.seed) {
            (FirstBoot::NoCloud(files), Some(range)) => {
                let files: Vec<(&str, &[u8])> =
                    files.iter().map(|(name, content)| (*name, &content[..])).collect();
                write_seed(writer.window(range.clone()), disk.sector, &files)
                    .map_err(Failure::of(FailedStep::Seed, "the first-boot data cannot be written"))?;
                let is_there =
                    writer.settle().and_then(|()| holds_seed(writer.window(range.clone()), &files));
                match is_there {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(Failure::new(
                        FailedStep::Seed,
                        "the disk returned other first-boot data than was written",
                    )),
                    Err(error) => Err(Failure::new(
                        FailedStep::Seed,
                        format!("the first-boot data cannot be read back: {error}"),
                    )),
                }
            }
            (FirstBoot::Unattend(unattend), _) => {
                let volumes = ntfs_volumes(writer, table)
                    .map_err(Failure::of(FailedStep::Seed, "the image's partitions cannot be read"))?;
                let device = machine.path("/dev").join(&disk.name);
                let device = device.to_string_lossy();
                let volume = write_unattend(machine, &device, &volumes, unattend)
                    .map_err(|error| Failure::new(FailedStep::Seed, error))?;
                writer.settle().map_err(Failure::of(FailedStep::Seed, "flushing the disk failed"))?;
                check_unattend(machine, &device, &volume, unattend)
                    .map_err(|error| Failure::new(FailedStep::Seed, error))
            }
            _ => Ok(()),
        }
    }
}

/// The NTFS volumes that lie wholly between what the writer withholds.
fn ntfs_volumes<D: BlockDevice + ?Sized>(
    writer: &mut Writer<'_, D>,
    table: &Table,
) -> io::Result<Vec<NtfsVolume>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{self, ESP, LINUX, samples};
    use crate::testing::TestMachine;
    use crate::writer::tests::FakeDisk;

    const MIB: u64 = 1 << 20;

    /// Writes the data to a disk that returns another byte than was written, from `rots_at` on.
    fn written(rots_at: Option<u64>) -> (Result<(), Failure>, Vec<u8>) {
        let disk = FakeDisk::new(vec![0; 64 << 20]);
        let image = samples::gpt_image(16 * MIB, 512, &[(ESP, MIB, MIB), (LINUX, 2 * MIB, MIB)]);
        let mut writer = Writer::new(&disk).unwrap();
        for block in image.chunks(crate::pipeline::BLOCK_BYTES) {
            writer.write(block).unwrap();
        }
        let table = table::read(writer.head()).unwrap();
        let seed = SeedPartition { size: SEED_BYTES, guid: [7; 16] };
        let fitted = table::fit(writer.head(), &table, 64 << 20, Some(seed), true).unwrap();
        disk.rot(rots_at);
        let files = FirstBoot::NoCloud(vec![("user-data", vec![b'u'; 5000]), ("meta-data", b"i".to_vec())]);
        let target = Disk { sector: 512, ..Disk::default() };
        let outcome = files.write(&TestMachine::new().machine(), &mut writer, &target, &table, &fitted);
        (outcome, disk.bytes())
    }

    #[test]
    fn first_boot_data_that_reads_back_otherwise_is_a_failure() {
        let (outcome, bytes) = written(None);
        assert_eq!(outcome, Ok(()));
        let at = bytes.windows(64).position(|part| part == [b'u'; 64]).unwrap() as u64;
        let failure = written(Some(at)).0.unwrap_err();
        assert!(failure.step == FailedStep::Seed && failure.message.contains("returned other"), "{failure}");
    }
}
