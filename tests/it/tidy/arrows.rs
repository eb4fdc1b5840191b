//! The arrows: reads `crate::` and `super::` paths and holds them against the table.
//!
//! Tests may import anything; only shipped code is read. Invariant: a path is judged by the module
//! that it leads to, however it is written (grouped, nested, inline or by `super::`).

use super::arrows_table::{ARROWS, Arrow, BASE, DOORS, EVERYTHING, PURE};
use super::{can_fail, hold};
use xtask::source::{Source, is_word, production_files};

#[test]
fn modules_import_only_what_the_arrows_allow() {
    hold("A module imports only what is below it (arrows_table.rs):", broken_arrows(&production_files()));
}

#[test]
fn pure_parts_import_only_pure_parts() {
    hold("A pure part imports nothing that acts (arrows_table.rs):", broken_purity(&production_files()));
}

fn broken_arrows(files: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files {
        let module = file.module();
        let Some(top) = module.first() else { continue };
        let Some(arrow) = ARROWS.iter().find(|arrow| arrow.from == top) else {
            broken.push(format!("{}: no arrows are written down for `{top}`", file.path));
            continue;
        };
        for Reference { path, line } in references(file) {
            if path.first() != Some(top) && path[0] != BASE && !allowed(arrow.to, &path) {
                broken.push(format!("{}:{line} names {}, but {}", file.path, written(&path), arrow.sentence));
            }
        }
    }
    broken
}

fn broken_purity(files: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files {
        let module = file.module().join("::");
        let Some(pure) = PURE.iter().find(|pure| is_within(&module, pure.from)) else { continue };
        for Reference { path, line } in references(file) {
            if !pure_may_name(pure, &path) {
                broken.push(format!("{}:{line} names {}, but {}", file.path, written(&path), pure.sentence));
            }
        }
    }
    broken
}

fn written(path: &[String]) -> String {
    let from_root = path.join("::");
    if path[0].starts_with(CRATES) { from_root } else { format!("crate::{from_root}") }
}

fn pure_may_name(pure: &Arrow, path: &[String]) -> bool {
    let full = path.join("::");
    let parent = pure.from.rsplit_once("::").map_or("", |(parent, _)| parent);
    let sibling = |other: &&Arrow| !parent.is_empty() && other.from.starts_with(parent);
    let parents_type =
        path.len() == 2 && path[0] == parent && path[1].starts_with(|c: char| c.is_ascii_uppercase());
    is_within(&full, pure.from)
        || (is_within(&full, BASE) && !is_within(&full, DOORS))
        || allowed(pure.to, path)
        || parents_type
        || PURE.iter().filter(sibling).any(|other| is_within(&full, other.from))
}

fn allowed(to: &[&str], path: &[String]) -> bool {
    to.iter().any(|to| *to == EVERYTHING || is_within(&path.join("::"), to))
}

/// Whether a path is a module or lies in it.
fn is_within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A path from the crate's root that a file names.
pub(super) struct Reference {
    pub path: Vec<String>,
    line: usize,
}

pub(super) fn references(file: &Source) -> Vec<Reference> {
    let (code, module) = (file.production(), file.module());
    let tokens = tokens(&code);
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let (token, line) = tokens[at];
        let leads_on = tokens.get(at + 1).is_some_and(|(next, _)| *next == "::");
        let starts = at == 0 || tokens[at - 1].0 != "::";
        if !(starts && leads_on && is_root(token)) {
            at += 1;
            continue;
        }
        let mut walk = Walk { tokens: &tokens, at, paths: Vec::new() };
        walk.tree(Vec::new());
        let root = file.crate_root();
        let absolute = walk.paths.iter().filter_map(|path| from_root(root.as_deref(), &module, path));
        found.extend(absolute.map(|path| Reference { path, line }));
        at = walk.at;
    }
    found
}

/// Our own crates begin so; others are not judged here.
const CRATES: &str = "shoal_";

/// Whether a path that starts with this word leads to a module of ours.
fn is_root(token: &str) -> bool {
    matches!(token, "crate" | "super" | "self") || token.starts_with(CRATES)
}

/// `super::plan` seen from `flow::drive` is `flow::plan`.
fn from_root(root: Option<&str>, module: &[String], path: &[&str]) -> Option<Vec<String>> {
    let ups = path.iter().filter(|part| **part == "super").count();
    let is_step = |part: &&&str| !matches!(**part, "super" | "self" | "crate" | "*");
    let named = path.iter().filter(is_step).map(|part| (*part).to_owned());
    let base = match path[0] {
        "crate" => &module[..usize::from(root.is_some())],
        other if other.starts_with(CRATES) => &[],
        _ => &module[..module.len().saturating_sub(ups)],
    };
    let full: Vec<String> = base.iter().cloned().chain(named).collect();
    (!full.is_empty()).then_some(full)
}

