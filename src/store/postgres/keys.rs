//! The tables `keys`, `secrets` and `resealing`, and every sealed column.
//!
//! The proof of a key is its check value: the first controller that opens the database leaves one, under the lock of
//! migrations, and a controller whose key does not open it is refused.

use futures_util::FutureExt as _;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use strum::VariantArray as _;
use zeroize::Zeroizing;

use super::address::PostgresAddress;
use super::fault::PgFault;
use super::row::{Count, Millis, values};
use super::writer::{PgReader, PgWriter};
use super::{Postgres, connect};
use crate::seal::{KeyId, SealError, Sealer, key_of};
use crate::store::keys::{PROOF, SEALED_COLUMNS, SealedColumn, own_context, proof_context};
use crate::store::{KeyStore, KnownKey, OwnSecret, Resealed, StoreError, StoreFuture};

impl KeyStore for Postgres {
    fn own_secret(&self, secret: OwnSecret) -> StoreFuture<Zeroizing<[u8; 32]>> {
        let given = (self.database.name.clone(), secret);
        self.read("reading a secret of the controller", given, |reader, (name, secret)| {
            own(reader, name, *secret).boxed()
        })
    }

    fn reseal(&self, limit: u64) -> StoreFuture<Resealed> {
        self.write("sealing values with another master key", limit, |tx, limit| {
            async move {
                for place in SEALED_COLUMNS {
                    let looked_at = reseal_some(tx, place, *limit).await?;
                    if looked_at > 0 {
                        return Ok(Resealed::More(looked_at));
                    }
                }
                Ok(Resealed::All)
            }
            .boxed()
        })
    }

    fn retire_old_keys(&self, now: Timestamp) -> StoreFuture<()> {
        self.write("retiring the old master key", now, |tx, now| {
            async move {
                let id = tx.sealer.id();
                for place in SEALED_COLUMNS {
                    if count_of_others(tx, place, id).await? > 0 {
                        let error = "it still needs the old key: seal the values anew first";
                        return Err(PgFault::row(place.name(), error));
                    }
                }
                if !tx.exists("SELECT 1 FROM jobs WHERE phase <> 'done' LIMIT 1", &[]).await? {
                    for secret in OwnSecret::OF_JOBS {
                        tx.execute("DELETE FROM secrets WHERE name = $1", values![secret.name()]).await?;
                    }
                    make_own_secrets(tx).await?;
                }
                tx.execute("DELETE FROM resealing", &[]).await?;
                let sql = "UPDATE keys SET retired_at = $2 WHERE id <> $1 AND retired_at IS NULL";
                tx.execute(sql, values![id.to_string(), Millis(*now)]).await.map(drop)
            }
            .boxed()
        })
    }

    fn known_keys(&self) -> StoreFuture<Vec<KnownKey>> {
        self.read_snapshot("reading the keys", (), |reader, ()| known_keys(reader).boxed())
    }
}

