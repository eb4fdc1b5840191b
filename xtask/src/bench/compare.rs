//! `cargo xtask bench --compare REV`: the figures of an earlier commit and of this checkout, by turns in one run.
//!
//! The earlier commit is built in a worktree of its own under `target/compare`. What both
//! print with the same label and unit is compared, so no figure is written for this. Invariant: nothing is measured while it
//! is built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use xtask::source::ROOT;

use crate::process::{Done, capture, command, fail, run};

/// Of each side.
const ROUNDS: usize = 3;
/// Unless some are named. The agent's figure needs a program that is built apart.
const FIGURES: [&str; 7] =
    ["task-iso", "installer", "serving", "instructions", "store-writes", "installs", "history"];

pub fn compare(revision: &str, figures: &[&str]) -> Done {
    let figures = if figures.is_empty() { &FIGURES } else { figures };
    let commit = format!("{revision}^{{commit}}");
    let commit = capture(&mut command("git", &["rev-parse", "--short=12", "--verify", "--quiet", &commit]));
    let Ok(commit) = commit else {
        return fail(format!("bench: {revision} names no commit of this repository"));
    };
    let commit = commit.trim();
    let folder = Path::new(ROOT).join("target/compare").join(commit);
    if !folder.exists() {
        let path = folder.display().to_string();
        // One whose folder was deleted by hand is known to git still.
        run(&mut command("git", &["worktree", "prune"]))?;
        run(&mut command("git", &["worktree", "add", "--quiet", "--detach", &path, commit]))?;
    }
    let (earlier, now) = (Side::build(&folder)?, Side::build(Path::new(ROOT))?);
    let mut seen: [Numbers; 2] = Default::default();
    for round in 1..=ROUNDS {
        for (side, seen) in [&earlier, &now].into_iter().zip(&mut seen) {
            println!("round {round} of {ROUNDS}: {}", side.folder.display());
            let said = side.figures(figures)?;
            // Kept, even if a later round fails.
            print!("{said}");
            for (label, value) in said.lines().flat_map(numbers) {
                seen.entry(label).or_default().push(value);
            }
        }
    }
    let [before, after] = seen;
    print!("{}", table(commit, &before, &after));
    Ok(())
}

/// By label, a value a round.
type Numbers = BTreeMap<String, Vec<f64>>;

struct Side {
    folder: PathBuf,
    program: PathBuf,
}

impl Side {
    fn build(folder: &Path) -> Done<Side> {
        let build = ["bench", "--locked", "--bench", "figures", "--no-run", "--message-format=json"];
        let mut cargo = command("cargo", &build);
        // Each side has the program beside the figures that was built with them.
        cargo.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
        let messages = capture(&mut cargo)?;
        let artefacts =
            messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let mut programs = artefacts.filter(|artefact| artefact["target"]["name"] == "figures");
        let program = programs.find_map(|artefact| artefact["executable"].as_str().map(PathBuf::from));
        match program {
            Some(program) => Ok(Side { folder: folder.to_owned(), program }),
            None => fail(format!("bench: no figures were built in {}", folder.display())),
        }
    }

    fn figures(&self, figures: &[&str]) -> Done<String> {
        let program = self.program.to_string_lossy();
        capture(command(&program, figures).current_dir(&self.folder))
    }
}

/// `what: 4.2 ms; peer: 8.4 ms` has two, and the first label stands before each later one. So has `time: 3 s alone, 5 s
/// together`. What follows a number is part of its label: it names one of several, and the unit.
fn numbers(line: &str) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    let mut first = None;
    for part in line.split(';') {
        // What is aimed at is no figure.
        let part = part.split(" (").next().unwrap_or_default();
        let Some((label, values)) = part.split_once(": ") else { continue };
        let label = label.trim();
        let whole = first.map_or(label.to_owned(), |first| format!("{first} / {label}"));
        first.get_or_insert(label);
        found.extend(values.split(", ").filter_map(number).map(|(value, what)| match what {
            "" => (whole.clone(), value),
            _ => (format!("{whole}, {what}"), value),
        }));
    }
    found
}

/// `4.2 ms in all`: the number, and what follows it up to a colon.
fn number(text: &str) -> Option<(f64, &str)> {
    let (number, what) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    Some((number.parse().ok()?, what.split(':').next()?))
}

fn table(commit: &str, before: &Numbers, after: &Numbers) -> String {
    let known = before.iter().filter_map(|(label, before)| Some((label, before, after.get(label)?)));
    let mut text = format!("\n| figure | {commit} | now | now / before |\n|---|---|---|---|\n");
    for (label, before, after) in known {
        let ratio = median(after) / median(before);
        text += &format!("| {label} | {} | {} | {ratio:.2} |\n", spread(before), spread(after));
    }
    text
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median, and the least and the largest.
fn spread(values: &[f64]) -> String {
    let (least, largest) = values
        .iter()
        .fold((f64::MAX, f64::MIN), |(least, largest), value| (least.min(*value), largest.max(*value)));
    format!("{} ({least} to {largest})", median(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_number_a_label() {
        let pair = |label: &str, value| (label.to_owned(), value);
        assert_eq!(
            numbers("task ISO: 0.060 ms; genisoimage: 4.6 ms; 76.7 times as fast (aim: 10 times)"),
            [pair("task ISO, ms", 0.06), pair("task ISO / genisoimage, ms", 4.6)]
        );
        assert_eq!(
            numbers("wall time: 26 s for one, 53 s for 1000: twice as long; ratio: 2.0 (aim: 1.3)"),
            [
                pair("wall time, s for one", 26.0),
                pair("wall time, s for 1000", 53.0),
                pair("wall time / ratio", 2.0)
            ]
        );
        assert_eq!(numbers("saves of a job: 82"), [pair("saves of a job", 82.0)]);
        assert_eq!(
            numbers("TLS, CPU: 9.5 us a request; ratio: 0.50 (aim: 1.0)"),
            [pair("TLS, CPU, us a request", 9.5), pair("TLS, CPU / ratio", 0.5)]
        );
        assert_eq!(numbers("== serving"), []);
        assert_eq!(numbers("note: nothing"), []);
    }

    #[test]
    fn the_table_has_what_both_sides_know() {
        let side = |pairs: &[(&str, &[f64])]| -> Numbers {
            pairs.iter().map(|(label, values)| ((*label).to_owned(), values.to_vec())).collect()
        };
        let before = side(&[("a", &[4.0, 2.0, 3.0]), ("gone", &[1.0])]);
        let after = side(&[("a", &[1.5, 9.0, 1.0]), ("new", &[1.0])]);
        let table = table("0123abc", &before, &after);
        assert!(table.contains("| a | 3 (2 to 4) | 1.5 (1 to 9) | 0.50 |"), "{table}");
        assert!(!table.contains("gone") && !table.contains("new"), "{table}");
    }
}
