//! From bytes to lines, words and sections, as the installer reads them.
//!
//! The installer splits a command line like a POSIX shell without expansion, lets `#` begin a comment
//! anywhere outside quotes, knows no continuation, and ends a section at the next unindented line that
//! begins with a section's keyword. Nothing is judged here. Invariant: the spans of all
//! [`Piece`]s follow one another without a gap, so that printing a file gives the bytes that were read.

mod words;

use std::ops::Range;

pub use words::{Fault, Word};

/// A range of bytes of the text.
pub type Span = Range<usize>;

/// Keywords that end a section where they begin an unindented line.
pub const SECTION_ENDS: [&str; 7] =
    ["%pre", "%post", "%firstboot", "%packages", "%vmlicense_text", "%include", "include"];

/// A kickstart that was read.
#[derive(Debug)]
pub struct File<'a> {
    pub source: &'a [u8],
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Debug)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// Without its end.
    pub span: Span,
    /// `\n`, `\r\n`, or nothing at the end of the text.
    pub end: Span,
    pub kind: LineKind,
    pub pieces: Vec<Piece>,
}

#[derive(Debug)]
pub enum LineKind {
    Blank,
    Comment,
    Command(Command),
    /// Begins a section.
    Header(Section, Command),
    /// A line of the section that the line with this index begins.
    Body {
        header: usize,
    },
    /// A command line whose quotes or escapes do not end.
    Broken(Fault),
}

/// A kind of section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Pre,
    Post,
    FirstBoot,
    Packages,
    LicenseText,
}

impl Section {
    pub const ALL: [Section; 5] =
        [Section::Pre, Section::Post, Section::FirstBoot, Section::Packages, Section::LicenseText];

    pub fn keyword(self) -> &'static str {
        match self {
            Section::Pre => "%pre",
            Section::Post => "%post",
            Section::FirstBoot => "%firstboot",
            Section::Packages => "%packages",
            Section::LicenseText => "%vmlicense_text",
        }
    }
}

/// A command with its arguments.
#[derive(Debug)]
pub struct Command {
    pub name: Word,
    pub args: Vec<Arg>,
}

/// An argument: an option, or a positional word.
#[derive(Debug)]
pub struct Arg {
    /// `--disk` of `--disk=x`; none of a positional word.
    pub option: Option<String>,
    /// `x` of `--disk=x`; the word itself where it is no option.
    pub value: Option<String>,
    pub word: Word,
}

impl Command {
    /// The span of name and arguments.
    pub fn span(&self) -> Span {
        let last = self.args.last().map_or(&self.name, |arg| &arg.word);
        self.name.span.start..last.span.end
    }

    /// The first option of one of these names; the installer ignores a repetition.
    pub fn option(&self, names: &[&str]) -> Option<&Arg> {
        self.args.iter().find(|arg| arg.option.as_deref().is_some_and(|option| names.contains(&option)))
    }

    /// The value of the first option of one of these names, empty where it has none.
    pub fn value(&self, names: &[&str]) -> Option<&str> {
        self.option(names).map(|arg| arg.value.as_deref().unwrap_or_default())
    }

    pub fn has(&self, names: &[&str]) -> bool {
        self.option(names).is_some()
    }

    /// Words that are no options.
    pub fn positional(&self) -> impl Iterator<Item = &Arg> {
        self.args.iter().filter(|arg| arg.option.is_none())
    }

    /// Whether its line ends in a backslash.
    pub fn is_continued(&self) -> bool {
        self.args.last().map_or(&self.name, |arg| &arg.word).continued
    }
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub kind: PieceKind,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    Blank,
    Word,
    Comment,
    /// Text of a section, or of a line that cannot be split into words.
    Text,
    LineEnd,
}

impl<'a> File<'a> {
    pub fn text(&self, span: &Span) -> &'a [u8] {
        self.source.get(span.clone()).unwrap_or_default()
    }

    /// The text of a span; bytes that are not UTF-8 become U+FFFD.
    pub fn shown(&self, span: &Span) -> String {
        String::from_utf8_lossy(self.text(span)).into_owned()
    }

    /// Commands outside sections, each with the index of its line.
    pub fn commands(&self) -> impl Iterator<Item = (usize, &Command)> {
        self.lines.iter().enumerate().filter_map(|(at, line)| match &line.kind {
            LineKind::Command(command) => Some((at, command)),
            _ => None,
        })
    }

    /// Sections, each with the index of its first line.
    pub fn sections(&self) -> impl Iterator<Item = (usize, Section, &Command)> {
        self.lines.iter().enumerate().filter_map(|(at, line)| match &line.kind {
            LineKind::Header(section, command) => Some((at, *section, command)),
            _ => None,
        })
    }

    /// The lines of the section that the line with this index begins.
    pub fn body(&self, header: usize) -> impl DoubleEndedIterator<Item = &Line> {
        let after = self.lines.get(header + 1..).unwrap_or_default();
        let is_inside = |line: &Line| matches!(line.kind, LineKind::Body { header: of } if of == header);
        let length = after.iter().position(|line| !is_inside(line)).unwrap_or(after.len());
        after[..length].iter()
    }

    /// Where a span begins in its line, in characters, from 1.
    pub fn column(&self, span: &Span) -> usize {
        let Some(line) = self.lines.get(self.line_at(span.start)) else { return 1 };
        let before = line.span.start..span.start.clamp(line.span.start, line.span.end);
        self.shown(&before).chars().count() + 1
    }

    /// The index of the line that holds this byte.
    pub fn line_at(&self, byte: usize) -> usize {
        self.lines.partition_point(|line| line.end.end <= byte).min(self.lines.len().saturating_sub(1))
    }
}

