//! The disk's new partitions: their nodes, their file systems, and whether those are sound.

use std::ops::Range;
use std::time::Duration;

use shoal_recipe::{Layout, LayoutPartition, PartitionFormat};

use super::uuid_text;
use crate::block::BlockDevice;
use crate::machine::Machine;

/// Nodes appear when the kernel has read the table, which may be a moment later.
const NODE_TRIES: u32 = 50;
const NODE_PAUSE: Duration = Duration::from_millis(200);
const SWAP_PAGE: usize = 4096;

/// A partition and its file system.
pub struct Volume {
    pub partition: LayoutPartition,
    /// Below `/dev`.
    pub node: String,
    /// In the order of its text; of a FAT file system only the beginning is used.
    uuid: [u8; 16],
    range: Range<u64>,
}

pub struct Volumes(Vec<Volume>);

impl Volumes {
    /// The partitions of a disk, as the kernel will name them.
    pub fn new(machine: &Machine, disk: &str, layout: &Layout, ranges: &[Range<u64>]) -> Volumes {
        let volume = |(index, (partition, range)): (usize, (&LayoutPartition, &Range<u64>))| {
            let (partition, range) = (partition.clone(), range.clone());
            Volume { partition, node: node(disk, index + 1), uuid: machine.random_uuid(), range }
        };
        Volumes(layout.partitions().iter().zip(ranges).enumerate().map(volume).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Volume> {
        self.0.iter()
    }

    /// What is mounted, each after what it is mounted in.
    pub fn mounted<'v>(&'v self) -> Vec<(&'v str, &'v Volume)> {
        let point = |volume: &'v Volume| Some((volume.partition.mountpoint.as_deref()?, volume));
        let mut mounted: Vec<(&str, &Volume)> = self.iter().filter_map(point).collect();
        mounted.sort_by_key(|(point, _)| *point);
        mounted
    }

    /// The EFI system partition and its mountpoint.
    pub fn esp(&self) -> Result<(&str, &Volume), String> {
        let found = self.mounted().into_iter().find(|(_, volume)| volume.partition.is_esp());
        found.ok_or_else(|| "the layout has no EFI system partition".to_owned())
    }

    /// Makes the kernel read the disk's table, and waits for the partitions.
    pub fn appear(&self, machine: &Machine, disk: &str) -> Result<(), String> {
        machine.run("blockdev", &["--rereadpt", &format!("/dev/{disk}")])?;
        for volume in self.iter() {
            let is_there = || machine.path("/dev").join(&volume.node).exists();
            let mut tries = 0;
            while !is_there() {
                tries += 1;
                if tries > NODE_TRIES {
                    return Err(format!("the kernel does not show partition {}", volume.node));
                }
                machine.sleep(NODE_PAUSE);
            }
        }
        Ok(())
    }

    /// `sector` is the disk's.
    pub fn format<D: BlockDevice + ?Sized>(
        &self,
        machine: &Machine,
        disk: &D,
        sector: u32,
    ) -> Result<(), String> {
        self.iter().try_for_each(|volume| volume.format(machine, disk, sector))
    }

    /// Checks file systems that are not mounted.
    pub fn check(&self, machine: &Machine) -> Result<(), String> {
        for volume in self.iter() {
            let node = format!("/dev/{}", volume.node);
            let (program, option) = match volume.partition.format {
                PartitionFormat::Ext4 => ("e2fsck", "-fn"),
                PartitionFormat::Xfs => ("xfs_repair", "-n"),
                PartitionFormat::Vfat => ("fsck.vfat", "-n"),
                PartitionFormat::Swap | PartitionFormat::None => continue,
            };
            machine.run(program, &[option, &node])?;
        }
        Ok(())
    }
}

impl Volume {
    /// As `blkid` shows it and an fstab names it; nothing where there is no file system.
    pub fn uuid(&self) -> Option<String> {
        match self.partition.format {
            PartitionFormat::None => None,
            PartitionFormat::Vfat => Some(fat_uuid(self.uuid)),
            _ => Some(uuid_text(self.uuid)),
        }
    }

    fn format<D: BlockDevice + ?Sized>(
        &self,
        machine: &Machine,
        disk: &D,
        sector: u32,
    ) -> Result<(), String> {
        let node = format!("/dev/{}", self.node);
        let (uuid, label) = (uuid_text(self.uuid), self.partition.label.as_deref());
        let (sector, volume_id) = (sector.to_string(), fat_uuid(self.uuid).replace('-', ""));
        let meta_data = format!("uuid={uuid}");
        let (program, mut args, label_option) = match self.partition.format {
            PartitionFormat::Ext4 => ("mkfs.ext4", vec!["-q", "-F", "-U", &uuid], "-L"),
            PartitionFormat::Xfs => ("mkfs.xfs", vec!["-q", "-f", "-m", &meta_data], "-L"),
            PartitionFormat::Vfat => ("mkfs.vfat", vec!["-S", &sector, "-i", &volume_id], "-n"),
            PartitionFormat::Swap => {
                let page = swap_header(self.range.end - self.range.start, self.uuid, label);
                let written = disk.write_at(self.range.start, &page).and_then(|()| disk.sync());
                return written.map_err(|error| format!("{node} cannot be written: {error}"));
            }
            PartitionFormat::None => return Ok(()),
        };
        if let Some(label) = label {
            args.extend([label_option, label]);
        }
        args.push(&node);
        machine.run(program, &args).map(drop)
    }
}

/// The kernel puts a `p` behind names that end in a digit.
fn node(disk: &str, number: usize) -> String {
    let separator = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{separator}{number}")
}

fn fat_uuid(uuid: [u8; 16]) -> String {
    let digits = shoal_base::hex(&uuid[..4]).to_ascii_uppercase();
    format!("{}-{}", &digits[..4], &digits[4..])
}

/// The first page of swap space of `size` bytes, as mkswap writes it.
fn swap_header(size: u64, uuid: [u8; 16], label: Option<&str>) -> Vec<u8> {
    let mut page = vec![0; SWAP_PAGE];
    let last_page = (size / SWAP_PAGE as u64 - 1).min(u32::MAX.into()) as u32;
    page[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
    page[1028..1032].copy_from_slice(&last_page.to_le_bytes());
    page[1036..1052].copy_from_slice(&uuid);
    for (byte, letter) in page[1052..1067].iter_mut().zip(label.unwrap_or_default().bytes()) {
        *byte = letter;
    }
    page[SWAP_PAGE - 10..].copy_from_slice(b"SWAPSPACE2");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_as_the_kernel_names_them() {
        assert_eq!(node("sda", 1), "sda1");
        assert_eq!(node("nvme0n1", 12), "nvme0n1p12");
        assert_eq!(node("mmcblk0", 2), "mmcblk0p2");
    }

    /// The bytes of `mkswap -U 01234567-89ab-cdef-0123-456789abcdef -L swap` on 1 MiB.
    #[test]
    fn swap_space_has_the_header_of_mkswap() {
        let uuid = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes();
        let page = swap_header(1 << 20, uuid, Some("swap"));
        let found = [&page[1024..1067], &page[4086..]].concat();
        let expected = [
            &[1, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0][..],
            &uuid,
            b"swap\0\0\0\0\0\0\0\0\0\0\0",
            b"SWAPSPACE2",
        ];
        assert_eq!(found, expected.concat());
        assert!(page[..1024].iter().all(|byte| *byte == 0));
    }
}
