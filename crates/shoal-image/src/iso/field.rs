//! Numbers as ECMA-119 records them: little-endian, big-endian, or both one after the other.
//!
//! Invariant: a number in both orders is read from its little-endian half, as every driver on x86
//! does, and always written in both.

use std::io;
use std::ops::Range;

use super::{BLOCK_LEN, IsoError, ReadAt};

/// ECMA-119 §7.3.3: a 32-bit number in both orders.
pub fn both32(value: u32) -> [u8; 8] {
    let mut both = [0; 8];
    both[..4].copy_from_slice(&value.to_le_bytes());
    both[4..].copy_from_slice(&value.to_be_bytes());
    both
}

/// ECMA-119 §7.2.3: a 16-bit number in both orders.
pub fn both16(value: u16) -> [u8; 4] {
    let mut both = [0; 4];
    both[..2].copy_from_slice(&value.to_le_bytes());
    both[2..].copy_from_slice(&value.to_be_bytes());
    both
}

/// The little-endian number at `at`. The caller knows that `bytes` holds it.
pub fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The little-endian number at `at`. The caller knows that `bytes` holds it.
pub fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The big-endian number at `at`. The caller knows that `bytes` holds it.
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    le32(bytes, at).swap_bytes()
}

/// A text field: trailing blanks and NULs cut, anything but printable ASCII replaced.
pub fn text(bytes: &[u8]) -> String {
    let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '?' };
    let end = bytes.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(0, |last| last + 1);
    bytes[..end].iter().map(shown).collect()
}

/// The block with this number.
pub fn read_block<R: ReadAt + ?Sized>(
    src: &R,
    block: u64,
    what: &'static str,
) -> Result<[u8; BLOCK_LEN], IsoError> {
    let start = block.saturating_mul(super::BLOCK);
    let mut bytes = [0; BLOCK_LEN];
    check_range(src, &(start..start.saturating_add(super::BLOCK)), what)?;
    fill(src, start, &mut bytes, what)?;
    Ok(bytes)
}

/// The bytes of `range`, of which there may be `limit` at most.
pub fn read_range<R: ReadAt + ?Sized>(
    src: &R,
    range: &Range<u64>,
    limit: u64,
    what: &'static str,
) -> Result<Vec<u8>, IsoError> {
    let found = range.end.saturating_sub(range.start);
    if found > limit {
        return Err(IsoError::TooMuch { what, found, limit });
    }
    check_range(src, range, what)?;
    let mut bytes = vec![0; found as usize];
    fill(src, range.start, &mut bytes, what)?;
    Ok(bytes)
}

/// Fails unless the image has every byte of `range`.
pub fn check_range<R: ReadAt + ?Sized>(
    src: &R,
    range: &Range<u64>,
    what: &'static str,
) -> Result<(), IsoError> {
    let size = src.size();
    if range.end > size {
        return Err(IsoError::Truncated { what, start: range.start, end: range.end, size });
    }
    Ok(())
}

fn fill<R: ReadAt + ?Sized>(
    src: &R,
    offset: u64,
    bytes: &mut [u8],
    what: &'static str,
) -> Result<(), IsoError> {
    src.read_at(offset, bytes).map_err(|source: io::Error| IsoError::Read { what, offset, source })
}