/// Reads any bytes.
pub fn parse(source: &[u8]) -> File<'_> {
    let mut lines = Vec::new();
    let mut section = None;
    let mut start = 0;
    while start < source.len() {
        let newline = source[start..].iter().position(|byte| *byte == b'\n');
        let after = newline.map_or(source.len(), |at| start + at + 1);
        let mut content = newline.map_or(source.len(), |at| start + at);
        if newline.is_some() && content > start && source[content - 1] == b'\r' {
            content -= 1;
        }
        let is_last = after == source.len();
        let line = &source[start..content];
        if section.is_some() && !is_last && ends_section(line) {
            section = None;
        }
        let (kind, pieces) = match section {
            Some(header) => (LineKind::Body { header }, text_piece(start..content)),
            None => read_line(source, start..content, newline.is_some()),
        };
        if matches!(kind, LineKind::Header(..)) {
            section = Some(lines.len());
        }
        let mut pieces = pieces;
        if content < after {
            pieces.push(Piece { kind: PieceKind::LineEnd, span: content..after });
        }
        let number = lines.len() + 1;
        lines.push(Line { number, span: start..content, end: content..after, kind, pieces });
        start = after;
    }
    File { source, lines }
}

/// The bytes of all pieces, one after the other: what was read.
pub fn print(file: &File<'_>) -> Vec<u8> {
    let pieces = file.lines.iter().flat_map(|line| &line.pieces);
    pieces.flat_map(|piece| file.text(&piece.span)).copied().collect()
}

/// Whether an unindented keyword begins the line, whatever follows it.
pub fn ends_section(line: &[u8]) -> bool {
    SECTION_ENDS.iter().any(|keyword| line.starts_with(keyword.as_bytes()))
}

fn text_piece(span: Span) -> Vec<Piece> {
    if span.is_empty() { Vec::new() } else { vec![Piece { kind: PieceKind::Text, span }] }
}

fn read_line(source: &[u8], span: Span, has_newline: bool) -> (LineKind, Vec<Piece>) {
    let line = &source[span.clone()];
    let first = line.iter().find(|byte| !words::is_blank(**byte));
    let split = words::split(line, span.start, has_newline);
    match (first, split) {
        (None, _) => (LineKind::Blank, blank_pieces(span)),
        (Some(b'#'), Ok(split)) => (LineKind::Comment, split.pieces),
        (_, Err(fault)) => (LineKind::Broken(fault), text_piece(span)),
        (_, Ok(split)) => match command(split.words) {
            Some(command) => (classify(command), split.pieces),
            None => (LineKind::Blank, split.pieces),
        },
    }
}

/// A line of commands that stands within another text.
pub fn line_kind(source: &[u8], span: Span) -> LineKind {
    read_line(source, span, true).0
}

fn blank_pieces(span: Span) -> Vec<Piece> {
    if span.is_empty() { Vec::new() } else { vec![Piece { kind: PieceKind::Blank, span }] }
}

fn classify(command: Command) -> LineKind {
    match Section::ALL.into_iter().find(|section| section.keyword() == command.name.text) {
        Some(section) => LineKind::Header(section, command),
        None => LineKind::Command(command),
    }
}

fn command(words: Vec<Word>) -> Option<Command> {
    let mut words = words.into_iter();
    let name = words.next()?;
    Some(Command { name, args: words.map(argument).collect() })
}

fn argument(word: Word) -> Arg {
    if !word.text.starts_with("--") {
        return Arg { option: None, value: Some(word.text.clone()), word };
    }
    match word.text.split_once('=') {
        Some((option, value)) => Arg { option: Some(option.to_owned()), value: Some(value.to_owned()), word },
        None => Arg { option: Some(word.text.clone()), value: None, word },
    }
}

#[cfg(test)]
mod tests;
