//! The table `tokens`.
//!
//! What decides by all tokens (a name that is free, the last admin) holds a lock from its first look to the commit.

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::Postgres;
use super::fault::PgFault;
use super::row::{Fixed, Millis, Word, values};
use super::writer::{DatabaseLock, PgReader, PgWriter};
use crate::access::{NewToken, TokenHash, TokenId, TokenOrigin, TokenRecord};
use crate::store::tokens::{is_name_taken, is_use_due, revocable, to_make_room};
use crate::store::{StoreError, StoreFuture, TOKENS_MAX, TokenStore};

impl TokenStore for Postgres {
    fn insert_token(&self, new: NewToken, text: &str) -> StoreFuture<TokenRecord> {
        let given = (new, self.token_key.hash(text));
        self.write("adding a token", given, |tx, (new, hash)| {
            async move {
                tx.lock(DatabaseLock::Tokens).await?;
                insert(tx, new, hash).await
            }
            .boxed()
        })
    }

    fn token_shown(&self, text: &str) -> StoreFuture<Option<TokenRecord>> {
        let hash = self.token_key.hash(text);
        self.read("looking for a token", hash, |reader, hash| find(reader, hash).boxed())
    }

    fn token(&self, id: &TokenId) -> StoreFuture<Option<TokenRecord>> {
        self.read("reading a token", id.clone(), |reader, id| {
            async move {
                let row = reader.optional("SELECT * FROM tokens WHERE id = $1", values![Word(id)]).await?;
                row.as_ref().map(parse).transpose()
            }
            .boxed()
        })
    }

    fn tokens(&self) -> StoreFuture<Vec<TokenRecord>> {
        self.read("reading the tokens", (), |reader, ()| all(reader).boxed())
    }

    fn revoke_token(&self, id: &TokenId, at: Timestamp) -> StoreFuture<TokenRecord> {
        self.write("revoking a token", (id.clone(), at), |tx, (id, at)| {
            async move {
                tx.lock(DatabaseLock::Tokens).await?;
                let tokens = all(tx).await?;
                let token = revocable(&tokens, id, *at)?;
                if token.revoked_at.is_some() {
                    return Ok(token.clone());
                }
                revoke(tx, id, *at).await?;
                Ok(TokenRecord { revoked_at: Some(*at), ..token.clone() })
            }
            .boxed()
        })
    }

    fn note_token_use(&self, token: &TokenRecord, at: Timestamp, from: Option<String>) -> StoreFuture<()> {
        if !is_use_due(token, at) {
            return Box::pin(async { Ok(()) });
        }
        self.write("noting a token's use", (token.id.clone(), at, from), |tx, (id, at, from)| {
            async move {
                let sql = "UPDATE tokens SET last_used_at = $2, last_used_from = $3 WHERE id = $1";
                tx.execute(sql, values![Word(id), Millis(*at), from.as_ref()]).await.map(drop)
            }
            .boxed()
        })
    }

    fn settle_admin_token(&self, new: NewToken, text: &str) -> StoreFuture<TokenRecord> {
        let given = (new, self.token_key.hash(text));
        self.write("settling the admin token", given, |tx, (new, hash)| settle(tx, new, hash).boxed())
    }

    fn end_session(&self, id: &str, until: Timestamp, now: Timestamp) -> StoreFuture<()> {
        self.write("ending a session", (id.to_owned(), until, now), |tx, (id, until, now)| {
            async move {
                tx.execute("DELETE FROM ended_sessions WHERE until <= $1", values![Millis(*now)]).await?;
                let sql = "INSERT INTO ended_sessions (id, until) VALUES ($1, $2) ON CONFLICT DO NOTHING";
                tx.execute(sql, values![id.as_str(), Millis(*until)]).await.map(drop)
            }
            .boxed()
        })
    }

    fn session_has_ended(&self, id: &str) -> StoreFuture<bool> {
        self.read("looking for a session", id.to_owned(), |reader, id| {
            async move {
                reader.exists("SELECT 1 FROM ended_sessions WHERE id = $1", values![id.as_str()]).await
            }
            .boxed()
        })
    }
}

