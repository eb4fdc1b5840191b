//! Images as input of a target: packed, so that a mutation meets what is written and not the zeros
//! between; and read under observation.
//!
//! Each block is the number of its bytes up to the zeros at its end (16 bits, little-endian) and those
//! bytes. The highest bit says that the image ends right there. Invariant: any bytes are an image.

use std::cell::Cell;
use std::io;

use crate::iso::{BLOCK, ReadAt};

const BLOCK_LEN: usize = BLOCK as usize;
/// Images of a target have 1 MiB at most.
const BLOCKS_MAX: usize = 512;
const ENDS_HERE: u16 = 1 << 15;

/// The image that `data` stands for.
pub fn unpack(data: &[u8]) -> Vec<u8> {
    let (mut image, mut rest) = (Vec::new(), data);
    for _ in 0..BLOCKS_MAX {
        let Some((head, after)) = rest.split_at_checked(2) else { break };
        let head = u16::from_le_bytes([head[0], head[1]]);
        let len = usize::from(head & !ENDS_HERE) % (BLOCK_LEN + 1);
        let (bytes, after) = after.split_at(len.min(after.len()));
        image.extend(bytes);
        if head & ENDS_HERE != 0 {
            break;
        }
        image.resize(image.len().next_multiple_of(BLOCK_LEN), 0);
        if len == 0 {
            image.resize(image.len() + BLOCK_LEN, 0);
        }
        rest = after;
    }
    image
}

/// The other way round.
pub fn pack(image: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    for block in image.chunks(BLOCK_LEN).take(BLOCKS_MAX) {
        let len = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        packed.extend((len as u16).to_le_bytes());
        packed.extend(&block[..len]);
    }
    packed
}

/// An image that no reader may read behind, nor too much of.
pub struct Observed<'a> {
    image: &'a [u8],
    left: Cell<u64>,
}

/// What all of one look at an image may read: the directories of all trees, some times over.
const READ_BYTES_MAX: u64 = 512 << 20;

impl<'a> Observed<'a> {
    pub fn new(image: &'a [u8]) -> Observed<'a> {
        Observed { image, left: Cell::new(READ_BYTES_MAX) }
    }
}

impl ReadAt for Observed<'_> {
    fn size(&self) -> u64 {
        self.image.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        assert!(end.is_some_and(|end| end <= self.size()), "{} bytes are read at {offset}", buf.len());
        let left = self.left.get().checked_sub(buf.len() as u64);
        self.left.set(left.expect("a look at an image reads a bounded number of bytes"));
        self.image.read_at(offset, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_what_it_was_packed_from() {
        let mut image = vec![0; 5 * BLOCK_LEN];
        image[0] = 1;
        image[2 * BLOCK_LEN - 1] = 2;
        image[4 * BLOCK_LEN + 7] = 3;
        let packed = pack(&image);
        assert_eq!(unpack(&packed), image);
        assert_eq!(packed.len(), 5 * 2 + 1 + BLOCK_LEN + 8);
    }

    #[test]
    fn an_image_may_end_within_a_block() {
        assert_eq!(unpack(&[3, 0x80, b'a', b'b', b'c', 9, 9]), b"abc");
        assert_eq!(unpack(&[7, 0, b'a']).len(), BLOCK_LEN);
        assert_eq!(unpack(&[7]), b"");
        assert!(unpack(&vec![0; 1 << 20]).len() <= BLOCKS_MAX * BLOCK_LEN);
    }
}
