//! An image as it is served: a base that is never changed, and the changes that lie over it.
//!
//! Not a parser: which bytes are changed is decided elsewhere. A task ISO (pieces over nothing), an
//! installer with its boot options set (patches over a mapped file) and one with the kickstart
//! merged in are all the same type. Task ISOs are held in memory, some 30 KB each, rather than read
//! back from their files: no descriptor stays open a job, and a change to the file does not change
//! what a host boots. Invariant: equal ETags mean equal bytes, since the tag is a hash of the
//! base's hash and of every change; times play no part in it.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use shoal_image::iso::{Overlay, Patch, ReadAt, SparseImage};

/// Largest slice handed out in one piece, so that a slow reader holds no more than this in memory.
pub const SLICE_BYTES_MAX: usize = 256 << 10;

static ZEROS: [u8; SLICE_BYTES_MAX] = [0; SLICE_BYTES_MAX];

#[derive(Debug)]
pub struct Image {
    base: Base,
    base_size: u64,
    overlay: Overlay,
    etag: HeaderValue,
}

#[derive(Debug)]
enum Base {
    /// Mapped or owned: slices are handed out without a copy.
    Memory(Bytes),
    /// Zeros wherever no patch lies.
    Nothing,
}

impl Image {
    /// `sha256` is that of `base`, in hex.
    pub fn in_memory(base: Bytes, sha256: &str, overlay: Overlay) -> Image {
        Image::new(base.len() as u64, Base::Memory(base), sha256, overlay)
    }

    /// An image that was made in memory, holes and all.
    pub fn sparse(image: SparseImage) -> Image {
        let SparseImage { size, pieces } = image;
        Image::new(0, Base::Nothing, "", Overlay { size, patches: pieces })
    }

    /// The same image with the bytes of `source` in `places`, one after the other: holes of it that are as long
    /// together. They are not copied, and the tag follows from `sha256`, which is the source's, in hex.
    pub fn filled(mut self, source: &Bytes, sha256: &str, places: &[Range<u64>]) -> Image {
        let mut hash = Sha256::new();
        hash.update(self.etag.as_bytes());
        hash.update(sha256);
        let mut rest = source.clone();
        for place in places {
            let length = usize::try_from(place.end - place.start).unwrap_or(usize::MAX).min(rest.len());
            hash.update(format!("|{}|{length}", place.start));
            let patches = &mut self.overlay.patches;
            let index = patches.partition_point(|patch| patch.offset < place.start);
            patches.insert(index, Patch { offset: place.start, bytes: rest.split_to(length) });
        }
        self.etag = tag(hash);
        self
    }

    fn new(base_size: u64, base: Base, sha256: &str, overlay: Overlay) -> Image {
        let etag = content_tag(sha256, base_size, &overlay);
        Image { base, base_size, overlay, etag }
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.overlay.size
    }

    /// A strong validator, quotes included.
    pub fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    /// The first bytes of `range` that lie in one piece: at least one where the range is not empty
    /// and inside the image, at most [`SLICE_BYTES_MAX`].
    pub fn slice(&self, range: Range<u64>) -> Bytes {
        let start = range.start;
        let mut end = range.end.min(start.saturating_add(SLICE_BYTES_MAX as u64)).min(self.size());
        if start >= end {
            return Bytes::new();
        }
        if let Some(patch) = self.patch_after(start) {
            if patch.offset <= start {
                let inside = (start - patch.offset) as usize;
                return patch.bytes.slice(inside..patch.bytes.len().min(inside + (end - start) as usize));
            }
            end = end.min(patch.offset);
        }
        if start >= self.base_size {
            return Bytes::from_static(&ZEROS).slice(..(end - start) as usize);
        }
        self.base_slice(start, (end.min(self.base_size) - start) as usize)
    }

    /// The first patch that ends after `offset`.
    fn patch_after(&self, offset: u64) -> Option<&Patch> {
        let patches = &self.overlay.patches;
        patches.get(patches.partition_point(|patch| patch.end() <= offset))
    }

    fn base_slice(&self, start: u64, len: usize) -> Bytes {
        match &self.base {
            Base::Memory(bytes) => bytes.slice(start as usize..start as usize + len),
            Base::Nothing => Bytes::from_static(&ZEROS).slice(..len),
        }
    }
}

impl ReadAt for Image {
    fn size(&self) -> u64 {
        Image::size(self)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|end| *end <= self.size());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut at = offset;
        while at < end {
            let slice = self.slice(at..end);
            let done = (at - offset) as usize;
            buf[done..done + slice.len()].copy_from_slice(&slice);
            at += slice.len() as u64;
        }
        Ok(())
    }
}

fn content_tag(sha256: &str, base_size: u64, overlay: &Overlay) -> HeaderValue {
    let mut hash = Sha256::new();
    hash.update(format!("{sha256}|{base_size}|{}", overlay.size));
    for Patch { offset, bytes } in &overlay.patches {
        hash.update(format!("|{offset}|{}|", bytes.len()));
        hash.update(bytes);
    }
    tag(hash)
}

