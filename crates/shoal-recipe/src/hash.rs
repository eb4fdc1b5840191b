//! A SHA-256 digest as recipes write it.

use std::fmt;

/// 64 hex digits; printed in lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    pub fn parse(text: &str) -> Option<Sha256> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
        Some(Sha256(shoal_base::unhex(&digits)?.try_into().ok()?))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shoal_base::hex(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
