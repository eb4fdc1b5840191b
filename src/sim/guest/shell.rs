//! The commands of a shell script, in their order, as a reader without a shell sees them.
//!
//! It knows quotes, comments, variables, redirections and here-documents; conditions and loops are
//! read as if every branch were taken once. It runs nothing. Invariant: any text gives an answer,
//! and no word is longer than [`WORD_BYTES_MAX`].

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// More than any command of a kickstart needs; a variable that doubles itself ends here.
const WORD_BYTES_MAX: usize = 64 << 10;
/// What may stand before the program's name.
const PREFIXES: [&str; 15] = [
    "if", "then", "elif", "else", "while", "until", "do", "!", "{", "time", "exec", "command", "nohup",
    "busybox", "env",
];

/// One program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Never empty.
    pub words: Vec<String>,
    /// It stands behind `||`: it runs if the command before it has failed.
    pub after_failure: bool,
}

impl Command {
    /// The program's name without its directory.
    pub fn program(&self) -> &str {
        let path = self.words.first().map_or("", String::as_str);
        path.rsplit('/').next().unwrap_or(path)
    }
}

/// What the script runs.
pub fn commands(script: &str) -> Vec<Command> {
    let mut lexer = Lexer {
        chars: script.chars().peekable(),
        variables: BTreeMap::new(),
        commands: vec![],
        words: vec![],
        word: None,
        redirect: None,
        documents: vec![],
        after_failure: false,
    };
    while let Some(next) = lexer.chars.next() {
        lexer.take(next);
    }
    lexer.end_command(false);
    lexer.commands
}

/// Where a redirection leads, whose word has not ended yet.
#[derive(Clone, Copy)]
enum Redirect {
    /// Its word is a file or a descriptor, and no argument.
    File,
    /// Its word ends a here-document.
    Document,
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    variables: BTreeMap<String, String>,
    commands: Vec<Command>,
    words: Vec<String>,
    word: Option<String>,
    redirect: Option<Redirect>,
    /// The last lines of here-documents that begin with the next line.
    documents: Vec<String>,
    after_failure: bool,
}

