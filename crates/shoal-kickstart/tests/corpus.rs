//! Kickstarts in the styles that people publish, written for this: what breaks in each, and nothing else.
//!
//! The first line of each file in `corpus/` names the rules of class `breaks` that it breaks, or `-`.
//! Invariant: an error that is not named there is a false one.

#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::path::Path;

use shoal_kickstart::{Class, Options, lint};

/// Name, text and expected rules of every file.
fn corpus() -> Vec<(String, Vec<u8>, Vec<String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read(&path).unwrap();
        let first = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned();
        let expected = first.strip_prefix("# breaks: ").unwrap_or_else(|| panic!("{}", path.display()));
        let rules = expected.split_whitespace().filter(|id| *id != "-").map(str::to_owned).collect();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), text, rules)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn each_breaks_what_it_says_and_no_other_rule() {
    let corpus = corpus();
    assert!(corpus.len() >= 60, "{}", corpus.len());
    let wrong: Vec<String> = corpus
        .iter()
        .filter_map(|(name, text, expected)| {
            let found = lint(text, Options::default()).found;
            let breaking = found.iter().filter(|finding| finding.rule.class == Class::Breaks);
            let mut ids: Vec<String> = breaking.map(|finding| finding.rule.id.to_owned()).collect();
            ids.sort();
            ids.dedup();
            (ids != *expected).then(|| format!("{name}: expected {expected:?}, found {ids:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The kinds of faults that published kickstarts have, and about as often.
#[test]
fn the_faults_of_published_kickstarts_are_all_there() {
    let corpus = corpus();
    for (rules, least) in [
        (&["KS032"][..], 9),
        (&["KS021", "KS040"], 5),
        (&["KS063", "KS064", "KS066"], 3),
        (&["KS035"], 3),
        (&["KS006"], 4),
        (&["KS092"], 1),
        (&["KS020", "KS021", "KS030"], 3),
        (&["KS022"], 1),
        (&["KS062"], 1),
        (&["KS047"], 1),
        (&["KS070"], 5),
    ] {
        let count = corpus.iter().filter(|(_, _, expected)| expected.iter().any(|id| rules.contains(&&**id)));
        let count = count.count();
        assert!(count >= least, "{rules:?}: {count}");
    }
    let sound = corpus.iter().filter(|(_, _, expected)| expected.is_empty()).count();
    assert!(sound >= 35, "{sound}");
}

/// Warnings are common in good files, and must not look like what breaks.
#[test]
fn common_warnings_are_of_the_lesser_classes() {
    let corpus = corpus();
    for (id, class) in [("KS043", "dangerous"), ("KS084", "lost"), ("KS038", "style"), ("KS068", "style")] {
        let has = |text: &[u8]| {
            let found = lint(text, Options::default()).found;
            found.iter().any(|finding| finding.rule.id == id && finding.rule.class.name() == class)
        };
        assert!(corpus.iter().any(|(_, text, expected)| expected.is_empty() && has(text)), "{id}");
    }
}