async fn settle(tx: &PgWriter, new: &NewToken, hash: &TokenHash) -> Result<TokenRecord, PgFault> {
    tx.lock(DatabaseLock::Tokens).await?;
    let known = find(tx, hash).await?;
    for token in all(tx).await? {
        let is_this = known.as_ref().is_some_and(|known| known.id == token.id);
        // Each controller may have a file of its own.
        let replaces = token.origin == new.origin && new.origin != TokenOrigin::File;
        if replaces && token.revoked_at.is_none() && !is_this {
            revoke(tx, &token.id, new.created_at).await?;
        }
    }
    match known {
        Some(known) => Ok(known),
        None => insert(tx, new, hash).await,
    }
}

async fn insert(tx: &PgWriter, new: &NewToken, hash: &TokenHash) -> Result<TokenRecord, PgFault> {
    let tokens = all(tx).await?;
    if is_name_taken(&tokens, new) || find(tx, hash).await?.is_some() {
        return Err(StoreError::TokenExists { name: new.name.clone() }.into());
    }
    if let Some(ended) = to_make_room(&tokens, new.created_at)? {
        tx.execute("DELETE FROM tokens WHERE id = $1", values![Word(ended)]).await?;
    }
    let sql = "INSERT INTO tokens
        (id, name, role, origin, hash_prefix, hash, created_at, created_by, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let values = values![
        Word(&new.id),
        &new.name,
        Word(new.role),
        Word(new.origin),
        hash.prefix(),
        *hash.bytes(),
        Millis(new.created_at),
        &new.created_by,
        new.expires_at.map(Millis),
    ];
    tx.execute(sql, values).await?;
    Ok(TokenRecord::from(new.clone()))
}

async fn revoke(tx: &PgWriter, id: &TokenId, at: Timestamp) -> Result<(), PgFault> {
    let sql = "UPDATE tokens SET revoked_at = $2 WHERE id = $1";
    tx.execute(sql, values![Word(id), Millis(at)]).await.map(drop)
}

async fn all(reader: &PgReader) -> Result<Vec<TokenRecord>, PgFault> {
    let sql = format!("SELECT * FROM tokens ORDER BY created_at, id LIMIT {}", 2 * TOKENS_MAX);
    reader.query(&sql, &[]).await?.iter().map(parse).collect()
}

/// By a part of the hash; all of it is compared in constant time.
async fn find(reader: &PgReader, hash: &TokenHash) -> Result<Option<TokenRecord>, PgFault> {
    let mut found = None;
    for row in reader.query("SELECT * FROM tokens WHERE hash_prefix = $1", values![hash.prefix()]).await? {
        let kept = row.try_get::<_, Fixed<32>>("hash");
        let Fixed(kept) = kept.map_err(|error| PgFault::in_row("a token's hash", error))?;
        if TokenHash::from_bytes(kept).matches(hash) {
            found = Some(parse(&row)?);
        }
    }
    Ok(found)
}

fn parse(row: &Row) -> Result<TokenRecord, PgFault> {
    columns(row).map_err(|error| PgFault::in_row("a token", error))
}

fn columns(row: &Row) -> Result<TokenRecord, tokio_postgres::Error> {
    let time = |name: &str| {
        Ok::<_, tokio_postgres::Error>(row.try_get::<_, Option<Millis>>(name)?.map(|Millis(at)| at))
    };
    Ok(TokenRecord {
        id: row.try_get::<_, Word<_>>("id")?.0,
        name: row.try_get("name")?,
        role: row.try_get::<_, Word<_>>("role")?.0,
        origin: row.try_get::<_, Word<_>>("origin")?.0,
        created_at: row.try_get::<_, Millis>("created_at")?.0,
        created_by: row.try_get("created_by")?,
        expires_at: time("expires_at")?,
        revoked_at: time("revoked_at")?,
        last_used_at: time("last_used_at")?,
        last_used_from: row.try_get("last_used_from")?,
    })
}
