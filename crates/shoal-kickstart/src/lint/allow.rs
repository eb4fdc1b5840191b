//! `# shoal: allow KS012 reason`: a remark that silences one rule for the whole text.
//!
//! Invariant: a remark without effect is a finding of its own, and what a remark silences is kept.

use std::collections::BTreeMap;

use super::{Allowed, Finding, Findings};
use crate::rules::{self, Rule};
use crate::syntax::{File, LineKind, PieceKind, Span};

struct Remark {
    rule: &'static Rule,
    reason: String,
    span: Span,
    is_used: bool,
}

pub fn apply(file: &File<'_>, found: Vec<Finding>) -> Findings {
    let mut result = Findings::default();
    let (mut remarks, mut unused): (BTreeMap<&str, Remark>, Vec<Remark>) = Default::default();
    for span in comments(file) {
        match read(file, &span) {
            None => {}
            Some(Some(remark)) if remarks.contains_key(remark.rule.id) => unused.push(remark),
            Some(Some(remark)) => drop(remarks.insert(remark.rule.id, remark)),
            Some(None) => result.found.push(finding(file, &rules::ALLOW_WITHOUT_REASON, span)),
        }
    }
    for finding in found {
        match remarks.get_mut(finding.rule.id) {
            Some(remark) => {
                remark.is_used = true;
                result.allowed.push(Allowed { finding, reason: remark.reason.clone() });
            }
            None => result.found.push(finding),
        }
    }
    for remark in remarks.into_values().filter(|remark| !remark.is_used).chain(unused) {
        result.found.push(finding(file, &rules::ALLOW_UNUSED, remark.span));
    }
    result.found.sort_by_key(|finding| (finding.line, finding.rule.class, finding.span.start));
    result
}

fn finding(file: &File<'_>, rule: &'static Rule, span: Span) -> Finding {
    let line = file.lines[file.line_at(span.start)].number;
    let (column, message) = (file.column(&span), rule.title.to_owned());
    Finding { rule, span, line, column, message }
}

/// Comments of commands and of scripts.
fn comments(file: &File<'_>) -> Vec<Span> {
    let mut found = Vec::new();
    for line in &file.lines {
        if matches!(line.kind, LineKind::Body { .. }) {
            let text = file.text(&line.span);
            let indent = text.len() - text.trim_ascii_start().len();
            if text.get(indent) == Some(&b'#') {
                found.push(line.span.start + indent..line.span.end);
            }
        }
        let comments = line.pieces.iter().filter(|piece| piece.kind == PieceKind::Comment);
        found.extend(comments.map(|piece| piece.span.clone()));
    }
    found
}

/// `None` of another comment; `Some(None)` of a remark that is incomplete.
fn read(file: &File<'_>, span: &Span) -> Option<Option<Remark>> {
    let text = file.shown(span);
    let rest = text.trim_start_matches('#').trim_start().strip_prefix("shoal:")?;
    let rest = rest.trim_start().strip_prefix("allow")?.trim();
    let (id, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rule = rules::find(id).filter(|_| !reason.trim().is_empty());
    Some(rule.map(|rule| Remark {
        rule,
        reason: reason.trim().to_owned(),
        span: span.clone(),
        is_used: false,
    }))
}
