//! The exclusive lock: one controller for each database.
//!
//! Two locks of the operating system (`flock`, which SQLite does not use), on the file `<database>.lock` and on the
//! database itself, so that deleting the first does not let a second controller in. They end with the process,
//! however that ends. They make the leases of an earlier run void: no other controller can be alive to hold them.
//! Invariants: two paths to one database take the same lock; files that root creates here belong to the user that runs
//! the controller, which could not open them otherwise.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// A database that no other controller can open now, and that has not been opened yet.
pub struct LockedDatabase {
    pub(super) path: PathBuf,
    /// For error messages: the path as given.
    pub(super) name: String,
    pub(super) lock: Lock,
}

impl LockedDatabase {
    /// Takes the exclusive lock on the database at `path`, which is made, empty, if it is missing.
    pub fn lock(path: &Path) -> Result<LockedDatabase, StoreError> {
        let name = path.display().to_string();
        let at_path = |source| StoreError::Path { database: name.clone(), source };
        let path = canonical(path).map_err(at_path)?;
        let lock = Lock::take(&path).map_err(|error| error.into_store_error(at_path))?;
        Ok(LockedDatabase { path, name, lock })
    }

    /// Whether nothing was ever written into it.
    pub fn is_new(&self) -> bool {
        let mut log = self.path.as_os_str().to_owned();
        log.push("-wal");
        let is_empty = |path: &Path| std::fs::metadata(path).map_or(true, |file| file.len() == 0);
        is_empty(&self.path) && is_empty(Path::new(&log))
    }
}

/// Held until dropped, which must be after SQLite has closed the database: closing another descriptor of a file
/// drops SQLite's own locks on it (POSIX).
pub(super) struct Lock {
    _beside: File,
    /// The lock beside the database can be deleted; this one cannot without the database.
    _database: File,
}

impl Lock {
    fn take(database: &Path) -> Result<Lock, LockError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let file = open_or_make(&path, database).map_err(LockError::Io)?;
        take(&file, &path)?;
        let database = File::open(database).map_err(LockError::Io)?;
        take(&database, &path)?;
        Ok(Lock { _beside: file, _database: database })
    }
}

fn take(file: &File, shown: &Path) -> Result<(), LockError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(LockError::Held(shown.to_owned())),
        Err(TryLockError::Error(error)) => Err(LockError::Io(error)),
    }
}

enum LockError {
    Held(PathBuf),
    Io(io::Error),
}

impl LockError {
    fn into_store_error(self, at_path: impl FnOnce(io::Error) -> StoreError) -> StoreError {
        match self {
            LockError::Held(lock) => StoreError::Locked { lock },
            LockError::Io(error) => at_path(error),
        }
    }
}

/// The database's real path, its directory made and links followed; the file is made, readable by
/// its owner only, if it is missing (SQLite gives its WAL the same mode and owner).
fn canonical(path: &Path) -> io::Result<PathBuf> {
    let folder = folder_of(path);
    std::fs::create_dir_all(folder)?;
    open_or_make(path, folder)?;
    path.canonicalize()
}

/// A bare name is in the working directory.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that is made belongs to the owner of `model`.
fn open_or_make(path: &Path, model: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    match options.clone().create_new(true).open(path) {
        Ok(made) => hand_over(&made, model).map(|()| made),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A link to nothing is there too: the file is made where it leads.
            options.create(true).truncate(false).open(path)
        }
        Err(error) => Err(error),
    }
}

/// Gives a file that root has just made to the owner of `model`. Never one that was there: its name may be a link.
pub(super) fn hand_over(made: &File, model: &Path) -> io::Result<()> {
    let (made_by, owner) = (made.metadata()?.uid(), model.metadata()?);
    if made_by == 0 && owner.uid() != 0 {
        fchown(made, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}
