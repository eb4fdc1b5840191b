//! How long things may be: functions to 70 lines, files to 500, and 800 at most with a reason.
//!
//! A long file is not wrong as such, but each one is a decision, listed below.

use super::{can_fail, hold};
use xtask::source::{Source, functions, rust_files};

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
        let long = functions(&file.code()).into_iter().filter(|(_, length)| *length > FUNCTION_LINES_MAX);
        broken.extend(
            long.map(|(line, length)| format!("{}:{line} is a function of {length} lines", file.path)),
        );
    }
    broken
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
