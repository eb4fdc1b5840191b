//! Bearer tokens: created, found by their text, revoked; and sessions of the web interface that end before their time.
//!
//! Only keyed hashes are kept; an engine finds a token by a part of the hash and compares the rest in constant time.
//! Invariants: a revoked token stays revoked, two live tokens have two names, and no request revokes the last live
//! admin token.

use std::time::Duration;

use jiff::Timestamp;

use super::{StoreError, StoreFuture};
use crate::access::{NewToken, Role, Standing, TokenId, TokenOrigin, TokenRecord};
use shoal_base::world::elapsed;

/// The most tokens that are kept, those that ended included.
pub const TOKENS_MAX: u64 = 1_000;
/// A token's last use is written no more often than this: each write waits for the disk.
const LAST_USE_PRECISION: Duration = Duration::from_secs(60);

pub trait TokenStore {
    /// Keeps a token by the hash of its text. Where [`TOKENS_MAX`] are kept, the oldest one that has ended makes
    /// room.
    fn insert_token(&self, new: NewToken, text: &str) -> StoreFuture<TokenRecord>;

    /// The token with that text, whether it is live or not.
    fn token_shown(&self, text: &str) -> StoreFuture<Option<TokenRecord>>;

    /// The token of that id, whether it is live or not.
    fn token(&self, id: &TokenId) -> StoreFuture<Option<TokenRecord>>;

    /// All tokens, oldest first.
    fn tokens(&self) -> StoreFuture<Vec<TokenRecord>>;

    /// Ends a token. A token that is revoked already stays as it is.
    fn revoke_token(&self, id: &TokenId, at: Timestamp) -> StoreFuture<TokenRecord>;

    /// Records that a token was used, unless that was recorded a moment ago.
    fn note_token_use(&self, token: &TokenRecord, at: Timestamp, from: Option<String>) -> StoreFuture<()>;

    /// Makes `text` a live admin token of that origin, and ends the others of that origin: what the settings
    /// or the file hold now replaces what they held before. Where several controllers share the database, each may
    /// have a file, and tokens of files stand beside each other. A token that was revoked by an admin stays revoked.
    fn settle_admin_token(&self, new: NewToken, text: &str) -> StoreFuture<TokenRecord>;

    /// Ends a session of the web interface, which would have lasted until then. Sessions that would have ended by `now`
    /// are forgotten.
    fn end_session(&self, id: &str, until: Timestamp, now: Timestamp) -> StoreFuture<()>;

    /// Whether a session that would still last was ended.
    fn session_has_ended(&self, id: &str) -> StoreFuture<bool>;

    /// Whether there is a live admin token that comes neither from the settings nor from the file.
    fn has_created_admin(&self, now: Timestamp) -> StoreFuture<bool> {
        let tokens = self.tokens();
        Box::pin(async move {
            let is_created = |token: &TokenRecord| token.origin == TokenOrigin::Created;
            Ok(tokens.await?.iter().any(|token| is_created(token) && is_live_admin(token, now)))
        })
    }
}

fn is_live_admin(token: &TokenRecord, now: Timestamp) -> bool {
    token.role == Role::Admin && token.standing(now) == Standing::Live
}

/// Whether a use at `at` is to be written.
pub(super) fn is_use_due(token: &TokenRecord, at: Timestamp) -> bool {
    !token.last_used_at.is_some_and(|last| last <= at && elapsed(last, at) < LAST_USE_PRECISION)
}

/// Whether a live token has the name that a caller asks for.
pub(super) fn is_name_taken(tokens: &[TokenRecord], new: &NewToken) -> bool {
    let is_namesake =
        |token: &TokenRecord| token.name == new.name && token.standing(new.created_at) == Standing::Live;
    new.origin == TokenOrigin::Created && tokens.iter().any(is_namesake)
}

/// The token that makes room for a new one, of all tokens, if one must.
pub(super) fn to_make_room(tokens: &[TokenRecord], now: Timestamp) -> Result<Option<&TokenId>, StoreError> {
    if (tokens.len() as u64) < TOKENS_MAX {
        return Ok(None);
    }
    let ended = tokens.iter().find(|token| token.standing(now) != Standing::Live);
    let ended = ended.ok_or(StoreError::TooManyTokens { max: TOKENS_MAX })?;
    Ok(Some(&ended.id))
}

/// The token to revoke, of all tokens; refused where no live admin token would be left.
pub(super) fn revocable<'a>(
    tokens: &'a [TokenRecord],
    id: &TokenId,
    at: Timestamp,
) -> Result<&'a TokenRecord, StoreError> {
    let token = tokens.iter().find(|token| token.id == *id);
    let token = token.ok_or_else(|| StoreError::UnknownToken { id: id.clone() })?;
    let is_needed = token.revoked_at.is_none() && is_live_admin(token, at);
    if is_needed && !tokens.iter().any(|other| other.id != *id && is_live_admin(other, at)) {
        return Err(StoreError::LastAdminToken);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: u64, revoked_at: Option<Timestamp>) -> TokenRecord {
        TokenRecord {
            id: TokenId::new(number.to_be_bytes()),
            name: number.to_string(),
            role: Role::Viewer,
            origin: TokenOrigin::Created,
            created_at: Timestamp::UNIX_EPOCH,
            created_by: String::new(),
            expires_at: None,
            revoked_at,
            last_used_at: None,
            last_used_from: None,
        }
    }

    #[test]
    fn the_oldest_token_that_has_ended_makes_room() {
        let now = Timestamp::UNIX_EPOCH;
        let mut tokens: Vec<TokenRecord> = (0..TOKENS_MAX).map(|number| token(number, None)).collect();
        assert_eq!(to_make_room(&tokens[1..], now).unwrap(), None, "there is room");
        let error = to_make_room(&tokens, now).unwrap_err();
        assert!(matches!(error, StoreError::TooManyTokens { .. }), "{error}");
        for number in [7, 9] {
            tokens[number].revoked_at = Some(now);
        }
        assert_eq!(to_make_room(&tokens, now).unwrap(), Some(&tokens[7].id));
    }
}
