//! What a disk holds already: partition tables, file systems, members of volume managers and RAIDs.
//!
//! Recognized by magic numbers alone; pure over positioned reads. Invariant: a read beyond the end, or one that
//! fails, is reported as such and never taken for an empty disk.

use std::io;

use shoal_image::iso::ReadAt;

use crate::table::{self, Table};

/// A magic number and where it stands from the start of a volume.
struct Magic {
    name: &'static str,
    offset: u64,
    bytes: &'static [u8],
}

const fn magic(name: &'static str, offset: u64, bytes: &'static [u8]) -> Magic {
    Magic { name, offset, bytes }
}

const LVM: &str = "LVM physical volume";
const MD: &str = "Linux RAID (md) member";
const ZFS: &str = "ZFS pool member";
const MD_MAGIC: &[u8] = &0xa92b_4efc_u32.to_le_bytes();

const MAGICS: &[Magic] = &[
    magic("VMFS volume", 0x10_0000, &[0x0d, 0xd0, 0x01, 0xc0]),
    magic("VMFS datastore", 0x20_0000, &[0x5e, 0xf1, 0xab, 0x2f]),
    magic(LVM, 0, b"LABELONE"),
    magic(LVM, 512, b"LABELONE"),
    magic(LVM, 1024, b"LABELONE"),
    magic(LVM, 1536, b"LABELONE"),
    magic(MD, 0, MD_MAGIC),
    magic(MD, 4096, MD_MAGIC),
    magic("LUKS encrypted volume", 0, b"LUKS\xba\xbe"),
    magic("BitLocker volume", 3, b"-FVE-FS-"),
    magic("bcache device", 4120, &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65]),
    magic("Ceph BlueStore device", 0, b"bluestore block device"),
    magic("Oracle ASM disk", 32, b"ORCLDISK"),
    magic("VDO volume", 0, b"dmvdo001"),
    magic("Windows dynamic disk (LDM)", 3072, b"PRIVHEAD"),
    magic("ext2/3/4 file system", 1080, &[0x53, 0xef]),
    magic("XFS file system", 0, b"XFSB"),
    magic("Btrfs file system", 65_600, b"_BHRfS_M"),
    magic("F2FS file system", 1024, &0xf2f5_2010_u32.to_le_bytes()),
    magic("NTFS file system", 3, b"NTFS    "),
    magic("exFAT file system", 3, b"EXFAT   "),
    magic("ReFS file system", 3, b"ReFS\0\0\0\0"),
    magic("FAT file system", 54, b"FAT12   "),
    magic("FAT file system", 54, b"FAT16   "),
    magic("FAT file system", 82, b"FAT32   "),
    magic("APFS container", 32, b"NXSB"),
    magic("ISO 9660 file system", 32_769, b"CD001"),
    magic("swap space", 4086, b"SWAPSPACE2"),
    magic("swap space", 65_526, b"SWAPSPACE2"),
];

const ZFS_LABEL: u64 = 256 * 1024;
const ZFS_UBERBLOCKS: u64 = 128 * 1024;
const UBERBLOCK: usize = 1024;
const UBERBLOCK_MAGIC: u64 = 0x00ba_b10c;

/// What is on a disk, for an operator; nothing where no data was recognized.
pub fn find_foreign<R: ReadAt + ?Sized>(disk: &R, sector: u32) -> io::Result<Option<String>> {
    let mut found: Vec<String> = signatures(disk, 0, disk.size())?.into_iter().map(str::to_owned).collect();
    let head_len = disk.size().min(table::HEAD_BYTES as u64) as usize;
    let mut head = vec![0; head_len];
    disk.read_at(0, &mut head)?;
    // A FAT boot sector ends as an MBR does, but the bytes of its "entries" are code.
    let is_file_system = found.iter().any(|name| name.contains("file system"));
    match table::read(&head) {
        Ok(Table::None) => {}
        Ok(Table::Mbr(_)) if is_file_system => {}
        Ok(table) => found.push(describe_table(disk, &table)?),
        Err(error) => found.push(format!("damaged partition table ({error})")),
    }
    if found.is_empty() && has_backup_gpt(disk, sector)? {
        found.push("backup GPT partition table".to_owned());
    }
    Ok((!found.is_empty()).then(|| found.join(", ")))
}

fn describe_table<R: ReadAt + ?Sized>(disk: &R, table: &Table) -> io::Result<String> {
    let mut contents: Vec<&'static str> = Vec::new();
    for partition in table.partitions() {
        let end = partition.end().min(disk.size());
        if partition.start < end {
            contents.extend(signatures(disk, partition.start, end - partition.start)?);
        }
    }
    contents.sort_unstable();
    contents.dedup();
    let kind = table.name();
    let count = table.partitions().len();
    let inside = if contents.is_empty() { String::new() } else { format!(": {}", contents.join(", ")) };
    Ok(format!("{kind} partition table with {count} partition{}{inside}", if count == 1 { "" } else { "s" }))
}

fn has_backup_gpt<R: ReadAt + ?Sized>(disk: &R, sector: u32) -> io::Result<bool> {
    let mut magic = [0; 8];
    let Some(at) = disk.size().checked_sub(u64::from(sector)) else { return Ok(false) };
    disk.read_at(at, &mut magic)?;
    Ok(&magic == b"EFI PART")
}

