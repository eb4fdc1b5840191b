//! `rootpw`: which passwords and hashes the installer takes.
//!
//! Source: passwdqc with ESXi's `min=disabled,disabled,disabled,7,7`, and the hash forms of the 6.7
//! installer. Its dictionary is not modelled. Invariant: no password reaches a dialog.

use super::KickstartFindings;
use super::options::{CommandOptions, is_unknown};

const BYTES: std::ops::RangeInclusive<usize> = 7..=40;
const CLASSES_MIN: usize = 3;
/// So many characters in a row of one of [`SEQUENCES`] count as one less.
const SEQUENCE_MIN: usize = 4;
const SEQUENCES: [&str; 8] = [
    "0123456789",
    "9876543210",
    "abcdefghijklmnopqrstuvwxyz",
    "zyxwvutsrqponmlkjihgfedcba",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "1q2w3e4r5t6y7u8i9o0p",
];

/// Why `rootpw` is refused.
pub fn check(words: &[String], findings: &mut KickstartFindings) -> Result<(), String> {
    // Words that are not known may be a part of the password, so they are not shown.
    let mut quiet = KickstartFindings::default();
    let options = CommandOptions::of(words, &["--iscrypted"], 1, &mut quiet);
    if !quiet.parse.is_empty() {
        findings.warn("rootpw: it has arguments that are not known".to_owned());
    }
    let Some(password) = options.rest.first() else {
        return Err("rootpw: no password was given".to_owned());
    };
    if words.last().is_some_and(|word| word == "--iscrypted") {
        findings.warn("rootpw: --iscrypted stands behind the password".to_owned());
    }
    if is_unknown(password) {
        return Ok(());
    }
    if options.has("--iscrypted") {
        return if is_hash(password) {
            Ok(())
        } else {
            Err("rootpw: the crypted password is not valid".to_owned())
        };
    }
    check_plain(password)
}

fn check_plain(password: &str) -> Result<(), String> {
    let wrong = |reason: &str| Err(format!("rootpw: the password {reason}"));
    if !password.is_ascii() {
        return wrong("contains characters that are not ASCII");
    }
    if !BYTES.contains(&password.len()) {
        return wrong("must have between 7 and 40 characters");
    }
    if classes(password) < CLASSES_MIN {
        return wrong("is too weak: not enough different characters or classes");
    }
    let counted = password.len() - longest_sequence(password).saturating_sub(SEQUENCE_MIN - 1);
    if counted < *BYTES.start() {
        return wrong("is too weak: based on a common sequence of characters");
    }
    Ok(())
}

/// Lower case, upper case, digits, others. A capital at the beginning and a digit at the end do not
/// count.
fn classes(password: &str) -> usize {
    let counted = password.strip_prefix(|c: char| c.is_ascii_uppercase()).unwrap_or(password);
    let counted = counted.strip_suffix(|c: char| c.is_ascii_digit()).unwrap_or(counted);
    let has = |is: fn(&char) -> bool| usize::from(counted.chars().any(|c| is(&c)));
    has(char::is_ascii_lowercase)
        + has(char::is_ascii_uppercase)
        + has(char::is_ascii_digit)
        + has(|c| !c.is_ascii_alphanumeric())
}

/// The most characters in a row that are one of the sequences, or one and the same.
fn longest_sequence(password: &str) -> usize {
    let text = password.to_ascii_lowercase();
    let is_sequence = |part: &str| {
        let first = part.chars().next();
        SEQUENCES.iter().any(|sequence| sequence.contains(part)) || part.chars().all(|c| Some(c) == first)
    };
    let starting = |start: usize| {
        (SEQUENCE_MIN..=text.len() - start).take_while(|len| is_sequence(&text[start..start + len])).last()
    };
    (0..text.len()).filter_map(starting).max().unwrap_or(0)
}

/// `$6$SALT$HASH` and `$1$SALT$HASH` without rounds, and 13 characters of DES.
fn is_hash(text: &str) -> bool {
    let is_crypt = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/'));
    let parts: Vec<&str> = text.split('$').collect();
    match parts.as_slice() {
        ["", "6", salt, hash] => salt.len() <= 16 && hash.len() == 86 && is_crypt(salt) && is_crypt(hash),
        ["", "1", salt, hash] => salt.len() <= 8 && hash.len() == 22 && is_crypt(salt) && is_crypt(hash),
        [hash] => hash.len() == 13 && is_crypt(hash),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_passwords_need_three_classes_and_seven_characters() {
        for weak in [
            "vagrant",
            "password",
            "vmware!",
            "ideal1234",
            "Vmware1",
            "Ab1!",
            "password1",
            "PASSWORD!",
            "Abc12345",
            "aA1!1234567",
            "pässw0rd!",
            &"aB1!".repeat(11),
        ] {
            let passes = check_plain(weak).is_ok();
            assert_eq!(passes, weak == "aA1!1234567", "{weak}");
        }
        for good in ["VMware1!", "myp@ssw0rd", "VMware123!", "aB3dE6g", "Pa55w.rd1x", &"aB1!".repeat(10)] {
            assert_eq!(check_plain(good), Ok(()), "{good}");
        }
        assert!(check_plain("a1!aaaaa").is_err(), "a row of one character");
        assert!(check_plain("!a12345").is_err(), "a row of digits");
    }

    #[test]
    fn hashes_have_the_forms_of_the_installer() {
        let sha512 = "x".repeat(86);
        for good in
            [format!("$6$salt${sha512}"), format!("$1$salt${}", "y".repeat(22)), "abcdefghijk./".to_owned()]
        {
            assert!(is_hash(&good), "{good}");
        }
        for bad in [
            format!("$6$rounds=5000$salt${sha512}"),
            format!("$5$salt${}", "x".repeat(43)),
            format!("$6$salt${}", "x".repeat(85)),
            format!("$6${}${sha512}", "s".repeat(17)),
            format!("$6$sa!t${sha512}"),
            "$6$salt".to_owned(),
            "hunter2".to_owned(),
        ] {
            assert!(!is_hash(&bad), "{bad}");
        }
    }
}
