//! The tables `keys`, `secrets` and `resealing`, and every sealed column.

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use strum::VariantArray as _;
use zeroize::Zeroizing;

use super::fault::Fault;
use super::row::{Count, Millis};
use super::{Reader, Sqlite, Writer};
use crate::seal::{KeyId, SealError, Sealer, key_of};
use crate::store::keys::{PROOF, own_context, proof_context};
pub(super) use crate::store::keys::{SEALED_COLUMNS, SealedColumn};
use crate::store::{KeyStore, KnownKey, OwnSecret, Resealed, StoreError, StoreFuture};

impl KeyStore for Sqlite {
    fn own_secret(&self, secret: OwnSecret) -> StoreFuture<Zeroizing<[u8; 32]>> {
        let name = self.database.name.clone();
        let read = move |reader: &Reader<'_>| own(reader, &name, reader.sealer, secret);
        self.read("reading a secret of the controller", read)
    }

    fn reseal(&self, limit: u64) -> StoreFuture<Resealed> {
        self.write("sealing values with another master key", move |writer| {
            // What the old key sealed is not to be found in pages that are free now.
            writer.pragma_update(None, "secure_delete", true)?;
            for place in SEALED_COLUMNS {
                let looked_at = reseal_some(writer, place, limit)?;
                if looked_at > 0 {
                    return Ok(Resealed::More(looked_at));
                }
            }
            Ok(Resealed::All)
        })
    }

    fn retire_old_keys(&self, now: Timestamp) -> StoreFuture<()> {
        self.write("retiring the old master key", move |writer| {
            let id = writer.sealer.id();
            for place in SEALED_COLUMNS {
                if count_of_others(writer, place, id)? > 0 {
                    let error = "it still needs the old key: seal the values anew first";
                    return Err(Fault::row(place.name(), error));
                }
            }
            if !writer.prepare("SELECT 1 FROM jobs WHERE phase <> 'done' LIMIT 1")?.exists([])? {
                for secret in OwnSecret::OF_JOBS {
                    writer.execute("DELETE FROM secrets WHERE name = ?1", [secret.name()])?;
                }
                make_own_secrets(writer, writer.sealer, id)?;
            }
            writer.execute("DELETE FROM resealing", [])?;
            let sql = "UPDATE keys SET retired_at = ?2 WHERE id <> ?1 AND retired_at IS NULL";
            writer.execute(sql, params![id.to_string(), Millis(now)])?;
            Ok(())
        })
    }

    fn known_keys(&self) -> StoreFuture<Vec<KnownKey>> {
        self.read("reading the keys", |reader| known_keys(reader))
    }
}

/// The same of a database that another process may have open; nothing is written.
pub fn keys_of_database(path: &std::path::Path) -> Result<Vec<KnownKey>, StoreError> {
    let name = path.display().to_string();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reading = || -> Result<_, Fault> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(super::BUSY_TIMEOUT)?;
        known_keys(&connection)
    };
    reading().map_err(|fault| fault.at("reading the keys", &name))
}

fn known_keys(connection: &Connection) -> Result<Vec<KnownKey>, Fault> {
    let mut statement = connection.prepare("SELECT id, retired_at FROM keys ORDER BY number")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<Millis>>(1)?)))?;
    let mut known = Vec::new();
    for row in rows {
        let (id, retired_at): (String, _) = row?;
        let values =
            SEALED_COLUMNS.iter().map(|place| count_of(connection, *place, &id)).sum::<Result<_, _>>()?;
        known.push(KnownKey { id, retired_at: retired_at.map(|Millis(at)| at), values });
    }
    Ok(known)
}

/// SQL for the id of the key that sealed a value.
fn sealed_by(place: SealedColumn) -> String {
    format!("lower(hex(substr({}, 2, 4)))", place.column)
}

fn count_of(connection: &Connection, place: SealedColumn, id: &str) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM {} WHERE {} = ?1", place.table, sealed_by(place));
    connection.query_row(&sql, [id], |row| row.get::<_, Count>(0)).map(|Count(count)| count)
}

fn count_of_others(connection: &Connection, place: SealedColumn, id: KeyId) -> rusqlite::Result<u64> {
    let (table, column) = (place.table, place.column);
    let sql =
        format!("SELECT count(*) FROM {table} WHERE {column} IS NOT NULL AND {} <> ?1", sealed_by(place));
    connection.query_row(&sql, [id.to_string()], |row| row.get::<_, Count>(0)).map(|Count(count)| count)
}

