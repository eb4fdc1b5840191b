//! Why an image is not added, found or opened, each with what to do about it.

use std::io;
use std::path::PathBuf;

use bytesize::ByteSize;

use crate::media::CacheError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("the controller hosts no image with that name or SHA-256: see `shoal image list`")]
    Unknown,
    #[error("an image is not empty: this one has no bytes")]
    Empty,
    #[error(
        "the image has the SHA-256 {found}, not {expected}: correct the checksum, or get the file once more"
    )]
    Sha256 { expected: String, found: String },
    #[error("the name {name} belongs to another image ({sha256}): give another one, or remove that image")]
    NameTaken { name: String, sha256: String },
    #[error("{name} is under none of the prefixes of IMAGES_ALLOW")]
    NotAllowed { name: String },
    #[error("{name} redirects to {to}, which is under none of the prefixes of IMAGES_ALLOW")]
    RedirectNotAllowed { name: String, to: String },
    #[error("the download of {name} broke off again and again, last after {bytes} bytes: look at its server")]
    Broken { name: String, bytes: u64 },
    #[error(transparent)]
    Fetch(CacheError),
    #[error(
        "all images together may have {}: remove some, or raise IMAGES_BYTES",
        ByteSize(*bytes_max)
    )]
    Full { bytes_max: u64 },
    #[error("the disk of IMAGES_DIR is full: remove images, or make room")]
    DiskFull,
    #[error("{doing} failed in IMAGES_DIR at {}", path.display())]
    Disk { doing: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "the file of the image {sha256} in IMAGES_DIR is not what it was: remove the image, and add it again"
    )]
    Changed { sha256: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Of a download into `IMAGES_DIR`.
impl From<CacheError> for ImageError {
    fn from(error: CacheError) -> ImageError {
        match error {
            CacheError::DiskFull { .. } => ImageError::DiskFull,
            CacheError::Disk { doing, path, source } => ImageError::Disk { doing, path, source },
            CacheError::NotAllowed { name } => ImageError::NotAllowed { name },
            CacheError::RedirectNotAllowed { name, to } => ImageError::RedirectNotAllowed { name, to },
            CacheError::Broken { name, bytes, .. } => ImageError::Broken { name, bytes },
            CacheError::TooLarge { bytes_max, .. } => ImageError::Full { bytes_max },
            other => ImageError::Fetch(other),
        }
    }
}
