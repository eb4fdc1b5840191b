//! Splits a script into commands.
//!
//! Not what a command does (that is in `files.rs` and `status.rs`). Invariant: every character is taken
//! once, and substitutions go no deeper than [`NESTING_MAX`].

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::{OutputFile, ShellCommand, UNKNOWN, WORD_BYTES_MAX};

/// Substitutions within substitutions.
const NESTING_MAX: usize = 8;
/// Words that begin a block, among the prefixes, and programs that end one.
const OPENINGS: [&str; 4] = ["if", "while", "until", "{"];
const CLOSINGS: [&str; 4] = ["fi", "done", "esac", "}"];
/// What may stand before the program's name.
const PREFIXES: [&str; 15] = [
    "if", "then", "elif", "else", "while", "until", "do", "!", "{", "time", "exec", "command", "nohup",
    "busybox", "env",
];

/// Where a redirection leads, whose word has not ended yet.
#[derive(Clone, Copy)]
enum Redirect {
    /// Its word is a descriptor, or a file that is not the output.
    Other,
    Output {
        appends: bool,
    },
    /// Its word ends a here-document.
    Document,
}

/// How a command is joined to the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joint {
    None,
    OnFailure,
    OnSuccess,
    Pipe,
}

/// A here-document that begins with the next line.
struct HereDocument {
    /// Its last line.
    end: String,
    is_literal: bool,
    /// The command that reads it, once it is over.
    command: Option<usize>,
}

pub struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    variables: BTreeMap<String, String>,
    commands: Vec<ShellCommand>,
    words: Vec<String>,
    word: Option<String>,
    /// A part of the word is quoted.
    is_quoted: bool,
    redirect: Option<Redirect>,
    output: Option<OutputFile>,
    documents: Vec<HereDocument>,
    joint: Joint,
    blocks: usize,
    parens: usize,
    /// The last thing was the end of a subshell.
    closed_paren: bool,
    nesting: usize,
}

