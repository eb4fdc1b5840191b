//! Bearer tokens as they are kept: a keyed hash, a name, a role, and how long they are good.
//!
//! Not the tokens in URLs, which follow from a key (`token`). Invariant: hashes are compared in a time
//! that does not depend on where two differ.

use std::fmt;
use std::str::FromStr;
use strum::{IntoStaticStr, VariantNames};

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::Role;
use shoal_base::hex;

/// What is longer is no token, and is not hashed.
pub const TOKEN_CHARS_MAX: usize = 512;
const ID_BYTES: usize = 8;

/// Makes the hashes of one controller's tokens.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    pub fn new(key: [u8; 32]) -> TokenKey {
        TokenKey(key)
    }

    /// HMAC-SHA-256. The texts are random, so nothing slower is needed; the key makes a stolen
    /// database useless for guessing a text that an operator chose (`SHOAL_BOOTSTRAP_TOKEN`).
    pub fn hash(&self, text: &str) -> TokenHash {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(text.as_bytes());
        TokenHash(mac.finalize().into_bytes().into())
    }
}

#[derive(Clone)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub fn from_bytes(bytes: [u8; 32]) -> TokenHash {
        TokenHash(bytes)
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the store finds a token by: too little to be let in by, so the rest is still compared.
    pub fn prefix(&self) -> &[u8] {
        &self.0[..8]
    }

    /// Takes the same time wherever the two differ.
    pub fn matches(&self, other: &TokenHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// Names one token, permanently; no secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(String);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a token's id has 16 lower-case hex digits")]
pub struct TokenIdError;

impl TokenId {
    pub fn new(random: [u8; ID_BYTES]) -> TokenId {
        TokenId(hex(&random))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<TokenId, TokenIdError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_id = text.len() == 2 * ID_BYTES && text.bytes().all(is_digit);
        is_id.then(|| TokenId(text.to_owned())).ok_or(TokenIdError)
    }
}

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenOrigin {
    /// Created by an admin.
    Created,
    /// `admin.token` beside the database.
    File,
    /// `SHOAL_BOOTSTRAP_TOKEN`.
    Environment,
}

/// A token before it is kept.
#[derive(Clone)]
pub struct NewToken {
    pub id: TokenId,
    pub name: String,
    pub role: Role,
    pub origin: TokenOrigin,
    pub expires_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// [`super::Actor::id`] of the caller that created it.
    pub created_by: String,
}

/// A token that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    pub id: TokenId,
    pub name: String,
    pub role: Role,
    pub origin: TokenOrigin,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
    pub last_used_from: Option<String>,
}

impl From<NewToken> for TokenRecord {
    fn from(new: NewToken) -> TokenRecord {
        let NewToken { id, name, role, origin, expires_at, created_at, created_by } = new;
        let (revoked_at, last_used_at, last_used_from) = (None, None, None);
        TokenRecord {
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
        }
    }
}

/// Whether a token opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Standing {
    Live,
    Expired,
    Revoked,
}

impl Standing {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl TokenRecord {
    pub fn standing(&self, now: Timestamp) -> Standing {
        match (self.revoked_at, self.expires_at) {
            (Some(_), _) => Standing::Revoked,
            (None, Some(end)) if end <= now => Standing::Expired,
            _ => Standing::Live,
        }
    }
}

/// Whether a text can be a token at all.
pub fn may_be_token(text: &str) -> bool {
    (1..=TOKEN_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_its_key_and_text_alone() {
        let hash = |key: u8, text| TokenKey::new([key; 32]).hash(text);
        assert!(hash(1, "a").matches(&hash(1, "a")));
        assert!(!hash(1, "a").matches(&hash(1, "b")) && !hash(1, "a").matches(&hash(2, "a")));
        for bit in 0..256 {
            let mut other = *hash(1, "a").bytes();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!hash(1, "a").matches(&TokenHash::from_bytes(other)), "bit {bit}");
        }
    }

    #[test]
    fn a_token_ends_when_it_was_said_to() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut token = TokenRecord {
            id: TokenId::new([1; 8]),
            name: "ci".to_owned(),
            role: Role::Viewer,
            origin: TokenOrigin::Created,
            created_at: at(0),
            created_by: "anybody".to_owned(),
            expires_at: Some(at(10)),
            revoked_at: None,
            last_used_at: None,
            last_used_from: None,
        };
        assert_eq!((token.standing(at(9)), token.standing(at(10))), (Standing::Live, Standing::Expired));
        token.revoked_at = Some(at(5));
        assert_eq!(token.standing(at(1)), Standing::Revoked);
    }

    #[test]
    fn ids_are_read_back_and_nothing_else_is() {
        let id = TokenId::new([0xab; 8]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "abc", "ABABABABABABABAB", "zzzzzzzzzzzzzzzz"] {
            assert!(wrong.parse::<TokenId>().is_err(), "{wrong}");
        }
    }
}
