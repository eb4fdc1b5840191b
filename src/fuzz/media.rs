//! Media as they are built and as they are read: ranges of any form, images with any files.
//!
//! Invariant: what is served or built is compared byte by byte with a plain copy.

use bytes::Bytes;
use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Method};

use crate::media::{Image, RangeAnswer, answer};
use shoal_image::fat::build_task_stick;
use shoal_image::iso::{NONCE_NAME, Overlay, Patch, ReadAt, TreeKind, Volume, build_task_iso};
use shoal_sim::read_as_guest;

/// Eight bytes make an image, lines the headers that ask for a part of it.
pub fn range(data: &[u8]) {
    let Some((shape, lines)) = data.split_at_checked(8) else { return };
    let (image, whole) = image_of(shape);
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(8) {
        let Some((kind, value)) = line.split_first() else { continue };
        let name = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH][usize::from(*kind) % 4].clone();
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    for method in [Method::GET, Method::HEAD] {
        let size = image.size();
        if let RangeAnswer::Part(range) = answer(&method, &headers, size, image.etag()) {
            assert!(method == Method::GET && range.start < range.end && range.end <= size);
            let mut read = vec![0; (range.end - range.start) as usize];
            image.read_at(range.start, &mut read).expect("a part that was granted can be read");
            assert_eq!(read, whole[range.start as usize..range.end as usize]);
        }
    }
}

/// An image of up to some hundred bytes, and its bytes.
fn image_of(shape: &[u8]) -> (Image, Vec<u8>) {
    let number = |at: usize| usize::from(shape[at]);
    let base: Vec<u8> = (0..=shape[0]).collect();
    let mut whole = base.clone();
    whole.resize(base.len() + number(1), 0);
    let mut patches: Vec<Patch> = Vec::new();
    let mut next = 0;
    for pair in shape[2..].chunks_exact(2) {
        let start = next + usize::from(pair[0]);
        let end = start + usize::from(pair[1]) + 1;
        if end <= whole.len() {
            whole[start..end].fill(0xAB);
            patches.push(Patch { offset: start as u64, bytes: Bytes::from(vec![0xAB; end - start]) });
            next = end;
        }
    }
    let overlay = Overlay { size: whole.len() as u64, patches };
    (Image::in_memory(base.into(), "aa", overlay), whole)
}

/// Kickstart, recipe and nonce, a line with four dashes between them: the ISO read by our own reader,
/// the stick by the simulated guest's.
pub fn task_media(data: &[u8]) {
    let mut parts = split(data, b"\n----\n").into_iter();
    let (kickstart, recipe) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let nonce = parts.next();
    if kickstart.is_empty() || data.len() > 1 << 16 {
        return;
    }
    let nonce_path = format!("/{NONCE_NAME}");
    let files = [("/KS.CFG", Some(kickstart)), ("/RECIPE.JSO", Some(recipe)), (nonce_path.as_str(), nonce)];
    let iso = build_task_iso(kickstart, recipe, nonce).image;
    let volume = Volume::open(&iso).expect("a task ISO is an ISO");
    let stick = build_task_stick(kickstart, recipe, nonce).image;
    for (path, content) in files {
        let entry = volume.find_exact(&iso, TreeKind::Primary, path).expect("a task ISO can be read");
        let read = entry.map(|entry| volume.read(&iso, &entry, 1 << 17).expect("its files are plain ones"));
        assert_eq!(read.as_deref(), content, "{path} of the ISO");
        assert_eq!(read_as_guest::file_of_stick(&stick, path).as_deref(), content, "{path} of the stick");
    }
    assert_eq!(build_task_iso(kickstart, recipe, nonce).image, iso, "the same bytes every time");
}

fn split<'a>(data: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let (mut parts, mut rest) = (Vec::new(), data);
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        parts.push(&rest[..at]);
        rest = &rest[at + mark.len()..];
    }
    parts.push(rest);
    parts
}
