//! Disks with partition tables, for tests.

use super::*;

/// A disk of `size` bytes with partitions of a type, a start and a length each.
pub fn gpt_image(size: u64, sector: usize, partitions: &[([u8; 16], u64, u64)]) -> Vec<u8> {
    let mut disk = vec![0; size as usize];
    let (sectors, unit) = (size / sector as u64, sector as u64);
    disk[446 + 4] = MBR_PROTECTIVE;
    disk[446 + 8] = 1;
    disk[446 + 12..446 + 16].copy_from_slice(&((sectors - 1) as u32).to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let header = &mut disk[sector..sector + 92];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..12].copy_from_slice(&0x1_0000_u32.to_le_bytes());
    header[12..16].copy_from_slice(&92_u32.to_le_bytes());
    header[24..32].copy_from_slice(&1_u64.to_le_bytes());
    header[72..80].copy_from_slice(&2_u64.to_le_bytes());
    header[80..84].copy_from_slice(&128_u32.to_le_bytes());
    header[84..88].copy_from_slice(&128_u32.to_le_bytes());
    for (slot, (type_guid, start, length)) in partitions.iter().enumerate() {
        let entry = &mut disk[sector * 2 + slot * 128..][..128];
        entry[..16].copy_from_slice(type_guid);
        entry[16..32].fill(slot as u8 + 1);
        entry[32..40].copy_from_slice(&(start / unit).to_le_bytes());
        entry[40..48].copy_from_slice(&((start + length) / unit - 1).to_le_bytes());
    }
    let gpt = Gpt {
        sector: sector as u32,
        backup_lba: 0,
        partitions: Vec::new(),
        header_size: 92,
        entries_lba: 2,
        entry_count: 128,
        entry_size: 128,
    };
    let fitted = fit(&mut disk, &Table::Gpt(gpt), size, None, false).unwrap();
    let at = size as usize - fitted.tail.len();
    disk[at..].copy_from_slice(&fitted.tail);
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
