//! A part of a disk as it will be once the writer has committed, as a file of its own.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use super::Writer;
use crate::block::BlockDevice;

/// Reads and writes within a range of the disk, and never beyond it.
pub struct Window<'w, 'a, D: ?Sized> {
    writer: &'w mut Writer<'a, D>,
    range: Range<u64>,
    at: u64,
}

impl<'w, 'a, D: BlockDevice + ?Sized> Window<'w, 'a, D> {
    pub(super) fn new(writer: &'w mut Writer<'a, D>, range: Range<u64>) -> Self {
        let end = range.end.min(writer.disk.size());
        let range = range.start.min(end)..end;
        Window { writer, range, at: 0 }
    }

    fn size(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn room(&self, wanted: usize) -> usize {
        self.size().saturating_sub(self.at).min(wanted as u64) as usize
    }
}

impl<D: BlockDevice + ?Sized> Read for Window<'_, '_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.room(buffer.len());
        self.writer.get(self.range.start + self.at, &mut buffer[..length])?;
        self.at += length as u64;
        Ok(length)
    }
}

impl<D: BlockDevice + ?Sized> Write for Window<'_, '_, D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.room(bytes.len());
        self.writer.put(self.range.start + self.at, &bytes[..length])?;
        self.at += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<D: BlockDevice + ?Sized> Seek for Window<'_, '_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
