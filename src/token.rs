//! Unguessable tokens in URLs: a client that presents one was given it by this controller.
//!
//! No session, no signature with a date, and nothing is stored: a token follows from the
//! controller's key and from what it is for. Invariant: tokens for different things are different.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::domain::JobId;

/// Hex digits of a token: 128 bits.
const DIGITS: usize = 32;

#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; DIGITS]);

impl Token {
    /// `purpose` names one thing, so that no two things have the same.
    pub fn new(key: &[u8; 32], purpose: &str) -> Token {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(purpose.as_bytes());
        let code = shoal_base::hex(&mac.finalize().into_bytes()[..DIGITS / 2]);
        Token(code.into_bytes().try_into().expect("16 bytes are 32 hex digits"))
    }

    /// Compares in a time that does not depend on where the two differ.
    pub fn matches(&self, text: &str) -> bool {
        self.0.ct_eq(text.as_bytes()).into()
    }

    /// Lower-case hex digits. It is a secret: only for the URL that is handed out.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are UTF-8")
    }
}

/// What the installer's hook of a job shows when it calls.
pub fn of_hook(key: &[u8; 32], job: JobId) -> Token {
    Token::new(key, &format!("{job}|hook"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_that_of_its_key_and_purpose_alone() {
        let token = Token::new(&[7; 32], "a");
        let text = token.expose().to_owned();
        assert!(Token::new(&[7; 32], "a").matches(&text) && text.len() == DIGITS);
        assert!(!Token::new(&[7; 32], "b").matches(&text) && !Token::new(&[8; 32], "a").matches(&text));
        assert!(!token.matches(&text[..31]) && !token.matches("") && !token.matches(&format!("{text}0")));
        assert!(!token.matches(&text.to_uppercase()) || text == text.to_uppercase());
    }
}
