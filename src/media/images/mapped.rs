//! An image of the list as memory that the kernel pages in, for the media and for hosts that download it.

use std::ops::Range;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;

use crate::media::host_image::{HostImageError, HostImageSource, ImageBytes};
use crate::media::image::SLICE_BYTES_MAX;

/// Clones share the mapping, which outlives the image's removal.
#[derive(Clone)]
pub struct MappedImage(Bytes);

impl MappedImage {
    pub(super) fn new(bytes: Bytes) -> MappedImage {
        MappedImage(bytes)
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.0.len() as u64
    }

    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl HostImageSource for MappedImage {
    fn read(&self, range: Range<u64>) -> BoxFuture<'static, Result<ImageBytes, HostImageError>> {
        let length = self.0.len();
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(length);
        let rest = self.0.slice(at(range.start)..at(range.end).max(at(range.start)));
        let pieces = stream::unfold(rest, async |mut rest| {
            let piece = rest.split_to(rest.len().min(SLICE_BYTES_MAX));
            (!piece.is_empty()).then_some((Ok(piece), rest))
        });
        Box::pin(async move { Ok(Box::pin(pieces) as ImageBytes) })
    }
}