impl<'a> Lexer<'a> {
    pub fn of(script: &'a str) -> Lexer<'a> {
        Lexer::within(script, BTreeMap::new(), 0)
    }

    fn within(script: &'a str, variables: BTreeMap<String, String>, nesting: usize) -> Lexer<'a> {
        Lexer {
            chars: script.chars().peekable(),
            variables,
            commands: vec![],
            words: vec![],
            word: None,
            is_quoted: false,
            redirect: None,
            output: None,
            documents: vec![],
            joint: Joint::None,
            blocks: 0,
            parens: 0,
            closed_paren: false,
            nesting,
        }
    }

    pub fn run(mut self) -> Vec<ShellCommand> {
        while let Some(next) = self.chars.next() {
            self.take(next);
        }
        self.end_command(Joint::None);
        self.commands
    }

    fn take(&mut self, next: char) {
        match next {
            '\'' => self.take_quoted('\''),
            '"' => self.take_quoted('"'),
            '`' => self.take_backquoted(),
            '\\' => match self.chars.next() {
                None | Some('\n') => {}
                Some(escaped) => {
                    self.is_quoted = true;
                    self.push_char(escaped);
                }
            },
            '$' => self.take_variable(),
            '#' if self.word.is_none() => while self.chars.next_if(|c| *c != '\n').is_some() {},
            '<' | '>' => self.take_redirect(next),
            '&' | '|' => {
                let doubled = self.chars.next_if_eq(&next).is_some();
                self.end_command(match (next, doubled) {
                    ('|', true) => Joint::OnFailure,
                    ('&', true) => Joint::OnSuccess,
                    ('|', false) => Joint::Pipe,
                    _ => Joint::None,
                });
            }
            ';' => self.end_command(Joint::None),
            '(' => {
                self.end_command(Joint::None);
                self.parens += 1;
            }
            ')' => {
                self.end_command(Joint::None);
                // Without its opening it ends a pattern of `case`.
                self.closed_paren = self.parens > 0;
                self.parens = self.parens.saturating_sub(1);
            }
            '\n' => {
                self.end_command(Joint::None);
                self.take_documents();
            }
            blank if blank.is_whitespace() => self.end_word(),
            other => self.push_char(other),
        }
    }

    fn push(&mut self, text: &str) {
        let word = self.word.get_or_insert_default();
        if word.len() + text.len() <= WORD_BYTES_MAX {
            word.push_str(text);
        }
    }

    fn push_char(&mut self, next: char) {
        self.push(next.encode_utf8(&mut [0; 4]));
    }

    /// Up to the closing quote, which a script may lack.
    fn take_quoted(&mut self, quote: char) {
        self.push("");
        self.is_quoted = true;
        while let Some(next) = self.chars.next().filter(|next| *next != quote) {
            match (quote, next) {
                ('"', '\\') => {
                    let escaped = self.chars.next_if(|c| matches!(c, '"' | '\\' | '$' | '`'));
                    self.push_char(escaped.unwrap_or('\\'));
                }
                ('"', '$') => self.take_variable(),
                ('"', '`') => self.take_backquoted(),
                _ => self.push_char(next),
            }
        }
    }

    /// `$NAME`, `${NAME…}`, `$(…)`, a digit or a sign; anything else that begins so is left as it
    /// stands. A script has no arguments, so `$1` is empty.
    fn take_variable(&mut self) {
        match self.chars.peek().copied() {
            Some('{') => {
                self.chars.next();
                self.take_braced();
            }
            Some('(') => {
                self.chars.next();
                let inner = self.take_balanced('(', ')');
                self.substitute(&inner);
            }
            Some('?' | '#' | '$' | '!') => {
                self.chars.next();
                self.push_char(UNKNOWN);
            }
            Some('@' | '*' | '0'..='9') => {
                self.chars.next();
                self.push("");
            }
            _ => {
                let name = self.take_name();
                let value = if name.is_empty() { "$".to_owned() } else { self.value(&name) };
                self.push(&value);
            }
        }
    }

    fn value(&self, name: &str) -> String {
        self.variables.get(name).cloned().unwrap_or_default()
    }

    fn take_name(&mut self) -> String {
        let mut name = String::new();
        while let Some(next) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(next);
        }
        name
    }

    /// `${NAME}` and `${NAME:-DEFAULT}`; what the other forms give is not known.
    fn take_braced(&mut self) {
        let name = self.take_name();
        let rest = self.take_balanced('{', '}');
        let value = self.value(&name);
        let default = rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-'));
        let value = match default {
            _ if rest.is_empty() => value,
            Some(default) if value.is_empty() => self.expanded(default),
            Some(_) => value,
            None => UNKNOWN.to_string(),
        };
        self.push(&value);
    }

    /// Up to the closing sign, which is taken too.
    fn take_balanced(&mut self, open: char, close: char) -> String {
        let (mut inner, mut depth) = (String::new(), 0);
        for next in self.chars.by_ref() {
            if next == close && depth == 0 {
                break;
            }
            depth += usize::from(next == open);
            depth -= usize::from(next == close);
            inner.push(next);
        }
        inner
    }

    fn take_backquoted(&mut self) {
        let mut inner = String::new();
        while let Some(next) = self.chars.next().filter(|next| *next != '`') {
            inner.push(next);
        }
        self.substitute(&inner);
    }

    /// What a command prints is not known; that it runs, is.
    fn substitute(&mut self, inner: &str) {
        if self.nesting < NESTING_MAX && !inner.starts_with('(') {
            let lexer = Lexer::within(inner, self.variables.clone(), self.nesting + 1);
            let depth = self.depth() + 1;
            self.commands.extend(lexer.run().into_iter().map(|command| ShellCommand { depth, ..command }));
        }
        self.push_char(UNKNOWN);
    }

    /// `text` as between double quotes.
    fn expanded(&self, text: &str) -> String {
        if self.nesting >= NESTING_MAX {
            return UNKNOWN.to_string();
        }
        let mut lexer = Lexer::within(text, self.variables.clone(), self.nesting + 1);
        let mut expanded = String::new();
        while let Some(next) = lexer.chars.next() {
            match next {
                '$' => lexer.take_variable(),
                '`' => lexer.take_backquoted(),
                '\\' => match lexer.chars.next_if(|c| matches!(c, '\\' | '$' | '`' | '\n')) {
                    Some('\n') => {}
                    escaped => lexer.push_char(escaped.unwrap_or('\\')),
                },
                other => lexer.push_char(other),
            }
            expanded.push_str(&lexer.word.take().unwrap_or_default());
            if expanded.len() > WORD_BYTES_MAX {
                break;
            }
        }
        expanded
    }

    fn take_redirect(&mut self, sign: char) {
        // The descriptor before the sign is no argument.
        let descriptor = self.word.take_if(|word| word.chars().all(|c| c.is_ascii_digit()));
        self.end_word();
        let doubled = self.chars.next_if_eq(&sign).is_some();
        let duplicates = self.chars.next_if_eq(&'&').is_some();
        self.chars.next_if(|c| matches!(c, '-' | '|'));
        let is_output = sign == '>' && !duplicates && descriptor.is_none_or(|number| number == "1");
        self.redirect = Some(match (sign, doubled) {
            ('<', true) => Redirect::Document,
            _ if is_output => Redirect::Output { appends: doubled },
            _ => Redirect::Other,
        });
    }

    fn end_word(&mut self) {
        let is_literal = std::mem::take(&mut self.is_quoted);
        let Some(word) = self.word.take() else { return };
        match self.redirect.take() {
            None => self.words.push(word),
            Some(Redirect::Other) => {}
            Some(Redirect::Output { appends }) => self.output = Some(OutputFile { path: word, appends }),
            Some(Redirect::Document) => {
                self.documents.push(HereDocument { end: word, is_literal, command: None });
            }
        }
    }

    fn depth(&self) -> usize {
        self.blocks + self.parens
    }

    fn end_command(&mut self, next: Joint) {
        self.end_word();
        let joint = std::mem::replace(&mut self.joint, next);
        let closed_paren = std::mem::take(&mut self.closed_paren);
        let output = self.output.take();
        let mut words = std::mem::take(&mut self.words);
        if words.is_empty() && output.is_some() {
            words.push(if closed_paren { ")" } else { ":" }.to_owned());
        }
        let program = words.iter().position(|word| !PREFIXES.contains(&word.as_str()) && !self.assign(word));
        let before: Vec<String> = words.drain(..program.unwrap_or(words.len())).collect();
        self.blocks += before.iter().filter(|word| OPENINGS.contains(&word.as_str())).count();
        if self.begin_loop(&words) {
            return;
        }
        let Some(program) = words.first() else { return };
        self.blocks += usize::from(program == "case");
        let depth = self.depth() + usize::from(program == ")");
        if CLOSINGS.contains(&program.as_str()) {
            self.blocks = self.blocks.saturating_sub(1);
        }
        for document in self.documents.iter_mut().filter(|document| document.command.is_none()) {
            document.command = Some(self.commands.len());
        }
        self.commands.push(ShellCommand {
            words,
            after_failure: joint == Joint::OnFailure,
            after_success: joint == Joint::OnSuccess,
            is_piped: joint == Joint::Pipe,
            is_negated: before.iter().any(|word| word == "!"),
            output,
            document: None,
            depth,
        });
    }

    /// `for NAME in LIST`: the variable is the whole list, once.
    fn begin_loop(&mut self, words: &[String]) -> bool {
        let [keyword, name, of, list @ ..] = words else { return false };
        let is_loop = keyword == "for" && of == "in";
        if is_loop {
            self.blocks += 1;
            self.variables.insert(name.clone(), list.join(" "));
        }
        is_loop
    }

    /// Takes `NAME=VALUE`, and says whether it was that.
    fn assign(&mut self, word: &str) -> bool {
        let is_name = |name: &str| {
            let first_is_digit = name.starts_with(|c: char| c.is_ascii_digit());
            !name.is_empty() && !first_is_digit && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match word.split_once('=').filter(|(name, _)| is_name(name)) {
            None => false,
            Some((name, value)) => {
                self.variables.insert(name.to_owned(), value.to_owned());
                true
            }
        }
    }

    fn take_documents(&mut self) {
        for HereDocument { end, is_literal, command } in std::mem::take(&mut self.documents) {
            let mut text = String::new();
            loop {
                let mut line = String::new();
                while let Some(next) = self.chars.next_if(|c| *c != '\n') {
                    line.push(next);
                }
                let is_last = self.chars.next().is_none();
                if line.trim_start_matches('\t') == end {
                    break;
                }
                text.push_str(&line);
                if is_last {
                    break;
                }
                text.push('\n');
            }
            let text = if is_literal { text } else { self.expanded(&text) };
            if let Some(command) = command.and_then(|index| self.commands.get_mut(index)) {
                command.document = Some(text);
            }
        }
    }
}
