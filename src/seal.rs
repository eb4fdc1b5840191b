//! Secrets at rest: what a stolen database must not give away is sealed with a master key.
//!
//! It is not transport security and it knows no table: [`Sealer::seal`] takes the location of a value
//! (table, column and row) as context, and a sealed value opens in that location only, so that copying
//! bytes cannot make one row's password another row's. Invariant: no plain text of a sealed
//! value, and no master key, is ever part of an error or of `Debug`, and neither stays in memory
//! after its last use.
//!
//! A sealed value is `format (1) | key id (4) | nonce (24) | XChaCha20-Poly1305`. The nonce is
//! derived from key, context and plain text (as in AES-SIV), so it cannot repeat for another text;
//! all that it discloses is whether a value was stored in the same location twice. The id of the key, not
//! secret itself, shows which of several keys a value needs, and distinguishes "another key" from "damaged".

mod key;
mod source;

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

pub use key::{KeyId, MasterKey};
pub use source::{KeyError, KeySource, load_existing, load_or_create, load_shared, replace};

const FORMAT: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;

/// Seals with one master key, and opens with that one and with older ones. Clones share them.
#[derive(Clone)]
pub struct Sealer(Arc<Ring>);

struct Ring {
    /// The first one seals. Never empty.
    keys: Vec<SealingKeys>,
    /// The setting that gave them, for error messages.
    setting: String,
}

/// What follows from one master key.
struct SealingKeys {
    master: MasterKey,
    nonce: Zeroizing<[u8; 32]>,
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

impl SealingKeys {
    fn new(master: MasterKey) -> SealingKeys {
        SealingKeys {
            id: master.id(),
            nonce: master.prf(&[b"nonce"]),
            cipher: XChaCha20Poly1305::new(&(*master.prf(&[b"cipher"])).into()),
            master,
        }
    }

    fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = &prf(&self.nonce, &[context.as_bytes(), plain])[..NONCE_BYTES];
        let nonce = XNonce::try_from(nonce).expect("the slice is as long as a nonce");
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let sealed = self.cipher.encrypt(&nonce, payload).expect("values are far below 256 GiB");
        [&[FORMAT][..], &self.id.0, &nonce, &sealed].concat()
    }
}

impl Sealer {
    /// With one key, said to be that of `MASTER_KEY_FILE`.
    pub fn new(master: [u8; 32]) -> Sealer {
        Sealer::with_old(MasterKey::new(master), Vec::new(), "MASTER_KEY_FILE")
    }

    /// With a key that seals and older ones that only open, as `setting` gave them.
    pub fn with_old(current: MasterKey, old: Vec<MasterKey>, setting: impl Into<String>) -> Sealer {
        let keys = std::iter::once(current).chain(old).map(SealingKeys::new).collect();
        Sealer(Arc::new(Ring { keys, setting: setting.into() }))
    }

    /// Of the key that seals.
    pub fn id(&self) -> KeyId {
        self.0.keys[0].id
    }

    /// Of all keys, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.keys.iter().map(|keys| keys.id)
    }

    /// The same keys as text, for the command that shows them.
    pub fn keys(&self) -> Vec<MasterKey> {
        self.0.keys.iter().map(|keys| keys.master.clone()).collect()
    }

    /// `plain`, readable with this key and in this `context` only.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        self.0.keys[0].seal(context, plain)
    }

    /// The same with one of the keys.
    pub fn seal_with(&self, key: KeyId, context: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok(self.keys_of(key)?.seal(context, plain))
    }

    /// The plain bytes of what [`Sealer::seal`] made in the same context, with any of the keys.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (header, body) = sealed.split_at_checked(HEADER_BYTES).ok_or(SealError::Damaged)?;
        let (id, nonce) = header[1..].split_at(KEY_ID_BYTES);
        if header[0] != FORMAT {
            return Err(SealError::UnknownFormat { format: header[0] });
        }
        let keys = self.keys_of(KeyId(id.try_into().expect("the header holds a key id")))?;
        let nonce = XNonce::try_from(nonce).expect("the header ends with a nonce");
        let payload = Payload { msg: body, aad: context.as_bytes() };
        keys.cipher.decrypt(&nonce, payload).map(Zeroizing::new).map_err(|_| SealError::Damaged)
    }

    /// A key for another purpose, from which the master key cannot be found.
    pub fn derive(&self, from: KeyId, label: &str) -> Result<Zeroizing<[u8; 32]>, SealError> {
        Ok(self.keys_of(from)?.master.prf(&[b"derived key", label.as_bytes()]))
    }

    fn keys_of(&self, id: KeyId) -> Result<&SealingKeys, SealError> {
        let found = self.0.keys.iter().find(|keys| keys.id == id);
        found.ok_or_else(|| SealError::OtherKey {
            needed: id,
            setting: self.0.setting.clone(),
            held: self.ids().map(|id| id.to_string()).collect::<Vec<_>>().join(", "),
        })
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(hidden)")
    }
}