/// The keys that a database knows, `None` where no controller has made it ready; nothing is written.
pub async fn keys_of_postgres(
    address: &PostgresAddress,
    roots: &[CertificateDer<'static>],
) -> Result<Option<Vec<KnownKey>>, StoreError> {
    let pool = connect::pool(address, roots);
    let reading = async {
        // Nothing is opened with it.
        let reader = PgReader::new(connect::lent(&pool).await?, Sealer::new([0; 32]));
        connect::check_server(&reader).await?;
        let is_ready = reader.one("SELECT to_regclass('keys') IS NOT NULL", &[]).await?.try_get(0)?;
        if is_ready { known_keys(&reader).await.map(Some) } else { Ok(None) }
    };
    reading.await.map_err(|fault: PgFault| fault.at("reading the keys", &address.to_string()))
}

async fn known_keys(reader: &PgReader) -> Result<Vec<KnownKey>, PgFault> {
    let mut known = Vec::new();
    for row in reader.query("SELECT id, retired_at FROM keys ORDER BY number", &[]).await? {
        let (id, retired_at): (String, Option<Millis>) = (row.try_get(0)?, row.try_get(1)?);
        let mut values = 0;
        for place in SEALED_COLUMNS {
            let sql = format!("SELECT count(*) FROM {} WHERE {} = $1", place.table, sealed_by(place));
            values += reader.one(&sql, values![&id]).await?.try_get::<_, Count>(0)?.0;
        }
        known.push(KnownKey { id, retired_at: retired_at.map(|Millis(at)| at), values });
    }
    Ok(known)
}

/// SQL for the id of the key that sealed a value.
fn sealed_by(place: SealedColumn) -> String {
    format!("encode(substr({}, 2, 4), 'hex')", place.column)
}

async fn count_of_others(reader: &PgReader, place: SealedColumn, id: KeyId) -> Result<u64, PgFault> {
    let (table, column) = (place.table, place.column);
    let sql =
        format!("SELECT count(*) FROM {table} WHERE {column} IS NOT NULL AND {} <> $1", sealed_by(place));
    Ok(reader.one(&sql, values![id.to_string()]).await?.try_get::<_, Count>(0)?.0)
}

/// One batch of one place, from where the last one ended; 0 where nothing is left.
async fn reseal_some(tx: &PgWriter, place: SealedColumn, limit: u64) -> Result<u64, PgFault> {
    let id = tx.sealer.id();
    let SealedColumn { table, column, row } = place;
    let sql = "SELECT after FROM resealing WHERE place = $1 AND key = $2";
    let after = tx.optional(sql, values![place.name(), id.to_string()]).await?;
    let after: String = after.map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    let sql =
        format!("SELECT {row}, {column} FROM {table} WHERE {row} > $1 ORDER BY {row} LIMIT $2 FOR UPDATE");
    let rows = tx.query(&sql, values![after, Count(limit)]).await?;
    let mut last = None;
    for row in &rows {
        let (name, sealed): (String, Option<Vec<u8>>) = (row.try_get(0)?, row.try_get(1)?);
        if let Some(sealed) = sealed.filter(|sealed| key_of(sealed) != Some(id)) {
            reseal_one(tx, place, &name, &sealed).await?;
        }
        last = Some(name);
    }
    if let Some(last) = last {
        let sql = "INSERT INTO resealing (place, key, after) VALUES ($1, $2, $3)
            ON CONFLICT (place) DO UPDATE SET key = excluded.key, after = excluded.after";
        tx.execute(sql, values![place.name(), id.to_string(), last]).await?;
    }
    Ok(rows.len() as u64)
}

/// A value that does not open is damaged whatever is done here: it stops the rotation, which loses
/// nothing, and is named.
async fn reseal_one(tx: &PgWriter, place: SealedColumn, row: &str, sealed: &[u8]) -> Result<(), PgFault> {
    let context = place.context(row);
    let plain = tx.sealer.open(&context, sealed).map_err(|error| PgFault::row(context.clone(), error))?;
    let sql = format!("UPDATE {} SET {} = $2 WHERE {} = $1", place.table, place.column, place.row);
    tx.execute(&sql, values![row, tx.sealer.seal(&context, &plain)]).await.map(drop)
}

/// One of the controller's own secrets; a wrong key and a damaged value are different errors.
pub(super) async fn own(
    reader: &PgReader,
    database: &str,
    secret: OwnSecret,
) -> Result<Zeroizing<[u8; 32]>, PgFault> {
    let what = || format!("the secret {}", secret.name());
    let row = reader.optional("SELECT value FROM secrets WHERE name = $1", values![secret.name()]).await?;
    let row = row.ok_or_else(|| PgFault::row(what(), "it is not there"))?;
    let sealed: Vec<u8> = row.try_get(0)?;
    let plain = reader.sealer.open(&own_context(secret), &sealed).map_err(|source| match source {
        SealError::OtherKey { .. } => StoreError::Key { database: database.to_owned(), source }.into(),
        source => PgFault::row(what(), source),
    })?;
    let bytes = <[u8; 32]>::try_from(plain.as_slice());
    bytes.map(Zeroizing::new).map_err(|_| PgFault::row(what(), "it is not 32 bytes long"))
}

/// A database that needs a key which is not there is refused when it is opened, not at the first password.
pub(super) async fn check(tx: &PgWriter, name: &str) -> Result<(), PgFault> {
    for row in tx.query("SELECT id, proof FROM keys WHERE retired_at IS NULL", &[]).await? {
        let (id, proof): (String, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
        let opened = tx.sealer.open(&proof_context(&id), &proof);
        opened.map_err(|source| StoreError::Key { database: name.to_owned(), source })?;
    }
    let id = tx.sealer.id().to_string();
    let proof = tx.sealer.seal(&proof_context(&id), PROOF);
    // A key that values need from now on, whether it is new or was retired once.
    let sql = "INSERT INTO keys (id, proof) VALUES ($1, $2)
        ON CONFLICT (id) DO UPDATE SET retired_at = NULL WHERE keys.retired_at IS NOT NULL";
    tx.execute(sql, values![id, proof]).await?;
    make_own_secrets(tx).await
}

async fn make_own_secrets(tx: &PgWriter) -> Result<(), PgFault> {
    for &secret in OwnSecret::VARIANTS {
        let value = tx.sealer.derive(tx.sealer.id(), secret.name());
        let value = value.map_err(|error| PgFault::row("a secret of the controller", error))?;
        let sealed = tx.sealer.seal(&own_context(secret), &*value);
        let sql = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        tx.execute(sql, values![secret.name(), sealed]).await?;
    }
    Ok(())
}
