//! Failure codes in the source: each is used, and the one for what cannot be is used for nothing else.

use shoal::domain::FailureCode;
use strum::VariantArray as _;

use super::{can_fail, hold};
use xtask::source::{Source, production_files};

/// What no job can reach, and why: file, number of places, reason.
const UNREACHABLE: [(&str, usize, &str); 7] = [
    (
        "src/flow/context.rs",
        2,
        "a job without a recipe is never driven; resolve-server stores the system it found",
    ),
    ("src/flow/mount.rs", 1, "resolve-server stores a slot for each medium of its layout"),
    ("src/paths/esxi.rs", 2, "a job is driven by the path of its recipe's target, through that path's steps"),
    ("src/paths/esxi/watch.rs", 1, "the steps after reset begin once it has stored the start"),
    ("src/paths/maintenance.rs", 2, "as of the ESXi path"),
    ("src/paths/maintenance/watch.rs", 1, "as of the ESXi path"),
    (
        "src/paths/maintenance/prepare.rs",
        3,
        "the task medium is read back by the names it was made of; a registry image has a SHA-256 digest since it was \
         resolved; an ISO at a URL is direct and not opened",
    ),
];

#[test]
fn every_code_is_the_code_of_something() {
    hold("A failure code that nothing has is removed:", unused(&production_files()));
}

fn unused(files: &[Source]) -> Vec<String> {
    let is_use = |file: &&Source| !file.path.starts_with("src/domain/failure");
    let code: String = files.iter().filter(is_use).map(Source::production).collect();
    let is_named = |code: &str, variant: &str| {
        let named = format!("Code::{variant}");
        code.match_indices(&named).any(|(at, _)| {
            code[at + named.len()..].chars().next().is_none_or(|next| !xtask::source::is_word(next))
        })
    };
    let variants = FailureCode::VARIANTS.iter().map(|code| format!("{code:?}"));
    variants.filter(|variant| !is_named(&code, variant)).collect()
}

#[test]
fn an_internal_error_is_what_no_known_failure_leads_to() {
    let sentence =
        "StepError::internal is for what cannot be, with its reason in failures.rs; all else has a code:";
    hold(sentence, internal(&production_files()));
}

fn internal(files: &[Source]) -> Vec<String> {
    let allowed =
        |path: &str| UNREACHABLE.iter().find(|(file, ..)| *file == path).map_or(0, |(_, most, _)| *most);
    let check = |file: &Source| {
        let code = file.production();
        let found = code.matches("StepError::internal(").count();
        let direct = code.contains("Code::InternalError") && file.path != "src/flow/error.rs";
        let is_bad = found != allowed(&file.path) || direct;
        is_bad.then(|| format!("{}: {found} places, {} have a reason", file.path, allowed(&file.path)))
    };
    let is_use = |file: &&Source| !file.path.starts_with("src/domain/failure");
    files.iter().filter(is_use).filter_map(check).collect()
}

#[test]
fn the_rules_can_fail() {
    let uses = Source::new("src/flow/x.rs", "fn f() { g(FailureCode::BmcBusy); StepError::internal(m) }");
    assert!(!unused(std::slice::from_ref(&uses)).contains(&"BmcBusy".to_owned()));
    assert!(unused(&[]).contains(&"BmcBusy".to_owned()));
    can_fail(internal(&[uses]), &["src/flow/x.rs: 1 places, 0 have a reason"]);
}
