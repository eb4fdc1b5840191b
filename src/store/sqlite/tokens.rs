//! Bearer tokens: made, found by what was shown, revoked.
//!
//! Only keyed hashes are kept. Invariants: a revoked token stays revoked, two live tokens have two
//! names, and no request takes away the last live admin token.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Row, named_params, params};

use super::fault::Fault;
use super::row::{Count, Millis, Word};
use super::{Reader, Store, Writer};
use crate::access::{NewToken, Role, Standing, TokenHash, TokenId, TokenOrigin, TokenRecord};
use crate::store::{StoreError, TOKENS_MAX};
use shoal_base::world::elapsed;

/// A token's last use is written no more often: each write waits for the disk.
const LAST_USE_PRECISION: Duration = Duration::from_secs(60);

impl Store {
    /// Keeps a token by the hash of its text.
    pub async fn insert_token(&self, new: NewToken, text: &str) -> Result<TokenRecord, StoreError> {
        let hash = self.token_key.hash(text);
        self.write("adding a token", move |writer| insert(writer, new, &hash)).await
    }

    /// The token with that text, whether it still opens anything or not.
    pub async fn token_shown(&self, text: &str) -> Result<Option<TokenRecord>, StoreError> {
        let hash = self.token_key.hash(text);
        self.read("looking for a token", move |reader| find(reader, &hash)).await
    }

    /// The token of that id, whether it still opens anything or not.
    pub async fn token(&self, id: &TokenId) -> Result<Option<TokenRecord>, StoreError> {
        let id = id.clone();
        self.read("reading a token", move |reader| with_id(reader, &id)).await
    }

    /// All tokens, oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.read("reading the tokens", all).await
    }

    /// Ends a token. One that is revoked already stays as it is.
    pub async fn revoke_token(&self, id: &TokenId, at: Timestamp) -> Result<TokenRecord, StoreError> {
        let id = id.clone();
        self.write("revoking a token", move |writer| {
            let tokens = all(&writer.reader())?;
            let token = tokens.iter().find(|token| token.id == id);
            let token = token.ok_or_else(|| StoreError::UnknownToken { id: id.clone() })?;
            if token.revoked_at.is_some() {
                return Ok(token.clone());
            }
            let is_live_admin =
                |token: &&TokenRecord| token.role == Role::Admin && token.standing(at) == Standing::Live;
            let others = tokens.iter().filter(is_live_admin).filter(|other| other.id != id);
            if is_live_admin(&token) && others.count() == 0 {
                return Err(StoreError::LastAdminToken.into());
            }
            revoke(writer, &id, at)?;
            Ok(TokenRecord { revoked_at: Some(at), ..token.clone() })
        })
        .await
    }

    /// Notes that a token was used, if that was not noted a moment ago.
    pub async fn note_token_use(
        &self,
        token: &TokenRecord,
        at: Timestamp,
        from: Option<String>,
    ) -> Result<(), StoreError> {
        if token.last_used_at.is_some_and(|last| last <= at && elapsed(last, at) < LAST_USE_PRECISION) {
            return Ok(());
        }
        let id = token.id.clone();
        self.write("noting a token's use", move |writer| {
            let sql = "UPDATE tokens SET last_used_at = ?2, last_used_from = ?3 WHERE id = ?1";
            writer.prepare_cached(sql)?.execute(params![Word(&id), Millis(at), from])?;
            Ok(())
        })
        .await
    }

    /// Makes `text` a live admin token of that origin, and ends the others of it: what the settings
    /// or the file say now replaces what they said before. One that was revoked by hand stays so.
    pub async fn settle_admin_token(&self, new: NewToken, text: &str) -> Result<TokenRecord, StoreError> {
        let hash = self.token_key.hash(text);
        self.write("settling the admin token", move |writer| {
            let known = find(&writer.reader(), &hash)?;
            for token in all(&writer.reader())? {
                let is_this = known.as_ref().is_some_and(|known| known.id == token.id);
                if token.origin == new.origin && token.revoked_at.is_none() && !is_this {
                    revoke(writer, &token.id, new.created_at)?;
                }
            }
            match known {
                Some(known) => Ok(known),
                None => insert(writer, new, &hash),
            }
        })
        .await
    }

    /// Whether a live admin token is there that the settings and the file do not make.
    pub async fn has_created_admin(&self, now: Timestamp) -> Result<bool, StoreError> {
        let tokens = self.tokens().await?;
        Ok(tokens.iter().any(|token| {
            let is_created = token.origin == TokenOrigin::Created;
            is_created && token.role == Role::Admin && token.standing(now) == Standing::Live
        }))
    }
}

