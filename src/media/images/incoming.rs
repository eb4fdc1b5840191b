//! Images on their way into the list: uploaded piece by piece, or downloaded.
//!
//! Invariants: memory holds one piece; an addition that is dropped, at any moment, leaves neither a file nor room that
//! counts as used.

use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use shoal_recipe::{ImageName, Sha256};
use url::Url;

use super::{HostedImage, HostedImages, ImageError, ImageKey, files};
use crate::media::cache::disk::{ImageFiles, Part};
use crate::media::cache::fetch::{Remote, Sink};
use crate::media::cache::source::shown;
use crate::media::cache::{Allowed, CacheError, blocking};
use crate::store::StoreError;

/// What is said of an image that is to be added.
#[derive(Default)]
pub struct NewImage {
    pub name: Option<ImageName>,
    /// What it must have.
    pub sha256: Option<Sha256>,
    pub record: Option<Record>,
}

/// Called before an image that is new joins the list: writes down who added it. Without that, nothing is added.
pub type Record = Box<dyn FnOnce(&HostedImage) -> BoxFuture<'static, Result<(), StoreError>> + Send>;

/// What an addition has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedImage {
    pub image: HostedImage,
    /// It was not there before.
    pub is_new: bool,
}

/// An image that is being uploaded.
pub struct IncomingImage {
    /// Absent only while it is with a thread that writes.
    part: Option<Part>,
    room: PartRoom,
}

/// A file for the bytes so far, and the room that they take.
struct PartRoom {
    images: Arc<HostedImages>,
    files: ImageFiles,
    bytes: Mutex<u64>,
    is_kept: bool,
}

impl HostedImages {
    /// The image of that digest, where it is in the list already.
    pub async fn known(&self, sha256: Option<Sha256>) -> Result<Option<AddedImage>, ImageError> {
        let Some(sha256) = sha256 else { return Ok(None) };
        let found = self.find(&ImageKey::Digest(sha256)).await?;
        Ok(found.map(|image| AddedImage { image, is_new: false }))
    }

    /// Begins an upload; `size` is what its sender has announced.
    pub async fn begin(self: &Arc<Self>, size: Option<u64>) -> Result<IncomingImage, ImageError> {
        let room = self.room();
        room.grow(size.unwrap_or(0))?;
        let files = room.files.clone();
        let part = blocking(move || Part::open(&files)).await?;
        Ok(IncomingImage { part: Some(part), room })
    }

    /// Downloads an image, from where `allowed` lets it.
    pub async fn fetch(
        self: &Arc<Self>,
        url: &Url,
        allowed: &Allowed,
        new: NewImage,
    ) -> Result<AddedImage, ImageError> {
        let name = shown(url);
        if !allowed(url) {
            return Err(ImageError::NotAllowed { name });
        }
        if let Some(known) = self.known(new.sha256).await? {
            return Ok(known);
        }
        let room = self.room();
        let reserve = |bytes| {
            let full = |_| CacheError::TooLarge { name: shown(url), bytes_max: self.bytes_max };
            room.grow(bytes).map_err(full)
        };
        let progress = Mutex::default();
        let sink = Sink { files: &room.files, progress: &progress, reserve: &reserve };
        let remote = Remote { transport: &self.world.transport, url, name: name.clone(), allowed };
        let (part, _) = remote.download(&sink).await?;
        room.keep(part, new, Some(name)).await
    }

    fn room(self: &Arc<Self>) -> PartRoom {
        let files = ImageFiles::new(&self.dir, self.world.rng.hex(16));
        PartRoom { images: self.clone(), files, bytes: Mutex::new(0), is_kept: false }
    }
}

impl IncomingImage {
    pub async fn append(&mut self, piece: bytes::Bytes) -> Result<(), ImageError> {
        let part = self.part.take().expect("an upload that lost its part to a disk error is over");
        self.room.grow(part.bytes + piece.len() as u64)?;
        self.part = Some(blocking(move || part.append(&piece)).await?);
        Ok(())
    }

    /// Puts the image into the list, unless its bytes are there already.
    pub async fn finish(mut self, new: NewImage) -> Result<AddedImage, ImageError> {
        let part = self.part.take().expect("an upload that lost its part to a disk error is over");
        self.room.keep(part, new, None).await
    }
}

impl PartRoom {
    /// Puts a part that is whole into the list, in a task of its own: once begun, it ends whether or not its caller
    /// still waits.
    async fn keep(self, part: Part, new: NewImage, source: Option<String>) -> Result<AddedImage, ImageError> {
        let (file, sha256, size) = part.close();
        match new.sha256.map(|expected| expected.to_string()) {
            _ if size == 0 => return Err(ImageError::Empty),
            Some(expected) if expected != sha256 => {
                return Err(ImageError::Sha256 { expected, found: sha256 });
            }
            _ => {}
        }
        let (name, added_at) = (new.name.map(|name| name.to_string()), self.images.world.clock.now());
        let image = HostedImage { sha256, name, size, added_at, source };
        let keeping = tokio::spawn(self.join_list(file, image, new.record));
        keeping.await.expect("adding an image does not panic, and is never aborted")
    }

    async fn join_list(
        mut self,
        file: File,
        image: HostedImage,
        record: Option<Record>,
    ) -> Result<AddedImage, ImageError> {
        let images = self.images.clone();
        let _change = images.change().await;
        let known = images.list().await?;
        if let Some(known) = known.iter().find(|known| known.sha256 == image.sha256) {
            return Ok(AddedImage { image: known.clone(), is_new: false });
        }
        if let Some(other) = known.into_iter().find(|known| known.name.is_some() && known.name == image.name)
        {
            let name = other.name.unwrap_or_default();
            return Err(ImageError::NameTaken { name, sha256: other.sha256 });
        }
        if let Some(record) = record {
            record(&image).await?;
        }
        let (dir, path, kept) = (images.dir.clone(), self.files.part(), image.clone());
        blocking(move || files::keep(&dir, &path, &file, &kept)).await?;
        self.is_kept = true;
        Ok(AddedImage { image, is_new: true })
    }

    /// Makes sure that there is room for so many bytes in all.
    fn grow(&self, bytes: u64) -> Result<(), ImageError> {
        let mut has = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let more = bytes.saturating_sub(*has);
        let bytes_max = self.images.bytes_max;
        let fits = |used: u64| used.checked_add(more).filter(|used| *used <= bytes_max);
        let grown = self.images.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        grown.map_err(|_| ImageError::Full { bytes_max })?;
        *has += more;
        Ok(())
    }
}

impl Drop for PartRoom {
    fn drop(&mut self) {
        self.files.remove_part();
        let bytes = *self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_kept {
            self.images.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}
