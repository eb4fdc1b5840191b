//! Master keys and the secrets that they seal.

use jiff::Timestamp;
use strum::{IntoStaticStr, VariantArray};

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

/// What one batch of a rotation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resealed {
    /// So many values were looked at; there may be more.
    More(u64),
    /// No value is left that another key sealed.
    All,
}
