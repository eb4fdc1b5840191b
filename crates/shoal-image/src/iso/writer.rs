//! Writes small ISO 9660 images: level 1 names, Joliet and Rock Ridge beside them if wanted, El Torito.
//!
//! Not a mastering tool: files are given as bytes, or as holes, and level 1 names are made
//! unique only where Rock Ridge gives the real ones. Invariant: the same input gives the same bytes, and a file placed
//! far has [`IsoWriter::gap_bytes`] of nothing before it and after it.

mod layout;
mod names;

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::{BLOCK, BootPlatform, SparseImage};

/// The largest file of one extent: whole blocks below 4 GiB.
pub const FILE_BYTES_MAX: u64 = (1 << 32) - BLOCK;

/// Why an image cannot be written. Paths are as given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("`{path}` is no path of an image: {reason}")]
    Path { path: String, reason: &'static str },
    #[error("`{path}` and `{other}` have the same name in an image")]
    Collision { path: String, other: String },
    #[error("`{path}` is to be booted, but is not in the image")]
    NoBootImage { path: String },
    #[error("`{path}` has {bytes} bytes; a file of an image has less than 4 GiB")]
    TooLarge { path: String, bytes: u64 },
    #[error("`{volume_id}` is no volume identifier: it needs 1 to 32 of A to Z, 0 to 9 and _")]
    VolumeId { volume_id: String },
}

/// What is to be written.
#[derive(Clone)]
pub struct IsoWriter {
    /// At most 32 upper-case letters, digits and underscores; others may follow hyphens.
    pub volume_id: String,
    pub application_id: String,
    pub publisher_id: String,
    /// Date of everything in the image.
    pub time: RecordedTime,
    /// Whether there is a Joliet tree.
    pub joliet: bool,
    /// Whether the primary tree has the names as given too. ESXi finds no kickstart on such a volume.
    pub rock_ridge: bool,
    /// Nothing but zeros for so long before and after the files that are placed far.
    pub gap_bytes: u64,
    /// Where the boot catalogue shows, if anything is to be booted.
    pub catalog_path: String,
    files: BTreeMap<String, File>,
    boot: Vec<Boot>,
}

/// A date in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedTime {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

/// An image, and where its files lie in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub image: SparseImage,
    /// Byte ranges, by path as given.
    pub extents: BTreeMap<String, Range<u64>>,
    /// Byte after the directories and the files that are not placed far.
    pub near_end: u64,
}

#[derive(Clone)]
struct File {
    content: Content,
    placement: Placement,
}

#[derive(Clone)]
enum Content {
    Bytes(Bytes),
    /// So many zeros.
    Hole(u64),
}

/// In the order of the image; files of one placement lie in the order of their paths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Placement {
    Near,
    /// Number of the file among those placed far.
    Far(usize),
    Last,
}

#[derive(Clone)]
struct Boot {
    platform: BootPlatform,
    path: String,
    load_sectors: u16,
}

impl IsoWriter {
    /// An image without files, dated 2020-01-01, with a Joliet tree.
    pub fn new(volume_id: &str) -> IsoWriter {
        IsoWriter {
            volume_id: volume_id.to_owned(),
            application_id: String::new(),
            publisher_id: String::new(),
            time: RecordedTime { year: 2020, month: 1, day: 1 },
            joliet: true,
            rock_ridge: false,
            gap_bytes: 0,
            catalog_path: "/BOOT.CAT".to_owned(),
            files: BTreeMap::new(),
            boot: Vec::new(),
        }
    }

    /// Adds a file at a path such as `/EFI/BOOT/BOOT.CFG`, or replaces the one there.
    pub fn file(&mut self, path: &str, bytes: impl Into<Bytes>) -> &mut Self {
        self.add(path, Content::Bytes(bytes.into()), Placement::Near)
    }

    /// Adds a file that lies away from everything that is read to mount the image, and behind those that have been
    /// added so before.
    pub fn far_file(&mut self, path: &str, bytes: impl Into<Bytes>) -> &mut Self {
        let number = self.files.values().filter(|file| matches!(file.placement, Placement::Far(_))).count();
        self.add(path, Content::Bytes(bytes.into()), Placement::Far(number))
    }

    /// Adds a file of so many bytes that are not here. It lies behind all files that are.
    pub fn hole(&mut self, path: &str, bytes: u64) -> &mut Self {
        self.add(path, Content::Hole(bytes), Placement::Last)
    }

    fn add(&mut self, path: &str, content: Content, placement: Placement) -> &mut Self {
        self.files.insert(path.to_owned(), File { content, placement });
        self
    }

    /// Makes a file of the image bootable without emulation. The first one is the default entry.
    pub fn boot(&mut self, platform: BootPlatform, path: &str, load_sectors: u16) -> &mut Self {
        self.boot.push(Boot { platform, path: path.to_owned(), load_sectors });
        self
    }

    pub fn write(&self) -> Result<Written, WriteError> {
        layout::write(self)
    }
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Hole(bytes) => *bytes,
        }
    }
}

impl RecordedTime {
    /// As in a directory record (ECMA-119 §9.1.5).
    fn short(self) -> [u8; 7] {
        [self.year.saturating_sub(1900).min(255) as u8, self.month, self.day, 0, 0, 0, 0]
    }

    /// As in a descriptor (ECMA-119 §8.4.26.1).
    fn long(self) -> [u8; 17] {
        let digits = format!("{:04}{:02}{:02}00000000\0", self.year, self.month, self.day);
        digits.as_bytes().try_into().expect("a date of a four-digit year has 17 bytes")
    }
}

#[cfg(test)]
mod tests;
