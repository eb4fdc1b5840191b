//! An entry of a directory, as one of the image's trees shows it.
//!
//! Not the record's bytes (that is [`super::record`]). Invariant: `record_offset` is where the
//! entry's record stands in the image, so that it can be changed there.

use std::ops::Range;

use super::record::Record;

/// A file or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Without its version.
    pub name: String,
    /// From the root, with a slash first.
    pub path: String,
    pub is_dir: bool,
    /// Where its data lies, in bytes of the image. Nothing says yet that the image is that long.
    pub extent: Range<u64>,
    /// Byte offset of its directory record.
    pub record_offset: u64,
    /// Its data is interleaved or goes on in another extent: it cannot be read or changed here.
    pub is_split: bool,
    /// Extended attributes stand before its data: it can be read, but not moved.
    pub has_extended_attributes: bool,
}

impl Entry {
    pub(super) fn new(parent: &str, name: String, record: &Record) -> Entry {
        Entry {
            path: format!("{parent}/{name}"),
            name,
            is_dir: record.is_dir(),
            extent: record.extent().range(),
            record_offset: record.offset,
            is_split: record.is_split(),
            has_extended_attributes: record.has_extended_attributes(),
        }
    }

    /// Bytes of data.
    pub fn size(&self) -> u64 {
        self.extent.end - self.extent.start
    }
}
