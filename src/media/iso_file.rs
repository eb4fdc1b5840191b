//! An ISO that lies in a file of the controller's machine and is served as it is.
//!
//! Held in memory, so that a file which is replaced or cut short does not change what a host boots. Invariant: a file is read
//! again once its size or time has changed, and only what can be held is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use shoal_base::hex;
use shoal_image::iso::Overlay;
use tokio::sync::Mutex;

use super::Image;
use super::cache::blocking;

/// A maintenance system of some 50 MB, with room.
pub const ISO_BYTES_MAX: u64 = 512 << 20;

#[derive(Debug, thiserror::Error)]
pub enum IsoFileError {
    #[error("{path} cannot be read ({fault}): check that it exists and that this user may read it")]
    Unreadable { path: PathBuf, fault: std::io::Error },
    #[error(
        "{path} has {size} bytes, and at most {ISO_BYTES_MAX} are served from a file: put it on a web server and give \
         its URL"
    )]
    TooLarge { path: PathBuf, size: u64 },
}

/// The files that were opened so far.
#[derive(Default)]
pub struct IsoFiles(Mutex<BTreeMap<PathBuf, (FileStamp, OpenedIso)>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    size: u64,
    modified: Option<SystemTime>,
}

/// A file's bytes. Clones share them.
#[derive(Clone, Debug)]
pub struct OpenedIso {
    bytes: Bytes,
    sha256: String,
}

impl OpenedIso {
    /// Lower-case hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn image(&self) -> Image {
        self.with(Overlay { size: self.bytes.len() as u64, patches: Vec::new() })
    }

    /// With changes over it.
    pub fn with(&self, overlay: Overlay) -> Image {
        Image::in_memory(self.bytes.clone(), &self.sha256, overlay)
    }
}

impl IsoFiles {
    pub async fn open(&self, path: &Path) -> Result<OpenedIso, IsoFileError> {
        let mut known = self.0.lock().await;
        let (from, held) = (path.to_owned(), known.get(path).cloned());
        let (stamp, iso) = blocking(move || read(&from, held)).await?;
        known.insert(path.to_owned(), (stamp, iso.clone()));
        Ok(iso)
    }
}

/// The file as it is now, or as it is held if that is the same.
fn read(path: &Path, held: Option<(FileStamp, OpenedIso)>) -> Result<(FileStamp, OpenedIso), IsoFileError> {
    let unreadable = |fault| IsoFileError::Unreadable { path: path.to_owned(), fault };
    let found = std::fs::metadata(path).map_err(unreadable)?;
    let stamp = FileStamp { size: found.len(), modified: found.modified().ok() };
    if stamp.size > ISO_BYTES_MAX {
        return Err(IsoFileError::TooLarge { path: path.to_owned(), size: stamp.size });
    }
    if let Some(held) = held.filter(|(before, _)| *before == stamp) {
        return Ok(held);
    }
    let bytes = Bytes::from(std::fs::read(path).map_err(unreadable)?);
    Ok((stamp, OpenedIso { sha256: hex(&Sha256::digest(&bytes)), bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_again_once_it_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.iso");
        std::fs::write(&path, b"one").unwrap();
        let files = IsoFiles::default();
        assert_eq!(files.open(&path).await.unwrap().bytes().as_ref(), b"one");
        std::fs::write(&path, b"another").unwrap();
        let read = files.open(&path).await.unwrap();
        assert_eq!((read.bytes().as_ref(), read.image().size()), (b"another".as_ref(), 7));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(files.open(&path).await, Err(IsoFileError::Unreadable { .. })));
    }
}