fn signatures<R: ReadAt + ?Sized>(disk: &R, start: u64, size: u64) -> io::Result<Vec<&'static str>> {
    let volume = Part { disk, start, size };
    let mut found = Vec::new();
    for magic in MAGICS {
        if volume.has(magic.offset, magic.bytes)? && !found.contains(&magic.name) {
            found.push(magic.name);
        }
    }
    if volume.has_zfs_label()? {
        found.push(ZFS);
    }
    for (name, at, bytes) in at_the_end(size) {
        if volume.has(at, bytes)? && !found.contains(&name) {
            found.push(name);
        }
    }
    Ok(found)
}

/// Magic numbers whose places follow from the volume's size.
fn at_the_end(size: u64) -> Vec<(&'static str, u64, &'static [u8])> {
    let md_0_90 = (size & !0xffff).checked_sub(0x1_0000);
    let md_1_0 = (size / 512).checked_sub(16).map(|sector| (sector & !7) * 512);
    let places = [
        (MD, md_0_90, MD_MAGIC),
        (MD, md_1_0, MD_MAGIC),
        ("DDF RAID member", size.checked_sub(512), &[0xde, 0x11, 0xde, 0x11]),
        ("Intel RAID member", size.checked_sub(1024), b"Intel Raid ISM Cfg Sig."),
    ];
    places.into_iter().filter_map(|(name, at, bytes)| Some((name, at?, bytes))).collect()
}

/// A volume: a whole disk or one of its partitions.
struct Part<'a, R: ?Sized> {
    disk: &'a R,
    start: u64,
    size: u64,
}

impl<R: ReadAt + ?Sized> Part<'_, R> {
    fn has(&self, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        if offset + bytes.len() as u64 > self.size {
            return Ok(false);
        }
        let mut found = vec![0; bytes.len()];
        self.disk.read_at(self.start + offset, &mut found)?;
        Ok(found == bytes)
    }

    /// Four labels, two at the start; an uberblock stands in one of 128 places of each.
    fn has_zfs_label(&self) -> io::Result<bool> {
        for label in [0, ZFS_LABEL] {
            let (at, length) = (label + ZFS_UBERBLOCKS, ZFS_LABEL - ZFS_UBERBLOCKS);
            if at + length > self.size {
                return Ok(false);
            }
            let mut ring = vec![0; length as usize];
            self.disk.read_at(self.start + at, &mut ring)?;
            let is_uberblock = |block: &[u8]| {
                block.starts_with(&UBERBLOCK_MAGIC.to_le_bytes())
                    || block.starts_with(&UBERBLOCK_MAGIC.to_be_bytes())
            };
            if ring.chunks(UBERBLOCK).any(is_uberblock) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::samples;

    const SIZE: usize = 8 << 20;

    fn found(disk: &[u8]) -> Option<String> {
        find_foreign(disk, 512).unwrap()
    }

    #[test]
    fn an_empty_disk_and_random_bytes_hold_nothing() {
        assert_eq!(found(&vec![0; SIZE]), None);
        assert_eq!(found(&vec![0xa5; SIZE]), None);
        assert_eq!(found(&[0; 512]), None);
    }

    #[test]
    fn every_signature_is_found_on_the_whole_disk_and_in_a_partition() {
        let ends = at_the_end(SIZE as u64).into_iter();
        let zfs = [(ZFS, 128 * 1024 + 5 * 1024, &UBERBLOCK_MAGIC.to_le_bytes()[..])]
            .map(|(name, at, bytes)| (name, at, bytes.to_vec()));
        let fixed = MAGICS.iter().map(|magic| (magic.name, magic.offset, magic.bytes.to_vec()));
        for (name, at, bytes) in
            fixed.chain(ends.map(|(name, at, bytes)| (name, at, bytes.to_vec()))).chain(zfs)
        {
            let mut disk = vec![0; SIZE];
            disk[at as usize..][..bytes.len()].copy_from_slice(&bytes);
            assert_eq!(found(&disk).as_deref(), Some(name));
            let mut whole = samples::gpt_disk(SIZE as u64 * 2, 512, &[(SIZE as u64 / 2, SIZE as u64)]);
            let from = SIZE / 2 + at as usize;
            whole[from..from + bytes.len()].copy_from_slice(&bytes);
            let found = found(&whole).unwrap();
            assert_eq!(found, format!("GPT partition table with 1 partition: {name}"));
        }
    }

    #[test]
    fn tables_are_found_at_both_ends() {
        let disk = samples::gpt_disk(SIZE as u64, 512, &[(1 << 20, 1 << 20), (2 << 20, 1 << 20)]);
        assert_eq!(found(&disk).unwrap(), "GPT partition table with 2 partitions");
        let mut backup_only = disk;
        backup_only[..1 << 20].fill(0);
        assert_eq!(found(&backup_only).unwrap(), "backup GPT partition table");
        let disk = samples::gpt_disk(SIZE as u64, 4096, &[(1 << 20, 1 << 20)]);
        assert_eq!(found(&disk).unwrap(), "GPT partition table with 1 partition");
        let disk = samples::mbr_disk(SIZE, &[(0x83, 1 << 20, 1 << 20)]);
        assert_eq!(found(&disk).unwrap(), "MBR partition table with 1 partition");
    }
}
