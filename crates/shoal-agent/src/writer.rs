//! Writes an image to a disk so that the disk starts the whole image or nothing.
//!
//! The first MiB and the last 64 KiB of the disk hold everything that a firmware starts from: boot code, the partition
//! table, its backup. Both are cleared and flushed before anything else is written, and withheld in memory until the
//! digest is right and everything between them is on the medium. Invariants: whenever power fails, the disk either
//! has no valid table or boot sector, or everything that they lead to; a failure leaves it cleared.

mod view;

pub use view::Window;

use std::io;

use shoal_recipe::{FailedStep, Verify};

use crate::block::BlockDevice;
use crate::failure::Failure;
use crate::image::too_large;
use crate::pipeline::BLOCK_BYTES;
use crate::table::HEAD_BYTES;

/// The last part that is written: boot sector and GPT header, for sectors of 512 and 4096 bytes.
const KEY_BYTES: usize = 8192;
/// Withheld at the disk's end: the backup GPT has 33 sectors of 512 bytes, or 5 of 4096.
const TAIL_BYTES: u64 = 64 << 10;
/// Cleared at the disk's end: RAID members and ZFS pools have their marks there too.
const CLEARED_BYTES: u64 = 1 << 20;
/// Read back where not everything is.
const VERIFY_BYTES: u64 = 1 << 30;

/// An image on its way to a disk.
pub struct Writer<'a, D: ?Sized> {
    disk: &'a D,
    head: Vec<u8>,
    tail: Vec<u8>,
    tail_start: u64,
    /// Plain bytes of the image so far.
    written: u64,
    /// The body's blocks, one after the other from its start, as CRC-32.
    sums: Vec<u32>,
}

impl<'a, D: BlockDevice + ?Sized> Writer<'a, D> {
    /// Nothing is written yet.
    pub fn new(disk: &'a D) -> Result<Writer<'a, D>, Failure> {
        let size = disk.size();
        let smallest = HEAD_BYTES as u64 + CLEARED_BYTES + BLOCK_BYTES as u64;
        if size < smallest {
            return Err(Failure::new(
                FailedStep::Disk,
                format!("the disk has {size} bytes, which is too small"),
            ));
        }
        let tail_start = (size - TAIL_BYTES) / 4096 * 4096;
        let tail = vec![0; (size - tail_start) as usize];
        Ok(Writer { disk, head: vec![0; HEAD_BYTES], tail, tail_start, written: 0, sums: Vec::new() })
    }

    /// Plain bytes of the image so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Where the withheld end of the disk begins.
    pub fn tail_start(&self) -> u64 {
        self.tail_start
    }

    pub fn head(&mut self) -> &mut Vec<u8> {
        &mut self.head
    }

    /// Clears what a firmware could start from. Must be done before the first block.
    pub fn clear(&self) -> io::Result<()> {
        let start = (self.disk.size() - CLEARED_BYTES) / 4096 * 4096;
        self.disk.write_at(start, &vec![0; (self.disk.size() - start) as usize])?;
        self.disk.sync()?;
        self.disk.write_at(0, &vec![0; HEAD_BYTES])?;
        self.disk.sync()
    }

    /// The image's next bytes. Every block but the last has [`BLOCK_BYTES`].
    pub fn write(&mut self, block: &[u8]) -> Result<(), Failure> {
        let end = self.written + block.len() as u64;
        if end > self.disk.size() {
            return Err(too_large(end, self.disk.size()));
        }
        let body = self
            .put(self.written, block)
            .map_err(Failure::of(FailedStep::Write, "writing the disk failed"))?;
        self.sums.push(crc32fast::hash(body));
        self.written = end;
        Ok(())
    }

    /// Writes through to the disk or into what is withheld; returns the part that went to the disk.
    fn put<'b>(&mut self, offset: u64, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        let (head, tail) = self.split(offset, bytes.len());
        if head > 0 {
            self.head[offset as usize..offset as usize + head].copy_from_slice(&bytes[..head]);
        }
        if tail < bytes.len() {
            let at = (offset + tail as u64 - self.tail_start) as usize;
            self.tail[at..at + bytes.len() - tail].copy_from_slice(&bytes[tail..]);
        }
        let body = &bytes[head..tail];
        if !body.is_empty() {
            self.disk.write_at(offset + head as u64, body)?;
        }
        Ok(body)
    }

