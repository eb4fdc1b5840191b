//! The table `tokens`.

use jiff::Timestamp;
use rusqlite::{Row, named_params, params};

use super::fault::Fault;
use super::row::{Count, Millis, Word};
use super::{Reader, Sqlite, Writer};
use crate::access::{NewToken, TokenHash, TokenId, TokenRecord};
use crate::store::tokens::{is_name_taken, is_use_due, revocable, to_make_room};
use crate::store::{StoreError, StoreFuture, TOKENS_MAX, TokenStore};

impl TokenStore for Sqlite {
    fn insert_token(&self, new: NewToken, text: &str) -> StoreFuture<TokenRecord> {
        let hash = self.token_key.hash(text);
        self.write("adding a token", move |writer| insert(writer, new, &hash))
    }

    fn token_shown(&self, text: &str) -> StoreFuture<Option<TokenRecord>> {
        let hash = self.token_key.hash(text);
        self.read("looking for a token", move |reader| find(reader, &hash))
    }

    fn token(&self, id: &TokenId) -> StoreFuture<Option<TokenRecord>> {
        let id = id.clone();
        self.read("reading a token", move |reader| with_id(reader, &id))
    }

    fn tokens(&self) -> StoreFuture<Vec<TokenRecord>> {
        self.read("reading the tokens", all)
    }

    fn revoke_token(&self, id: &TokenId, at: Timestamp) -> StoreFuture<TokenRecord> {
        let id = id.clone();
        self.write("revoking a token", move |writer| {
            let tokens = all(&writer.reader())?;
            let token = revocable(&tokens, &id, at)?;
            if token.revoked_at.is_some() {
                return Ok(token.clone());
            }
            revoke(writer, &id, at)?;
            Ok(TokenRecord { revoked_at: Some(at), ..token.clone() })
        })
    }

    fn note_token_use(&self, token: &TokenRecord, at: Timestamp, from: Option<String>) -> StoreFuture<()> {
        if !is_use_due(token, at) {
            return Box::pin(async { Ok(()) });
        }
        let id = token.id.clone();
        self.write("noting a token's use", move |writer| {
            let sql = "UPDATE tokens SET last_used_at = ?2, last_used_from = ?3 WHERE id = ?1";
            writer.prepare_cached(sql)?.execute(params![Word(&id), Millis(at), from])?;
            Ok(())
        })
    }

    fn settle_admin_token(&self, new: NewToken, text: &str) -> StoreFuture<TokenRecord> {
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
    }

    fn end_session(&self, id: &str, until: Timestamp, now: Timestamp) -> StoreFuture<()> {
        let id = id.to_owned();
        self.write("ending a session", move |writer| {
            writer.execute("DELETE FROM ended_sessions WHERE until <= ?1", [Millis(now)])?;
            let sql = "INSERT OR REPLACE INTO ended_sessions (id, until) VALUES (?1, ?2)";
            writer.execute(sql, params![id, Millis(until)])?;
            Ok(())
        })
    }

    fn session_has_ended(&self, id: &str) -> StoreFuture<bool> {
        let id = id.to_owned();
        self.read("looking for a session", move |reader| {
            let sql = "SELECT EXISTS (SELECT 1 FROM ended_sessions WHERE id = ?1)";
            Ok(reader.prepare_cached(sql)?.query_row([id], |row| row.get(0))?)
        })
    }
}

fn insert(writer: &Writer<'_>, new: NewToken, hash: &TokenHash) -> Result<TokenRecord, Fault> {
    let tokens = all(&writer.reader())?;
    if is_name_taken(&tokens, &new) || find(&writer.reader(), hash)?.is_some() {
        return Err(StoreError::TokenExists { name: new.name }.into());
    }
    if let Some(ended) = to_make_room(&tokens, new.created_at)? {
        writer.execute("DELETE FROM tokens WHERE id = ?1", [Word(ended)])?;
    }
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
    Ok(TokenRecord::from(new))
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
