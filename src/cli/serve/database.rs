//! The database of a controller, and what lies beside it.

use std::path::{Path, PathBuf};

use super::token;
use crate::config::Config;
use crate::seal::{self, KeyError, KeySource};
use crate::store::{DatabaseAddress, LockedDatabase, Postgres, Store, StoreError};
use shoal_base::world::World;

/// Why the database does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot make the directory {} (DB_URL)", .path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The database comes first. The lock of a file keeps a second controller away.
pub async fn open(config: &Config, world: &World) -> Result<Store, OpenError> {
    let database = match &config.database {
        DatabaseAddress::File(path) => path,
        DatabaseAddress::Postgres(address) => {
            let keys = seal::load_shared(&config.master_key)?;
            let (rng, roots) = (world.rng.child("postgres"), &config.extra_roots);
            return Ok(Postgres::open(address, keys, rng, roots).await?.into());
        }
    };
    let directory = token::directory(database);
    std::fs::create_dir_all(directory)
        .map_err(|source| OpenError::Directory { path: directory.to_owned(), source })?;
    let locked = LockedDatabase::lock(database)?;
    let keys = seal::load_or_create(&config.master_key, database, locked.is_new(), &world.rng)?;
    Ok(Store::open_locked(locked, keys)?)
}

/// Where the admin token is kept: beside the database, or beside the key of one that is not here.
pub fn token_dir(config: &Config) -> Option<&Path> {
    let beside = match (&config.database, &config.master_key) {
        (DatabaseAddress::File(path), _) => path,
        (DatabaseAddress::Postgres(_), KeySource::File(path)) => path,
        (DatabaseAddress::Postgres(_), _) => return None,
    };
    Some(token::directory(beside))
}
