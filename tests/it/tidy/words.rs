//! The words of the source: no unfinished work, no silenced lint, no word with two meanings, and
//! nothing about where or how it was written.
//!
//! The words themselves are put together from halves, so that this file obeys its own rules.

use super::doors::has_word;
use super::{can_fail, hold};
use xtask::source::{Source, production_files, rust_files, text_files};

#[test]
fn every_file_says_first_what_it_is() {
    hold(
        "A Rust file opens with //! and what it is, what it is not, its invariant:",
        untitled(&rust_files()),
    );
}

#[test]
fn shipped_code_states_its_invariants() {
    let sentence =
        "Outside tests nothing unwraps and nothing is left for later: expect() states the invariant.";
    hold(sentence, unfinished_code(&production_files()));
}

#[test]
fn no_lint_is_silenced_and_no_test_left_out() {
    let sentence = "A lint is silenced by #[expect] with a reason, and every test runs:";
    hold(sentence, silenced(&rust_files()));
}

#[test]
fn nothing_is_left_for_later() {
    hold("What is left to do is an issue, not a comment:", left_for_later(&text_files()));
}

#[test]
fn task_alone_is_the_redfish_task() {
    let sentence = "A type named Task is the Redfish Task; ours are Job, Step and task ISO (DESIGN.md):";
    hold(sentence, other_tasks(&production_files()));
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let sentence = "A file names no tool that wrote it, no host it was built from and no path of a machine:";
    hold(sentence, foreign_words(&text_files()));
}

fn untitled(files: &[Source]) -> Vec<String> {
    let is_untitled = |file: &&Source| !file.text.starts_with("//! ");
    files.iter().filter(is_untitled).map(|file| format!("{} opens otherwise", file.path)).collect()
}

fn unfinished_code(files: &[Source]) -> Vec<String> {
    let words = [".unwrap()", ".unwrap_err()", "todo!", "unimplemented!", "dbg!"];
    places(files, Source::production, |line| words.into_iter().filter(|word| line.contains(word)).collect())
}

fn silenced(files: &[Source]) -> Vec<String> {
    let words = ["#[allow", "#![allow", "#[ignore"];
    places(files, Source::code, |line| words.into_iter().filter(|word| line.contains(word)).collect())
}

fn left_for_later(files: &[Source]) -> Vec<String> {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("HA", "CK"), concat!("XX", "X")];
    let text = |file: &Source| file.text.clone();
    places(files, text, |line| words.into_iter().filter(|word| has_word(line, word)).collect())
}

/// Types that end in `Task`, outside the two modules that speak Redfish.
fn other_tasks(files: &[Source]) -> Vec<String> {
    let is_ours = |file: &Source| {
        !matches!(file.module().first().map(String::as_str), Some("shoal_redfish" | "shoal_sim"))
    };
    let files: Vec<&Source> = files.iter().filter(|file| is_ours(file)).collect();
    let declares = |line: &str| {
        let words: Vec<&str> = line.split(|c: char| !xtask::source::is_word(c)).collect();
        words.windows(2).any(|pair| {
            let is_type = matches!(pair[0], "struct" | "enum" | "trait" | "type");
            is_type && pair[1].ends_with("Task")
        })
    };
    places(files, Source::production, |line| if declares(line) { vec!["Task"] } else { Vec::new() })
}

/// Words of a workplace and not of the project; looked for in lower case.
const FOREIGN: [&str; 14] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/us", "ers/"),
    concat!("/tmp/", "wt/"),
    concat!("cla", "ude"),
    concat!("anth", "ropic"),
    concat!("open", "ai"),
    concat!("chat", "gpt"),
    concat!("co", "pilot"),
    concat!("language ", "model"),
    concat!("crates", ".io"),
    concat!("py", "pi."),
    concat!("deb.", "debian"),
];

fn foreign_words(files: &[Source]) -> Vec<String> {
    let text = |file: &Source| file.text.to_lowercase();
    let abbreviation = concat!("l", "lm");
    places(files, text, |line| {
        let mut found: Vec<&str> = FOREIGN.into_iter().filter(|word| line.contains(word)).collect();
        found.extend(has_word(line, abbreviation).then_some(abbreviation));
        found
    })
}

/// The lines of files, seen through `view`, in which `find` finds words.
fn places<'a>(
    files: impl IntoIterator<Item = &'a Source>,
    view: impl Fn(&Source) -> String,
    find: impl Fn(&str) -> Vec<&'static str>,
) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files {
        for (number, line) in view(file).lines().enumerate() {
            let found = find(line).into_iter();
            broken.extend(found.map(|word| format!("{}:{} says {word}", file.path, number + 1)));
        }
    }
    broken
}

#[test]
fn a_wrong_word_is_named() {
    let untitled_file = Source::new("src/a.rs", "use x;\n//! Late.\n");
    can_fail(untitled(&[untitled_file]), &["a.rs"]);

    let text = "fn f() { x.unwrap(); }\n// y.unwrap()\n#[cfg(test)]\nfn g() {\n    z.unwrap();\n}\n";
    can_fail(unfinished_code(&[Source::new("src/a.rs", text)]), &["a.rs:1 says .unwrap()"]);

    let text = "#[allow(x)]\nfn f() {}\n#[test]\n#[ignore]\nfn g() {}\n// #[allow\n";
    can_fail(silenced(&[Source::new("src/a.rs", text)]), &["a.rs:1", "a.rs:4"]);

    let text = format!("// {}: later\nTODOS\n", concat!("TO", "DO"));
    can_fail(left_for_later(&[Source::new("a.md", &text)]), &["a.md:1"]);

    let files = [
        Source::new("src/engine.rs", "pub struct JobTask;\npub struct TaskIso;\nenum M { Task }\n"),
        Source::new("crates/shoal-redfish/src/tasks.rs", "pub struct Task;\n"),
    ];
    can_fail(other_tasks(&files), &["engine.rs:1"]);

    let text = format!("a Skillman\nan {}\n{}x\n", concat!("L", "LM"), concat!("/wo", "rk/"));
    can_fail(foreign_words(&[Source::new("a.md", &text)]), &["a.md:2", "a.md:3"]);
}
