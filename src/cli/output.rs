//! What a command prints: a table for people or JSON for programs, on standard output.
//!
//! Not logging. Invariant: a closed pipe is not an error, since its reader has read enough; any other failure to write
//! makes the command fail, once it has ended.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use serde::Serialize;

use crate::config::columns as columns_of_environment;
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

/// A table without lines, columns two blanks apart; cells are wrapped where a terminal is too narrow.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    table_within(header, rows, stdout_columns(), false)
}

/// The same with one line a row: what does not fit into a terminal is cut.
pub fn cut_table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    table_within(header, rows, stdout_columns(), true)
}

/// A table of a width; as wide as its cells where there is none.
pub fn table_within<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    columns: Option<u16>,
    is_cut: bool,
) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    for cells in rows {
        let mut row = comfy_table::Row::from(cells);
        if is_cut && columns.is_some() {
            row.max_height(1);
        }
        table.add_row(row);
    }
    if let Some(columns) = columns {
        // One more, for the blank that is taken away from the front below.
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(columns + 1);
        // Names and ids are there to be copied.
        if columns >= ID_COLUMNS_MIN
            && let Some(first) = table.column_mut(0)
        {
            first.set_constraint(comfy_table::ColumnConstraint::ContentWidth);
        }
    }
    let text = table.to_string();
    let unpadded = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    unpadded.collect::<Vec<_>>().join("\n")
}

/// On narrower terminals ids are wrapped too.
const ID_COLUMNS_MIN: u16 = 70;

/// Width of the terminal that standard output is; none where it is a file or a pipe.
fn stdout_columns() -> Option<u16> {
    let stdout = std::io::stdout();
    stdout.is_terminal().then(|| size_of(&stdout)).flatten().map(|(columns, _)| columns)
}

/// Columns and lines of the terminal that standard error is, where progress is shown.
pub fn terminal_size() -> Option<(u16, u16)> {
    let stderr = std::io::stderr();
    stderr.is_terminal().then(|| size_of(&stderr)).flatten()
}

/// A terminal that does not know its size is a small one.
fn size_of(terminal: &impl std::os::fd::AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok();
    let known = |value: u16, otherwise: u16| if value == 0 { otherwise } else { value };
    let (columns, lines) = size.map_or((80, 24), |size| (known(size.ws_col, 80), known(size.ws_row, 24)));
    Some((columns_of_environment().unwrap_or(columns), lines))
}

/// The first failure to write to standard output.
static FAILED: OnceLock<std::io::Error> = OnceLock::new();
/// The reader of standard output has gone.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Notes what became of a write, for the end of the command.
pub fn written(result: std::io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => CLOSED.store(true, Ordering::Relaxed),
        Err(error) => {
            let _first_counts = FAILED.set(error);
        }
    }
}

/// Whether nothing more can be shown, because the output's reader has gone or its disk is full.
pub fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed) || FAILED.get().is_some()
}

/// Why the command's result could not be written.
pub fn write_failure() -> Option<&'static std::io::Error> {
    FAILED.get()
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
    written(writeln!(stdout, "{}", with_colours(text)).and_then(|()| stdout.flush()));
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
    written(writeln!(stdout, "{}", visible_lines(text)).and_then(|()| stdout.flush()));
}

/// A whole text on standard output, as it is where that is no terminal.
pub fn text(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let shown = if stdout.is_terminal() { visible_lines(text) } else { Cow::Borrowed(text) };
    written(stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush()));
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