fn tag(hash: Sha256) -> HeaderValue {
    let tag = format!("\"{}\"", shoal_base::hex(&hash.finalize()[..16]));
    HeaderValue::from_str(&tag).expect("hex digits in quotes are a header value")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patch(offset: u64, bytes: &[u8]) -> Patch {
        Patch { offset, bytes: Bytes::copy_from_slice(bytes) }
    }

    fn untouched(size: u64) -> Overlay {
        Overlay { size, patches: Vec::new() }
    }

    fn read(image: &Image, range: Range<u64>) -> Vec<u8> {
        let mut bytes = vec![0xEE; (range.end - range.start) as usize];
        image.read_at(range.start, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn slices_of_a_mapped_base_are_not_copied() {
        let base = Bytes::from(vec![7; 100]);
        let image =
            Image::in_memory(base.clone(), "aa", Overlay { size: 100, patches: vec![patch(50, b"x")] });
        let slice = image.slice(10..90);
        assert_eq!(slice.as_ptr(), base[10..].as_ptr());
        assert_eq!(slice.len(), 40, "up to the patch");
        assert_eq!(image.slice(50..90), "x");
        assert_eq!(image.slice(51..90).len(), 39);
    }

    #[test]
    fn a_hole_is_filled_without_a_copy() {
        let source = Bytes::from((0..50).collect::<Vec<u8>>());
        let places = [40..70, 72..92];
        let image = |sha256: &str, places: &[Range<u64>]| {
            let sparse = SparseImage { size: 100, pieces: vec![patch(0, b"head"), patch(95, b"tail")] };
            Image::sparse(sparse).filled(&source, sha256, places)
        };
        let filled = image("aa", &places);
        assert_eq!(filled.slice(45..100).as_ptr(), source[5..].as_ptr());
        assert_eq!(read(&filled, 38..42), [0, 0, 0, 1]);
        assert_eq!(read(&filled, 68..74), [28, 29, 0, 0, 30, 31]);
        assert_eq!(read(&filled, 91..97), [49, 0, 0, 0, b't', b'a']);
        assert_eq!(filled.etag(), image("aa", &places).etag());
        assert_ne!(filled.etag(), image("ab", &places).etag());
        assert_ne!(filled.etag(), image("aa", &[41..71, 72..92]).etag());
        let on_base =
            Image::in_memory(vec![7; 40].into(), "aa", untouched(100)).filled(&source, "aa", &places);
        assert_eq!(read(&on_base, 39..41), [7, 0]);
    }

    #[test]
    fn no_slice_is_larger_than_the_bound() {
        let size = 3 * SLICE_BYTES_MAX as u64;
        let whole = vec![1; size as usize];
        let sparse =
            Image::sparse(SparseImage { size, pieces: vec![patch(0, &whole[..SLICE_BYTES_MAX * 2])] });
        let images = [Image::in_memory(whole.clone().into(), "aa", untouched(size)), sparse];
        for image in images {
            for start in [0, 5, size / 3, size / 3 * 2] {
                assert_eq!(image.slice(start..size).len(), SLICE_BYTES_MAX, "{start}");
            }
            assert!(image.slice(size..size + 1).is_empty());
        }
    }

    #[test]
    fn the_etag_is_of_the_content_alone() {
        let image = |sha256: &str, size, offset, bytes: &[u8]| {
            let overlay = Overlay { size, patches: vec![patch(offset, bytes)] };
            Image::in_memory(vec![0; 10].into(), sha256, overlay).etag().clone()
        };
        let tag = image("aa", 10, 3, b"ks");
        assert_eq!(tag, image("aa", 10, 3, b"ks"));
        for other in [
            image("ab", 10, 3, b"ks"),
            image("aa", 12, 3, b"ks"),
            image("aa", 10, 4, b"ks"),
            image("aa", 10, 3, b"kt"),
        ] {
            assert_ne!(tag, other);
        }
        let text = tag.to_str().unwrap();
        assert!(text.starts_with('"') && text.ends_with('"') && text.len() == 34, "{text}");
    }

    #[test]
    fn a_read_beyond_the_end_fails() {
        let image = Image::in_memory(vec![1; 10].into(), "aa", untouched(10));
        assert!(image.read_at(5, &mut [0; 6]).is_err());
        assert!(image.read_at(u64::MAX, &mut [0; 1]).is_err());
    }

    proptest! {
        #[test]
        fn every_range_is_that_of_the_whole(
            base in prop::collection::vec(any::<u8>(), 1..80),
            grown in 0u64..40,
            patches in prop::collection::btree_map(0u64..110, 1usize..9, 0..8),
            range in (0u64..120, 0u64..120),
        ) {
            let size = base.len() as u64 + grown;
            let mut whole = base.clone();
            whole.resize(size as usize, 0);
            let mut kept: Vec<Patch> = Vec::new();
            for (offset, len) in patches {
                let free = kept.last().is_none_or(|last| last.end() <= offset);
                if free && offset + len as u64 <= size {
                    kept.push(patch(offset, &vec![0xAB; len]));
                    whole[offset as usize..offset as usize + len].fill(0xAB);
                }
            }
            let range = range.0.min(range.1).min(size)..range.0.max(range.1).min(size);
            let overlay = Overlay { size, patches: kept.clone() };
            let expected = &whole[range.start as usize..range.end as usize];
            prop_assert_eq!(&read(&Image::in_memory(base.into(), "aa", overlay), range.clone()), expected);
            let sparse = SparseImage { size, pieces: vec![patch(0, &whole)] };
            prop_assert_eq!(&read(&Image::sparse(sparse), range.clone()), expected);
        }
    }
}
