//! ISO 9660 images as bytes: read one, change one without copying it, write a small one.
//!
//! It knows nothing of ESXi, of jobs or of HTTP; [`crate::installer`] gives the bytes a meaning.
//! Pure but for `ReadAt for File`. Invariant: an image is hostile until proven otherwise. Every
//! count, depth and length read from one is checked against a limit before anything is allocated
//! for it, and no image makes a function here panic or loop.
//!
//! What is read: the descriptors of ECMA-119, Joliet, the names of Rock Ridge (RRIP 1.12) and the
//! El Torito boot catalogue. What is written: level 1 names, Joliet, El Torito, and Rock Ridge where ESXi does not
//! look for a kickstart: it finds none on a volume that has it.

mod change;
mod directory;
mod edit;
mod eltorito;
mod error;
mod field;
mod level1;
mod name;
mod overlay;
mod record;
mod rock_ridge;
mod root;
mod source;
mod task_iso;
mod tree;
mod volume;
mod writer;

pub(crate) use change::boot_ranges;
pub use change::{ChangeError, begin_change, check_rest};
pub use directory::Entry;
pub use edit::Edit;
pub use eltorito::{BootCatalog, BootEntry, BootPlatform};
pub use error::IsoError;
pub use name::TreeKind;
pub use overlay::{Overlaid, Overlay, Patch, SparseImage};
pub use record::Extent;
pub use root::{add_root_file, set_root_file};
pub use source::{PartialImage, ReadAt};
pub use task_iso::{KICKSTART_GAP_BYTES, NONCE_NAME, TaskIso, build_task_iso};
pub use volume::{PathTables, Tree, Volume};
pub use writer::{FILE_BYTES_MAX, IsoWriter, RecordedTime, WriteError, Written};

/// Bytes of a logical block. Other sizes are allowed by ECMA-119 and not used.
pub const BLOCK: u64 = 2048;
const BLOCK_LEN: usize = BLOCK as usize;

/// `bytes` rounded up to whole blocks, held at the largest multiple of a block.
pub(crate) fn round_up(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX - (BLOCK - 1))
}

#[cfg(test)]
mod tests;
