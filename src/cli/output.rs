//! What a command prints: a table for people or JSON for programs, on standard output.
//!
//! Not logging. Invariant: a closed pipe is not an error, since its reader has read enough.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use shoal_base::{is_visible, visible_lines};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[value(alias = "text")]
    Table,
    /// For programs: one JSON value, or one a line where results come one by one.
    Json,
    /// For code hosts and editors: SARIF 2.1.0, of `kickstart lint` alone.
    Sarif,
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
            Format::Json => json(value),
            Format::Table | Format::Sarif => line(text(value).trim_end()),
        }
    }

    /// Prints one of many results: a line of JSON, or what `text` makes of it.
    pub fn print_line<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) {
        match self.format {
            Format::Json => line(&escaped(&serde_json::to_string(value).expect("results have string keys"))),
            Format::Table | Format::Sarif => line(text(value).trim_end()),
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

/// JSON with everything escaped that a terminal would obey: its strings mean the same.
fn escaped(json: &str) -> Cow<'_, str> {
    if json.chars().all(|c| c == '\n' || is_visible(c)) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        match c == '\n' || is_visible(c) {
            true => text.push(c),
            false => {
                let units = c
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}"))
                    .collect::<String>();
                text.push_str(&units);
            }
        }
    }
    Cow::Owned(text)
}

/// One value on standard output, as indented JSON.
pub fn json<T: Serialize>(value: &T) {
    line(&escaped(&serde_json::to_string_pretty(value).expect("results have string keys")));
}

/// Text with colours of our own on standard output. Everything else that a terminal obeys is shown.
pub fn coloured(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _closed_pipe = writeln!(stdout, "{}", with_colours(text)).and_then(|()| stdout.flush());
}

/// Lets select-graphic-rendition sequences pass (`ESC [ 1;31 m`), and nothing else that begins so.
fn with_colours(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut parts = text.split('\u{1b}');
    kept.push_str(&visible_lines(parts.next().unwrap_or_default()));
    for part in parts {
        let is_parameter = |c: char| c.is_ascii_digit() || c == ';';
        let end = part
            .strip_prefix('[')
            .and_then(|rest| rest.strip_prefix(is_parameter).map(|_| rest))
            .and_then(|rest| {
                rest.trim_start_matches(is_parameter).strip_prefix('m').map(|after| part.len() - after.len())
            });
        let (sequence, rest) = part.split_at(end.unwrap_or(0));
        match end {
            Some(_) => kept.extend(['\u{1b}'].into_iter().chain(sequence.chars())),
            None => kept.push_str(&visible_lines("\u{1b}")),
        }
        kept.push_str(&visible_lines(rest));
    }
    kept
}

/// One line on standard output.
pub fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _closed_pipe = writeln!(stdout, "{}", visible_lines(text)).and_then(|()| stdout.flush());
}

/// A whole text on standard output, as it is where that is no terminal.
pub fn text(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let shown = if stdout.is_terminal() { visible_lines(text) } else { Cow::Borrowed(text) };
    let _closed_pipe = stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush());
}

/// One line on standard error.
pub fn to_stderr(text: &str) {
    let _closed_pipe = writeln!(std::io::stderr().lock(), "{}", visible_lines(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_pass_and_other_sequences_are_shown() {
        let text = with_colours("a\u{1b}[1;31mb\u{1b}[0mc\u{1b}]0;title\u{7}d\u{1b}[2Je\u{202e}\u{1b}[m");
        assert!(text.starts_with("a\u{1b}[1;31mb\u{1b}[0mc"), "{text:?}");
        assert_eq!(text.matches('\u{1b}').count(), 2, "{text:?}");
        assert!(!text.contains(['\u{7}', '\u{202e}']) && text.contains("[2Je"), "{text:?}");
    }

    #[test]
    fn json_keeps_its_meaning_and_holds_nothing_that_a_terminal_obeys() {
        let value = serde_json::json!({ "a": "x\u{9b}31m\u{202e}\u{1b}\u{7f}" });
        let text = escaped(&serde_json::to_string_pretty(&value).unwrap()).into_owned();
        assert_eq!(text, "{\n  \"a\": \"x\\u009b31m\\u202e\\u001b\\u007f\"\n}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_table_has_a_header_and_aligned_columns() {
        let rows = [["a".to_owned(), "long value".to_owned()], ["bb".to_owned(), "c".to_owned()]];
        let text = table(["ID", "NAME"], rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0].find("NAME"), lines[2].find('c'), "{text}");
    }
}
