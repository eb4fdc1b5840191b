//! A new GPT.

use std::ops::Range;

use super::fit::write_gpt_name;
use super::{Gpt, HEAD_BYTES, MBR_ENTRIES, MBR_PROTECTIVE, Table, fit};

const ENTRY_BYTES: usize = 128;
const ENTRY_COUNT: usize = 128;
const HEADER_BYTES: usize = 92;
/// A partition to be made.
#[derive(Clone, Debug)]
pub struct NewPartition<'a> {
    /// As a GPT stores it.
    pub type_guid: [u8; 16],
    pub guid: [u8; 16],
    pub name: &'a str,
    /// In bytes.
    pub range: Range<u64>,
}

/// The first MiB and the last bytes of a disk with these partitions, at most 128.
pub fn make(
    disk_size: u64,
    sector: u32,
    guid: [u8; 16],
    partitions: &[NewPartition<'_>],
) -> (Vec<u8>, Vec<u8>) {
    let mut head = vec![0; HEAD_BYTES];
    head[MBR_ENTRIES + 2] = 2;
    head[MBR_ENTRIES + 4..MBR_ENTRIES + 8].copy_from_slice(&[MBR_PROTECTIVE, 0xff, 0xff, 0xff]);
    head[MBR_ENTRIES + 8] = 1;
    head[510..512].copy_from_slice(&[0x55, 0xaa]);
    let at = sector as usize;
    let sector = u64::from(sector);
    let first_usable = 2 + (ENTRY_BYTES * ENTRY_COUNT) as u64 / sector;
    let header = &mut head[at..at + HEADER_BYTES];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..12].copy_from_slice(&0x1_0000_u32.to_le_bytes());
    header[12..16].copy_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
    header[24..32].copy_from_slice(&1_u64.to_le_bytes());
    header[40..48].copy_from_slice(&first_usable.to_le_bytes());
    header[56..72].copy_from_slice(&guid);
    header[72..80].copy_from_slice(&2_u64.to_le_bytes());
    header[80..84].copy_from_slice(&(ENTRY_COUNT as u32).to_le_bytes());
    header[84..88].copy_from_slice(&(ENTRY_BYTES as u32).to_le_bytes());
    let entries = head[at * 2..][..ENTRY_BYTES * ENTRY_COUNT].chunks_exact_mut(ENTRY_BYTES);
    for (entry, partition) in entries.zip(partitions) {
        entry[..16].copy_from_slice(&partition.type_guid);
        entry[16..32].copy_from_slice(&partition.guid);
        entry[32..40].copy_from_slice(&(partition.range.start / sector).to_le_bytes());
        entry[40..48].copy_from_slice(&(partition.range.end / sector - 1).to_le_bytes());
        write_gpt_name(entry, partition.name);
    }
    let gpt = Gpt {
        sector: sector as u32,
        backup_lba: 0,
        partitions: Vec::new(),
        header_size: HEADER_BYTES,
        entries_lba: 2,
        entry_count: ENTRY_COUNT as u32,
        entry_size: ENTRY_BYTES as u32,
    };
    let fitted = fit(&mut head, &Table::Gpt(gpt), disk_size, None, false);
    (head, fitted.map(|fitted| fitted.tail).unwrap_or_default())
}
