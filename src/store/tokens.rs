//! Bearer tokens: how many are kept.

/// The most tokens that are kept, those that ended included.
pub const TOKENS_MAX: u64 = 1_000;
