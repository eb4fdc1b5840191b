//! Changes to an image, collected block by block while it can already be read with them.
//!
//! It copies no image: a block is copied when it is first written to. Invariant: what an [`Edit`]
//! reads is what the [`Overlay`] that it ends as will read.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

use super::field::{both32, check_range};
use super::record::{Extent, RECORD_EXTENT, RECORD_SIZE};
use super::volume::VOLUME_SIZE;
use super::{BLOCK, BLOCK_LEN, IsoError, Overlay, Patch, ReadAt, Volume, round_up};

/// An image with changes; the base stays as it is.
pub struct Edit<'a, R: ?Sized> {
    base: &'a R,
    /// Blocks written to, of the base and behind it.
    blocks: BTreeMap<u64, [u8; BLOCK_LEN]>,
    /// The base's, until something is appended; then a multiple of a block.
    size: u64,
}

impl<'a, R: ReadAt + ?Sized> Edit<'a, R> {
    pub fn new(base: &'a R) -> Self {
        Edit { base, blocks: BTreeMap::new(), size: base.size() }
    }

    /// Overwrites bytes that the image has.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), IsoError> {
        check_range(self, &(offset..offset.saturating_add(bytes.len() as u64)), "a change")?;
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let within = (at % BLOCK) as usize;
            let take = rest.len().min(BLOCK_LEN - within);
            let block = self.block_mut(at / BLOCK)?;
            block[within..within + take].copy_from_slice(&rest[..take]);
            rest = &rest[take..];
            at += take as u64;
        }
        Ok(())
    }

    /// Adds `bytes` in whole blocks behind the image, `gap_bytes` of zeros before them, and returns
    /// where they lie.
    pub fn append(&mut self, bytes: &[u8], gap_bytes: u64) -> Result<Extent, IsoError> {
        let extent = self.append_hole(bytes.len() as u64, gap_bytes)?;
        self.write(extent.range().start, bytes)?;
        Ok(extent)
    }

    /// The same with so many zeros, in which the server of the image puts bytes from elsewhere.
    pub fn append_hole(&mut self, bytes: u64, gap_bytes: u64) -> Result<Extent, IsoError> {
        let start = round_up(self.size.saturating_add(gap_bytes));
        let end = round_up(start.saturating_add(bytes));
        let (Ok(block), Ok(size)) = (u32::try_from(start / BLOCK), u32::try_from(bytes)) else {
            return Err(IsoError::TooMuch { what: "blocks", found: end / BLOCK, limit: u64::from(u32::MAX) });
        };
        self.size = end;
        Ok(Extent { block, size })
    }

    /// Makes the image longer by zeros.
    pub fn extend(&mut self, bytes: u64) {
        self.size = round_up(self.size.saturating_add(bytes));
    }

    /// Points the directory record at `record_offset` to another extent.
    pub fn point_record(&mut self, record_offset: u64, extent: &Extent) -> Result<(), IsoError> {
        self.write(record_offset + RECORD_EXTENT, &both32(extent.block))?;
        self.write(record_offset + RECORD_SIZE, &both32(extent.size))
    }

    /// Brings the volume space size of every descriptor up to the image's, if it grew.
    pub fn update_volume_sizes(&mut self, volume: &Volume) -> Result<(), IsoError> {
        if self.size == self.base.size() {
            return Ok(());
        }
        let found = self.size / BLOCK;
        let limit = u64::from(u32::MAX);
        let blocks = u32::try_from(found).map_err(|_| IsoError::TooMuch { what: "blocks", found, limit })?;
        for tree in &volume.trees {
            self.write(tree.descriptor + VOLUME_SIZE, &both32(blocks))?;
        }
        Ok(())
    }

    /// The changes alone. Bytes written as they were are no change.
    pub fn finish(self) -> Result<Overlay, IsoError> {
        let mut patches: Vec<(u64, Vec<u8>)> = Vec::new();
        for (number, block) in &self.blocks {
            let Some((offset, bytes)) = self.changed_part(*number, block)? else { continue };
            match patches.last_mut() {
                Some((start, last)) if *start + last.len() as u64 == offset => last.extend(bytes),
                _ => patches.push((offset, bytes.to_vec())),
            }
        }
        let patches = patches.into_iter().map(|(offset, bytes)| Patch { offset, bytes: Bytes::from(bytes) });
        Ok(Overlay { size: self.size, patches: patches.collect() })
    }

    /// From the first to the last byte of a block that differ from the base's (behind the base:
    /// from zero).
    fn changed_part<'b>(
        &self,
        number: u64,
        block: &'b [u8; BLOCK_LEN],
    ) -> Result<Option<(u64, &'b [u8])>, IsoError> {
        let before = self.base_block(number)?;
        let differs = |at: &usize| block[*at] != before[*at];
        let Some(first) = (0..BLOCK_LEN).find(differs) else { return Ok(None) };
        let last = (0..BLOCK_LEN).rfind(differs).unwrap_or(first);
        Ok(Some((number * BLOCK + first as u64, &block[first..=last])))
    }

    fn block_mut(&mut self, number: u64) -> Result<&mut [u8; BLOCK_LEN], IsoError> {
        if !self.blocks.contains_key(&number) {
            let block = self.base_block(number)?;
            self.blocks.insert(number, block);
        }
        Ok(self.blocks.get_mut(&number).expect("it has just been put there"))
    }

    /// A block of the base; zeros where the base has ended.
    fn base_block(&self, number: u64) -> Result<[u8; BLOCK_LEN], IsoError> {
        let mut block = [0; BLOCK_LEN];
        let offset = number * BLOCK;
        let what = "a block to change";
        read_or_zero(self.base, offset, &mut block).map_err(|source| IsoError::Read {
            what,
            offset,
            source,
        })?;
        Ok(block)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Edit<'_, R> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.size);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let within = (at % BLOCK) as usize;
            let take = rest.len().min(BLOCK_LEN - within);
            let (piece, after) = rest.split_at_mut(take);
            match self.blocks.get(&(at / BLOCK)) {
                Some(block) => piece.copy_from_slice(&block[within..within + take]),
                None => read_or_zero(self.base, at, piece)?,
            }
            rest = after;
            at += take as u64;
        }
        Ok(())
    }
}

