//! The stand-in installer as a file, so that practising needs no image of VMware's.
//!
//! What is in it: `sim/standin.rs`. Invariant: a file of the operator's is never overwritten.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use shoal_sim::standin_installer;

/// The file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StandinError {
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} exists and is not the stand-in installer: name another file for --write-installer", path.display())]
    Foreign { path: PathBuf },
}

/// Writes the image, unless it exists.
pub fn write_installer(path: &Path) -> Result<(), StandinError> {
    let failed = |source| StandinError::Write { path: path.to_owned(), source };
    let image = standin_installer();
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => image.write_to(&file).and_then(|()| file.sync_all()).map_err(|source| {
            // Half an image would look like a user's file the next time.
            let _gone = std::fs::remove_file(path);
            failed(source)
        }),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mut found = Vec::new();
            let limit = image.size + 1;
            File::open(path).and_then(|file| file.take(limit).read_to_end(&mut found)).map_err(failed)?;
            if found == image.to_vec() {
                Ok(())
            } else {
                Err(StandinError::Foreign { path: path.to_owned() })
            }
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_once_and_nothing_else_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("esxi.iso");
        for _ in 0..2 {
            write_installer(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), standin_installer().to_vec());
        }
        std::fs::write(&path, "mine").unwrap();
        let refused = write_installer(&path).unwrap_err().to_string();
        assert!(refused.contains("not the stand-in installer"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        assert!(write_installer(&dir.path().join("none/esxi.iso")).is_err());
    }
}
