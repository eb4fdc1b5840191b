//! The paths under which a BMC finds its media, and the tokens in them that nobody else can guess.
//!
//! Not a session and not a signature with a date: a path is good as long as its job is published.
//! A path holds lower-case letters, digits, dots and slashes only, ends in `.iso` and is shorter
//! than 120 characters, because BMCs refuse hyphens (openbmc/openbmc#4064), query characters
//! (Supermicro X12), long URLs (iDRAC, openshift/assisted-image-service#183) and names that do not
//! look like an image's. Invariant: every insertion has a token of its own, since a BMC may answer
//! an insert of a URL that it knows from its cache.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::job::JobId;

use super::Medium;

/// Hex digits of a token: 128 bits.
const DIGITS: usize = 32;

/// The token of one insertion of one medium of one job.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; DIGITS]);

impl Token {
    pub fn new(key: &[u8; 32], job: JobId, medium: Medium, insertion: u32) -> Token {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(format!("{job}|{}|{insertion}", medium.name()).as_bytes());
        let code = crate::job::hex(&mac.finalize().into_bytes()[..DIGITS / 2]);
        Token(code.into_bytes().try_into().expect("16 bytes are 32 hex digits"))
    }

    /// Compares in a time that does not depend on where the two differ.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.as_bytes();
        let differing = self.0.iter().zip(text).fold(0, |bits, (a, b)| bits | (a ^ b));
        text.len() == DIGITS && std::hint::black_box(differing) == 0
    }

    /// The path given to a BMC.
    pub fn path(&self, job: JobId, medium: Medium) -> String {
        let token = std::str::from_utf8(&self.0).expect("hex digits are UTF-8");
        match medium {
            Medium::Task => format!("/media/tasks/{job}.{token}/task.iso"),
            Medium::Installer => format!("/media/installers/{job}.{token}/esxi.iso"),
        }
    }
}

/// What stands between the last two slashes of a path: a job, and the token if there is one.
pub fn parse_name(name: &str) -> Option<(JobId, Option<&str>)> {
    match name.split_once('.') {
        Some((job, token)) => Some((job.parse().ok()?, Some(token))),
        None => Some((name.parse().ok()?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn job(n: u8) -> JobId {
        JobId::new(1_800_000_000_000, [n; 10])
    }

    #[test]
    fn a_path_is_what_the_pickiest_bmc_takes() {
        for medium in Medium::ALL {
            let path = Token::new(&KEY, job(1), medium, u32::MAX).path(job(1), medium);
            assert!(path.len() < 120 && path.ends_with(".iso"), "{path}");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '/');
            assert!(path.chars().all(plain), "{path}");
        }
    }

    #[test]
    fn a_token_is_that_of_its_job_medium_insertion_and_key_alone() {
        let token = Token::new(&KEY, job(1), Medium::Task, 1);
        let text = String::from_utf8(token.0.to_vec()).unwrap();
        assert!(Token::new(&KEY, job(1), Medium::Task, 1).matches(&text));
        let others = [
            Token::new(&KEY, job(2), Medium::Task, 1),
            Token::new(&KEY, job(1), Medium::Installer, 1),
            Token::new(&KEY, job(1), Medium::Task, 2),
            Token::new(&[8; 32], job(1), Medium::Task, 1),
        ];
        assert!(others.iter().all(|other| !other.matches(&text)));
        assert!(!token.matches(&text[..31]) && !token.matches("") && !token.matches(&format!("{text}0")));
        assert!(!token.matches(&text.to_uppercase()) || text == text.to_uppercase());
    }

    #[test]
    fn names_are_read_back() {
        let name = format!("{}.abc", job(3));
        assert_eq!(parse_name(&name), Some((job(3), Some("abc"))));
        assert_eq!(parse_name(&job(3).to_string()), Some((job(3), None)));
        assert_eq!(parse_name("nobody.abc"), None);
        assert_eq!(parse_name(""), None);
    }
}
