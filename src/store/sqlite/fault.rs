//! What can go wrong within one call, before it is known what was being done and in which database.
//!
//! It never leaves the engine. Invariant: no error holds a column's content, sealed or not.

use rusqlite::ffi;

use super::files::FileFault;
use crate::store::{StoreError, StoreErrorKind};

/// An error without the place where it happened.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Row { row: String, source: Box<dyn std::error::Error + Send + Sync> },
    Refused(StoreError),
}

impl Fault {
    pub(super) fn row(
        row: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Fault {
        Fault::Row { row: row.into(), source: source.into() }
    }

    /// A column of `row` that does not read, unless it is SQLite itself that failed.
    pub(super) fn in_row(row: impl Into<String>, error: rusqlite::Error) -> Fault {
        match error.sqlite_error_code() {
            Some(_) => Fault::Sqlite(error),
            None => Fault::row(row, error),
        }
    }

    /// What SQLite reported, where it was SQLite that failed.
    pub(super) fn sqlite_error(&self) -> Option<ffi::Error> {
        match self {
            Fault::Sqlite(error) => error.sqlite_error().copied(),
            _ => None,
        }
    }

    pub(super) fn at(self, doing: &'static str, database: &str) -> StoreError {
        let database = database.to_owned();
        match self {
            Fault::Sqlite(source) => {
                StoreError::Database { doing, database, kind: sqlite_kind(&source), source: source.into() }
            }
            Fault::Row { row, source } => StoreError::Row { doing, database, row, source },
            Fault::Refused(error) => error,
        }
    }
}

impl From<FileFault> for Fault {
    fn from(fault: FileFault) -> Fault {
        StoreError::Files { fault: fault.into() }.into()
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        Fault::Refused(error)
    }
}

fn sqlite_kind(error: &rusqlite::Error) -> StoreErrorKind {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreErrorKind::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreErrorKind::ReadOnly,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreErrorKind::Corrupt,
        Some(_) => StoreErrorKind::Unavailable,
        None => StoreErrorKind::Corrupt,
    }
}
