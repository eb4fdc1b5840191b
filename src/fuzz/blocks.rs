//! Images as input of a target: packed, so that a mutation meets what is written and not the zeros
//! between; and read under observation.
//!
//! Each block is the number of its bytes up to the zeros at its end (16 bits, little-endian) and those
//! bytes. The highest bit says that the image ends right there, the next one that there are so many blocks
//! of zeros: that is how a real image of some megabytes becomes an input of some kilobytes. Invariant: any
//! bytes are an image.

use std::cell::Cell;
use std::io;

use shoal_image::iso::{BLOCK, Entry, ReadAt, TreeKind, Volume};

const BLOCK_LEN: usize = BLOCK as usize;
/// Images of a target have 64 MiB at most; what is zero of them takes no memory.
const BLOCKS_MAX: usize = 32 << 10;
const ENDS_HERE: u16 = 1 << 15;
const ZEROS: u16 = 1 << 14;
/// What is packed of a file that no reader of images looks into.
const FILE_BYTES_MAX: u64 = 16;

/// The image that `data` stands for.
pub fn unpack(data: &[u8]) -> Vec<u8> {
    let pieces: Vec<Piece> = pieces(data);
    let mut image = vec![0; pieces.last().map_or(0, |last| last.end)];
    for piece in pieces {
        image[piece.start..piece.start + piece.bytes.len()].copy_from_slice(piece.bytes);
    }
    image
}

/// Some blocks: where they begin and end, and what is not zero of them.
struct Piece<'a> {
    start: usize,
    end: usize,
    bytes: &'a [u8],
}

fn pieces(data: &[u8]) -> Vec<Piece<'_>> {
    let (mut pieces, mut rest, mut start) = (Vec::new(), data, 0);
    while let Some((head, after)) = rest.split_at_checked(2) {
        let head = u16::from_le_bytes([head[0], head[1]]);
        let number = usize::from(head & !ENDS_HERE & !ZEROS);
        let (blocks, len) = if head & ZEROS != 0 { (number, 0) } else { (1, number % (BLOCK_LEN + 1)) };
        let (bytes, after) = after.split_at(len.min(after.len()));
        let ends_here = head & ENDS_HERE != 0;
        let end = if ends_here { start + bytes.len() } else { start + blocks * BLOCK_LEN };
        if end > BLOCKS_MAX * BLOCK_LEN {
            break;
        }
        pieces.push(Piece { start, end, bytes });
        if ends_here {
            break;
        }
        (rest, start) = (after, end);
    }
    pieces
}

/// The other way round.
pub fn pack(image: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut zeros: u16 = 0;
    for block in image.chunks(BLOCK_LEN).take(BLOCKS_MAX) {
        match block.iter().rposition(|byte| *byte != 0) {
            None if zeros < ZEROS - 1 => zeros += 1,
            last => {
                put_zeros(&mut packed, &mut zeros);
                let len = last.map_or(0, |last| last + 1);
                packed.extend((len as u16).to_le_bytes());
                packed.extend(&block[..len]);
            }
        }
    }
    put_zeros(&mut packed, &mut zeros);
    packed
}

fn put_zeros(packed: &mut Vec<u8>, zeros: &mut u16) {
    if *zeros > 0 {
        packed.extend((std::mem::take(zeros) | ZEROS).to_le_bytes());
    }
}

/// Packed without what is in its files, but for those that are looked into.
pub fn pack_hollow(mut image: Vec<u8>) -> Vec<u8> {
    let walked = Volume::open(&image).and_then(|volume| volume.walk(&image, TreeKind::Primary));
    let is_hollow = |entry: &Entry| !entry.is_dir && entry.name != "BOOT.CFG";
    for entry in walked.unwrap_or_default().into_iter().filter(is_hollow) {
        let end = entry.extent.end.min(image.len() as u64);
        let start = (entry.extent.start + FILE_BYTES_MAX).min(end);
        image[start as usize..end as usize].fill(0);
    }
    pack(&image)
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
        // A block of one byte, a full one, a run of zeros, and a block of eight bytes.
        assert_eq!(packed.len(), 4 * 2 + 1 + BLOCK_LEN + 8);
    }

    #[test]
    fn an_image_may_end_within_a_block() {
        assert_eq!(unpack(&[3, 0x80, b'a', b'b', b'c', 9, 9]), b"abc");
        assert_eq!(unpack(&[7, 0, b'a']).len(), BLOCK_LEN);
        assert_eq!(unpack(&[7]), b"");
        assert_eq!(unpack(&[3, 0x40, 1, 0x80, b'a']).len(), 3 * BLOCK_LEN + 1);
        assert!(unpack(&vec![0x7f; 1 << 20]).len() <= BLOCKS_MAX * BLOCK_LEN);
    }
}
