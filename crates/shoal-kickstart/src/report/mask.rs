//! A line as it may be shown: what may be secret is replaced by stars.
//!
//! It rather hides too much: arguments of `rootpw`, licence keys, unknown commands and options, and
//! script lines that speak of passwords or keys. Invariant: the length of what is hidden does not show.

use std::ops::Range;

use crate::commands::{self, DEPRECATED};
use crate::syntax::{self, Arg, Command, File, Line, LineKind, PieceKind, Span};

const STARS: &str = "********";
/// Parts of lines, in lower case, that speak of secrets.
const SENSITIVE: [&str; 17] = [
    "rootpw",
    "serialnum",
    "pass",
    "pwd",
    "pw=",
    "secret",
    "token",
    "key",
    "cred",
    "shadow",
    "auth",
    "bearer",
    "licen",
    "$1$",
    "$5$",
    "$6$",
    "$2",
];

/// A line that may be shown, and where in it the finding stands.
#[derive(Debug)]
pub struct Masked {
    pub text: String,
    pub marked: Range<usize>,
}

/// Shows the line with this index, with a span of the text marked.
pub fn mask(file: &File<'_>, at: usize, span: &Span) -> Masked {
    let Some(line) = file.lines.get(at) else { return Masked { text: String::new(), marked: 0..0 } };
    let hidden = hidden(file, at, line);
    let mut masked = Writer { file, span, text: String::new(), start: None, end: None };
    let mut from = line.span.start;
    for part in hidden {
        masked.shown(from..part.start);
        masked.hidden(&part);
        from = part.end;
    }
    masked.shown(from..line.span.end);
    let start = masked.start.unwrap_or(masked.text.len());
    let end = masked.end.unwrap_or(masked.text.len()).max(start);
    Masked { text: masked.text, marked: start..end }
}

/// A whole text as it may be shown: every line masked, and each of these secrets wherever it stands.
pub fn masked_text(source: &[u8], secrets: &[&str]) -> String {
    let file = syntax::parse(source);
    let lines = file.lines.iter().enumerate();
    let mut text: String = lines
        .map(|(at, line)| {
            let end = if line.end.is_empty() { "" } else { "\n" };
            mask(&file, at, &(line.span.end..line.span.end)).text + end
        })
        .collect();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, STARS);
    }
    text
}

/// Whether the name of a variable or option speaks of a secret.
pub fn is_secret_name(name: &str) -> bool {
    sensitive(name)
}

struct Writer<'f, 'a> {
    file: &'f File<'a>,
    span: &'f Span,
    text: String,
    /// Where the marked span begins and ends in `text`.
    start: Option<usize>,
    end: Option<usize>,
}

impl Writer<'_, '_> {
    fn shown(&mut self, part: Span) {
        let mut cuts = vec![part.start, part.end];
        cuts.extend([self.span.start, self.span.end].into_iter().filter(|cut| part.contains(cut)));
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            self.mark(pair[0]);
            let shown = self.file.shown(&(pair[0]..pair[1]));
            self.text.extend(shown.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }));
        }
        self.mark(part.end);
    }

    fn hidden(&mut self, part: &Span) {
        let before = self.text.len();
        self.text.push_str(STARS);
        if self.start.is_none() && self.span.start < part.end {
            self.start = Some(before);
        }
        if self.end.is_none() && self.span.end <= part.end {
            self.end = Some(self.text.len());
        }
    }

    /// Notes that `byte` of the source stands at the end of the text so far.
    fn mark(&mut self, byte: usize) {
        if self.start.is_none() && self.span.start <= byte {
            self.start = Some(self.text.len());
        }
        if self.end.is_none() && self.start.is_some() && self.span.end <= byte {
            self.end = Some(self.text.len());
        }
    }
}

/// The parts of a line that may be secret, in order.
fn hidden(file: &File<'_>, at: usize, line: &Line) -> Vec<Span> {
    let mut parts = match &line.kind {
        LineKind::Blank => Vec::new(),
        LineKind::Comment => whole_if_sensitive(file, &line.span, 1),
        LineKind::Body { .. } => {
            let text = file.shown(&line.span);
            let indent = text.len() - text.trim_start().len();
            let first = text[indent..].find(char::is_whitespace).unwrap_or(text.len() - indent);
            whole_if_sensitive(file, &line.span, indent + first)
        }
        LineKind::Broken(_) => vec![after_first_word(file, &line.span)],
        LineKind::Command(command) | LineKind::Header(_, command) => {
            let mut parts = arguments(file, command, follows_continuation(file, at));
            let comment = line.pieces.iter().find(|piece| piece.kind == PieceKind::Comment);
            let is_secret = command.name.text == "rootpw";
            parts.extend(
                comment
                    .filter(|piece| is_secret || sensitive(&file.shown(&piece.span)))
                    .map(|piece| piece.span.clone()),
            );
            parts
        }
    };
    parts.retain(|part| !part.is_empty());
    parts
}

fn sensitive(text: &str) -> bool {
    let lower = text.to_lowercase();
    let has_login = lower.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
    has_login || SENSITIVE.iter().any(|word| lower.contains(word))
}

fn whole_if_sensitive(file: &File<'_>, span: &Span, keep: usize) -> Vec<Span> {
    let from = (span.start + keep).min(span.end);
    Vec::from_iter(sensitive(&file.shown(span)).then_some(from..span.end))
}

fn after_first_word(file: &File<'_>, span: &Span) -> Span {
    let text = file.text(span);
    let first = text.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    let length = text[first..].iter().position(|byte| byte.is_ascii_whitespace());
    length.map_or(span.start..span.end, |length| span.start + first + length..span.end)
}

fn follows_continuation(file: &File<'_>, at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| &file.lines[before].kind);
    matches!(before, Some(LineKind::Command(command)) if command.is_continued())
}

fn arguments(file: &File<'_>, command: &Command, continues: bool) -> Vec<Span> {
    let name = command.name.text.as_str();
    let spec = commands::find(name);
    let is_known = spec.is_some() || DEPRECATED.contains(&name);
    if continues {
        return vec![command.span()];
    }
    let is_shown = |arg: &&Arg| {
        let option = arg.option.as_deref();
        let is_option = option.is_some_and(|option| spec.is_some_and(|spec| spec.option(option).is_some()));
        match name {
            "rootpw" => arg.word.text == "--iscrypted",
            "serialnum" | "vmserialnum" | "vmlicense" => false,
            _ if !is_known => false,
            _ if option.is_some() && !is_option => arg.value.is_none(),
            _ => !sensitive(&file.shown(&arg.word.span)),
        }
    };
    command.args.iter().filter(|arg| !is_shown(arg)).map(|arg| arg.word.span.clone()).collect()
}