fn read_or_zero<R: ReadAt + ?Sized>(base: &R, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    let have = (base.size().saturating_sub(offset)).min(buf.len() as u64) as usize;
    let (head, beyond) = buf.split_at_mut(have);
    beyond.fill(0);
    if head.is_empty() { Ok(()) } else { base.read_at(offset, head) }
}

#[cfg(test)]
mod tests {
    use super::super::Overlaid;
    use super::*;

    #[test]
    fn an_edit_reads_as_the_overlay_that_it_becomes() {
        let base: Vec<u8> = (0..5000).map(|i| i as u8).collect();
        let mut edit = Edit::new(&base);
        edit.write(2040, &[0xAA; 20]).unwrap();
        edit.write(100, &base[100..200]).unwrap();
        let extent = edit.append(b"far away", 3 * BLOCK).unwrap();
        edit.write(extent.range().start + 4, b"AWAY").unwrap();
        let mut through_edit = vec![0; edit.size() as usize];
        edit.read_at(0, &mut through_edit).unwrap();
        let overlay = edit.finish().unwrap();
        let mut through_overlay = vec![0; overlay.size as usize];
        Overlaid::new(&base, &overlay).read_at(0, &mut through_overlay).unwrap();
        assert_eq!(through_edit, through_overlay);
        assert_eq!(through_edit[2040..2060], [0xAA; 20]);
        assert_eq!(through_edit[5000..6144 + 3 * 2048], [0; 1144 + 3 * 2048]);
        assert_eq!(&through_edit[extent.range().start as usize..][..8], b"far AWAY");
        let places: Vec<_> = overlay.patches.iter().map(|patch| (patch.offset, patch.bytes.len())).collect();
        assert_eq!(places, [(2040, 20), (12288, 8)]);
    }

    #[test]
    fn a_change_outside_the_image_is_refused() {
        let base = vec![0; 100];
        assert!(Edit::new(&base).write(99, b"ab").is_err());
        assert!(Edit::new(&base).write(u64::MAX, b"a").is_err());
    }
}
