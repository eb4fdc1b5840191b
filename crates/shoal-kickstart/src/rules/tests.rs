//! The table against itself and the linter: every rule can fail, and can be kept.

use std::collections::BTreeSet;

use super::*;
use crate::lint::{Options, lint};

fn options(rule: &Rule) -> Options {
    let before = rule.until.map(|_| Version::new(6, 7, 0));
    Options { version: rule.since.or(before), hook: rule.hook }
}

#[test]
fn ids_are_unique_and_in_form() {
    let ids: Vec<&str> = all().map(|rule| rule.id).collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len());
    for rule in all() {
        let number = rule.id.strip_prefix("KS").filter(|number| number.len() == 3).expect(rule.id);
        assert!(number.parse::<u16>().is_ok(), "{}", rule.id);
        for text in [rule.title, rule.reason, rule.remedy] {
            assert!(!text.is_empty() && !text.contains('\n'), "{}", rule.id);
        }
        assert!(
            !rule.title.ends_with('.') && rule.reason.ends_with('.') && rule.remedy.ends_with('.'),
            "{}",
            rule.id
        );
        assert!(rule.bad.ends_with('\n') && rule.good.ends_with('\n'), "{}", rule.id);
    }
}

#[test]
fn every_rule_is_broken_by_its_first_example_and_kept_by_its_second() {
    for rule in all() {
        let [bad, good] = rule.examples();
        let found = |text: &[u8]| lint(text, options(rule)).found;
        let ids = |text: &[u8]| found(text).iter().map(|finding| finding.rule.id).collect::<Vec<_>>();
        assert!(
            ids(&bad).contains(&rule.id),
            "{} finds {:?} in\n{}",
            rule.id,
            ids(&bad),
            String::from_utf8_lossy(&bad)
        );
        assert!(
            !ids(&good).contains(&rule.id),
            "{} finds {:?} in\n{}",
            rule.id,
            ids(&good),
            String::from_utf8_lossy(&good)
        );
    }
}

#[test]
fn every_rule_is_reported_at_its_line_and_there_alone() {
    for rule in all() {
        let [bad, _] = rule.examples();
        let found = lint(&bad, options(rule)).found;
        let lines: Vec<usize> =
            found.iter().filter(|finding| finding.rule.id == rule.id).map(|finding| finding.line).collect();
        let text = String::from_utf8_lossy(&bad);
        assert_eq!(lines, [rule.reported_line()], "{} in\n{text}", rule.id);
    }
}

/// An example of a lesser class must not teach a text that hangs.
#[test]
fn examples_that_do_not_break_contain_nothing_that_does() {
    for rule in all().filter(|rule| !(rule.whole && rule.class == Class::Breaks && rule.bad.len() < 60)) {
        let [bad, good] = rule.examples();
        let breaking = |text: &[u8]| {
            let found = lint(text, options(rule)).found;
            let breaking = found.iter().filter(|finding| finding.rule.class == Class::Breaks);
            breaking.map(|finding| finding.rule.id).collect::<Vec<_>>()
        };
        assert!(breaking(&good).is_empty(), "{}: {:?}", rule.id, breaking(&good));
        let expected = if rule.class == Class::Breaks { vec![rule.id] } else { Vec::new() };
        assert_eq!(breaking(&bad), expected, "{}", rule.id);
    }
}

#[test]
fn a_rule_applies_to_its_versions_alone() {
    assert!(!SERIAL_MOOT.applies_to(Version::new(8, 0, 3)) && SERIAL_MOOT.applies_to(Version::new(9, 0, 0)));
    assert!(
        UPGRADE_PRESERVE.applies_to(Version::new(6, 7, 3))
            && !UPGRADE_PRESERVE.applies_to(Version::new(7, 0, 0))
    );
    for rule in all().filter(|rule| rule.since.is_some() || rule.until.is_some()) {
        let outside = if rule.since.is_some() { Version::new(6, 5, 0) } else { Version::new(9, 0, 0) };
        let found = lint(&rule.examples()[0], Options { version: Some(outside), hook: rule.hook }).found;
        assert!(found.iter().all(|finding| finding.rule.id != rule.id), "{}", rule.id);
    }
}

#[test]
fn the_pages_of_the_rules_are_the_table() {
    let docs = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"));
    let is = |path: &str, wanted: String| {
        std::fs::read_to_string(docs.join(path)).is_ok_and(|text| text == wanted)
    };
    assert!(
        is("kickstart-rules.md", reference()),
        "kickstart-rules.md is out of date: run `cargo xtask rules`"
    );
    for rule in all() {
        let path = format!("{FOLDER}/{}.md", rule.id);
        assert!(is(&path, page(rule)), "{path} is out of date: run `cargo xtask rules`");
    }
    let pages = std::fs::read_dir(docs.join(FOLDER)).unwrap().count();
    assert_eq!(pages, all().count(), "a page of a rule that is no more: run `cargo xtask rules`");
}
