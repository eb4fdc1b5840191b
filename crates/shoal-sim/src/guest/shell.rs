//! The commands of a shell script, in their order, as a reader without a shell sees them.
//!
//! It knows quotes, comments, variables, substitutions, redirections and here-documents; conditions
//! and loops are read as if every branch were taken once. What only a running system knows, such as a
//! command's output, is [`UNKNOWN`]. It runs nothing. Invariant: any text gives an answer, and no word
//! is longer than [`WORD_BYTES_MAX`].

mod files;
mod lexer;
mod status;
#[cfg(test)]
mod tests;

pub use files::{FileContent, write_files, write_python_files};
pub use status::failure;

use lexer::Lexer;

/// More than any command of a kickstart needs; a variable that doubles itself ends here.
const WORD_BYTES_MAX: usize = 64 << 10;
/// A text that is not known without running the script: a noncharacter, which no script contains.
pub const UNKNOWN: char = '\u{FDD0}';

/// One program with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShellCommand {
    /// Never empty.
    pub words: Vec<String>,
    /// It stands behind `||`: it runs if the command before it has failed.
    pub after_failure: bool,
    /// It stands behind `&&`.
    pub after_success: bool,
    /// Its input is the output of the command before it.
    pub is_piped: bool,
    /// `!` stands before it.
    pub is_negated: bool,
    /// The file that its output goes into.
    pub output: Option<OutputFile>,
    /// Its here-document.
    pub document: Option<String>,
    /// Conditions, loops, groups and subshells around it.
    pub depth: usize,
}

/// Where `>` and `>>` lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    pub path: String,
    pub appends: bool,
}

impl ShellCommand {
    /// The program's name without its directory.
    pub fn program(&self) -> &str {
        let path = self.words.first().map_or("", String::as_str);
        path.rsplit('/').next().unwrap_or(path)
    }
}

/// What the script runs.
pub fn commands(script: &str) -> Vec<ShellCommand> {
    Lexer::of(script).run()
}
