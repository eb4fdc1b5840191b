//! The reader: what becomes of lines, words and sections, and that nothing is lost.

use proptest::prelude::*;

use super::*;

fn words(text: &str) -> Vec<String> {
    let file = parse(text.as_bytes());
    let (_, command) = file.commands().next().expect("a command");
    let args = command.args.iter().map(|arg| arg.word.text.clone());
    std::iter::once(command.name.text.clone()).chain(args).collect()
}

#[test]
fn words_are_split_like_a_shells() {
    for (line, expected) in [
        ("a  b\tc", vec!["a", "b", "c"]),
        ("a 'b c' \"d e\"", vec!["a", "b c", "d e"]),
        ("a b#c d", vec!["a", "b"]),
        ("a '#' # c", vec!["a", "#"]),
        (r#"a "b\"c" 'd\e' f\ g"#, vec!["a", "b\"c", r"d\e", "f g"]),
        (r#"a "b\c""#, vec!["a", r"b\c"]),
        ("a ''", vec!["a", ""]),
        ("a b \\\n", vec!["a", "b", "\n"]),
        ("a b\\\r\n", vec!["a", "b\n"]),
    ] {
        assert_eq!(words(line), expected, "{line}");
    }
}

#[test]
fn a_quote_or_escape_that_does_not_end_is_a_fault_with_its_place() {
    for (text, at) in [("a 'b", 2..3), ("a \"b\\", 2..3), ("rootpw a\\", 8..9)] {
        let file = parse(text.as_bytes());
        let LineKind::Broken(fault) = &file.lines[0].kind else { panic!("{text}") };
        assert_eq!(fault.at, at, "{text}");
    }
}

#[test]
fn a_section_runs_to_the_next_unindented_keyword() {
    let text =
        "reboot\n  %post --interpreter=busybox\nls\n  %firstboot\nincluded=1\nls\n%pre\nx\n%firstboot\n";
    let file = parse(text.as_bytes());
    let names: Vec<_> = file.sections().map(|(at, section, _)| (at, section)).collect();
    assert_eq!(names, [(1, Section::Post), (6, Section::Pre)]);
    assert_eq!(file.body(1).map(|line| line.number).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(
        file.body(6).map(|line| line.number).collect::<Vec<_>>(),
        [8, 9],
        "the last line is swallowed"
    );
    let commands: Vec<_> = file.commands().map(|(_, command)| command.name.text.as_str()).collect();
    assert_eq!(commands, ["reboot", "included=1", "ls"]);
}

#[test]
fn options_have_names_and_values() {
    let file = parse(b"install --firstdisk=\"a b\",c --overwritevmfs extra=1 --disk=x --disk=y\n");
    let (_, install) = file.commands().next().unwrap();
    assert_eq!(install.value(&["--firstdisk"]), Some("a b,c"));
    assert_eq!(install.value(&["--overwritevmfs"]), Some(""));
    assert_eq!(install.value(&["--disk"]), Some("x"), "the first holds");
    assert_eq!(install.positional().count(), 1);
    assert_eq!(file.shown(&install.args[2].word.span), "extra=1");
}

fn holds(bytes: &[u8]) {
    let file = parse(bytes);
    assert_eq!(print(&file), bytes);
    let mut at = 0;
    for piece in file.lines.iter().flat_map(|line| &line.pieces) {
        assert_eq!(piece.span.start, at, "pieces leave no gap");
        assert!(!piece.span.is_empty());
        at = piece.span.end;
    }
    for (_, command) in file.commands() {
        assert!(command.span().end <= bytes.len());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_printed_as_they_were_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        holds(&bytes);
    }

    #[test]
    fn near_kickstarts_are_printed_as_they_were_read(text in crate::sample::kickstartish()) {
        holds(text.as_bytes());
    }
}
