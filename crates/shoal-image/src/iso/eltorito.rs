//! The El Torito boot catalogue (version 1.0, and its use for UEFI): what firmware can boot.
//!
//! It reads; [`super::writer`] writes one. Invariant: one block of catalogue, 64 entries of 32
//! bytes, is all that is ever looked at.

use std::ops::Range;

use super::field::{le16, le32, read_block};
use super::{BLOCK, IsoError, ReadAt};

pub const ENTRY_BYTES: usize = 32;
/// System id of the boot record descriptor.
pub const SYSTEM_ID: &[u8] = b"EL TORITO SPECIFICATION";

/// Where the catalogue lies, and what it offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootCatalog {
    /// In bytes of the image.
    pub extent: Range<u64>,
    pub entries: Vec<BootEntry>,
}

/// One thing to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootEntry {
    pub platform: BootPlatform,
    /// The entry says of itself that it can be booted.
    pub bootable: bool,
    /// The image is run as it is, not as an emulated floppy or disk.
    pub no_emulation: bool,
    /// Start of the image, in bytes.
    pub offset: u64,
    /// Sectors of 512 bytes that firmware loads; UEFI images often say 0 or 1 and mean all.
    pub load_sectors: u16,
}

/// Which firmware an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootPlatform {
    Bios,
    Uefi,
    Other(u8),
}

impl BootPlatform {
    pub fn from_id(id: u8) -> BootPlatform {
        match id {
            0x00 => BootPlatform::Bios,
            0xEF => BootPlatform::Uefi,
            other => BootPlatform::Other(other),
        }
    }

    pub fn id(self) -> u8 {
        match self {
            BootPlatform::Bios => 0x00,
            BootPlatform::Uefi => 0xEF,
            BootPlatform::Other(id) => id,
        }
    }
}

/// The catalogue in block `block`.
pub fn read_catalog<R: ReadAt + ?Sized>(src: &R, block: u32) -> Result<BootCatalog, IsoError> {
    let start = u64::from(block) * BLOCK;
    let bytes = read_block(src, u64::from(block), "the El Torito boot catalogue")?;
    let validation = &bytes[..ENTRY_BYTES];
    let sum = (0..ENTRY_BYTES).step_by(2).fold(0, |sum: u16, at| sum.wrapping_add(le16(validation, at)));
    if validation[0] != 1 || validation[30..32] != [0x55, 0xAA] || sum != 0 {
        let reason = "its validation entry is wrong";
        return Err(IsoError::Malformed { what: "the El Torito boot catalogue", offset: start, reason });
    }
    Ok(BootCatalog { extent: start..start + BLOCK, entries: read_entries(&bytes) })
}

fn read_entries(catalog: &[u8]) -> Vec<BootEntry> {
    let mut platform = BootPlatform::from_id(catalog[1]);
    let mut entries = Vec::new();
    for (index, entry) in catalog.chunks_exact(ENTRY_BYTES).enumerate().skip(1) {
        match entry[0] {
            // A section header: its platform holds for the entries that follow.
            0x90 | 0x91 => platform = BootPlatform::from_id(entry[1]),
            0x88 => entries.push(read_entry(entry, platform, true)),
            // Unbootable entries look like unused space, except where the default entry stands.
            0x00 if index == 1 || entry[8..12] != [0; 4] => {
                entries.push(read_entry(entry, platform, false));
            }
            // 0x44 goes on with selection criteria; the rest is unused.
            _ => {}
        }
    }
    entries
}

fn read_entry(entry: &[u8], platform: BootPlatform, bootable: bool) -> BootEntry {
    BootEntry {
        platform,
        bootable,
        no_emulation: entry[1] & 0x0F == 0,
        offset: u64::from(le32(entry, 8)) * BLOCK,
        load_sectors: le16(entry, 6),
    }
}
