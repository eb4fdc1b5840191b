//! A FAT16 volume in the one partition of a disk, made of files that are placed exactly.
//!
//! After Microsoft's "FAT: General Overview of On-Disk Format" 1.03. Nothing is ever deleted or grown:
//! each file is one run of clusters, in the order in which the files were added. Invariant: sectors of
//! zeros are holes of the image.

use std::ops::Range;

use bytes::Bytes;

use crate::iso::{Patch, SparseImage};

const SECTOR: usize = 512;
const CLUSTER_SECTORS: u64 = 4;
const CLUSTER: u64 = CLUSTER_SECTORS * SECTOR as u64;
/// Where fdisk and its like put a first partition. Room for anybody's tables before it.
const PARTITION_SECTOR: u64 = 2048;
/// Partition of FAT16 with 32 MiB or more: that of Windows' sticks, and of ESXi's own boot banks
/// where they stand in an MBR.
const PARTITION_TYPE: u8 = 0x06;
/// With fewer clusters the volume has less than 32 MiB, and another type; with 4,084 it is FAT12.
const CLUSTERS_MIN: u64 = 16_640;
/// With more it is FAT32.
const CLUSTERS_MAX: u64 = 65_524;
const FATS: u64 = 2;
const FIRST_CLUSTER: u64 = 2;
const ROOT_ENTRIES: u64 = 512;
const ENTRY: usize = 32;
const ROOT_SECTORS: u64 = ROOT_ENTRIES * ENTRY as u64 / SECTOR as u64;
/// The boot sector alone.
const RESERVED_SECTORS: u64 = 1;
/// Room for every cluster that there may be, so that the places of files depend on no later one.
const FAT_SECTORS: u64 = ((CLUSTERS_MAX + FIRST_CLUSTER) * 2).div_ceil(SECTOR as u64);
const ROOT_SECTOR: u64 = PARTITION_SECTOR + RESERVED_SECTORS + FATS * FAT_SECTORS;
const DATA_SECTOR: u64 = ROOT_SECTOR + ROOT_SECTORS;
const CLUSTER_LAST: u16 = 0xFFFF;
const MEDIA: u8 = 0xF8;
const HEADS: u64 = 255;
const TRACK_SECTORS: u64 = 63;
/// 1 January 1980, the beginning of FAT's time: an image depends on no clock.
const DATE: u16 = 1 << 5 | 1;
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
/// INT 18h, then a halt: a BIOS that tries the stick first goes on to the next device.
const NO_BOOT: [u8; 5] = [0xCD, 0x18, 0xF4, 0xEB, 0xFD];

/// A volume on the way to being written.
pub struct FatVolume {
    label: [u8; 11],
    /// From cluster 0 on.
    fat: Vec<u16>,
    root: Vec<u8>,
    files: Vec<Patch>,
}

impl FatVolume {
    pub fn new(label: &str) -> FatVolume {
        let label = short_name(label, 11, "");
        let fat = vec![0xFF00 | u16::from(MEDIA), CLUSTER_LAST];
        FatVolume { label, fat, root: entry(label, ATTRIBUTE_LABEL, 0, 0), files: Vec::new() }
    }

    /// Puts a file at least `gap` bytes behind everything that is there, and gives its place in the
    /// image. `name` is an 8.3 name in capitals.
    pub fn add(&mut self, name: &str, content: &[u8], gap: u64) -> Range<u64> {
        let first = self.fat.len() as u64 + gap.div_ceil(CLUSTER);
        let clusters = (content.len() as u64).div_ceil(CLUSTER);
        self.fat.resize(first as usize, 0);
        let links = (first + 1..first + clusters).map(|next| u16::try_from(next).expect(FITS));
        self.fat.extend(links.chain((clusters > 0).then_some(CLUSTER_LAST)));
        let (base, extension) = name.split_once('.').unwrap_or((name, ""));
        let start_cluster = u16::try_from(first).expect(FITS) * u16::from(clusters > 0);
        let size = u32::try_from(content.len()).expect(FITS);
        let name = short_name(base, 8, extension);
        self.root.extend(entry(name, ATTRIBUTE_ARCHIVE, start_cluster, size));
        let start = DATA_SECTOR * SECTOR as u64 + (first - FIRST_CLUSTER) * CLUSTER;
        if clusters > 0 {
            self.files.push(Patch { offset: start, bytes: Bytes::copy_from_slice(content) });
        }
        start..start + content.len() as u64
    }

    /// The disk with the volume, which ends at least `gap` bytes behind its last file.
    pub fn write(self, gap: u64) -> SparseImage {
        let used = self.fat.len() as u64 - FIRST_CLUSTER + gap.div_ceil(CLUSTER);
        let clusters = used.max(CLUSTERS_MIN);
        assert!(clusters <= CLUSTERS_MAX, "{FITS}");
        let end = DATA_SECTOR + clusters * CLUSTER_SECTORS;
        let sectors = u32::try_from(end - PARTITION_SECTOR).expect(FITS);
        let serial = serial_of(&self.root, &self.files);
        let fat: Vec<u8> = self.fat.iter().flat_map(|link| link.to_le_bytes()).collect();
        let mut near = vec![0; (DATA_SECTOR as usize) * SECTOR];
        put(&mut near, 0, &partition_table(sectors, serial));
        put(&mut near, PARTITION_SECTOR, &boot_sector(self.label, sectors, serial));
        for number in 0..FATS {
            put(&mut near, PARTITION_SECTOR + RESERVED_SECTORS + number * FAT_SECTORS, &fat);
        }
        put(&mut near, ROOT_SECTOR, &self.root);
        let pieces = pieces(&near).chain(self.files).collect();
        SparseImage { size: end * SECTOR as u64, pieces }
    }
}

