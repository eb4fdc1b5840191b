//! Findings as people and programs read them.
//!
//! Where they go is the caller's. Invariant: no report holds an argument of `rootpw`, a licence key,
//! or a part of a line that looks like a credential.

mod mask;
mod sarif;
mod text;

use serde::Serialize;

use crate::lint::{Allowed, Finding, Findings};
use crate::rules::Class;

pub use mask::{is_secret_name, masked_text};
pub use sarif::sarif;
pub use text::{summary, text};

/// A text that was judged, by the name under which its reader knows it.
pub struct Judged<'a> {
    pub name: &'a str,
    pub source: &'a [u8],
    pub findings: &'a Findings,
}

/// A finding for programs.
#[derive(Clone, Debug, Serialize)]
pub struct FindingLine {
    pub rule: &'static str,
    pub class: Class,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    pub remedy: &'static str,
}

/// A finding that a remark allows, for programs.
#[derive(Clone, Debug, Serialize)]
pub struct AllowedLine {
    #[serde(flatten)]
    pub finding: FindingLine,
    pub reason: String,
}

/// All findings of one text, for programs.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    pub file: String,
    /// Whether the text would stop the installation.
    pub breaks: bool,
    pub findings: Vec<FindingLine>,
    pub allowed: Vec<AllowedLine>,
}

impl From<&Finding> for FindingLine {
    fn from(finding: &Finding) -> FindingLine {
        FindingLine {
            rule: finding.rule.id,
            class: finding.rule.class,
            line: finding.line,
            column: finding.column,
            message: finding.message.clone(),
            remedy: finding.rule.remedy,
        }
    }
}

impl From<&Allowed> for AllowedLine {
    fn from(allowed: &Allowed) -> AllowedLine {
        AllowedLine { finding: FindingLine::from(&allowed.finding), reason: allowed.reason.clone() }
    }
}

impl FileReport {
    pub fn new(name: &str, findings: &Findings) -> FileReport {
        FileReport {
            file: name.to_owned(),
            breaks: findings.breaks(),
            findings: findings.found.iter().map(FindingLine::from).collect(),
            allowed: findings.allowed.iter().map(AllowedLine::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
