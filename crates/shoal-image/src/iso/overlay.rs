//! Images that are changed without being copied, and images that are mostly holes.
//!
//! Not a file format and not a server. Invariant: the patches of an [`Overlay`] and the pieces of
//! a [`SparseImage`] are sorted, do not overlap and end within the image's size.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::ReadAt;

/// Bytes that stand at `offset` of an image. Its `Debug` shows where and how many, never which:
/// they may be a kickstart.
#[derive(Clone, PartialEq, Eq)]
pub struct Patch {
    pub offset: u64,
    pub bytes: Bytes,
}

impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patch({}..{})", self.offset, self.end())
    }
}

impl Patch {
    /// The offset after the last byte.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// Changes to an image that is not copied.
///
/// A byte of the result is that of the patch which covers it, else the base's, else (beyond the
/// base's end) zero. Patches beyond the base's end are its tail; the gaps of a tail cost nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Of the result, in bytes; never less than the base's.
    pub size: u64,
    pub patches: Vec<Patch>,
}

/// A base with its changes, to be read as one image.
#[derive(Debug)]
pub struct Overlaid<'a, R: ?Sized> {
    base: &'a R,
    overlay: &'a Overlay,
}

impl<'a, R: ReadAt + ?Sized> Overlaid<'a, R> {
    pub fn new(base: &'a R, overlay: &'a Overlay) -> Self {
        Overlaid { base, overlay }
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Overlaid<'_, R> {
    fn size(&self) -> u64 {
        self.overlay.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = end_within(offset, buf.len(), self.size())?;
        let base_end = end.min(self.base.size());
        let from_base = base_end.saturating_sub(offset) as usize;
        let (head, beyond) = buf.split_at_mut(from_base);
        if !head.is_empty() {
            self.base.read_at(offset, head)?;
        }
        beyond.fill(0);
        apply(&self.overlay.patches, offset, buf);
        Ok(())
    }
}

/// An image of which only some pieces are not zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseImage {
    /// In bytes.
    pub size: u64,
    pub pieces: Vec<Patch>,
}

impl SparseImage {
    /// Writes the image to an empty file, leaving the holes to the file system.
    pub fn write_to(&self, file: &File) -> io::Result<()> {
        file.set_len(self.size)?;
        self.pieces.iter().try_for_each(|piece| file.write_all_at(&piece.bytes, piece.offset))
    }

    /// The whole image, holes and all.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut whole = vec![0; usize::try_from(self.size).expect("an image that we made fits into memory")];
        apply(&self.pieces, 0, &mut whole);
        whole
    }
}

impl ReadAt for SparseImage {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        end_within(offset, buf.len(), self.size)?;
        buf.fill(0);
        apply(&self.pieces, offset, buf);
        Ok(())
    }
}

fn end_within(offset: u64, len: usize, size: u64) -> io::Result<u64> {
    let end = offset.checked_add(len as u64).filter(|end| *end <= size);
    end.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Copies what `patches` (sorted) hold of `offset..offset + buf.len()` into `buf`.
fn apply(patches: &[Patch], offset: u64, buf: &mut [u8]) {
    let end = offset + buf.len() as u64;
    let first = patches.partition_point(|patch| patch.end() <= offset);
    for patch in patches[first..].iter().take_while(|patch| patch.offset < end) {
        let (from, to) = (patch.offset.max(offset), patch.end().min(end));
        let source = &patch.bytes[(from - patch.offset) as usize..(to - patch.offset) as usize];
        buf[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(offset: u64, bytes: &'static [u8]) -> Patch {
        Patch { offset, bytes: Bytes::from_static(bytes) }
    }

    #[test]
    fn every_range_of_an_overlaid_image_is_that_of_the_whole() {
        let base: Vec<u8> = (100..120).collect();
        let patches = vec![patch(0, b"a"), patch(3, b"bcd"), patch(18, b"ef"), patch(24, b"tail")];
        let overlay = Overlay { size: 30, patches };
        let mut whole = base.clone();
        whole.resize(30, 0);
        for patch in &overlay.patches {
            whole[patch.offset as usize..patch.end() as usize].copy_from_slice(&patch.bytes);
        }
        let image = Overlaid::new(&base, &overlay);
        for start in 0..=30 {
            for end in start..=30 {
                let mut buf = vec![0xEE; end - start];
                image.read_at(start as u64, &mut buf).unwrap();
                assert_eq!(buf, whole[start..end], "{start}..{end}");
            }
        }
        assert!(image.read_at(30, &mut [0]).is_err());
    }

    #[test]
    fn a_sparse_image_reads_and_writes_its_holes_as_zeros() {
        let image = SparseImage { size: 12, pieces: vec![patch(2, b"xy"), patch(9, b"z")] };
        let whole = b"\0\0xy\0\0\0\0\0z\0\0";
        assert_eq!(image.to_vec(), whole);
        let file = tempfile::tempfile().unwrap();
        image.write_to(&file).unwrap();
        let mut read = [0; 12];
        ReadAt::read_at(&file, 0, &mut read).unwrap();
        assert_eq!(&read, whole);
    }
}
