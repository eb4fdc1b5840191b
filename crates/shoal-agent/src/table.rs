//! Partition tables: read from the first MiB of an image or a disk, and fitted to the disk that they end up on.
//!
//! Pure over bytes; [`fit()`] changes what [`read`] has understood and nothing else. Invariant: a GPT is used only if
//! both its checksums are right, and what is written has right ones.

mod fit;
mod make;
#[cfg(test)]
pub mod samples;

#[cfg(test)]
pub use fit::is_valid_backup;
pub use fit::{FitError, Fitted, SeedPartition, fit};
pub use make::{NewPartition, make};

use shoal_image::iso::ReadAt;

/// So much of an image's start must hold its table. It is what the writer withholds.
pub const HEAD_BYTES: usize = 1 << 20;

/// GPT partition types, as they are stored.
pub const ESP: [u8; 16] = guid(0xc12a_7328, 0xf81f, 0x11d2, 0xba4b_00a0_c93e_c93b);
pub const BIOS_BOOT: [u8; 16] = guid(0x2168_6148, 0x6449, 0x6e6f, 0x744e_6565_6445_4649);
pub const BASIC_DATA: [u8; 16] = guid(0xebd0_a0a2, 0xb9e5, 0x4433, 0x87c0_68b6_b726_99c7);
#[cfg(test)]
pub const LINUX: [u8; 16] = guid(0x0fc6_3daf, 0x8483, 0x4772, 0x8e79_3d69_d847_7de4);
const LINUX_SWAP: [u8; 16] = guid(0x0657_fd6d, 0xa4ab, 0x43c4, 0x84e5_0933_c84b_4f4f);
const MICROSOFT_RESERVED: [u8; 16] = guid(0xe3c9_e316, 0x0b5c, 0x4db8, 0x817d_f92d_f002_15ae);
const WINDOWS_RECOVERY: [u8; 16] = guid(0xde94_bba4, 0x06d1, 0x4d40, 0xa16a_bfd5_0179_d6ac);
/// Partitions that do not become more useful when they are larger.
const FIXED: [[u8; 16]; 5] = [ESP, BIOS_BOOT, LINUX_SWAP, MICROSOFT_RESERVED, WINDOWS_RECOVERY];

const MBR_PROTECTIVE: u8 = 0xee;
const MBR_ESP: u8 = 0xef;
const MBR_SWAP: u8 = 0x82;
const MBR_EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
const MBR_ENTRIES: usize = 446;
/// An MBR does not say how large its sectors are; images have 512 bytes.
const MBR_SECTOR: u64 = 512;

const GPT_HEADER_MIN: usize = 92;
const GPT_ENTRIES_MAX: u32 = 1024;

