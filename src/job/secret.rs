//! Values that cannot be printed.
//!
//! Neither type implements `Display`, and their `Debug` shows nothing of the content. They are
//! stored sealed (`seal.rs`), never as plain serde output.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// The password of a BMC account.
#[derive(Clone)]
pub struct Password(SecretString);

impl Password {
    pub fn new(text: String) -> Password {
        Password(text.into())
    }

    /// For the one request that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

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
        super::hex(&Sha256::digest(self.expose()))
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
        let shown =
            format!("{:?} {:?}", Password::new("hunter2".into()), Kickstart::new("rootpw hunter2".into()));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("14 bytes"), "{shown}");
    }
}
