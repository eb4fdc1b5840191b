//! The files of one job for a maintenance system: on a CD of their own, or on the maintenance system's.
//!
//! It knows no file's meaning. They lie at the root, under names that Linux and Windows show exactly as given (Rock
//! Ridge, Joliet). Invariant: between a file that lies alone and anything else are 4 MiB of zeros, so that a read of
//! it is one; and the same input gives the same bytes.

mod build;
mod overlay;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::installer::Landmarks;
use crate::iso::{
    ChangeError, FILE_BYTES_MAX, IsoError, Overlay, ReadAt, SparseImage, TreeKind, Volume, WriteError,
};

pub use build::build_task_medium;
pub use overlay::overlay_task_files;

/// Both Joliet's limit and short enough for Rock Ridge.
const NAME_CHARS_MAX: usize = 64;

/// A file at the root of the medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFile {
    /// Letters, digits, dots, hyphens and underscores.
    pub name: String,
    pub content: TaskContent,
}

/// Its `Debug` shows how many bytes, never which: they may hold passwords.
#[derive(Clone, PartialEq, Eq)]
pub enum TaskContent {
    /// Beside other files.
    Shared(Bytes),
    /// Away from everything else.
    Alone(Bytes),
    /// So many bytes that are not here. The image has zeros in their place.
    Elsewhere(u64),
}

/// A medium with nothing but the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskMedium {
    pub image: SparseImage,
    pub places: TaskPlaces,
}

/// The files on the maintenance system's own medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskOverlay {
    pub overlay: Overlay,
    pub places: TaskPlaces,
}

/// Where the files lie, in bytes of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPlaces {
    /// By name. Those that lie alone are in the order in which they were given.
    pub files: BTreeMap<String, Range<u64>>,
    /// Byte after everything that is read to find the files, and after those that lie beside it.
    pub shared_end: u64,
}

/// Why there is no medium with these files.
#[derive(Debug, thiserror::Error)]
pub enum TaskMediumError {
    #[error("the medium cannot hold a file `{name}`: {reason}")]
    File { name: String, reason: &'static str },
    #[error("the task medium cannot be written")]
    Write(#[from] WriteError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("the image has neither Rock Ridge nor Joliet names: Linux would not find the files under theirs")]
    ShortNames,
}

impl TaskFile {
    pub fn shared(name: &str, bytes: impl Into<Bytes>) -> TaskFile {
        TaskFile { name: name.to_owned(), content: TaskContent::Shared(bytes.into()) }
    }

    /// A file whose read is a signal. It must not be empty.
    pub fn alone(name: &str, bytes: impl Into<Bytes>) -> TaskFile {
        TaskFile { name: name.to_owned(), content: TaskContent::Alone(bytes.into()) }
    }

    pub fn elsewhere(name: &str, bytes: u64) -> TaskFile {
        TaskFile { name: name.to_owned(), content: TaskContent::Elsewhere(bytes) }
    }

    /// Files `name.000`, `name.001` … for `bytes` bytes from elsewhere, as few as there can be. One after the other
    /// they are the whole.
    pub fn parts(name: &str, bytes: u64) -> Vec<TaskFile> {
        let part = |index: u64| {
            let size = (bytes - index * FILE_BYTES_MAX).min(FILE_BYTES_MAX);
            TaskFile::elsewhere(&format!("{name}.{index:03}"), size)
        };
        (0..bytes.div_ceil(FILE_BYTES_MAX)).map(part).collect()
    }
}

impl TaskContent {
    /// Bytes of content.
    pub fn size(&self) -> u64 {
        match self {
            TaskContent::Shared(bytes) | TaskContent::Alone(bytes) => bytes.len() as u64,
            TaskContent::Elsewhere(bytes) => *bytes,
        }
    }
}

impl fmt::Debug for TaskContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            TaskContent::Shared(_) => "Shared",
            TaskContent::Alone(_) => "Alone",
            TaskContent::Elsewhere(_) => "Elsewhere",
        };
        write!(f, "{kind}({} bytes)", self.size())
    }
}

/// What shows that a maintenance system is being loaded from its medium: any of its files may be part of it.
pub fn system_landmarks<R: ReadAt + ?Sized>(src: &R) -> Result<Landmarks, IsoError> {
    let volume = Volume::open(src)?;
    let files = volume.walk(src, TreeKind::Primary)?.into_iter().filter(|entry| !entry.is_dir);
    Ok(Landmarks::new(&volume, files.map(|entry| entry.extent)))
}

/// Every name is one that all trees show as given, and no two differ in case only.
fn check_files(files: &[TaskFile]) -> Result<(), TaskMediumError> {
    let mut seen = BTreeSet::new();
    for TaskFile { name, content } in files {
        let wrong = |reason| Err(TaskMediumError::File { name: name.clone(), reason });
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(is_allowed) {
            return wrong("its name is not 1 to 64 of A to Z, a to z, 0 to 9, dot, hyphen and underscore");
        }
        if name.starts_with('.') || name.ends_with('.') {
            return wrong("its name starts or ends with a dot");
        }
        if !seen.insert(name.to_ascii_lowercase()) {
            return wrong("there are two of that name");
        }
        if content.size() > FILE_BYTES_MAX {
            return wrong("it has 4 GiB or more");
        }
        if matches!(content, TaskContent::Alone(bytes) if bytes.is_empty()) {
            return wrong("it is empty, so that no read of it would be seen");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