/// Reads one path, with its groups, from a row of tokens.
struct Walk<'a> {
    tokens: &'a [(&'a str, usize)],
    at: usize,
    paths: Vec<Vec<&'a str>>,
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> &'a str {
        let token = self.tokens.get(self.at).map_or("", |(token, _)| *token);
        self.at += 1;
        token
    }

    fn peek(&self) -> &'a str {
        self.tokens.get(self.at).map_or("", |(token, _)| *token)
    }

    fn tree(&mut self, mut path: Vec<&'a str>) {
        loop {
            match self.next() {
                "{" => return self.group(&path),
                token if token == "*" || token.starts_with(is_word) => path.push(token),
                _ => return self.paths.push(path),
            }
            if self.peek() != "::" {
                return self.paths.push(path);
            }
            self.next();
        }
    }

    fn group(&mut self, path: &[&'a str]) {
        while !matches!(self.peek(), "}" | "") {
            self.tree(path.to_vec());
            while !matches!(self.peek(), "," | "}" | "") {
                self.next();
            }
            if self.peek() == "," {
                self.next();
            }
        }
        self.next();
    }
}

/// Words, `::` and single other characters, each with its line.
fn tokens(code: &str) -> Vec<(&str, usize)> {
    let (mut found, mut left, mut line) = (Vec::new(), code, 1);
    while let Some(first) = left.chars().next() {
        let length = match first {
            _ if left.starts_with("::") => 2,
            c if is_word(c) => left.find(|c| !is_word(c)).unwrap_or(left.len()),
            c => c.len_utf8(),
        };
        let (token, rest) = left.split_at(length);
        if first == '\n' {
            line += 1;
        } else if !first.is_whitespace() {
            found.push((token, line));
        }
        left = rest;
    }
    found
}

#[test]
fn every_way_to_write_a_path_is_seen() {
    let text = "use crate::{job::{self, JobId}, store::Store};\nuse super::super::engine::Engine;\n\
                fn f() { crate::media::x::<u8>(1); self::g(); shoal_image::iso::h(); }\nuse super::{plan, policy::Policy as P};";
    let file = Source::new("src/media/cache/disk.rs", text);
    let paths: Vec<String> =
        references(&file).iter().map(|found| format!("{}:{}", found.line, found.path.join("::"))).collect();
    let expected = [
        "1:job",
        "1:job::JobId",
        "1:store::Store",
        "2:media::engine::Engine",
        "3:media::x",
        "3:media::cache::disk::g",
        "3:shoal_image::iso::h",
        "4:media::cache::plan",
        "4:media::cache::policy::Policy",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn a_broken_arrow_is_named() {
    let files = [
        Source::new("src/engine.rs", "use shoal_sim::SimBmc;\n"),
        Source::new("src/seal.rs", "use crate::oidc::Claims;\nuse crate::store::Store;\n"),
        Source::new("src/token.rs", "fn f() -> super::store::Store {}\n"),
        Source::new("src/novelty.rs", ""),
        Source::new("src/cli/sim.rs", "use shoal_sim::SimBmc;\n"),
        Source::new("src/engine.rs", "#[cfg(test)]\nmod tests {\n    use shoal_sim::SimBmc;\n}\n"),
        Source::new("crates/shoal-kickstart/src/lint.rs", "use crate::rules::Rule;\nuse super::syntax;\n"),
        Source::new("crates/shoal-novelty/src/lib.rs", ""),
    ];
    let expected = [
        "shoal_sim::SimBmc",
        "crate::oidc::Claims",
        "crate::store::Store",
        "crate::store::Store",
        "no arrows",
        "no arrows",
    ];
    can_fail(broken_arrows(&files), &expected);
}

#[test]
fn an_impure_import_is_named() {
    let files = [
        Source::new("src/paths/esxi/detect.rs", "use shoal_base::world::{Clock, elapsed};\n"),
        Source::new("src/flow/plan.rs", "use super::steps::reset;\nuse super::{Wait, policy::Policy};\n"),
        Source::new(
            "crates/shoal-sim/src/guest.rs",
            "use super::machine::Machine;\nuse super::redfish::router;\n",
        ),
    ];
    let expected = ["shoal_base::world::Clock", "crate::flow::steps::reset", "shoal_sim::redfish::router"];
    can_fail(broken_purity(&files), &expected);
}
