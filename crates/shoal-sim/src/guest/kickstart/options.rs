//! The options of a command: `--name` and `--name=value`, as the installer takes them.
//!
//! Invariant: of a repeated option the first holds, and whatever is not known is a warning.

use super::KickstartFindings;
use crate::guest::shell::UNKNOWN;

/// A command line, split into its options and the rest.
pub struct CommandOptions<'a> {
    command: &'a str,
    /// In their order, each name once.
    given: Vec<(&'a str, Option<&'a str>)>,
    /// What is no option.
    pub rest: Vec<&'a str>,
}

impl<'a> CommandOptions<'a> {
    /// Takes the words of a command. Names that are not in `known` are passed over with a warning,
    /// and `rest_max` words that are no options are its own.
    pub fn of(
        words: &'a [String],
        known: &[&str],
        rest_max: usize,
        findings: &mut KickstartFindings,
    ) -> CommandOptions<'a> {
        let (command, words) = words.split_first().map_or(("", [].as_slice()), |(first, rest)| (first, rest));
        let mut options = CommandOptions { command, given: vec![], rest: vec![] };
        for word in words {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            if !word.starts_with("--") {
                options.rest.push(word);
            } else if !known.contains(&name) {
                findings.warn(format!("{command}: unknown argument \"{}\"", shown(word)));
            } else if options.has(name) {
                findings.warn(format!("{command}: the option {name} is repeated, and the first one holds"));
            } else {
                options.given.push((name, value));
            }
        }
        for word in options.rest.iter().skip(rest_max) {
            findings.warn(format!("{command}: unknown argument \"{}\"", shown(word)));
        }
        options
    }

    pub fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// The value of an option, empty where it has none.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, value)| value.unwrap_or_default())
    }

    /// The value of the first of these options that is there.
    pub fn any(&self, names: &[&str]) -> Option<&'a str> {
        names.iter().find_map(|name| self.value(name))
    }

    /// Whether `name` comes before every word that is no option.
    pub fn command(&self) -> &'a str {
        self.command
    }
}

/// A word for a dialog: without the sign for what is not known.
pub fn shown(word: &str) -> String {
    word.replace(UNKNOWN, "…").replace('\n', "\\n")
}

/// Whether a value is not known, and so taken for a good one.
pub fn is_unknown(value: &str) -> bool {
    value.contains(UNKNOWN)
}