/// Which key opens a sealed value; `None` where it is none.
pub fn key_of(sealed: &[u8]) -> Option<KeyId> {
    let id = sealed.get(1..1 + KEY_ID_BYTES).filter(|_| sealed[0] == FORMAT)?;
    Some(KeyId(id.try_into().expect("the slice is as long as a key id")))
}

/// Why a sealed value does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it was sealed with master key {needed}, and {setting} holds {held}")]
    OtherKey { needed: KeyId, setting: String, held: String },
    #[error("it is damaged, or was copied from another row")]
    Damaged,
    #[error("its format, {format}, is of a newer version")]
    UnknownFormat { format: u8 },
}

/// HMAC-SHA-256 over `parts`, each preceded by its length.
fn prf(key: &[u8; 32], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_with_its_key_and_in_its_place_only() {
        let sealer = Sealer::new([1; 32]);
        let sealed = sealer.seal("servers.bmc_password/A", b"calvin");
        assert_eq!(*sealer.open("servers.bmc_password/A", &sealed).unwrap(), b"calvin");
        assert_eq!(sealer.open("servers.bmc_password/B", &sealed), Err(SealError::Damaged));
        let other = Sealer::new([2; 32]);
        let error = other.open("servers.bmc_password/A", &sealed).unwrap_err().to_string();
        let [needed, held] = [&sealer, &other].map(|sealer| sealer.id().to_string());
        assert_eq!(
            error,
            format!("it was sealed with master key {needed}, and MASTER_KEY_FILE holds {held}")
        );
        assert!(!sealed.windows(6).any(|window| window == b"calvin"));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let sealer = Sealer::new([1; 32]);
        let sealed = sealer.seal("place", b"text");
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open("place", &damaged).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(sealer.open("place", &sealed[..length]), Err(SealError::Damaged), "{length}");
        }
    }

    #[test]
    fn a_nonce_is_never_used_for_two_texts() {
        let sealer = Sealer::new([1; 32]);
        let nonce = |context, plain: &[u8]| sealer.seal(context, plain)[5..HEADER_BYTES].to_vec();
        assert_ne!(nonce("a", b"one"), nonce("a", b"two"));
        assert_ne!(nonce("a", b"bc"), nonce("ab", b"c"));
    }

    #[test]
    fn an_old_key_opens_and_seals_no_more() {
        let old = Sealer::new([1; 32]);
        let both = Sealer::with_old(MasterKey::new([2; 32]), old.keys(), "MASTER_KEY");
        let sealed = old.seal("place", b"text");
        assert_eq!(*both.open("place", &sealed).unwrap(), b"text");
        let again = both.seal("place", b"text");
        assert_eq!((key_of(&sealed), key_of(&again)), (Some(old.id()), Some(both.id())));
        assert!(old.open("place", &again).is_err());
    }

    #[test]
    fn derived_keys_differ_by_label_and_master() {
        let derive = |key, label| {
            let sealer = Sealer::new([key; 32]);
            sealer.derive(sealer.id(), label).unwrap()
        };
        assert_eq!(derive(1, "media"), derive(1, "media"));
        assert_ne!(derive(1, "media"), derive(1, "other"));
        assert_ne!(derive(1, "media"), derive(2, "media"));
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?} {:?}", Sealer::new([0x41; 32]), MasterKey::new([0x41; 32]));
        assert!(!shown.contains("41") && !shown.contains("65") && !shown.contains('A'), "{shown}");
    }
}
