//! The rule table: what can be wrong with a kickstart, why it matters, and what to do.
//!
//! Nothing is searched for here; `lint` names these rules. Invariant: an id is never reused, and every
//! rule has an example that breaks it and one that keeps it, which the tests run.

mod commands;
mod host;
mod network;
mod password;
mod reference;
mod scripts;
mod text;

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray, VariantNames};

use crate::hook::Hook;
use crate::version::Version;

pub use commands::*;
pub use host::*;
pub use network::*;
pub use password::*;
pub use reference::{FOLDER, page, reference};
pub use scripts::*;
pub use text::*;

/// How bad a finding is. In order: the worst first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, IntoStaticStr, VariantArray, VariantNames,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Stops the installation, or leaves it waiting at the console.
    Breaks,
    /// May erase data, choose the wrong disk, or stop on some hosts.
    Dangerous,
    /// Something that is written has no effect.
    Lost,
    /// Works, and could be better: often a warning that the installer shows for 30 seconds.
    Style,
}

impl Class {
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What the class means, in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Class::Breaks => {
                "The installation stops at a dialog without a timeout, fails, or waits at its end."
            }
            Class::Dangerous => "The installation may erase data, use another disk, or stop on some hosts.",
            Class::Lost => "Part of the file has no effect.",
            Class::Style => "The installation works; often the installer shows a warning for 30 seconds.",
        }
    }
}

/// One kind of mistake.
#[derive(Debug)]
pub struct Rule {
    pub id: &'static str,
    pub class: Class,
    pub title: &'static str,
    pub reason: &'static str,
    pub remedy: &'static str,
    /// The first version that it applies to.
    pub since: Option<Version>,
    /// The first version that it no longer applies to.
    pub until: Option<Version>,
    /// Whether the installer itself warns, which `paranoid` makes fatal.
    pub warns: bool,
    /// An example that breaks the rule: lines put into [`FRAME`], or a whole text.
    pub bad: &'static str,
    /// The same, mended.
    pub good: &'static str,
    /// The line of the example at which the rule is reported.
    pub bad_line: usize,
    /// Whether the examples are whole texts.
    pub whole: bool,
    /// The completion hook that the examples are judged with.
    pub hook: Hook,
}

/// What a rule says of itself where nothing else is stated.
const PLAIN: Rule = Rule {
    id: "",
    class: Class::Style,
    title: "",
    reason: "",
    remedy: "",
    since: None,
    until: None,
    warns: false,
    bad: "",
    good: "",
    bad_line: 1,
    whole: false,
    hook: Hook::None,
};

impl Rule {
    /// Whether the rule applies to this version.
    pub fn applies_to(&self, version: Version) -> bool {
        self.since.is_none_or(|since| version >= since) && self.until.is_none_or(|until| version < until)
    }

    /// The versions in words.
    pub fn versions(&self) -> String {
        match (self.since, self.until) {
            (None, None) => "all".to_owned(),
            (Some(since), None) => format!("from {since}"),
            (None, Some(until)) => format!("before {until}"),
            (Some(since), Some(until)) => format!("from {since}, before {until}"),
        }
    }

    /// The line of the first complete example at which the rule is reported.
    pub fn reported_line(&self) -> usize {
        let [bad, _] = self.examples();
        let before = match self.whole {
            true => 0,
            false => String::from_utf8_lossy(&bad).lines().count() - self.bad.lines().count(),
        };
        before + self.bad_line
    }

    /// Both examples as complete texts, the one that breaks the rule first.
    pub fn examples(&self) -> [Vec<u8>; 2] {
        [self.bad, self.good].map(|text| {
            let text = if self.whole { text.to_owned() } else { framed(text) };
            unescaped(&text)
        })
    }
}

/// A kickstart without a fault, which the examples are put into.
pub const FRAME: &str = "\
vmaccepteula
rootpw --iscrypted $6$kCNu7FHJ2jPTEQvo$E1p.5JtSbVCYY61mKbbEYvXvNCDLgL2rNwnGJUpYXHxbmWwHyyQjL4vLrbGnNUyCbF3bqvSFTiLLMgTpnTKWv1
install --disk=naa.600508b1001c3ad5f0d1a4c2e9b7c311 --overwritevmfs
network --bootproto=static --device=94:40:c9:00:00:01 --ip=10.0.0.11 --netmask=255.255.255.0 --gateway=10.0.0.1 --nameserver=10.0.0.2 --hostname=esx01.example.org
reboot
";

/// [`FRAME`] with the lines of `fragment` in place of the commands of the same name.
fn framed(fragment: &str) -> String {
    let first_word = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let given: Vec<String> = fragment.lines().map(|line| group(&first_word(line)).to_owned()).collect();
    let mut text = String::new();
    for line in FRAME.lines().filter(|line| !given.contains(&group(&first_word(line)).to_owned())) {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(fragment);
    text
}

/// Commands that exclude each other count as one.
fn group(name: &str) -> &str {
    match name {
        "upgrade" | "installorupgrade" => "install",
        "accepteula" => "vmaccepteula",
        other => other,
    }
}

/// Examples write a byte that is no UTF-8 as `\xff`, and a line that stands many times once.
fn unescaped(text: &str) -> Vec<u8> {
    if let Some((count, line)) = text.split_once(" lines: ") {
        return line.repeat(count.parse().unwrap_or_default()).into_bytes();
    }
    let parts = text.split("\\xff").map(|part| part.as_bytes().to_vec());
    parts.collect::<Vec<_>>().join(&0xff)
}

/// Every rule, in the order of the ids.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    let tables = [text::ALL, commands::ALL, password::ALL, host::ALL, network::ALL, scripts::ALL];
    tables.into_iter().flatten().copied()
}

/// The rule with this id.
pub fn find(id: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.id == id)
}

/// Declares rules and the table of them: name, id, class, further fields, title, reason, remedy, the
/// example that breaks it and the one that keeps it.
macro_rules! rules {
    ($($name:ident $id:literal $class:ident [$($field:ident = $value:expr),*]
       $title:literal $reason:literal $remedy:literal $bad:literal $good:literal;)*) => {
        $(pub static $name: super::Rule = super::Rule {
            id: $id,
            class: super::Class::$class,
            title: $title,
            reason: $reason,
            remedy: $remedy,
            bad: $bad,
            good: $good,
            $($field: $value,)*
            ..super::PLAIN
        };)*
        pub(super) static ALL: &[&super::Rule] = &[$(&$name),*];
    };
}
use rules;

#[cfg(test)]
mod tests;
