//! Master keys, and the controller's own secrets that they seal.
//!
//! An engine creates no master key and reads no key file (`seal` does). It knows its keys by their ids, each with a
//! sealed proof, and opens only with every key that it still needs. A rotation is: a new key beside the old one, every
//! value sealed anew in batches, and the old key retired once no value needs it. Invariant: each batch is one
//! transaction whose progress is stored with it, so a crash leaves every value sealed with the old key or with the
//! new one, and both open while a rotation lasts.

use jiff::Timestamp;
use strum::{IntoStaticStr, VariantArray};
use zeroize::Zeroizing;

use super::StoreFuture;

/// The secrets of the controller itself. Each followed from a master key once, and is kept, sealed, ever
/// after: what was made with it stays good when the master key changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OwnSecret {
    /// Makes the tokens in media URLs.
    Media,
    /// Makes the tokens of installers' hooks.
    Hook,
    /// Makes the hashes of bearer tokens.
    Tokens,
    /// Ties the audit's entries together.
    Audit,
}

impl OwnSecret {
    /// What is made with these is dead once no job is active.
    pub(super) const OF_JOBS: [OwnSecret; 2] = [OwnSecret::Media, OwnSecret::Hook];

    pub(super) fn name(self) -> &'static str {
        self.into()
    }
}

/// One key that the database knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    pub id: String,
    /// When no value needed it any more.
    pub retired_at: Option<Timestamp>,
    /// Values that only this key opens.
    pub values: u64,
}

/// The result of one batch of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resealed {
    /// So many values were looked at; there may be more.
    More(u64),
    /// No value is left that another key sealed.
    All,
}

pub trait KeyStore {
    /// One of the controller's own secrets.
    fn own_secret(&self, secret: OwnSecret) -> StoreFuture<Zeroizing<[u8; 32]>>;

    /// Seals up to `limit` values anew that another key than the present one sealed.
    fn reseal(&self, limit: u64) -> StoreFuture<Resealed>;

    /// Retires every key but the present one. Refused while a value needs another. Where no job is
    /// active, the secrets of media and hooks are replaced: their tokens live as long as a job.
    fn retire_old_keys(&self, now: Timestamp) -> StoreFuture<()>;

    /// The keys that the database knows, oldest first.
    fn known_keys(&self) -> StoreFuture<Vec<KnownKey>>;
}

/// A column of sealed values, and the column that names their rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct SealedColumn {
    pub table: &'static str,
    pub column: &'static str,
    pub row: &'static str,
}

/// Every sealed column but the proofs of the keys themselves.
pub(super) const SEALED_COLUMNS: [SealedColumn; 5] = [
    SealedColumn { table: "servers", column: "bmc_password", row: "serial" },
    SealedColumn { table: "servers", column: "variables", row: "serial" },
    SealedColumn { table: "recipes", column: "recipe", row: "job" },
    SealedColumn { table: "recipes", column: "spec", row: "job" },
    SealedColumn { table: "secrets", column: "value", row: "name" },
];

impl SealedColumn {
    /// What a value is sealed for: this column of this row.
    pub fn context(self, row: &str) -> String {
        format!("{}.{}/{row}", self.table, self.column)
    }

    pub fn name(self) -> String {
        format!("{}.{}", self.table, self.column)
    }
}

/// What the proof of a key holds, sealed with that key.
pub(super) const PROOF: &[u8] = b"shoal";

pub(super) fn proof_context(id: &str) -> String {
    format!("keys.proof/{id}")
}

pub(super) fn own_context(secret: OwnSecret) -> String {
    format!("secrets.value/{}", secret.name())
}
