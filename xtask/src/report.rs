//! The report of a test run: tables that are printed as they come, and kept in `target/test-report.txt`.
//!
//! Not the tally, which `test` adds up. Invariant: the file holds one run, the last one that began.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use xtask::source::ROOT;

/// Where the file is, from the project's root.
pub const PLACE: &str = "target/test-report.txt";

/// Rows under a title, all of one width in each column.
pub struct Table {
    title: &'static str,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: &'static str, head: &[&str]) -> Table {
        let mut table = Table { title, rows: Vec::new() };
        table.row(head);
        table
    }

    pub fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(|cell| (*cell).to_owned()).collect());
    }

    /// Prints the table and adds it to the file.
    pub fn show(&self) {
        println!("\n{self}");
        keep(&format!("{self}\n"));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A run begins: what the file holds is of the one before.
pub fn begin() {
    let _ = std::fs::remove_file(path());
}

/// Adds to the file. A disk that is full takes no test's result away: it was printed too.
pub fn keep(text: &str) {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path());
    if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
        eprintln!("{}: {error}", path().display());
    }
}

fn path() -> PathBuf {
    Path::new(ROOT).join(PLACE)
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new("Things", &["name", "n"]);
        table.row(&["a longer one", "1"]);
        table.row(&["short"]);
        assert_eq!(table.to_string(), "Things\n  name          n\n  a longer one  1\n  short\n");
    }
}
