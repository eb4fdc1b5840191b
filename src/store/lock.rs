//! The exclusive lock: one controller a database.
//!
//! A lock of the operating system on the file `<database>.lock`, which ends with the process however
//! that ends. It is what makes the leases of an earlier run void: nobody else can be alive to hold
//! them. Invariant: two paths to one database take the same lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// Held until dropped.
pub(super) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Lock {
    pub(super) fn take(database: &Path) -> Result<Lock, LockError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(path)),
            Err(TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }
}

pub(super) enum LockError {
    Held(PathBuf),
    Io(io::Error),
}

impl LockError {
    pub(super) fn into_store_error(self, at_path: impl FnOnce(io::Error) -> StoreError) -> StoreError {
        match self {
            LockError::Held(lock) => StoreError::Locked { lock },
            LockError::Io(error) => at_path(error),
        }
    }
}

/// The database's real path, its directory made and links followed; the file is made, readable by
/// its owner only, if it is missing (SQLite gives its WAL the same mode).
pub(super) fn canonical(path: &Path) -> io::Result<PathBuf> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    path.canonicalize()
}