/// A GUID as a GPT stores it: the first three fields little-endian.
const fn guid(a: u32, b: u16, c: u16, d: u64) -> [u8; 16] {
    let (a, b, c, d) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes(), d.to_be_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    None,
    Gpt(Gpt),
    Mbr(Mbr),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpt {
    /// Bytes of a sector.
    pub sector: u32,
    pub backup_lba: u64,
    pub partitions: Vec<Partition>,
    header_size: usize,
    entries_lba: u64,
    entry_count: u32,
    entry_size: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mbr {
    pub partitions: Vec<Partition>,
}

/// One partition; offsets in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its place in the table, from zero.
    pub slot: usize,
    pub start: u64,
    pub size: u64,
    pub kind: PartitionKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionKind {
    Gpt { type_guid: [u8; 16], guid: [u8; 16] },
    Mbr { id: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("its GPT header is damaged")]
    Header,
    #[error("its GPT entries are damaged")]
    Entries,
    #[error("its protective MBR has no GPT behind it")]
    NoGpt,
    #[error("partition {0} lies outside of the disk or overlaps the table")]
    Partition(usize),
}

impl Partition {
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }

    pub fn is_esp(&self) -> bool {
        match self.kind {
            PartitionKind::Gpt { type_guid, .. } => type_guid == ESP,
            PartitionKind::Mbr { id } => id == MBR_ESP,
        }
    }

    fn can_grow(&self) -> bool {
        match self.kind {
            PartitionKind::Gpt { type_guid, .. } => !FIXED.contains(&type_guid),
            PartitionKind::Mbr { id } => id != MBR_ESP && id != MBR_SWAP && !MBR_EXTENDED.contains(&id),
        }
    }
}

impl Table {
    pub fn partitions(&self) -> &[Partition] {
        match self {
            Table::None => &[],
            Table::Gpt(gpt) => &gpt.partitions,
            Table::Mbr(mbr) => &mbr.partitions,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Table::None => "no",
            Table::Gpt(_) => "GPT",
            Table::Mbr(_) => "MBR",
        }
    }

    /// Bytes of a sector of the disk that the table was made for.
    pub fn sector(&self) -> u32 {
        match self {
            Table::Gpt(gpt) => gpt.sector,
            Table::None | Table::Mbr(_) => MBR_SECTOR as u32,
        }
    }

    /// Bytes of the disk that the table was made for, or as far as its partitions reach.
    pub fn extent(&self) -> u64 {
        let end = self.partitions().iter().map(Partition::end).max().unwrap_or_default();
        match self {
            Table::Gpt(gpt) => end.max(gpt.backup_lba.saturating_add(1).saturating_mul(gpt.sector.into())),
            _ => end,
        }
    }

    /// The EFI system partition: the first one.
    pub fn esp(&self) -> Option<&Partition> {
        self.partitions().iter().find(|partition| partition.is_esp())
    }

    /// Whether a BIOS could start from it: boot code, and with GPT a place for the rest of it.
    pub fn has_bios_boot(&self, head: &[u8]) -> bool {
        let has_code =
            head.len() >= 512 && head[510..512] == [0x55, 0xaa] && head[..440].iter().any(|byte| *byte != 0);
        let has_place = match self {
            Table::None => false,
            Table::Mbr(_) => true,
            Table::Gpt(gpt) => gpt.partitions.iter().any(|partition| {
                matches!(partition.kind, PartitionKind::Gpt { type_guid, .. } if type_guid == BIOS_BOOT)
            }),
        };
        has_code && has_place
    }
}

/// The table that `head`, the start of a disk, holds.
pub fn read<R: ReadAt + ?Sized>(head: &R) -> Result<Table, TableError> {
    let mut bytes = vec![0; head.size().min(HEAD_BYTES as u64) as usize];
    if head.read_at(0, &mut bytes).is_err() {
        return Ok(Table::None);
    }
    for sector in [512, 4096] {
        if bytes.get(sector..).is_some_and(|rest| rest.starts_with(b"EFI PART")) {
            return read_gpt(&bytes, sector).map(Table::Gpt);
        }
    }
    read_mbr(&bytes)
}

fn read_gpt(head: &[u8], sector: usize) -> Result<Gpt, TableError> {
    let header = head.get(sector..sector * 2).ok_or(TableError::Header)?;
    let header_size = le32(header, 12) as usize;
    if !(GPT_HEADER_MIN..=sector).contains(&header_size) || le64(header, 24) != 1 {
        return Err(TableError::Header);
    }
    let mut summed = header[..header_size].to_vec();
    summed[16..20].fill(0);
    if crc32fast::hash(&summed) != le32(header, 16) {
        return Err(TableError::Header);
    }
    let mut gpt = Gpt {
        sector: sector as u32,
        backup_lba: le64(header, 32),
        partitions: Vec::new(),
        header_size,
        entries_lba: le64(header, 72),
        entry_count: le32(header, 80),
        entry_size: le32(header, 84),
    };
    let is_sane =
        gpt.entry_count <= GPT_ENTRIES_MAX && (128..=4096).contains(&gpt.entry_size) && gpt.entries_lba >= 2;
    let entries = head.get(gpt.entries_range().filter(|_| is_sane).ok_or(TableError::Entries)?);
    let entries = entries.ok_or(TableError::Entries)?;
    if crc32fast::hash(entries) != le32(header, 88) {
        return Err(TableError::Entries);
    }
    for (slot, entry) in entries.chunks_exact(gpt.entry_size as usize).enumerate() {
        if entry[..16] == [0; 16] {
            continue;
        }
        gpt.partitions.push(gpt_partition(slot, entry, sector as u64)?);
    }
    Ok(gpt)
}

fn gpt_partition(slot: usize, entry: &[u8], sector: u64) -> Result<Partition, TableError> {
    let outside = || TableError::Partition(slot + 1);
    let (first, last) = (le64(entry, 32), le64(entry, 40));
    let sectors = last.checked_sub(first).and_then(|more| more.checked_add(1)).ok_or_else(outside)?;
    let (start, size) = first.checked_mul(sector).zip(sectors.checked_mul(sector)).ok_or_else(outside)?;
    start.checked_add(size).ok_or_else(outside)?;
    let kind = PartitionKind::Gpt { type_guid: array(&entry[..16]), guid: array(&entry[16..32]) };
    Ok(Partition { slot, start, size, kind })
}

fn array(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().expect("the caller slices 16 bytes")
}

impl Gpt {
    /// Where the entries lie in the head.
    fn entries_range(&self) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(self.entries_lba).ok()?.checked_mul(self.sector as usize)?;
        let end = start.checked_add(self.entry_count as usize * self.entry_size as usize)?;
        Some(start..end)
    }
}

fn read_mbr(head: &[u8]) -> Result<Table, TableError> {
    if head.get(510..512) != Some(&[0x55, 0xaa]) {
        return Ok(Table::None);
    }
    let mut partitions = Vec::new();
    for (slot, entry) in head[MBR_ENTRIES..510].chunks(16).enumerate() {
        let (flag, id, first, sectors) = (entry[0], entry[4], le32(entry, 8), le32(entry, 12));
        // Boot code of a file system stands here too, and is no table.
        if flag & 0x7f != 0 {
            return Ok(Table::None);
        }
        if id == MBR_PROTECTIVE {
            return Err(TableError::NoGpt);
        }
        if id != 0 && sectors != 0 {
            let (start, size) = (u64::from(first) * MBR_SECTOR, u64::from(sectors) * MBR_SECTOR);
            partitions.push(Partition { slot, start, size, kind: PartitionKind::Mbr { id } });
        }
    }
    Ok(if partitions.is_empty() { Table::None } else { Table::Mbr(Mbr { partitions }) })
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