impl Lexer<'_> {
    fn take(&mut self, next: char) {
        match next {
            '\'' => self.take_quoted('\''),
            '"' => self.take_quoted('"'),
            '\\' => match self.chars.next() {
                None | Some('\n') => {}
                Some(escaped) => self.push(escaped.encode_utf8(&mut [0; 4])),
            },
            '$' => self.take_variable(),
            '#' if self.word.is_none() => while self.chars.next_if(|c| *c != '\n').is_some() {},
            '<' | '>' => self.take_redirect(next),
            '&' | '|' => {
                let doubled = self.chars.next_if_eq(&next).is_some();
                self.end_command(doubled && next == '|');
            }
            ';' | '(' | ')' => self.end_command(false),
            '\n' => {
                self.end_command(false);
                self.skip_documents();
            }
            blank if blank.is_whitespace() => self.end_word(),
            other => self.push(other.encode_utf8(&mut [0; 4])),
        }
    }

    fn push(&mut self, text: &str) {
        let word = self.word.get_or_insert_default();
        if word.len() + text.len() <= WORD_BYTES_MAX {
            word.push_str(text);
        }
    }

    /// Up to the closing quote, which a script may lack.
    fn take_quoted(&mut self, quote: char) {
        self.push("");
        while let Some(next) = self.chars.next().filter(|next| *next != quote) {
            match (quote, next) {
                ('"', '\\') => {
                    let escaped = self.chars.next_if(|c| matches!(c, '"' | '\\' | '$' | '`'));
                    self.push(escaped.unwrap_or('\\').encode_utf8(&mut [0; 4]));
                }
                ('"', '$') => self.take_variable(),
                _ => self.push(next.encode_utf8(&mut [0; 4])),
            }
        }
    }

    /// `$NAME` or `${NAME}`; anything else that begins so is left as it stands.
    fn take_variable(&mut self) {
        let braced = self.chars.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(next) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(next);
        }
        if braced {
            self.chars.next_if_eq(&'}');
        }
        if name.is_empty() {
            self.push("$");
        } else {
            let value = self.variables.get(&name).cloned().unwrap_or_default();
            self.push(&value);
        }
    }

    fn take_redirect(&mut self, sign: char) {
        // The descriptor before the sign is no argument.
        if self.word.as_ref().is_some_and(|word| word.chars().all(|c| c.is_ascii_digit())) {
            self.word = None;
        }
        self.end_word();
        let doubled = self.chars.next_if_eq(&sign).is_some();
        self.chars.next_if(|c| matches!(c, '&' | '-'));
        self.redirect = Some(if doubled && sign == '<' { Redirect::Document } else { Redirect::File });
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        match self.redirect.take() {
            None => self.words.push(word),
            Some(Redirect::File) => {}
            Some(Redirect::Document) => self.documents.push(word),
        }
    }

    fn end_command(&mut self, next_after_failure: bool) {
        self.end_word();
        let after_failure = std::mem::replace(&mut self.after_failure, next_after_failure);
        let mut words = std::mem::take(&mut self.words);
        let program = words.iter().position(|word| !PREFIXES.contains(&word.as_str()) && !self.assign(word));
        words.drain(..program.unwrap_or(words.len()));
        if let [keyword, name, of, list @ ..] = words.as_slice()
            && (keyword, of) == (&"for".to_owned(), &"in".to_owned())
        {
            self.variables.insert(name.clone(), list.join(" "));
        } else if !words.is_empty() {
            self.commands.push(Command { words, after_failure });
        }
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

    fn skip_documents(&mut self) {
        for end in std::mem::take(&mut self.documents) {
            loop {
                let mut line = String::new();
                while let Some(next) = self.chars.next_if(|c| *c != '\n') {
                    line.push(next);
                }
                let is_last = self.chars.next().is_none();
                if is_last || line.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One string a command: its words between slashes, behind `|` where it is a fallback.
    fn check(script: &str, expected: &[&str]) {
        let shown = |command: Command| {
            let fallback = if command.after_failure { "|" } else { "" };
            format!("{fallback}{}", command.words.join("/"))
        };
        assert_eq!(commands(script).into_iter().map(shown).collect::<Vec<_>>(), expected, "{script}");
    }

    #[test]
    fn commands_end_where_a_shell_ends_them() {
        check("sync; a && b & c | d\ne", &["sync", "a", "b", "c", "d", "e"]);
        check("a -n || b -f || c", &["a/-n", "|b/-f", "|c"]);
        check("(sleep 5; halt) &", &["sleep/5", "halt"]);
        check("if a; then b; else exec c; fi", &["a", "b", "c", "fi"]);
        check("a \\\n  b # c; d\n#e\nf#g", &["a/b", "f#g"]);
    }

    #[test]
    fn redirections_and_here_documents_are_no_commands() {
        check("a >/dev/null 2>&1 b < c > d", &["a/b"]);
        check("cat > /x <<'END'\npoweroff\nEND\nsync", &["cat", "sync"]);
        check("cat <<-END\npoweroff\n\tEND\nsync", &["cat", "sync"]);
        check("cat <<END\npoweroff", &["cat"]);
    }

    #[test]
    fn quotes_hold_words_together_and_variables_are_filled_in() {
        check("url='http://a/b c'\nwget \"$url\" '$url' ${url}x", &["wget/http://a/b c/$url/http://a/b cx"]);
        check("python -c 'a; b | c # d' \"say \\\"$x\\\"\"", &["python/-c/a; b | c # d/say \"\""]);
        check("for f in /v/*/N.TXT; do cat \"$f\"; done", &["cat//v/*/N.TXT", "done"]);
        check("A=1; B=$A\nC=x run $B $", &["run/1/$"]);
    }

    #[test]
    fn any_text_gives_an_answer() {
        for script in ["'", "\"\\", "$", "${", "<<", ">", "a <<E", "||", "=", "for x in", "\\"] {
            commands(script);
        }
        let doubling = "a=xxxxxxxxxxxxxxxx\n".to_owned() + &"a=$a$a\n".repeat(100) + "run $a";
        assert!(commands(&doubling)[0].words[1].len() <= WORD_BYTES_MAX);
    }
}