    fn get(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (head, tail) = self.split(offset, buffer.len());
        if head > 0 {
            buffer[..head].copy_from_slice(&self.head[offset as usize..offset as usize + head]);
        }
        if tail < buffer.len() {
            let at = (offset + tail as u64 - self.tail_start) as usize;
            let length = buffer.len() - tail;
            buffer[tail..].copy_from_slice(&self.tail[at..at + length]);
        }
        if head < tail {
            self.disk.read_at(offset + head as u64, &mut buffer[head..tail])?;
        }
        Ok(())
    }

    /// Of `length` bytes at `offset`: how many belong to the head, and where those of the tail begin.
    fn split(&self, offset: u64, length: usize) -> (usize, usize) {
        let upto = |edge: u64| edge.saturating_sub(offset).min(length as u64) as usize;
        (upto(HEAD_BYTES as u64), upto(self.tail_start))
    }

    /// Everything but what is withheld is on the medium.
    pub fn flush(&self) -> Result<(), Failure> {
        self.disk.sync().map_err(Failure::of(FailedStep::Write, "flushing the disk failed"))
    }

    /// What was changed in a window is on the medium, and the next reads come from there.
    pub fn settle(&self) -> io::Result<()> {
        self.disk.sync()?;
        self.disk.forget()
    }

    /// Reads the image back and compares it. `on_bytes` gets the end of each block.
    pub fn verify(&self, verify: Verify, mut on_bytes: impl FnMut(u64)) -> Result<(), Failure> {
        let failed = |error: io::Error| {
            Failure::new(FailedStep::Verify, format!("reading the disk back failed: {error}"))
        };
        self.disk.forget().map_err(failed)?;
        let mut buffer = vec![0; BLOCK_BYTES];
        for (index, sum) in self.sums.iter().enumerate() {
            let start = index as u64 * BLOCK_BYTES as u64;
            let end = (start + BLOCK_BYTES as u64).min(self.written);
            if verify == Verify::Ends && start >= VERIFY_BYTES && end + VERIFY_BYTES <= self.written {
                continue;
            }
            let start = start.max(HEAD_BYTES as u64).min(end);
            let end = end.min(self.tail_start).max(start);
            let block = &mut buffer[..(end - start) as usize];
            self.disk.read_at(start, block).map_err(failed)?;
            if crc32fast::hash(block) != *sum {
                return Err(Failure::new(
                    FailedStep::Verify,
                    format!("the disk returned other data than was written, between bytes {start} and {end}"),
                ));
            }
            on_bytes(end);
        }
        Ok(())
    }

    /// A part of the disk as it will be, to be read and changed.
    pub fn window(&mut self, range: std::ops::Range<u64>) -> Window<'_, 'a, D> {
        Window::new(self, range)
    }

    /// Writes what was withheld: from now on the disk starts. `backup` is the disk's end.
    pub fn commit(mut self, backup: &[u8]) -> Result<(), Failure> {
        let at = self.tail.len() - backup.len();
        self.tail[at..].copy_from_slice(backup);
        self.write_withheld()
            .map_err(Failure::of(FailedStep::Write, "writing the partition table failed"))?;
        let failed = |error: io::Error| {
            Failure::new(FailedStep::Verify, format!("reading the disk back failed: {error}"))
        };
        self.disk.forget().map_err(failed)?;
        for (offset, expected) in [(0, &self.head), (self.tail_start, &self.tail)] {
            let mut found = vec![0; expected.len()];
            self.disk.read_at(offset, &mut found).map_err(failed)?;
            if found != *expected {
                return Err(Failure::new(
                    FailedStep::Verify,
                    "the disk returned another partition table than was written",
                ));
            }
        }
        Ok(())
    }

    fn write_withheld(&self) -> io::Result<()> {
        self.disk.sync()?;
        self.disk.write_at(KEY_BYTES as u64, &self.head[KEY_BYTES..])?;
        self.disk.sync()?;
        self.disk.write_at(self.tail_start, &self.tail)?;
        self.disk.sync()?;
        self.disk.write_at(0, &self.head[..KEY_BYTES])?;
        self.disk.sync()
    }
}

/// Clears what a firmware could start from, after a failure.
pub fn clear<D: BlockDevice + ?Sized>(disk: &D) -> io::Result<()> {
    match Writer::new(disk) {
        Ok(writer) => writer.clear(),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
pub mod tests;
