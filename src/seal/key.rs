//! One master key and its name.
//!
//! It does no I/O. Invariant: the key's bytes are shown by nothing here, and are overwritten when the
//! last copy goes.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use super::{KEY_ID_BYTES, prf};
use shoal_base::world::Rng;
use shoal_base::{hex, unhex};

/// 32 random bytes.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; MasterKey::BYTES]>);

impl MasterKey {
    pub const BYTES: usize = 32;

    pub fn new(bytes: [u8; MasterKey::BYTES]) -> MasterKey {
        MasterKey(Zeroizing::new(bytes))
    }

    pub fn generate(rng: &Rng) -> MasterKey {
        let mut key = Zeroizing::new([0; MasterKey::BYTES]);
        rng.fill(&mut *key);
        MasterKey(key)
    }

    /// What sealed values name it by. It is no secret.
    pub fn id(&self) -> KeyId {
        let id = self.prf(&[b"key id"]);
        KeyId(id[..KEY_ID_BYTES].try_into().expect("a hash is longer than a key id"))
    }

    /// For the file that keeps it.
    pub(super) fn expose(&self) -> &[u8] {
        &*self.0
    }

    pub(super) fn prf(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        prf(&self.0, parts)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(hidden)")
    }
}

/// A text that is no master key. It quotes nothing, for it may be nearly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hex digits, which are 32 random bytes: openssl rand -hex 32")]
pub struct MasterKeyError;

impl FromStr for MasterKey {
    type Err = MasterKeyError;

    fn from_str(text: &str) -> Result<MasterKey, MasterKeyError> {
        let bytes = unhex(text.trim()).map(Zeroizing::new).ok_or(MasterKeyError)?;
        let bytes = <[u8; MasterKey::BYTES]>::try_from(bytes.as_slice());
        bytes.map(MasterKey::new).map_err(|_| MasterKeyError)
    }
}

/// Eight hex digits that follow from a key and do not lead back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub(super) [u8; KEY_ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<KeyId, KeyIdError> {
        let bytes = unhex(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(KeyId).ok_or(KeyIdError)
    }
}

/// A text that names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is named by 8 hex digits")]
pub struct KeyIdError;
