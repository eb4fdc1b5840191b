//! A command line split into words: quotes, escapes and comments as a POSIX shell reads them.
//!
//! It expands nothing. Invariant: the pieces cover the line without a gap, in order.

use super::{Piece, PieceKind, Span};

/// A word as it is written and as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Without quotes and escapes.
    pub text: String,
    pub span: Span,
    /// A `#` inside ended it.
    pub cut_by_comment: bool,
    /// Holds a backslash or quote that the installer removes from within the word.
    pub has_inner_quoting: bool,
    /// Ends in the backslash that ends its line.
    pub continued: bool,
}

/// What does not end on its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// The quote or backslash.
    pub at: Span,
    /// The first word, where it ended before the fault.
    pub first_word: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    Quote,
    Escape,
}

pub struct Split {
    pub words: Vec<Word>,
    pub pieces: Vec<Piece>,
}

pub fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// Splits one line, whose first byte is at `offset` of the text.
pub fn split(line: &[u8], offset: usize, has_newline: bool) -> Result<Split, Fault> {
    let mut splitter = Splitter { line, offset, has_newline, at: 0, words: Vec::new(), pieces: Vec::new() };
    while splitter.at < line.len() {
        match line[splitter.at] {
            byte if is_blank(byte) => splitter.blanks(),
            b'#' => splitter.comment(),
            _ => splitter.word()?,
        }
    }
    Ok(Split { words: splitter.words, pieces: splitter.pieces })
}

struct Splitter<'a> {
    line: &'a [u8],
    offset: usize,
    has_newline: bool,
    at: usize,
    words: Vec<Word>,
    pieces: Vec<Piece>,
}

/// The word that is being read.
#[derive(Default)]
struct Draft {
    text: Vec<u8>,
    quoted_parts: usize,
    escapes: usize,
    continued: bool,
}

impl Splitter<'_> {
    fn push(&mut self, kind: PieceKind, from: usize) {
        self.pieces.push(Piece { kind, span: self.offset + from..self.offset + self.at });
    }

    fn blanks(&mut self) {
        let from = self.at;
        while self.line.get(self.at).is_some_and(|byte| is_blank(*byte)) {
            self.at += 1;
        }
        self.push(PieceKind::Blank, from);
    }

    fn comment(&mut self) {
        let from = self.at;
        self.at = self.line.len();
        self.push(PieceKind::Comment, from);
    }

    fn fault(&self, kind: FaultKind, at: usize) -> Fault {
        let first_word = self.words.first().map(|word| word.text.clone()).unwrap_or_default();
        Fault { kind, at: self.offset + at..self.offset + at + 1, first_word }
    }

    fn word(&mut self) -> Result<(), Fault> {
        let from = self.at;
        let mut draft = Draft::default();
        while let Some(&byte) = self.line.get(self.at) {
            match byte {
                byte if is_blank(byte) => break,
                b'#' => break,
                b'\'' | b'"' => self.quoted(byte, &mut draft)?,
                b'\\' => self.escape(&mut draft)?,
                byte => {
                    draft.text.push(byte);
                    self.at += 1;
                }
            }
        }
        self.push(PieceKind::Word, from);
        let raw = &self.line[from..self.at];
        let is_wrapped = draft.quoted_parts == 1 && draft.escapes == 0 && is_quoted_whole(raw);
        self.words.push(Word {
            text: String::from_utf8_lossy(&draft.text).into_owned(),
            span: self.offset + from..self.offset + self.at,
            cut_by_comment: self.line.get(self.at) == Some(&b'#'),
            has_inner_quoting: draft.quoted_parts + draft.escapes > 0 && !is_wrapped && !draft.continued,
            continued: draft.continued,
        });
        Ok(())
    }

    fn quoted(&mut self, quote: u8, draft: &mut Draft) -> Result<(), Fault> {
        let from = self.at;
        draft.quoted_parts += 1;
        self.at += 1;
        while let Some(&byte) = self.line.get(self.at) {
            self.at += 1;
            match byte {
                byte if byte == quote => return Ok(()),
                b'\\' if quote == b'"' => {
                    let Some(&next) = self.line.get(self.at) else { break };
                    if next == b'\\' || next == quote {
                        draft.escapes += 1;
                    } else {
                        draft.text.push(b'\\');
                    }
                    draft.text.push(next);
                    self.at += 1;
                }
                byte => draft.text.push(byte),
            }
        }
        Err(self.fault(FaultKind::Quote, from))
    }

    fn escape(&mut self, draft: &mut Draft) -> Result<(), Fault> {
        let from = self.at;
        self.at += 1;
        match self.line.get(self.at) {
            Some(&next) => {
                draft.escapes += 1;
                draft.text.push(next);
                self.at += 1;
                Ok(())
            }
            None if self.has_newline => {
                draft.continued = true;
                draft.text.push(b'\n');
                Ok(())
            }
            None => Err(self.fault(FaultKind::Escape, from)),
        }
    }
}

/// Whether the one quoted part is the whole word, or all that follows an `=`.
fn is_quoted_whole(raw: &[u8]) -> bool {
    let value = raw.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
    let is_quote = |byte: Option<&u8>| matches!(byte, Some(b'"' | b'\''));
    is_quote(raw.last()) && (is_quote(raw.first()) || is_quote(raw.get(value)))
}
