//! One name, one meaning: no two types of one crate have the same name.
//!
//! A reader who searches for a type finds one declaration. Types of different crates may share a name: each is
//! written with its crate where both are in use.

use std::collections::BTreeMap;

use super::{can_fail, hold};
use xtask::source::{Source, is_word, rust_files};

/// Names that are declared several times, in the crate at this path, and why.
const SHARED: [(&str, &str, &str); 12] = [
    ("src", "Act", "the audit's of a caller, and a job's of its host; the store names both"),
    ("src", "Database", "SQLite's, and that of each engine in the store's contract tests"),
    ("src", "Standing", "of a token, and of a lease"),
    ("tests/it", "Answer", "what each client of a test module returns"),
    ("tests/it", "Bench", "what each test module sets up"),
    ("tests/it", "Case", "a row of each test module's table"),
    ("tests/it", "Kind", "of a request, and of a fault"),
    ("tests/it", "Moment", "when each suite interrupts a job"),
    ("tests/it", "Site", "what each test module sets up"),
    ("xtask", "Extent", "which part of its work each command does"),
    ("xtask", "Options", "of each command"),
    ("xtask", "Row", "of each command's table"),
];

#[test]
fn one_name_is_one_type() {
    let sentence = "A crate declares a type name once; what is shared has a reason in names.rs:";
    hold(sentence, shared_names(&rust_files(), &SHARED));
}

fn shared_names(files: &[Source], allowed: &[(&str, &str, &str)]) -> Vec<String> {
    let mut declared: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for file in files {
        for (number, line) in file.code().lines().enumerate() {
            if let Some(name) = declaration(line) {
                let at = format!("{}:{}", file.path, number + 1);
                declared.entry((root(&file.path), name.to_owned())).or_default().push(at);
            }
        }
    }
    declared.retain(|_, places| places.len() > 1);
    let is_allowed = |root: &str, name: &str| allowed.iter().any(|(of, one, _)| *of == root && *one == name);
    let is_stale =
        |(of, one, _): &&(&str, &str, &str)| !declared.contains_key(&((*of).to_owned(), (*one).to_owned()));
    let shared = declared.iter().filter(|((root, name), _)| !is_allowed(root, name));
    let shared = shared.map(|((_, name), places)| format!("{name} is declared at {}", places.join(", ")));
    let stale = allowed.iter().filter(is_stale);
    let stale =
        stale.map(|(root, name, _)| format!("{name} is declared once in {root}: take it off the list"));
    shared.chain(stale).collect()
}

/// The name of the type that a line declares. A `type` inside an `impl` or a trait is not one.
fn declaration(line: &str) -> Option<&str> {
    let is_inner = line.starts_with(' ');
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let (keyword, rest) = line.split_once(' ')?;
    let is_type =
        matches!(keyword, "struct" | "enum" | "trait" | "union") || (keyword == "type" && !is_inner);
    let name = rest.split(|c: char| !is_word(c)).next().filter(|name| !name.is_empty());
    name.filter(|_| is_type)
}

/// The path of a file's crate.
fn root(path: &str) -> String {
    let depth = if path.starts_with("crates/") || path.starts_with("tests/") { 2 } else { 1 };
    path.split('/').take(depth).collect::<Vec<_>>().join("/")
}

#[test]
fn a_name_of_two_types_is_named() {
    let files = [
        Source::new("src/a.rs", "pub struct Answer;\n// struct Found;\npub(crate) enum Found {}\n"),
        Source::new("src/b.rs", "mod x {\n    struct Answer;\n    type Item = u8;\n}\ntype Found = u8;\n"),
        Source::new(
            "crates/c/src/lib.rs",
            "trait Answer {}\nimpl Iterator for X {\n    type Item = u8;\n}\n",
        ),
    ];
    let allowed = [("src", "Found", "why"), ("crates/c", "Answer", "why")];
    let expected = ["Answer is declared at src/a.rs:1, src/b.rs:2", "Answer is declared once in crates/c"];
    can_fail(shared_names(&files, &allowed), &expected);
}
