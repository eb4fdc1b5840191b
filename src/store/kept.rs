//! Keys of the controller that follow from its master key once and are kept, sealed, ever after.
//!
//! What was made with such a key (the hashes of tokens, the chain of the audit) stays good when the
//! master key is changed and everything sealed is sealed anew. Invariant: a kept key never changes.

use rusqlite::{Connection, OptionalExtension as _};

use super::error::{Fault, StoreError};
use crate::seal::Sealer;

/// The key of that label: as kept, or derived from the master key and kept from now on.
pub(super) fn key(
    connection: &Connection,
    database: &str,
    sealer: &Sealer,
    label: &str,
) -> Result<[u8; 32], Fault> {
    let name = format!("key/{label}");
    let context = format!("meta.value/{name}");
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
    connection.execute(sql, (&name, sealer.seal(&context, &sealer.derive(label))))?;
    read(connection, database, sealer, label)?.ok_or_else(|| Fault::row(name, "it is not there"))
}

/// The key of that label, if one is kept; writes nothing.
pub(super) fn read(
    connection: &Connection,
    database: &str,
    sealer: &Sealer,
    label: &str,
) -> Result<Option<[u8; 32]>, Fault> {
    let name = format!("key/{label}");
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let sealed: Option<Vec<u8>> = connection.query_row(sql, [&name], |row| row.get(0)).optional()?;
    let Some(sealed) = sealed else { return Ok(None) };
    let opened = sealer.open(&format!("meta.value/{name}"), &sealed);
    let opened = opened.map_err(|source| StoreError::Key { database: database.to_owned(), source })?;
    let key = opened.try_into().map_err(|_| Fault::row(name, "it has not 32 bytes"))?;
    Ok(Some(key))
}
