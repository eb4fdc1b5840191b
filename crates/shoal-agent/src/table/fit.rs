//! An image's table on a disk that is larger than the image: the backup moved to the end, the last partition grown,
//! and a partition for first-boot data behind it.

use std::ops::Range;

use super::{
    BASIC_DATA, Gpt, HEAD_BYTES, MBR_ENTRIES, MBR_PROTECTIVE, MBR_SECTOR, Mbr, Partition, Table, TableError,
};

const ALIGNMENT: u64 = 1 << 20;
/// The largest number of sectors of an MBR.
const MBR_SECTORS_MAX: u64 = u32::MAX as u64;
const MBR_FAT: u8 = 0x0c;
/// What stands for a cylinder, head and sector beyond the 1,024th cylinder.
const CHS_BEYOND: [u8; 3] = [0xfe, 0xff, 0xff];

/// A partition to be added at the disk's end.
#[derive(Clone, Copy, Debug)]
pub struct SeedPartition {
    /// In bytes.
    pub size: u64,
    pub guid: [u8; 16],
}

/// What [`fit`] did beside changing the head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fitted {
    /// The last bytes of the disk: the backup GPT.
    pub tail: Vec<u8>,
    /// Where the first-boot partition lies.
    pub seed: Option<Range<u64>>,
    /// Bytes by which the last partition grew.
    pub grown_by: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the image has no partition table")]
    NoTable,
    #[error("the partition table has no free entry for the first-boot data")]
    NoEntry,
    #[error("the image leaves no room for the first-boot data at the end of the disk")]
    NoRoom,
}

/// Changes `head`, the first MiB of the image, to fit a disk of `disk_size` bytes.
pub fn fit(
    head: &mut [u8],
    table: &Table,
    disk_size: u64,
    seed: Option<SeedPartition>,
    grow: bool,
) -> Result<Fitted, FitError> {
    match table {
        Table::None => Err(FitError::NoTable),
        Table::Gpt(gpt) => fit_gpt(head, gpt, disk_size, seed, grow),
        Table::Mbr(mbr) => fit_mbr(head, mbr, disk_size, seed, grow),
    }
}

/// The first-boot partition, and how far the last partition may reach.
fn place(
    partitions: &[Partition],
    usable_end: u64,
    seed: Option<SeedPartition>,
) -> Result<(Option<Range<u64>>, u64), FitError> {
    for partition in partitions {
        if partition.end() > usable_end {
            return Err(TableError::Partition(partition.slot + 1).into());
        }
    }
    let image_end = partitions.iter().map(Partition::end).max().unwrap_or_default();
    let Some(seed) = seed else { return Ok((None, usable_end)) };
    let start = usable_end.checked_sub(seed.size).ok_or(FitError::NoRoom)? / ALIGNMENT * ALIGNMENT;
    if start < image_end.max(HEAD_BYTES as u64) {
        return Err(FitError::NoRoom);
    }
    Ok((Some(start..start + seed.size), start))
}

/// The partition that lies last, if it may grow, and its new end.
fn growth(partitions: &[Partition], limit: u64, grow: bool) -> Option<(&Partition, u64)> {
    let last =
        partitions.iter().max_by_key(|partition| partition.start).filter(|last| grow && last.can_grow())?;
    let end = limit / ALIGNMENT * ALIGNMENT;
    (end > last.end()).then_some((last, end))
}

fn fit_gpt(
    head: &mut [u8],
    gpt: &Gpt,
    disk_size: u64,
    seed: Option<SeedPartition>,
    grow: bool,
) -> Result<Fitted, FitError> {
    let sector = u64::from(gpt.sector);
    let entries_bytes = u64::from(gpt.entry_count) * u64::from(gpt.entry_size);
    let tail_sectors = entries_bytes.div_ceil(sector) + 1;
    let sectors = disk_size / sector;
    let usable_end = sectors.checked_sub(tail_sectors).ok_or(FitError::NoRoom)? * sector;
    let (seed_range, limit) = place(&gpt.partitions, usable_end, seed)?;
    let entries = gpt.entries_range().ok_or(TableError::Entries)?;
    let entry_at = |slot: usize| entries.start + slot * gpt.entry_size as usize;
    let mut fitted = Fitted { seed: seed_range.clone(), ..Fitted::default() };
    if let Some((last, end)) = growth(&gpt.partitions, limit, grow) {
        let at = entry_at(last.slot) + 40;
        head[at..at + 8].copy_from_slice(&(end / sector - 1).to_le_bytes());
        fitted.grown_by = end - last.end();
    }
    if let Some((range, seed)) = seed_range.zip(seed) {
        let is_free = |slot: &usize| gpt.partitions.iter().all(|partition| partition.slot != *slot);
        let slot = (0..gpt.entry_count as usize).find(is_free).ok_or(FitError::NoEntry)?;
        let at = entry_at(slot);
        write_gpt_entry(&mut head[at..at + gpt.entry_size as usize], &range, sector, seed.guid);
    }
    let entries = head[entries].to_vec();
    let header_at = gpt.sector as usize;
    let header = &mut head[header_at..header_at + gpt.header_size];
    header[32..40].copy_from_slice(&(sectors - 1).to_le_bytes());
    header[48..56].copy_from_slice(&(usable_end / sector - 1).to_le_bytes());
    header[88..92].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
    seal(header);
    let mut backup = header.to_vec();
    backup[24..32].copy_from_slice(&(sectors - 1).to_le_bytes());
    backup[32..40].copy_from_slice(&1_u64.to_le_bytes());
    backup[72..80].copy_from_slice(&(sectors - tail_sectors).to_le_bytes());
    seal(&mut backup);
    fitted.tail = vec![0; (tail_sectors * sector + disk_size % sector) as usize];
    fitted.tail[..entries.len()].copy_from_slice(&entries);
    let backup_at = ((tail_sectors - 1) * sector) as usize;
    fitted.tail[backup_at..backup_at + backup.len()].copy_from_slice(&backup);
    fit_protective(head, sectors);
    Ok(fitted)
}

