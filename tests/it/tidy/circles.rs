//! No circles between files.
//!
//! A file may use what lies above it in its own module (`super`), and declares what lies below; besides that, what
//! one file uses must not lead back to it, so that each can be read after those that it uses. Invariant: there is no
//! list of exceptions.

use std::collections::{BTreeMap, BTreeSet};

use super::arrows::references;
use super::{can_fail, hold};
use xtask::source::{Source, production_files};

#[test]
fn no_files_use_each_other() {
    let circles = circles(&production_files());
    hold(
        "What a file uses does not lead back to it (circles.rs):",
        circles.iter().map(|circle| circle.join(" ")).collect(),
    );
}

/// The files of each circle.
fn circles(files: &[Source]) -> Vec<Vec<String>> {
    let modules: BTreeMap<Vec<String>, usize> =
        files.iter().enumerate().map(|(number, file)| (file.module(), number)).collect();
    let uses: Vec<BTreeSet<usize>> = files.iter().map(|file| used_by(file, &modules)).collect();
    let reached: Vec<BTreeSet<usize>> = (0..files.len()).map(|from| reached_from(from, &uses)).collect();
    let mut circles = BTreeSet::new();
    for (number, reaches) in reached.iter().enumerate().filter(|(number, reaches)| reaches.contains(number)) {
        let back = |other: &usize| *other == number || reached[*other].contains(&number);
        circles.insert(reaches.iter().copied().filter(back).collect::<Vec<usize>>());
    }
    let names = |circle: Vec<usize>| circle.into_iter().map(|number| files[number].path.clone()).collect();
    circles.into_iter().map(names).collect()
}

/// What a file names, but for the modules around it, and the modules that it declares.
fn used_by(file: &Source, modules: &BTreeMap<Vec<String>, usize>) -> BTreeSet<usize> {
    let own = file.module();
    let named = references(file).into_iter().filter_map(|reference| {
        let path = reference.path;
        let known = (1..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
        Some(path[..known].to_vec())
    });
    let is_child = |module: &&Vec<String>| module.len() == own.len() + 1 && module.starts_with(&own);
    let children = modules.keys().filter(is_child).filter(|_| !own.is_empty()).cloned();
    let used = named.chain(children).filter(|module| !own.starts_with(module));
    used.map(|module| modules[&module]).collect()
}

fn reached_from(start: usize, uses: &[BTreeSet<usize>]) -> BTreeSet<usize> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![start]);
    while let Some(number) = open.pop() {
        open.extend(uses[number].iter().filter(|next| reached.insert(**next)));
    }
    reached
}

#[test]
fn a_circle_is_named() {
    let files = [
        Source::new("src/api.rs", "mod jobs;\nmod events;\n"),
        Source::new("src/api/jobs.rs", "use super::events::Events;\nuse super::State;\n"),
        Source::new("src/api/events.rs", "use crate::store::Store;\nfn f() { super::jobs::find(); }\n"),
        Source::new("src/store.rs", "mod rows;\nuse rows::Row;\n"),
        Source::new("src/store/rows.rs", "use super::Store;\n"),
    ];
    let circles = circles(&files).into_iter().map(|circle| circle.join(" ")).collect();
    can_fail(circles, &["src/api/jobs.rs src/api/events.rs"]);
}
