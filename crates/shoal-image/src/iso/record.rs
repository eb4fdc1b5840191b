//! One directory record (ECMA-119 §9.1), and the records of one directory extent.
//!
//! No names (they depend on the tree) and no recursion. Invariant: a [`Record`] holds all the
//! bytes that its own lengths speak of.

use std::ops::Range;

use super::field::{both16, both32, le32, read_range};
use super::{BLOCK, BLOCK_LEN, IsoError, ReadAt};

/// The record of a directory of about 20,000 files; vendor images have a few hundred.
pub const DIRECTORY_BYTES_MAX: u64 = 1024 * 1024;

/// Offset of the extent's block number (both orders) in a record.
pub const RECORD_EXTENT: u64 = 2;
/// Offset of the data length (both orders) in a record.
pub const RECORD_SIZE: u64 = 10;
/// Bytes before the identifier.
const FIXED: usize = 33;

const FLAG_DIRECTORY: u8 = 0x02;
const FLAG_ASSOCIATED: u8 = 0x04;
const FLAG_CONTINUES: u8 = 0x80;

/// One directory record, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Byte offset in the image.
    pub offset: u64,
    bytes: Vec<u8>,
}

impl Record {
    /// The record at the start of `bytes`, which end where its block ends.
    fn parse(bytes: &[u8], offset: u64) -> Result<Record, IsoError> {
        let malformed = |reason| IsoError::Malformed { what: "the directory record", offset, reason };
        let len = usize::from(bytes[0]);
        if len <= FIXED {
            return Err(malformed("it is shorter than its fixed part"));
        }
        let bytes = bytes.get(..len).ok_or_else(|| malformed("it crosses the end of its block"))?;
        let name_len = usize::from(bytes[32]);
        if name_len == 0 || FIXED + name_len > len {
            return Err(malformed("its identifier is longer than the record, or empty"));
        }
        Ok(Record { offset, bytes: bytes.to_vec() })
    }

    /// A record that stands nowhere yet. `identifier` and `system_use` must fit into 255 bytes.
    pub fn new(identifier: &[u8], extent: &Extent, time: [u8; 7], is_dir: bool, system_use: &[u8]) -> Record {
        let mut bytes = vec![0, 0];
        bytes.extend(both32(extent.block));
        bytes.extend(both32(extent.size));
        bytes.extend(time);
        bytes.extend([if is_dir { FLAG_DIRECTORY } else { 0 }, 0, 0]);
        bytes.extend(both16(1));
        bytes.push(u8::try_from(identifier.len()).expect("an identifier has at most 207 bytes"));
        bytes.extend(identifier);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes.extend(system_use);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes[0] = u8::try_from(bytes.len()).expect("a record has at most 254 bytes");
        Record { offset: 0, bytes }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn identifier(&self) -> &[u8] {
        &self.bytes[FIXED..FIXED + usize::from(self.bytes[32])]
    }

    /// What follows the identifier and its padding: where Rock Ridge writes.
    pub fn system_use(&self) -> &[u8] {
        let start = (FIXED + usize::from(self.bytes[32])).next_multiple_of(2);
        self.bytes.get(start..).unwrap_or_default()
    }

    /// Recorded date and time (ECMA-119 §9.1.5).
    pub fn time(&self) -> [u8; 7] {
        self.bytes[18..25].try_into().expect("the range has seven bytes")
    }

    /// Where the data lies, after the extended attributes.
    pub fn extent(&self) -> Extent {
        let block = le32(&self.bytes, RECORD_EXTENT as usize).saturating_add(u32::from(self.bytes[1]));
        Extent { block, size: le32(&self.bytes, RECORD_SIZE as usize) }
    }

    pub fn is_dir(&self) -> bool {
        self.flags() & FLAG_DIRECTORY != 0
    }

    /// A second stream of another file, which no driver shows.
    pub fn is_associated(&self) -> bool {
        self.flags() & FLAG_ASSOCIATED != 0
    }

    /// Whether the file's data is more than the one extent of this record.
    pub fn is_split(&self) -> bool {
        let interleaved = self.bytes[26] != 0 || self.bytes[27] != 0;
        interleaved || self.flags() & FLAG_CONTINUES != 0
    }

    pub fn has_extended_attributes(&self) -> bool {
        self.bytes[1] != 0
    }

    /// The record of the directory itself, or of its parent.
    pub fn is_dot(&self) -> bool {
        matches!(self.identifier(), [0] | [1])
    }

    /// The same record, pointing elsewhere.
    pub fn point_to(&mut self, extent: &Extent) {
        self.bytes[2..10].copy_from_slice(&both32(extent.block));
        self.bytes[10..18].copy_from_slice(&both32(extent.size));
    }

    fn flags(&self) -> u8 {
        self.bytes[25]
    }
}

/// A run of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    pub block: u32,
    /// In bytes.
    pub size: u32,
}

impl Extent {
    /// As a byte range of the image.
    pub fn range(&self) -> Range<u64> {
        let start = u64::from(self.block) * BLOCK;
        start..start + u64::from(self.size)
    }
}

/// The records of the directory in `extent`, in order, `.` and `..` among them.
pub fn read_records<R: ReadAt + ?Sized>(src: &R, extent: &Range<u64>) -> Result<Vec<Record>, IsoError> {
    let bytes = read_range(src, extent, DIRECTORY_BYTES_MAX, "a directory")?;
    let mut records = Vec::new();
    for (index, block) in bytes.chunks(BLOCK_LEN).enumerate() {
        let start = extent.start + index as u64 * BLOCK;
        let mut at = 0;
        // A zero length says that the rest of the block is unused.
        while at < block.len() && block[at] != 0 {
            let record = Record::parse(&block[at..], start + at as u64)?;
            at += record.bytes.len();
            records.push(record);
        }
    }
    Ok(records)
}

/// The records one after the other, none across the end of a block, in whole blocks.
pub fn lay_out(records: &[Record]) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::with_capacity(BLOCK_LEN);
    for record in records {
        let left = BLOCK_LEN - bytes.len() % BLOCK_LEN;
        if record.bytes.len() > left {
            bytes.resize(bytes.len() + left, 0);
        }
        bytes.extend(&record.bytes);
    }
    bytes.resize(bytes.len().next_multiple_of(BLOCK_LEN), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent { block: 7, size: 5 };

    #[test]
    fn records_read_back_as_laid_out_and_none_crosses_a_block() {
        let name = |i: usize| format!("FILE{i:04}.BIN;1").into_bytes();
        let written: Vec<Record> =
            (0..100).map(|i| Record::new(&name(i), &EXTENT, [0; 7], false, &[])).collect();
        let bytes = lay_out(&written);
        let read = read_records(&bytes, &(0..bytes.len() as u64)).unwrap();
        assert_eq!(bytes.len(), 3 * BLOCK_LEN);
        assert_eq!(read.len(), 100);
        for (i, record) in read.iter().enumerate() {
            assert_eq!(record.identifier(), name(i));
            assert_eq!(record.extent(), EXTENT);
            assert!(record.offset % BLOCK + record.bytes().len() as u64 <= BLOCK);
        }
    }

    #[test]
    fn a_record_that_lies_about_its_length_is_refused_with_its_place() {
        let check = |at: usize, value: u8, reason: &str| {
            let mut bytes = lay_out(&[Record::new(b"A;1", &EXTENT, [0; 7], false, &[])]);
            bytes[at] = value;
            let error = read_records(&bytes, &(0..2048)).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("byte 0"), "{error}");
        };
        check(0, 20, "shorter than its fixed part");
        check(32, 0, "identifier");
        check(32, 200, "identifier");
    }
}
