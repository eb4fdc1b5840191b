//! Disk images for Linux and Windows that this controller hosts, in `IMAGES_DIR`.
//!
//! An image is a file `SHA256.img`, and what is known of it `SHA256.json` beside it: the directory is all there is, and
//! the database knows nothing of it. It serves nothing: an opened image goes onto a task medium, or under a job's URL.
//! Invariants: what is listed is complete, had that SHA-256 when it was added and is never written again; what did
//! not get so far leaves no file.

mod error;
mod files;
mod incoming;
mod mapped;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shoal_base::world::World;
use shoal_recipe::{ImageName, Sha256};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::cache::blocking;

pub use error::ImageError;
pub use incoming::{AddedImage, IncomingImage, NewImage, Record};
pub use mapped::MappedImage;

/// The images that are kept.
pub struct HostedImages {
    dir: PathBuf,
    bytes_max: u64,
    world: World,
    /// Bytes of the images and of those on their way.
    used: AtomicU64,
    /// For writing while an image joins the list or leaves it; for reading while a job that needs one is stored.
    list: RwLock<()>,
}

/// An image of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostedImage {
    /// Lower-case hex.
    pub sha256: String,
    pub name: Option<String>,
    /// In bytes.
    pub size: u64,
    pub added_at: Timestamp,
    /// Where it was downloaded from, without what may be secret in a URL.
    pub source: Option<String>,
}

/// What finds an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageKey {
    Digest(Sha256),
    Name(ImageName),
}

/// No image leaves the list while this is held.
pub struct ImagesHold<'a>(#[expect(dead_code, reason = "it is there to be held")] RwLockReadGuard<'a, ()>);

/// Nothing else changes the list, and no job is stored that needs an image of it, while this is held.
pub struct ImagesChange<'a>(#[expect(dead_code, reason = "it is there to be held")] RwLockWriteGuard<'a, ()>);

impl HostedImages {
    /// The images in `dir`, which is made; leftovers of additions that did not end are removed.
    pub fn new(dir: PathBuf, bytes_max: u64, world: World) -> Result<HostedImages, ImageError> {
        let used = files::prepare(&dir)?.iter().map(|image| image.size).sum();
        Ok(HostedImages { dir, bytes_max, world, used: AtomicU64::new(used), list: RwLock::new(()) })
    }

    /// All images, those first that were added first.
    pub async fn list(&self) -> Result<Vec<HostedImage>, ImageError> {
        let dir = self.dir.clone();
        blocking(move || files::list(&dir)).await
    }

    pub async fn find(&self, key: &ImageKey) -> Result<Option<HostedImage>, ImageError> {
        Ok(self.list().await?.into_iter().find(|image| key.finds(image)))
    }

    /// The bytes of an image, not copied.
    pub async fn open(&self, sha256: Sha256) -> Result<MappedImage, ImageError> {
        let dir = self.dir.clone();
        Ok(MappedImage::new(blocking(move || files::open(&dir, sha256)).await?))
    }

    pub async fn hold(&self) -> ImagesHold<'_> {
        ImagesHold(self.list.read().await)
    }

    pub async fn change(&self) -> ImagesChange<'_> {
        ImagesChange(self.list.write().await)
    }

    /// Takes an image off the list. A reader that has it open keeps its bytes.
    pub async fn remove(&self, image: &HostedImage, _: &ImagesChange<'_>) -> Result<(), ImageError> {
        let (dir, sha256) = (self.dir.clone(), image.sha256.clone());
        blocking(move || files::remove(&dir, &sha256)).await?;
        self.used.fetch_sub(image.size, Ordering::Relaxed);
        Ok(())
    }
}

impl ImageKey {
    fn finds(&self, image: &HostedImage) -> bool {
        match self {
            ImageKey::Digest(sha256) => image.sha256 == sha256.to_string(),
            ImageKey::Name(name) => image.name.as_deref() == Some(name.as_str()),
        }
    }
}

impl FromStr for ImageKey {
    type Err = ();

    fn from_str(text: &str) -> Result<ImageKey, ()> {
        let digest = Sha256::parse(text).map(ImageKey::Digest);
        digest.or_else(|| ImageName::parse(text).map(ImageKey::Name)).ok_or(())
    }
}

#[cfg(test)]
mod tests;
