//! A script's lines as far as a linter can read them: which run, how deep, and which comes last.
//!
//! Not a shell: quotes over several lines and functions that are called later are beyond it, so what
//! it is unsure of it leaves out. Invariant: a line inside a here-document is never code.

use std::ops::Range;

use crate::syntax::{File, Span};

/// A line that runs, if the script gets there.
#[derive(Debug)]
pub struct Statement {
    pub text: String,
    /// Without indentation and trailing blanks.
    pub span: Span,
    /// 0 outside of `if`, loops and functions.
    pub depth: usize,
    /// Whether a line before it always ends the script.
    pub is_unreachable: bool,
    pub document: Option<Document>,
}

/// The here-document that a statement begins.
#[derive(Debug)]
pub struct Document {
    /// Indices of its lines, without the one that ends it.
    pub lines: Range<usize>,
    /// Whether the shell leaves it as it is, since its end is quoted.
    pub is_literal: bool,
}

impl Statement {
    /// The program that the line runs first, without its folder.
    pub fn program(&self) -> &str {
        let keywords = ["if", "then", "else", "do", "!", "while", "nohup", "exec", "time"];
        let mut words = self.text.split_whitespace().skip_while(|word| keywords.contains(word));
        let word = words.next().unwrap_or_default();
        let word = word.trim_end_matches([';', '&']);
        word.rsplit('/').next().unwrap_or(word)
    }

    /// Whether the line is one command, whose status is that of the line.
    pub fn is_single(&self) -> bool {
        !self.text.contains(['|', ';', '&', '`']) && !self.text.ends_with('\\')
    }

    /// Whether a program of these names runs somewhere on the line.
    pub fn mentions(&self, programs: &[&str]) -> bool {
        let prints = ["echo", "logger", "printf", "print", "cat", "sed", "grep"];
        let words = self.text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')));
        !prints.contains(&self.program()) && words.into_iter().any(|word| programs.contains(&word))
    }
}

/// The statements of a section's body.
pub fn statements(file: &File<'_>, header: usize) -> Vec<Statement> {
    let mut found: Vec<Statement> = Vec::new();
    let (mut depth, mut ends_at, mut is_over, mut continues) = (0usize, None::<String>, false, false);
    for (line, at) in file.body(header).zip(header + 1..) {
        let raw = file.shown(&line.span);
        if let Some(end) = &ends_at {
            if raw.trim() == end {
                ends_at = None;
            } else if let Some(document) = found.last_mut().and_then(|last| last.document.as_mut()) {
                document.lines.end = at + 1;
            }
            continue;
        }
        let text = raw.trim();
        let was_continued = std::mem::replace(&mut continues, text.ends_with('\\'));
        if text.is_empty() || text.starts_with('#') || was_continued {
            ends_at = here_document(text).filter(|_| was_continued);
            continue;
        }
        let start = line.span.start + (raw.len() - raw.trim_start().len());
        let (closes, opens) = nesting(text);
        depth = depth.saturating_sub(closes);
        let statement = Statement {
            text: text.to_owned(),
            span: start.min(line.span.end)..(start + text.len()).min(line.span.end),
            depth: if opens + closes > 0 { depth + 1 } else { depth },
            is_unreachable: is_over,
            document: here_document(text)
                .map(|_| Document { lines: at + 1..at + 1, is_literal: is_quoted_document(text) }),
        };
        is_over |= statement.depth == 0 && statement.program() == "exit" && statement.is_single();
        depth += opens;
        ends_at = here_document(text);
        found.push(statement);
    }
    found
}

/// How many blocks a line closes and opens, a block on one line left out.
fn nesting(text: &str) -> (usize, usize) {
    let (mut opens, mut closes) = (0usize, 0usize);
    for part in text.split([';', '&', '|']) {
        let first = part.split_whitespace().next().unwrap_or_default();
        match first {
            "if" | "for" | "while" | "until" | "case" | "{" => opens += 1,
            "fi" | "done" | "esac" | "}" => {
                if opens > 0 {
                    opens -= 1;
                } else {
                    closes += 1;
                }
            }
            _ => {}
        }
    }
    if text.ends_with('{') && !text.starts_with('{') {
        opens += 1;
    }
    (closes, opens)
}

fn is_quoted_document(text: &str) -> bool {
    let after = text.split_once("<<").map_or("", |(_, after)| after);
    after.trim_start_matches('-').trim_start().starts_with(['\'', '"', '\\'])
}

/// The word that ends a here-document which the line begins.
fn here_document(text: &str) -> Option<String> {
    let at = text.find("<<")?;
    let rest = &text[at + 2..];
    if rest.starts_with('<') {
        return None;
    }
    let rest = rest.trim_start_matches('-').trim_start();
    let word: String = rest
        .chars()
        .skip_while(|c| matches!(c, '\'' | '"' | '\\'))
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '!'))
        .collect();
    (!word.is_empty()).then_some(word)
}
