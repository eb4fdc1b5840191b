//! A kickstart, which holds passwords and cannot be printed.
//!
//! It implements no `Display`, and its `Debug` shows nothing of the content. It is stored sealed
//! (`seal.rs`), never as plain serde output.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// The exact text of a kickstart. Of it, only the size and the SHA-256 may be shown.
#[derive(Clone)]
pub struct Kickstart(SecretString);

impl Kickstart {
    pub fn new(text: String) -> Kickstart {
        Kickstart(text.into())
    }

    /// Size in bytes of UTF-8.
    pub fn size(&self) -> usize {
        self.expose().len()
    }

    /// Lower-case hex.
    pub fn sha256(&self) -> String {
        shoal_base::hex(&Sha256::digest(self.expose()))
    }

    /// For the medium that carries it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Kickstart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kickstart({} bytes, hidden)", self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Kickstart::new("rootpw hunter2".into()));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("14 bytes"), "{shown}");
    }
}
