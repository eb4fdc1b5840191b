//! Where a controller's database is: `DB_URL`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::postgres::PostgresAddress;

/// A file of SQLite, for one controller, or a database of PostgreSQL, for several.
#[derive(Clone, Debug, PartialEq)]
pub enum DatabaseAddress {
    File(PathBuf),
    Postgres(Box<PostgresAddress>),
}

impl DatabaseAddress {
    pub fn file(&self) -> Option<&Path> {
        match self {
            DatabaseAddress::File(path) => Some(path),
            DatabaseAddress::Postgres(_) => None,
        }
    }
}

/// Without the password.
impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseAddress::File(path) => path.display().fmt(f),
            DatabaseAddress::Postgres(address) => address.fmt(f),
        }
    }
}
