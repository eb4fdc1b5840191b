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

/// `text` with the token of every media URL in it hidden. BMCs quote the URL that they were given in
/// their error messages, and those are shown to operators.
///
/// A media URL names a job's 32 hex digits, a dot, and the token's hex digits, in any case and
/// possibly cut short.
pub fn hide_media_tokens(text: &str) -> String {
    const JOB_DIGITS: usize = 32;
    let mut shown = String::with_capacity(text.len());
    let mut digits = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        shown.push(c);
        let after_job = c == '.' && digits >= JOB_DIGITS;
        digits = if c.is_ascii_hexdigit() { digits + 1 } else { 0 };
        if after_job && chars.peek().is_some_and(char::is_ascii_hexdigit) {
            while chars.next_if(char::is_ascii_hexdigit).is_some() {}
            shown.push_str("(hidden)");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_media_urls_are_hidden_wherever_a_bmc_quotes_them() {
        let (job, token) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
        let text = format!("cannot fetch 'http://h/media/tasks/{job}.{token}/task.iso', cut: {job}.FEDC");
        let shown =
            format!("cannot fetch 'http://h/media/tasks/{job}.(hidden)/task.iso', cut: {job}.(hidden)");
        assert_eq!(hide_media_tokens(&text), shown);
        for harmless in ["", "1.5 s", "ESXi 8.0.3", job, "deadbeef.cafe"] {
            assert_eq!(hide_media_tokens(harmless), harmless);
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown =
            format!("{:?} {:?}", Password::new("hunter2".into()), Kickstart::new("rootpw hunter2".into()));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("14 bytes"), "{shown}");
    }
}