/// Writes the header's checksum.
fn seal(header: &mut [u8]) {
    header[16..20].fill(0);
    let sum = crc32fast::hash(header);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
}

fn write_gpt_entry(entry: &mut [u8], range: &Range<u64>, sector: u64, guid: [u8; 16]) {
    entry.fill(0);
    entry[..16].copy_from_slice(&BASIC_DATA);
    entry[16..32].copy_from_slice(&guid);
    entry[32..40].copy_from_slice(&(range.start / sector).to_le_bytes());
    entry[40..48].copy_from_slice(&(range.end / sector - 1).to_le_bytes());
    write_gpt_name(entry, "cidata");
}

/// As far as there is room: 36 UTF-16 units.
pub(super) fn write_gpt_name(entry: &mut [u8], name: &str) {
    for (unit, letter) in entry[56..128].chunks_exact_mut(2).zip(name.encode_utf16()) {
        unit.copy_from_slice(&letter.to_le_bytes());
    }
}

/// The protective MBR covers the whole disk; partitions of a hybrid one stay as they are.
fn fit_protective(head: &mut [u8], sectors: u64) {
    for entry in head[MBR_ENTRIES..510].chunks_mut(16) {
        if entry[4] == MBR_PROTECTIVE && entry[8..12] == 1_u32.to_le_bytes() {
            entry[12..16].copy_from_slice(&((sectors - 1).min(MBR_SECTORS_MAX) as u32).to_le_bytes());
        }
    }
}

fn fit_mbr(
    head: &mut [u8],
    mbr: &Mbr,
    disk_size: u64,
    seed: Option<SeedPartition>,
    grow: bool,
) -> Result<Fitted, FitError> {
    let usable_end = (disk_size / MBR_SECTOR).min(MBR_SECTORS_MAX) * MBR_SECTOR;
    let (seed_range, limit) = place(&mbr.partitions, usable_end, seed)?;
    let mut fitted = Fitted { seed: seed_range.clone(), ..Fitted::default() };
    if let Some((last, end)) = growth(&mbr.partitions, limit, grow) {
        let at = MBR_ENTRIES + last.slot * 16;
        head[at + 5..at + 8].copy_from_slice(&CHS_BEYOND);
        head[at + 12..at + 16].copy_from_slice(&(((end - last.start) / MBR_SECTOR) as u32).to_le_bytes());
        fitted.grown_by = end - last.end();
    }
    if let Some(range) = seed_range {
        let is_free = |slot: &usize| mbr.partitions.iter().all(|partition| partition.slot != *slot);
        let slot = (0..4).find(is_free).ok_or(FitError::NoEntry)?;
        let entry = &mut head[MBR_ENTRIES + slot * 16..MBR_ENTRIES + slot * 16 + 16];
        entry[0] = 0;
        entry[1..4].copy_from_slice(&CHS_BEYOND);
        entry[4] = MBR_FAT;
        entry[5..8].copy_from_slice(&CHS_BEYOND);
        entry[8..12].copy_from_slice(&((range.start / MBR_SECTOR) as u32).to_le_bytes());
        entry[12..16].copy_from_slice(&(((range.end - range.start) / MBR_SECTOR) as u32).to_le_bytes());
    }
    Ok(fitted)
}

/// Whether the last bytes of a disk hold a backup GPT that a firmware would use.
#[cfg(test)]
pub fn is_valid_backup(tail: &[u8], sector: usize, disk_size: u64) -> bool {
    let Some(header_at) = tail.len().checked_sub(sector) else { return false };
    let header = &tail[header_at..];
    if !header.starts_with(b"EFI PART") {
        return false;
    }
    let size = (super::le32(header, 12) as usize).clamp(super::GPT_HEADER_MIN, sector);
    let mut summed = header[..size].to_vec();
    summed[16..20].fill(0);
    let tail_start = disk_size - tail.len() as u64;
    let entries_at = (super::le64(header, 72) * sector as u64).checked_sub(tail_start);
    let entries_len = super::le32(header, 80) as usize * super::le32(header, 84) as usize;
    let entries = entries_at.and_then(|at| tail.get(at as usize..at as usize + entries_len));
    crc32fast::hash(&summed) == super::le32(header, 16)
        && entries.is_some_and(|entries| crc32fast::hash(entries) == super::le32(header, 88))
}
