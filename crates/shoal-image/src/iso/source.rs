//! Where the bytes of an image come from: memory, a file, or a download in progress.
//!
//! Not a stream: everything here is read by position. Invariant: `read_at` fills the whole buffer
//! or fails.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes of known length that can be read anywhere.
pub trait ReadAt {
    /// In bytes.
    fn size(&self) -> u64;

    /// Fills `buf` from `offset` on. A range that ends beyond [`ReadAt::size`] is
    /// [`io::ErrorKind::UnexpectedEof`].
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_at(offset, buf)
    }
}

impl ReadAt for Bytes {
    fn size(&self) -> u64 {
        self.as_ref().size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.as_ref().read_at(offset, buf)
    }
}

/// By `pread`, so one open file serves many readers. A file whose length is unknown has length zero.
impl ReadAt for std::fs::File {
    fn size(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buf, offset)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buf)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buf)
    }
}

/// The pieces fetched so far of an image that lies elsewhere.
///
/// A reader that needs a missing piece fails with [`io::ErrorKind::WouldBlock`]; the fetcher
/// asks [`PartialImage::take_wanted`], brings that piece and starts the reader again. The readers
/// here are pure and read few blocks, so starting again costs nothing, and they need no async twin.
#[derive(Debug)]
pub struct PartialImage {
    size: u64,
    piece_bytes: usize,
    pieces: BTreeMap<u64, Bytes>,
    wanted: Mutex<Option<u64>>,
}

impl PartialImage {
    /// An image of `size` bytes, of which nothing is there yet, fetched in pieces of `piece_bytes`.
    pub fn new(size: u64, piece_bytes: usize) -> PartialImage {
        PartialImage {
            size,
            piece_bytes: piece_bytes.max(1),
            pieces: BTreeMap::new(),
            wanted: Mutex::default(),
        }
    }

    /// The piece that the last failed read lacked, as a byte range of the image.
    pub fn take_wanted(&self) -> Option<std::ops::Range<u64>> {
        let piece = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let start = piece * self.piece_bytes as u64;
        Some(start..(start + self.piece_bytes as u64).min(self.size))
    }

    /// Adds the bytes of a range that [`PartialImage::take_wanted`] gave.
    pub fn insert(&mut self, start: u64, bytes: Bytes) {
        self.pieces.insert(start / self.piece_bytes as u64, bytes);
    }

    /// Bytes held in memory.
    pub fn held_bytes(&self) -> u64 {
        self.pieces.values().map(|piece| piece.len() as u64).sum()
    }
}

impl ReadAt for PartialImage {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.size);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let (piece, within) = (at / self.piece_bytes as u64, (at % self.piece_bytes as u64) as usize);
            let Some(bytes) = self.pieces.get(&piece).and_then(|bytes| bytes.get(within..)) else {
                *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(piece);
                return Err(io::ErrorKind::WouldBlock.into());
            };
            let take = bytes.len().min(buf.len() - done);
            if take == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buf[done..done + take].copy_from_slice(&bytes[..take]);
            done += take;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_gives_the_bytes_asked_for_or_the_end() {
        let bytes = vec![1, 2, 3, 4];
        let mut buf = [0; 2];
        bytes.read_at(1, &mut buf).unwrap();
        assert_eq!(buf, [2, 3]);
        assert_eq!(bytes.read_at(3, &mut buf).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(bytes.read_at(u64::MAX, &mut buf).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_partial_image_names_the_piece_it_lacks() {
        let whole: Vec<u8> = (0..=99).collect();
        let mut image = PartialImage::new(100, 16);
        let mut buf = [0; 20];
        let mut fetched = 0;
        while image.read_at(90 - 20, &mut buf).is_err() {
            let range = image.take_wanted().expect("a failed read says what it lacks");
            let bytes = Bytes::copy_from_slice(&whole[range.start as usize..range.end as usize]);
            image.insert(range.start, bytes);
            fetched += 1;
        }
        assert_eq!((buf.as_slice(), fetched), (&whole[70..90], 2));
        assert_eq!(image.read_at(90, &mut buf).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(image.take_wanted(), None);
    }
}