/// One batch of one place, from where the last one ended; 0 where nothing is left.
fn reseal_some(writer: &Writer<'_>, place: SealedColumn, limit: u64) -> Result<u64, Fault> {
    let id = writer.sealer.id();
    let SealedColumn { table, column, row } = place;
    let sql = "SELECT after FROM resealing WHERE place = ?1 AND key = ?2";
    let after: Option<String> =
        writer.query_row(sql, params![place.name(), id.to_string()], |row| row.get(0)).optional()?;
    let sql = format!("SELECT {row}, {column} FROM {table} WHERE {row} > ?1 ORDER BY {row} LIMIT ?2");
    let mut statement = writer.prepare(&sql)?;
    let rows = statement
        .query_map(params![after.unwrap_or_default(), Count(limit)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(String, Option<Vec<u8>>)> = rows.collect::<rusqlite::Result<_>>()?;
    for (row, sealed) in &rows {
        let Some(sealed) = sealed.as_ref().filter(|sealed| key_of(sealed) != Some(id)) else { continue };
        reseal_one(writer, place, row, sealed)?;
    }
    if let Some((last, _)) = rows.last() {
        let sql = "INSERT OR REPLACE INTO resealing (place, key, after) VALUES (?1, ?2, ?3)";
        writer.execute(sql, params![place.name(), id.to_string(), last])?;
    }
    Ok(rows.len() as u64)
}

/// A value that does not open is damaged whatever is done here: it stops the rotation, which loses
/// nothing, and is named.
fn reseal_one(writer: &Writer<'_>, place: SealedColumn, row: &str, sealed: &[u8]) -> Result<(), Fault> {
    let context = place.context(row);
    let plain = writer.sealer.open(&context, sealed).map_err(|error| Fault::row(context.clone(), error))?;
    let sql = format!("UPDATE {} SET {} = ?2 WHERE {} = ?1", place.table, place.column, place.row);
    writer.prepare_cached(&sql)?.execute(params![row, writer.sealer.seal(&context, &plain)])?;
    Ok(())
}

/// One of the controller's own secrets; a wrong key and a damaged value are different errors.
pub(super) fn own(
    connection: &Connection,
    database: &str,
    sealer: &Sealer,
    secret: OwnSecret,
) -> Result<Zeroizing<[u8; 32]>, Fault> {
    let row = || format!("the secret {}", secret.name());
    let sql = "SELECT value FROM secrets WHERE name = ?1";
    let sealed: Option<Vec<u8>> = connection.query_row(sql, [secret.name()], |row| row.get(0)).optional()?;
    let sealed = sealed.ok_or_else(|| Fault::row(row(), "it is not there"))?;
    let plain = sealer.open(&own_context(secret), &sealed).map_err(|source| match source {
        SealError::OtherKey { .. } => StoreError::Key { database: database.to_owned(), source }.into(),
        source => Fault::row(row(), source),
    })?;
    let bytes = <[u8; 32]>::try_from(plain.as_slice());
    bytes.map(Zeroizing::new).map_err(|_| Fault::row(row(), "it is not 32 bytes long"))
}

/// A database that needs a key which is not there is refused when it is opened, not at the first password.
pub(super) fn check(connection: &mut Connection, name: &str, sealer: &Sealer) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    adopt_first_key(&transaction, name, sealer)?;
    let mut statement = transaction.prepare("SELECT id, proof FROM keys WHERE retired_at IS NULL")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (id, proof) in rows.collect::<rusqlite::Result<Vec<(String, Vec<u8>)>>>()? {
        let opened = sealer.open(&proof_context(&id), &proof);
        opened.map_err(|source| StoreError::Key { database: name.to_owned(), source })?;
    }
    drop(statement);
    know_key(&transaction, sealer, sealer.id())?;
    make_own_secrets(&transaction, sealer, sealer.id())?;
    Ok(transaction.commit()?)
}

/// A key that values need from now on, whether it is new or was retired once.
fn know_key(connection: &Connection, sealer: &Sealer, key: KeyId) -> Result<(), Fault> {
    let id = key.to_string();
    let proof = sealer.seal_with(key, &proof_context(&id), PROOF);
    let proof = proof.map_err(|error| Fault::row(format!("the proof of master key {id}"), error))?;
    let sql = "INSERT INTO keys (id, proof) VALUES (?1, ?2)
        ON CONFLICT (id) DO UPDATE SET retired_at = NULL WHERE retired_at IS NOT NULL";
    connection.execute(sql, params![id, proof])?;
    Ok(())
}

/// Up to schema 5 a database had one key, with a proof in `meta`, and the controller's own secrets
/// followed from it: they stay the same, for the sake of URLs that BMCs were given, and of what the
/// hashes of bearer tokens and the audit rest on.
fn adopt_first_key(connection: &Connection, name: &str, sealer: &Sealer) -> Result<(), Fault> {
    let sql = "SELECT value FROM meta WHERE name = 'key_check'";
    let proof: Option<Vec<u8>> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    let Some(proof) = proof else { return Ok(()) };
    let wrong = |source| StoreError::Key { database: name.to_owned(), source };
    sealer.open("meta.value/key_check", &proof).map_err(wrong)?;
    let first = key_of(&proof).ok_or_else(|| Fault::row("the proof of the master key", "it names no key"))?;
    make_own_secrets(connection, sealer, first)?;
    know_key(connection, sealer, first)?;
    connection.execute("DELETE FROM meta WHERE name = 'key_check' OR name LIKE 'key/%'", [])?;
    Ok(())
}

fn make_own_secrets(connection: &Connection, sealer: &Sealer, from: KeyId) -> Result<(), Fault> {
    for &secret in OwnSecret::VARIANTS {
        let value = sealer.derive(from, secret.name());
        let value = value.map_err(|error| Fault::row("a secret of the controller", error))?;
        let sql = "INSERT INTO secrets (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
        let sealed = sealer.seal(&own_context(secret), &*value);
        connection.execute(sql, params![secret.name(), sealed])?;
    }
    Ok(())
}
