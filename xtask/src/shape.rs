//! `cargo xtask shape`: the size of files and functions, one line a folder, and the longest of them.
//!
//! It judges nothing; the limits are tests (`tests/it/tidy/lengths.rs`).

use xtask::source::{Source, functions, rust_files};

use crate::process::{Done, fail};

const FOLDERS: [&str; 4] = ["src", "crates", "tests", "xtask"];
const LONGEST_SHOWN: usize = 5;

pub fn run(folders: &[&str]) -> Done {
    let files = rust_files();
    for folder in if folders.is_empty() { &FOLDERS } else { folders } {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        let inside: Vec<&Source> = files.iter().filter(|file| file.path.starts_with(&prefix)).collect();
        if inside.is_empty() {
            return fail(format!("shape: {folder} holds no Rust file"));
        }
        println!("{folder}: {}", summary(&inside));
        for (length, place) in longest(&inside) {
            println!("  {length:4} lines  {place}");
        }
    }
    Ok(())
}

fn summary(files: &[&Source]) -> String {
    let file_lines = sorted(files.iter().map(|file| file.text.lines().count()));
    let lengths = sorted(files.iter().flat_map(|file| functions(&file.code())).map(|(_, length)| length));
    let comments =
        files.iter().flat_map(|file| file.text.lines()).filter(|line| line.trim().starts_with("//"));
    let total: usize = file_lines.iter().sum();
    format!(
        "{} files, {total} lines, file median {} p90 {} max {}; {} functions, median {} p95 {} max {}; comments {} %",
        files.len(),
        at(&file_lines, 50),
        at(&file_lines, 90),
        at(&file_lines, 100),
        lengths.len(),
        at(&lengths, 50),
        at(&lengths, 95),
        at(&lengths, 100),
        100 * comments.count() / total.max(1),
    )
}

fn longest(files: &[&Source]) -> Vec<(usize, String)> {
    let places = files.iter().flat_map(|file| {
        let places = functions(&file.code()).into_iter();
        places.map(|(line, length)| (length, format!("{}:{line}", file.path)))
    });
    let mut places: Vec<(usize, String)> = places.collect();
    places.sort_by(|a, b| b.cmp(a));
    places.truncate(LONGEST_SHOWN);
    places
}

fn sorted(values: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut values: Vec<usize> = values.collect();
    values.sort_unstable();
    values
}

/// The value that `percent` of all are not above; 0 of none.
fn at(sorted: &[usize], percent: usize) -> usize {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}
