//! Rules about the source itself: which module may import which, how long things may be, and which
//! words it uses.
//!
//! Not a linter: what clippy or rustfmt can say stays there. Invariant: every rule is a function
//! from source files to broken places, has one sentence, and a test that proves it can fail.

mod arrows;
mod arrows_table;
mod circles;
mod doors;
mod failures;
mod faults;
mod lengths;
mod names;
mod plain;
mod words;

/// Fails with the rule's sentence and every place that breaks it.
#[track_caller]
fn hold(sentence: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{sentence}\n  {}\n", broken.join("\n  "));
}

/// Fails where a rule finds nothing wrong with a source that breaks it.
#[track_caller]
fn can_fail(broken: Vec<String>, expected: &[&str]) {
    let shown = broken.join("\n");
    assert_eq!(broken.len(), expected.len(), "{shown}");
    for (place, part) in broken.iter().zip(expected) {
        assert!(place.contains(part), "{place:?} should name {part:?}");
    }
}
