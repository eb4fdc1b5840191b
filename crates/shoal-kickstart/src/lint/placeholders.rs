//! Placeholders that were not filled in, and text that cannot be decoded.
//!
//! A text with placeholders has one finding and not one for each rule that a placeholder breaks.
//! Scripts are not searched: `${x}` and `{{` are theirs. Invariant: a line with a placeholder is
//! reported once at most, and never for anything else.

use super::Lint;
use crate::rules;
use crate::syntax::{Command, Line, LineKind, PieceKind, Span};

pub fn check(lint: &mut Lint<'_, '_>) {
    undecodable(lint);
    let file = lint.file;
    let mut spans: Vec<(usize, Span)> = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        let code = code_span(line);
        let text = file.shown(&code);
        if let Some(found) = line_placeholder(line, &text, &code) {
            lint.is_partial |= has_statement(&text);
            spans.push((at, found));
        }
    }
    for (at, command) in
        lint.all.iter().filter(|(at, _)| matches!(file.lines[*at].kind, LineKind::Body { .. }))
    {
        let text = file.shown(&command.span());
        if !lint.unfilled.contains(at) && (delimited(&text) || in_words(command).is_some()) {
            lint.is_partial |= has_statement(&text);
            spans.push((*at, command.span()));
        }
    }
    spans.sort_by_key(|(at, _)| *at);
    lint.unfilled.extend(spans.iter().map(|(at, _)| *at));
    if let Some((_, first)) = spans.first() {
        let message = match spans.len() {
            1 => "a placeholder was not filled in".to_owned(),
            count => format!("placeholders were not filled in on {count} lines; this is the first"),
        };
        lint.report(&rules::PLACEHOLDER, first, message);
    }
}

fn undecodable(lint: &mut Lint<'_, '_>) {
    if let Err(error) = std::str::from_utf8(lint.file.source) {
        let at = error.valid_up_to();
        lint.report_title(&rules::NOT_UTF8, &(at..at + 1));
    }
}

/// The line without its comment.
fn code_span(line: &Line) -> Span {
    let comment = line.pieces.iter().find(|piece| piece.kind == PieceKind::Comment);
    line.span.start..comment.map_or(line.span.end, |piece| piece.span.start)
}

fn line_placeholder(line: &Line, text: &str, code: &Span) -> Option<Span> {
    match &line.kind {
        LineKind::Blank | LineKind::Comment | LineKind::Body { .. } => None,
        LineKind::Broken(_) => delimited(text).then(|| code.clone()),
        LineKind::Command(command) | LineKind::Header(_, command) => {
            if delimited(text) {
                return Some(command.span());
            }
            in_words(command)
        }
    }
}

/// Marks of template languages: Jinja, and ERB.
fn delimited(text: &str) -> bool {
    let pair = |open: &str, close: &str| text.find(open).is_some_and(|at| text[at..].contains(close));
    pair("{{", "}}") || pair("{%", "%}") || pair("<%", "%>")
}

/// Whether a placeholder may stand for any number of lines.
fn has_statement(text: &str) -> bool {
    let erb = text.match_indices("<%").any(|(at, _)| !text[at + 2..].starts_with('='));
    text.contains("{%") || erb || text.trim_start().starts_with('$') || text.trim_start().starts_with("{{")
}

fn in_words(command: &Command) -> Option<Span> {
    if is_variable(&command.name.text) || command.name.text.starts_with("$SNIPPET(") {
        return Some(command.span());
    }
    let unfilled = |value: &str| value.split(',').any(|part| is_placeholder(part.trim()));
    let arg = command.args.iter().find(|arg| arg.value.as_deref().is_some_and(unfilled))?;
    Some(arg.word.span.clone())
}

fn is_placeholder(value: &str) -> bool {
    let inside = |open: &str, close: &str| value.strip_prefix(open)?.strip_suffix(close);
    let named = |name: Option<&str>| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
        let starts = |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic());
        name.is_some_and(|name| starts(name) && name.chars().all(is_name))
    };
    is_variable(value)
        || named(inside("<", ">"))
        || [("@@", "@@"), ("@", "@"), ("__", "__"), ("%%", "%%"), ("%", "%"), ("#{", "}")]
            .iter()
            .any(|(open, close)| named(inside(open, close)))
}

/// `$name` and `${name}`; a hash such as `$6$…` is neither.
fn is_variable(value: &str) -> bool {
    let Some(name) = value.strip_prefix('$') else { return false };
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_name)
}
