//! Passwords, which cannot be printed.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Password::new("hunter2".into()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
