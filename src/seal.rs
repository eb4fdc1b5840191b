//! Secrets at rest: what a stolen database must not give away is sealed with the master key.
//!
//! It is not transport security and it knows no table: [`Sealer::seal`] takes the place of a value
//! (table, column and row) as context, and a sealed value opens in that place only, so that nobody
//! can make a row's password another row's by copying bytes. Invariant: no plain text of a sealed
//! value, and not the master key, is ever part of an error or of `Debug`.
//!
//! A sealed value is `format (1) | key id (4) | nonce (24) | XChaCha20-Poly1305`. The nonce is
//! derived from key, context and plain text (as in AES-SIV), so it cannot repeat for another text;
//! all that it tells is whether a value was stored in the same place twice. The id of the key, not
//! secret itself, tells "another key" from "damaged".

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::world::Rng;

const FORMAT: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;

/// Seals and opens with one master key. Clones share it.
#[derive(Clone)]
pub struct Sealer(Arc<Keys>);

struct Keys {
    master: [u8; 32],
    nonce: [u8; 32],
    id: [u8; KEY_ID_BYTES],
    cipher: XChaCha20Poly1305,
}

impl Sealer {
    pub fn new(master: [u8; 32]) -> Sealer {
        let id = prf(&master, &[b"key id"]);
        Sealer(Arc::new(Keys {
            nonce: prf(&master, &[b"nonce"]),
            id: id[..KEY_ID_BYTES].try_into().expect("a hash is longer than a key id"),
            cipher: XChaCha20Poly1305::new(&prf(&master, &[b"cipher"]).into()),
            master,
        }))
    }

    /// `plain`, readable with this key and in this `context` only.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = &prf(&self.0.nonce, &[context.as_bytes(), plain])[..NONCE_BYTES];
        let nonce = XNonce::try_from(nonce).expect("the slice is as long as a nonce");
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let sealed = self.0.cipher.encrypt(&nonce, payload).expect("values are far below 256 GiB");
        [&[FORMAT][..], &self.0.id, &nonce, &sealed].concat()
    }

    /// The plain bytes of what [`Sealer::seal`] made in the same context.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (header, body) = sealed.split_at_checked(HEADER_BYTES).ok_or(SealError::Damaged)?;
        let (id, nonce) = header[1..].split_at(KEY_ID_BYTES);
        if header[0] != FORMAT {
            return Err(SealError::UnknownFormat { format: header[0] });
        }
        if id != self.0.id {
            return Err(SealError::OtherKey);
        }
        let nonce = XNonce::try_from(nonce).expect("the header ends with a nonce");
        let payload = Payload { msg: body, aad: context.as_bytes() };
        self.0.cipher.decrypt(&nonce, payload).map_err(|_| SealError::Damaged)
    }

    /// A key for another purpose, from which the master key cannot be found.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        prf(&self.0.master, &[b"derived key", label.as_bytes()])
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(hidden)")
    }
}

/// Why a sealed value does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it was sealed with another master key than that of MASTER_KEY_FILE")]
    OtherKey,
    #[error("it is damaged, or was copied from another row")]
    Damaged,
    #[error("its format, {format}, is of a newer version")]
    UnknownFormat { format: u8 },
}

/// HMAC-SHA-256 over `parts`, each preceded by its length.
fn prf(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("cannot {doing} the master key {} (MASTER_KEY_FILE)", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "the master key {} (MASTER_KEY_FILE) has {found} bytes instead of 32: restore it from a backup",
        path.display()
    )]
    Length { path: PathBuf, found: usize },
}

/// Reads the master key at `path`, 32 raw bytes, or makes one there (mode 0600) if there is none.
pub fn load_or_create_key(path: &Path, rng: &Rng) -> Result<[u8; 32], KeyFileError> {
    match std::fs::read(path) {
        Ok(bytes) => checked_key(path, bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_key(path, rng).map_err(|error| failed("create", path, error))?;
            checked_key(path, std::fs::read(path).map_err(|error| failed("read", path, error))?)
        }
        Err(error) => Err(failed("read", path, error)),
    }
}

/// Reads the master key at `path` and makes none.
pub fn load_key(path: &Path) -> Result<[u8; 32], KeyFileError> {
    checked_key(path, std::fs::read(path).map_err(|error| failed("read", path, error))?)
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io { doing, path: path.to_owned(), source }
}

fn checked_key(path: &Path, bytes: Vec<u8>) -> Result<[u8; 32], KeyFileError> {
    let mode = std::fs::metadata(path).map(|found| found.permissions().mode()).unwrap_or_default();
    if mode & 0o007 != 0 {
        tracing::warn!(path = %path.display(), "the master key is readable by everybody: chmod 0600 it");
    }
    let found = bytes.len();
    bytes.try_into().map_err(|_| KeyFileError::Length { path: path.to_owned(), found })
}

/// Writes the key beside its place and links it there: a crash leaves no half-written key, and of
/// two controllers starting at once both read the one that came first.
fn create_key(path: &Path, rng: &Rng) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(directory)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", rng.hex(8)));
    let draft = directory.join(name);
    let linked = write_draft(&draft, rng).and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // What is left of a failed write is no key; the first error is the one to tell.
    let removed = std::fs::remove_file(&draft);
    linked.and(removed)?;
    std::fs::File::open(directory)?.sync_all()
}

fn write_draft(draft: &Path, rng: &Rng) -> io::Result<()> {
    let mut key = [0; 32];
    rng.fill(&mut key);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(&key)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_with_its_key_and_in_its_place_only() {
        let sealer = Sealer::new([1; 32]);
        let sealed = sealer.seal("servers.bmc_password/A", b"calvin");
        assert_eq!(sealer.open("servers.bmc_password/A", &sealed).unwrap(), b"calvin");
        assert_eq!(sealer.open("servers.bmc_password/B", &sealed), Err(SealError::Damaged));
        let other = Sealer::new([2; 32]);
        assert_eq!(other.open("servers.bmc_password/A", &sealed), Err(SealError::OtherKey));
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
    fn derived_keys_differ_by_label_and_master() {
        let sealer = Sealer::new([1; 32]);
        assert_eq!(sealer.derive("media"), Sealer::new([1; 32]).derive("media"));
        assert_ne!(sealer.derive("media"), sealer.derive("other"));
        assert_ne!(sealer.derive("media"), Sealer::new([2; 32]).derive("media"));
    }

    #[test]
    fn the_key_file_is_made_once_and_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/master.key");
        let key = load_or_create_key(&path, &Rng::from_seed(1)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load_or_create_key(&path, &Rng::from_seed(2)).unwrap(), key);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused_naming_the_setting() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"short").unwrap();
        let error = load_or_create_key(file.path(), &Rng::from_seed(1)).unwrap_err().to_string();
        assert!(error.contains("MASTER_KEY_FILE") && error.contains("5 bytes"), "{error}");
    }
}
