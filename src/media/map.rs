//! The project's only unsafe code: a file of the installer cache, or of a hosted image, as memory.
//!
//! Handed to the connection as [`Bytes`], a mapped file is served without a copy of our own.
//! Invariant: only files are mapped that this controller put into its own directory under their final
//! name. Such a file was written under another name, made read-only and renamed; from then on
//! the controller never writes or truncates it, and it goes away by unlinking or by a rename over it, which
//! leave the mapped inode as it is. An operator who truncates a file inside such a directory
//! breaks that, and the process would die of SIGBUS when it reads there.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

/// A mapped file. Clones share the mapping.
#[derive(Clone)]
pub struct Mapping(Arc<Mmap>);

impl Mapping {
    /// Maps a whole file of the installer cache.
    #[expect(unsafe_code, reason = "mapping a file has no safe form; the module's invariant makes it sound")]
    pub fn of_cached(file: &File) -> io::Result<Mapping> {
        // SAFETY: the file is one of the cache's own, complete and never changed again (see above).
        let map = unsafe { Mmap::map(file)? };
        Ok(Mapping(Arc::new(map)))
    }

    /// The file's bytes, not copied, which keep the mapping alive.
    pub fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// Another reader besides this handle has the file open.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
