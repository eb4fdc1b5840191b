//! How strong a password is for ESXi's installer, which counts kinds of characters.
//!
//! Word lists are the installer's own and not known here: what is only likely to be refused is
//! [`Strength::Guessable`]. Invariant: a function of the password alone.

/// The verdict on a password in plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    Good,
    NotAscii,
    /// Not 7 to 40 characters.
    Length,
    /// Fewer than three kinds of characters, or than five different ones.
    Weak,
    /// Holds a common word or a sequence.
    Guessable,
}

const LENGTHS: std::ops::RangeInclusive<usize> = 7..=40;
const KINDS_MIN: usize = 3;
const DIFFERENT_MIN: usize = 5;
const SEQUENCE: usize = 5;
const ROWS: [&str; 5] = ["0123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl", "zxcvbnm"];
const WORDS: [&str; 9] =
    ["password", "passwort", "vmware", "esxi", "vagrant", "admin", "secret", "welcome", "changeme"];

pub fn judge(password: &str) -> Strength {
    if !password.is_ascii() {
        return Strength::NotAscii;
    }
    if !LENGTHS.contains(&password.len()) {
        return Strength::Length;
    }
    let mut different: Vec<u8> = password.bytes().collect();
    different.sort_unstable();
    different.dedup();
    if kinds(password.as_bytes()) < KINDS_MIN || different.len() < DIFFERENT_MIN {
        return Strength::Weak;
    }
    if is_guessable(password) { Strength::Guessable } else { Strength::Good }
}

/// Lower case, upper case, digits and others; a capital in first place and a digit in last place,
/// where people put them, do not count.
fn kinds(password: &[u8]) -> usize {
    let last = password.len().saturating_sub(1);
    let counts = |kind: fn(&u8) -> bool, except: usize| {
        password.iter().enumerate().any(|(at, byte)| kind(byte) && at != except)
    };
    let none = usize::MAX;
    usize::from(counts(u8::is_ascii_lowercase, none))
        + usize::from(counts(u8::is_ascii_uppercase, 0))
        + usize::from(counts(u8::is_ascii_digit, last))
        + usize::from(counts(|byte| !byte.is_ascii_alphanumeric(), none))
}

fn is_guessable(password: &str) -> bool {
    let lower = password.to_ascii_lowercase();
    let plain: String = lower.chars().map(unmasked).collect();
    let is_run = |text: &str| {
        let run = |window: &str| {
            let backwards: String = window.chars().rev().collect();
            ROWS.iter().any(|row| row.contains(window) || row.contains(&backwards))
        };
        (0..(text.len() + 1).saturating_sub(SEQUENCE)).any(|at| run(&text[at..at + SEQUENCE]))
    };
    is_run(&lower) || WORDS.iter().any(|word| lower.contains(word) || plain.contains(word))
}

/// The letter that a digit or sign stands for.
fn unmasked(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first four are known to fall short, and the two that follow to be accepted.
    #[test]
    fn passwords_are_judged_as_the_installer_does() {
        for (password, strength) in [
            ("vagrant", Strength::Weak),
            ("password", Strength::Weak),
            ("vmware!", Strength::Weak),
            ("ideal1234", Strength::Weak),
            ("VMware1!", Strength::Guessable),
            ("myp@ssw0rd", Strength::Guessable),
            ("Vagrant1", Strength::Weak),
            ("aB3!xy", Strength::Length),
            ("aB3!xyz", Strength::Good),
            ("aaB!1aa", Strength::Weak),
            ("aB3!xyü", Strength::NotAscii),
            ("q7X!mzr0T", Strength::Good),
            ("", Strength::Length),
        ] {
            assert_eq!(judge(password), strength, "{password}");
        }
        assert_eq!(judge(&"aB3!x".repeat(8)), Strength::Good);
        assert_eq!(judge(&"aB3!xz".repeat(7)), Strength::Length);
    }
}