fn insert(writer: &Writer<'_>, new: NewToken, hash: &TokenHash) -> Result<TokenRecord, Fault> {
    let tokens = all(&writer.reader())?;
    let is_namesake = |token: &TokenRecord| {
        let asked_for = new.origin == TokenOrigin::Created;
        asked_for && token.name == new.name && token.standing(new.created_at) == Standing::Live
    };
    if tokens.iter().any(is_namesake) || find(&writer.reader(), hash)?.is_some() {
        return Err(StoreError::TokenExists { name: new.name }.into());
    }
    make_room(writer, &tokens, new.created_at)?;
    let sql = "INSERT INTO tokens
        (id, name, role, origin, hash_prefix, hash, created_at, created_by, expires_at)
        VALUES (:id, :name, :role, :origin, :hash_prefix, :hash, :created_at, :created_by, :expires_at)";
    writer.execute(
        sql,
        named_params! {
            ":id": Word(&new.id),
            ":name": new.name,
            ":role": Word(new.role),
            ":origin": Word(new.origin),
            ":hash_prefix": hash.prefix(),
            ":hash": hash.bytes(),
            ":created_at": Millis(new.created_at),
            ":created_by": new.created_by,
            ":expires_at": new.expires_at.map(Millis),
        },
    )?;
    let NewToken { id, name, role, origin, expires_at, created_at, created_by } = new;
    let (revoked_at, last_used_at, last_used_from) = (None, None, None);
    Ok(TokenRecord {
        id,
        name,
        role,
        origin,
        created_at,
        created_by,
        expires_at,
        revoked_at,
        last_used_at,
        last_used_from,
    })
}

/// A token that has ended gives way to a new one, the oldest first; the audit remembers it.
fn make_room(writer: &Writer<'_>, tokens: &[TokenRecord], now: Timestamp) -> Result<(), Fault> {
    if (tokens.len() as u64) < TOKENS_MAX {
        return Ok(());
    }
    let ended = tokens.iter().find(|token| token.standing(now) != Standing::Live);
    let ended = ended.ok_or(StoreError::TooManyTokens { max: TOKENS_MAX })?;
    writer.execute("DELETE FROM tokens WHERE id = ?1", [Word(&ended.id)])?;
    Ok(())
}

fn revoke(writer: &Writer<'_>, id: &TokenId, at: Timestamp) -> Result<(), Fault> {
    writer.execute("UPDATE tokens SET revoked_at = ?2 WHERE id = ?1", params![Word(id), Millis(at)])?;
    Ok(())
}

fn all(reader: &Reader<'_>) -> Result<Vec<TokenRecord>, Fault> {
    let mut statement = reader.prepare_cached("SELECT * FROM tokens ORDER BY created_at, id LIMIT ?1")?;
    statement.query_and_then([Count(2 * TOKENS_MAX)], parse)?.collect()
}

/// By a part of the hash; all of it is compared in constant time.
fn with_id(reader: &Reader<'_>, id: &TokenId) -> Result<Option<TokenRecord>, Fault> {
    let mut statement = reader.prepare_cached("SELECT * FROM tokens WHERE id = ?1")?;
    let mut rows = statement.query([Word(id)])?;
    rows.next()?.map(parse).transpose()
}

fn find(reader: &Reader<'_>, hash: &TokenHash) -> Result<Option<TokenRecord>, Fault> {
    let mut statement = reader.prepare_cached("SELECT * FROM tokens WHERE hash_prefix = ?1")?;
    let mut rows = statement.query([hash.prefix()])?;
    let mut found = None;
    while let Some(row) = rows.next()? {
        let kept: [u8; 32] = row.get("hash").map_err(|error| Fault::in_row("a token's hash", error))?;
        if TokenHash::from_bytes(kept).matches(hash) {
            found = Some(parse(row)?);
        }
    }
    Ok(found)
}

fn parse(row: &Row<'_>) -> Result<TokenRecord, Fault> {
    columns(row).map_err(|error| Fault::in_row("a token", error))
}

fn columns(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    let time =
        |name: &str| Ok::<_, rusqlite::Error>(row.get::<_, Option<Millis>>(name)?.map(|Millis(at)| at));
    Ok(TokenRecord {
        id: row.get::<_, Word<_>>("id")?.0,
        name: row.get("name")?,
        role: row.get::<_, Word<_>>("role")?.0,
        origin: row.get::<_, Word<_>>("origin")?.0,
        created_at: row.get::<_, Millis>("created_at")?.0,
        created_by: row.get("created_by")?,
        expires_at: time("expires_at")?,
        revoked_at: time("revoked_at")?,
        last_used_at: time("last_used_at")?,
        last_used_from: row.get("last_used_from")?,
    })
}
