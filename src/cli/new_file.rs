//! A file that appears under its name when it is complete.
//!
//! Invariant: what was interrupted leaves the file of that name as it was.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use shoal_base::hex;

/// Why a file could not be read or written. The path is the one that was typed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {}", path.display())]
pub struct FileError {
    pub act: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`.
    pub fn of(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
        let path = path.to_owned();
        move |source| FileError { act, path, source }
    }
}

/// A file under another name until it is complete.
pub struct NewFile {
    pub file: File,
    partial: PathBuf,
    path: PathBuf,
    is_complete: bool,
}

impl NewFile {
    pub fn create(path: &Path, mode: u32) -> Result<NewFile, FileError> {
        let mut name = OsString::from(path);
        name.push(".partial");
        let partial = PathBuf::from(name);
        // One that an interrupted command left may have any mode.
        let _absent = std::fs::remove_file(&partial);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(mode);
        let file = options.open(&partial).map_err(FileError::of("create", path))?;
        Ok(NewFile { file, partial, path: path.to_owned(), is_complete: false })
    }

    /// Gives the file its name, and returns its SHA-256.
    pub fn finish(mut self) -> Result<String, FileError> {
        let sha256 = sha256_of(&self.partial).map_err(FileError::of("read back", &self.path))?;
        self.file.sync_all().map_err(FileError::of("write", &self.path))?;
        std::fs::rename(&self.partial, &self.path).map_err(FileError::of("rename", &self.path))?;
        self.is_complete = true;
        Ok(sha256)
    }
}

impl std::io::Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_complete {
            let _gone = std::fs::remove_file(&self.partial);
        }
    }
}

pub fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}