const FITS: &str = "files of limited size fit into the volume";

fn put(disk: &mut [u8], sector: u64, bytes: &[u8]) {
    let start = sector as usize * SECTOR;
    disk[start..start + bytes.len()].copy_from_slice(bytes);
}

/// The sectors that are not all zeros.
fn pieces(disk: &[u8]) -> impl Iterator<Item = Patch> {
    let sectors = disk.chunks(SECTOR).enumerate().filter(|(_, sector)| sector.iter().any(|byte| *byte != 0));
    let patch = |(number, sector): (usize, &[u8])| {
        let offset = (number * SECTOR) as u64;
        Patch { offset, bytes: Bytes::copy_from_slice(sector) }
    };
    sectors.map(patch)
}

/// Padded with blanks, as directories have it.
fn short_name(base: &str, base_len: usize, extension: &str) -> [u8; 11] {
    let mut name = [b' '; 11];
    name[..base.len().min(base_len)].copy_from_slice(&base.as_bytes()[..base.len().min(base_len)]);
    for (at, byte) in name[base_len..].iter_mut().zip(extension.bytes()) {
        *at = byte;
    }
    name
}

fn entry(name: [u8; 11], attributes: u8, cluster: u16, size: u32) -> Vec<u8> {
    let mut entry = vec![0; ENTRY];
    entry[..11].copy_from_slice(&name);
    entry[11] = attributes;
    // Created, last read and last written.
    for at in [16, 18, 24] {
        entry[at..at + 2].copy_from_slice(&DATE.to_le_bytes());
    }
    entry[26..28].copy_from_slice(&cluster.to_le_bytes());
    entry[28..].copy_from_slice(&size.to_le_bytes());
    entry
}

fn partition_table(sectors: u32, serial: u32) -> [u8; SECTOR] {
    let first = PARTITION_SECTOR as u32;
    let mut table = [0; SECTOR];
    table[..NO_BOOT.len()].copy_from_slice(&NO_BOOT);
    table[440..444].copy_from_slice(&serial.to_le_bytes());
    table[447..450].copy_from_slice(&by_cylinder(u64::from(first)));
    table[450] = PARTITION_TYPE;
    table[451..454].copy_from_slice(&by_cylinder(u64::from(first + sectors - 1)));
    table[454..458].copy_from_slice(&first.to_le_bytes());
    table[458..462].copy_from_slice(&sectors.to_le_bytes());
    table[510..].copy_from_slice(&[0x55, 0xAA]);
    table
}

/// Cylinder, head and sector of a sector's number, as a partition table has them.
fn by_cylinder(sector: u64) -> [u8; 3] {
    let cylinder = sector / (HEADS * TRACK_SECTORS);
    let (head, within) = (sector / TRACK_SECTORS % HEADS, sector % TRACK_SECTORS + 1);
    [head as u8, within as u8 | (cylinder >> 8 << 6) as u8, cylinder as u8]
}

fn boot_sector(label: [u8; 11], sectors: u32, serial: u32) -> [u8; SECTOR] {
    let mut boot = [0; SECTOR];
    let mut put = |at: usize, bytes: &[u8]| boot[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0xEB, 0x3C, 0x90]);
    // The name that most drivers know (Microsoft's paper recommends it).
    put(3, b"MSWIN4.1");
    put(11, &(SECTOR as u16).to_le_bytes());
    put(13, &[CLUSTER_SECTORS as u8]);
    put(14, &(RESERVED_SECTORS as u16).to_le_bytes());
    put(16, &[FATS as u8]);
    put(17, &(ROOT_ENTRIES as u16).to_le_bytes());
    // 19: the number of sectors, if it had 16 bits.
    put(21, &[MEDIA]);
    put(22, &(FAT_SECTORS as u16).to_le_bytes());
    put(24, &(TRACK_SECTORS as u16).to_le_bytes());
    put(26, &(HEADS as u16).to_le_bytes());
    put(28, &(PARTITION_SECTOR as u32).to_le_bytes());
    put(32, &sectors.to_le_bytes());
    put(36, &[0x80, 0, 0x29]);
    put(39, &serial.to_le_bytes());
    put(43, &label);
    put(54, b"FAT16   ");
    put(62, &NO_BOOT);
    put(510, &[0x55, 0xAA]);
    boot
}

/// Of disk and volume: a cache keyed by it distinguishes two sticks (FNV-1a).
fn serial_of(root: &[u8], files: &[Patch]) -> u32 {
    let bytes = root.iter().chain(files.iter().flat_map(|file| file.bytes.iter()));
    bytes.fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
