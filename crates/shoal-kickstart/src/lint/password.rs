//! Root's password: its form, its strength, and what quoting made of it.
//!
//! Invariant: no message holds any of it.

use super::Lint;
use super::strength::{Strength, judge};
use crate::rules;
use crate::syntax::{Arg, Command};

pub fn check(lint: &mut Lint<'_, '_>) {
    let Some(command) = lint.command(&["rootpw"]) else { return };
    let word = command.positional().find(|arg| !arg.word.continued || !arg.word.text.trim().is_empty());
    let Some(arg) = word else {
        lint.report(&rules::PASSWORD_LENGTH, &command.span(), "`rootpw` has no password on its line");
        return;
    };
    let value = arg.word.text.as_str();
    if command.has(&["--iscrypted"]) {
        hashed(lint, command, arg, value);
    } else {
        plain(lint, arg, value);
    }
}

fn hashed(lint: &mut Lint<'_, '_>, command: &Command, arg: &Arg, value: &str) {
    if !is_hash(value) {
        lint.report(&rules::HASH_FORM, &arg.word.span, hash_fault(value));
    }
    if command.args.first().is_some_and(|first| first.option.is_none()) {
        lint.report_title(&rules::ISCRYPTED_LAST, &command.span());
    }
}

fn plain(lint: &mut Lint<'_, '_>, arg: &Arg, value: &str) {
    let span = &arg.word.span;
    let looks_hashed = ["$1$", "$5$", "$6$", "$2b$", "$y$"].iter().any(|start| value.starts_with(start));
    if looks_hashed {
        lint.report_title(&rules::HASH_AS_PLAIN, span);
    }
    if arg.word.has_inner_quoting {
        lint.report_title(&rules::PASSWORD_QUOTING, span);
    }
    let rule = match judge(value) {
        Strength::Good => None,
        Strength::NotAscii => Some(&rules::PASSWORD_NOT_ASCII),
        Strength::Length => Some(&rules::PASSWORD_LENGTH),
        Strength::Weak => Some(&rules::PASSWORD_WEAK),
        Strength::Guessable => Some(&rules::PASSWORD_GUESSABLE),
    };
    match rule {
        Some(rule) => lint.report_title(rule, span),
        None if looks_hashed => {}
        None => lint.report_title(&rules::PASSWORD_PLAIN, span),
    }
}

/// Whether the installer accepts the hash: SHA-512 without rounds, MD5, or DES.
fn is_hash(value: &str) -> bool {
    let is_crypt = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/'));
    let is_form = |rest: &str, salt_max: usize, length: usize| {
        rest.split_once('$').is_some_and(|(salt, hash)| {
            salt.len() <= salt_max && is_crypt(salt) && hash.len() == length && is_crypt(hash)
        })
    };
    match (value.strip_prefix("$6$"), value.strip_prefix("$1$")) {
        (Some(rest), _) => is_form(rest, 16, 86),
        (_, Some(rest)) => is_form(rest, 8, 22),
        _ => value.len() == 13 && is_crypt(value),
    }
}

fn hash_fault(value: &str) -> &'static str {
    match value {
        _ if value.starts_with("$5$") => "the installer rejects a SHA-256 hash (`$5$`)",
        _ if value.starts_with("$6$rounds=") => "the installer rejects a hash with `rounds=`",
        _ if value.starts_with("$6$") => {
            "the SHA-512 hash is incomplete or has a character outside [A-Za-z0-9./]"
        }
        _ if value.starts_with("$1$") => {
            "the MD5 hash is incomplete or has a character outside [A-Za-z0-9./]"
        }
        _ => "not a SHA-512, MD5 or DES hash",
    }
}
