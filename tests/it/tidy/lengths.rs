//! How long things may be: functions to 70 lines, files to 500, and 800 at most with a reason.
//!
//! A long file is not wrong by itself, but each one is a decision, listed below.

use super::source::{Source, rust_files};
use super::{can_fail, hold};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES: usize = 500;
const FILE_LINES_MAX: usize = 800;

/// Files between 500 and 800 lines and why each is one file. The type holds their number, so that
/// the list grows by decision only; a file that became short leaves it.
const LONG_FILES: [(&str, &str); 0] = [];

#[test]
fn functions_fit_on_a_screen() {
    hold("A function has at most 70 lines:", long_functions(&rust_files()));
}

#[test]
fn files_have_at_most_500_lines_or_a_reason() {
    let sentence = "A file has at most 500 lines, or 800 with a reason in lengths.rs:";
    hold(sentence, long_files(&rust_files(), &LONG_FILES));
}

fn long_functions(files: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files {
        let code = file.code();
        let lines: Vec<&str> = code.lines().collect();
        for (at, length) in functions(&lines) {
            if length > FUNCTION_LINES_MAX {
                broken.push(format!("{}:{} is a function of {length} lines", file.path, at + 1));
            }
        }
    }
    broken
}

/// Where each function with a body starts and how many lines it has, by rustfmt's indentation.
fn functions<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = (usize, usize)> + 'a {
    let starts = lines.iter().enumerate().filter(|(_, line)| starts_function(line));
    starts.filter_map(|(at, line)| {
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |later: &&str| {
            let rest = later.strip_prefix(indent).unwrap_or_default();
            rest.starts_with('}') || (rest.starts_with(')') && later.ends_with(';'))
        };
        match line.trim_end() {
            line if line.ends_with(';') => None,
            line if line.ends_with('}') => Some((at, 1)),
            _ => lines[at..].iter().position(ends).map(|length| (at, length + 1)),
        }
    })
}

fn starts_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let qualifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern"];
    words.find(|word| !qualifiers.contains(word) && !word.starts_with('"')) == Some("fn")
}

fn long_files(files: &[Source], listed: &[(&str, &str)]) -> Vec<String> {
    let lines = |file: &Source| file.text.lines().count();
    let is_listed = |file: &Source| listed.iter().any(|(path, _)| *path == file.path);
    let mut broken = Vec::new();
    for file in files {
        match lines(file) {
            length if length > FILE_LINES_MAX => {
                broken.push(format!("{} has {length} lines; no reason is enough for that", file.path));
            }
            length if length > FILE_LINES && !is_listed(file) => {
                broken.push(format!("{} has {length} lines and no reason", file.path));
            }
            length if length <= FILE_LINES && is_listed(file) => {
                broken.push(format!("{} has {length} lines: take it off the list", file.path));
            }
            _ => {}
        }
    }
    let is_gone = |path: &str| !files.iter().any(|file| file.path == path);
    let gone = listed.iter().filter(|(path, _)| is_gone(path));
    broken.extend(gone.map(|(path, _)| format!("{path} is gone: take it off the list")));
    broken
}

#[test]
fn a_long_function_and_a_long_file_are_named() {
    let body = "        x();\n".repeat(69);
    let text = format!("impl X {{\n    pub async fn f() {{\n{body}    }}\n}}\nfn short() {{}}\n");
    can_fail(long_functions(&[Source::new("src/a.rs", &text)]), &["a.rs:2 is a function of 71 lines"]);

    let of = |path: &str, lines: usize| Source::new(path, &"x\n".repeat(lines));
    let files = [of("a", 801), of("b", 501), of("c", 501), of("d", 500), of("e", 500)];
    let listed = [("c", "why"), ("e", "why"), ("f", "why")];
    let expected = ["a has 801", "b has 501 lines and no reason", "e has 500", "f is gone"];
    can_fail(long_files(&files, &listed), &expected);
}
