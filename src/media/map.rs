//! The project's only unsafe code: a file of the installer cache, or of a hosted image, as memory.
//!
//! Handed to the connection as [`Bytes`], a mapped file is served without a copy of our own, and by [`file_behind`]
//! the connection finds the file again, which the kernel can send without any copy.
//! Invariant: only files are mapped that this controller put into its own directory under their final
//! name. Such a file was written under another name, made read-only and renamed; from then on
//! the controller never writes or truncates it, and it goes away by unlinking or by a rename over it, which
//! leave the mapped inode as it is. An operator who truncates a file inside such a directory
//! breaks that, and the process would die of SIGBUS when it reads there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use bytes::Bytes;
use memmap2::Mmap;

/// By their first address. An entry is made after its mapping and taken away before it, so that the address of a
/// living slice leads to the mapping which that slice is of, and to no earlier one.
static LIVING: RwLock<BTreeMap<usize, Weak<MappedFile>>> = RwLock::new(BTreeMap::new());

/// A mapped file. Clones share the mapping.
#[derive(Clone)]
pub struct Mapping(Arc<MappedFile>);

pub struct MappedFile {
    map: Mmap,
    file: File,
}

impl Mapping {
    /// Maps a whole file of the installer cache.
    #[expect(unsafe_code, reason = "mapping a file has no safe form; the module's invariant makes it sound")]
    pub fn of_cached(file: File) -> io::Result<Mapping> {
        // SAFETY: the file is one of the cache's own, complete and never changed again (see above).
        let map = unsafe { Mmap::map(&file)? };
        let mapped = Arc::new(MappedFile { map, file });
        let mut living = LIVING.write().unwrap_or_else(PoisonError::into_inner);
        living.insert(mapped.first_address(), Arc::downgrade(&mapped));
        Ok(Mapping(mapped))
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
        &self.0.map
    }
}

impl MappedFile {
    pub fn file(&self) -> &File {
        &self.file
    }

    fn first_address(&self) -> usize {
        self.map.as_ptr().addr()
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        LIVING.write().unwrap_or_else(PoisonError::into_inner).remove(&self.first_address());
    }
}

/// The file that these bytes are mapped from, and where in it they begin; none if they are other memory.
pub fn file_behind(bytes: &[u8]) -> Option<(Arc<MappedFile>, u64)> {
    let address = bytes.as_ptr().addr();
    let living = LIVING.read().unwrap_or_else(PoisonError::into_inner);
    let (first, mapped) = living.range(..=address).next_back()?;
    let mapped = mapped.upgrade()?;
    let offset = address - first;
    (offset + bytes.len() <= mapped.map.len()).then_some((mapped, offset as u64))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn mapped(text: &[u8]) -> Mapping {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        Mapping::of_cached(file).unwrap()
    }

    fn offset(bytes: &[u8]) -> Option<u64> {
        file_behind(bytes).map(|(_, offset)| offset)
    }

    #[test]
    fn mapped_bytes_lead_to_their_file_and_no_other_memory_does() {
        let (one, two) = (mapped(b"first file"), mapped(b"second"));
        let (one_bytes, two_bytes) = (one.bytes(), two.bytes());
        assert_eq!(offset(&one_bytes), Some(0));
        assert_eq!(offset(&one_bytes.slice(6..)), Some(6));
        assert_eq!(offset(&two_bytes.slice(1..3)), Some(1));
        let (found, _) = file_behind(&two_bytes).unwrap();
        assert_eq!(found.file().metadata().unwrap().len(), 6);
        let copied = one_bytes.to_vec();
        assert_eq!(offset(&copied), None);
        assert_eq!(offset(b"a literal"), None);
        drop(one);
        assert_eq!(offset(&one_bytes), Some(0), "bytes keep the mapping alive");
        let address = one_bytes.as_ptr().addr();
        drop(one_bytes);
        assert!(!LIVING.read().unwrap().contains_key(&address));
        assert_eq!(offset(&two_bytes), Some(0));
    }
}
