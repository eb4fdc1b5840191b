//! The faults of an earlier design: each row of the table in the docs names tests that exist.

use super::{can_fail, hold};
use xtask::source::{Source, rust_files};

const TABLE: &str = include_str!("../../../docs/maintenance-faults.md");
const FAULTS: usize = 25;

#[test]
fn every_fault_of_the_table_has_its_tests() {
    let sentence = "docs/maintenance-faults.md has a row for each fault, with tests that exist:";
    hold(sentence, broken_rows(TABLE, &rust_files()));
}

/// A test is named as `function` (`file`).
fn broken_rows(table: &str, files: &[Source]) -> Vec<String> {
    let rows = table.lines().filter_map(|line| {
        let (number, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
        Some((number.parse::<usize>().ok()?, rest.rsplit(" | ").next()?))
    });
    let (mut broken, mut next) = (Vec::new(), 1);
    for (number, tests) in rows {
        if number != next {
            broken.push(format!("row {number} comes where row {next} belongs"));
        }
        next = number + 1;
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            broken.push(format!("row {number} names no test"));
        }
        for pair in names.chunks(2) {
            let [function, path] = pair else {
                broken.push(format!("row {number} names {} without its file", pair[0]));
                continue;
            };
            let file = files.iter().find(|file| file.path == *path);
            if !file.is_some_and(|file| file.text.contains(&format!("fn {function}("))) {
                broken.push(format!("row {number}: {path} has no {function}"));
            }
        }
    }
    if next != FAULTS + 1 {
        broken.push(format!("the last row is {}, not {FAULTS}", next - 1));
    }
    broken
}

#[test]
fn missing_rows_and_tests_are_found() {
    let table = "| 1 | a | b | `one` (`src/a.rs`) |\n| 3 | a | b | `gone` (`src/a.rs`), `two` |\n| 4 | a | b | none |\n";
    let file = Source { path: "src/a.rs".to_owned(), text: "fn one() {}".to_owned() };
    let expected =
        ["row 3 comes", "has no gone", "names two without", "row 4 names no test", "the last row is 4"];
    can_fail(broken_rows(table, &[file]), &expected);
}
