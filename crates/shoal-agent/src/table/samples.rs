//! Disks with partition tables, for tests.

use super::*;

/// A disk of `size` bytes with partitions of a type, a start and a length each.
pub fn gpt_image(size: u64, sector: usize, partitions: &[([u8; 16], u64, u64)]) -> Vec<u8> {
    let new = |(slot, (type_guid, start, length)): (usize, &([u8; 16], u64, u64))| NewPartition {
        type_guid: *type_guid,
        guid: [slot as u8 + 1; 16],
        name: "",
        range: *start..start + length,
    };
    let partitions: Vec<NewPartition<'_>> = partitions.iter().enumerate().map(new).collect();
    let (head, tail) = make(size, sector as u32, [0; 16], &partitions);
    let mut disk = vec![0; size as usize];
    let length = disk.len().min(head.len());
    disk[..length].copy_from_slice(&head[..length]);
    let at = disk.len() - tail.len();
    disk[at..].copy_from_slice(&tail);
    disk
}

pub fn gpt_disk(size: u64, sector: usize, partitions: &[(u64, u64)]) -> Vec<u8> {
    let linux: Vec<_> = partitions.iter().map(|(start, length)| (LINUX, *start, *length)).collect();
    gpt_image(size, sector, &linux)
}

/// A disk with boot code and primary partitions.
pub fn mbr_disk(size: usize, partitions: &[(u8, u64, u64)]) -> Vec<u8> {
    let mut disk = vec![0; size];
    disk[..3].copy_from_slice(&[0xeb, 0x63, 0x90]);
    for (slot, (id, start, length)) in partitions.iter().enumerate() {
        let entry = &mut disk[446 + slot * 16..][..16];
        entry[4] = *id;
        entry[8..12].copy_from_slice(&((start / 512) as u32).to_le_bytes());
        entry[12..16].copy_from_slice(&((length / 512) as u32).to_le_bytes());
    }
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}
