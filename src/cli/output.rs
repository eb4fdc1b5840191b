//! What a command prints: a table for people or JSON for programs, on standard output.
//!
//! Not logging. Invariant: a closed pipe is not an error, since whoever closed it has read enough.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs: one JSON value, or one a line where results come one by one.
    Json,
}

/// Prints results in the chosen form.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub format: Format,
}

impl Output {
    pub fn new(format: Format) -> Output {
        Output { format }
    }

    /// Prints `value` as indented JSON, or what `text` makes of it.
    pub fn print<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) {
        match self.format {
            Format::Json => line(&serde_json::to_string_pretty(value).expect("results have string keys")),
            Format::Table => line(text(value).trim_end()),
        }
    }

    /// Prints one of many results: a line of JSON, or what `text` makes of it.
    pub fn print_line<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) {
        match self.format {
            Format::Json => line(&serde_json::to_string(value).expect("results have string keys")),
            Format::Table => line(text(value).trim_end()),
        }
    }
}

/// A table without lines, columns two blanks apart.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let text = table.to_string();
    let unpadded = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    unpadded.collect::<Vec<_>>().join("\n")
}

/// One line on standard output.
pub fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _closed_pipe = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// One line on standard error.
pub fn to_stderr(text: &str) {
    let _closed_pipe = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_header_and_aligned_columns() {
        let rows = [["a".to_owned(), "long value".to_owned()], ["bb".to_owned(), "c".to_owned()]];
        let text = table(["ID", "NAME"], rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0].find("NAME"), lines[2].find('c'), "{text}");
    }
}
