//! `cargo xtask fuzz`: cargo-fuzz over every target, or some, for so long each.
//!
//! What a target checks is in `src/fuzz/`. Corpora grow in `target/fuzz/corpus`, what libFuzzer says is in
//! `target/fuzz/TARGET.log`, and a finding is left in `target/fuzz/findings`; what is kept of one permanently, by
//! hand, is in `fuzz/regressions`. Invariant: a finding fails the chore, and the others still get their time.
//!
//! No sanitizer is built in: the project's code is safe Rust but for one mapping, and with one the
//! compiler would have to be a nightly. Sums are checked, memory and time are limited.

mod images;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use xtask::source::ROOT;

use crate::debian;
use crate::process::{Done, capture, command, fail, has, run};

const CARGO_FUZZ: &str = "cargo-fuzz@0.13.2";
const BUILD: [&str; 4] = ["--sanitizer", "none", "--target-dir", "target/fuzz/build"];
/// Captures of real BMCs lie beside the project, where anybody has them.
const CAPTURES: &str = "../shared/captures";
/// Of one input: more is a finding.
const LIMITS: [&str; 3] = ["-timeout=20", "-rss_limit_mb=2048", "-malloc_limit_mb=512"];

#[derive(Debug, PartialEq, Eq)]
struct Options<'a> {
    targets: Vec<&'a str>,
    seconds: u32,
}

pub fn targets(words: &[&str]) -> Done {
    let options = options(words)?;
    debian::ensure("fuzzing", debian::FOR_FUZZ)?;
    if !has("cargo-fuzz") {
        run(&mut command("cargo", &["install", "--locked", CARGO_FUZZ]))?;
    }
    copy_lock()?;
    let known = capture(&mut command("cargo", &["fuzz", "list"]))?;
    let known: Vec<&str> = known.split_whitespace().collect();
    if let Some(unknown) = options.targets.iter().find(|target| !known.contains(target)) {
        return fail(format!("fuzz: there is no target {unknown}; there are {}", known.join(", ")));
    }
    let targets = if options.targets.is_empty() { known } else { options.targets };
    begin(targets[0])?;
    let mut found = Vec::new();
    for target in targets {
        let (clean, figures) = fuzz(target, options.seconds)?;
        println!("fuzz {target}: {}, {figures}", if clean { "clean" } else { "a finding" });
        found.extend((!clean).then_some(target));
    }
    match found.as_slice() {
        [] => Ok(()),
        found => fail(format!("findings in {}: see target/fuzz/findings", found.join(", "))),
    }
}

fn options<'a>(words: &[&'a str]) -> Done<Options<'a>> {
    let mut options = Options { targets: Vec::new(), seconds: 60 };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match (*word, word.starts_with('-')) {
            ("--seconds", _) => match words.next().map(|seconds| seconds.parse()) {
                Some(Ok(seconds @ 1..)) => options.seconds = seconds,
                _ => return fail("fuzz: --seconds wants a number from 1"),
            },
            (flag, true) => return fail(format!("fuzz: what is {flag}?")),
            (target, false) => options.targets.push(target),
        }
    }
    Ok(options)
}

/// The versions that the project is built with; cargo adds what only the targets need.
fn copy_lock() -> Done {
    let (lock, copy) = (Path::new(ROOT).join("Cargo.lock"), Path::new(ROOT).join("fuzz/Cargo.lock"));
    fs::copy(lock, copy).map(drop).or_else(|error| fail(format!("Cargo.lock cannot be copied: {error}")))
}

fn folder(name: &str) -> PathBuf {
    Path::new(ROOT).join("target/fuzz").join(name)
}

fn make(folder: &Path) -> Done {
    fs::create_dir_all(folder).or_else(|error| fail(format!("{} cannot be made: {error}", folder.display())))
}

/// A corpus to begin with, written by whichever target.
fn begin(target: &str) -> Done {
    let images = folder("images");
    images::make(&images)?;
    let mut seeds = cargo_fuzz(target);
    seeds.env("SHOAL_FUZZ_SEEDS", folder("corpus")).env("SHOAL_FUZZ_IMAGES", images.join("made"));
    if std::env::var_os("SHOAL_CAPTURES").is_none() {
        seeds.env("SHOAL_CAPTURES", Path::new(ROOT).join(CAPTURES));
    }
    run(&mut seeds)
}

fn cargo_fuzz(target: &str) -> std::process::Command {
    let mut fuzz = command("cargo", &["fuzz", "run"]);
    fuzz.args(BUILD).arg(target);
    fuzz
}

/// Whether nothing was found, and the figures.
fn fuzz(target: &str, seconds: u32) -> Done<(bool, Figures)> {
    let (corpus, findings) = (folder("corpus").join(target), folder("findings").join(target));
    make(&corpus)?;
    make(&findings)?;
    let kept = Path::new(ROOT).join("fuzz/regressions").join(target);
    let log = folder(&format!("{target}.log"));
    let said = fs::File::create(&log).or_else(|error| fail(format!("{}: {error}", log.display())))?;
    let mut fuzz = cargo_fuzz(target);
    fuzz.arg(corpus).args(kept.is_dir().then_some(kept)).arg("--").args(LIMITS).stderr(said);
    fuzz.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", findings.display()));
    let clean = run(fuzz.arg("-print_final_stats=1")).is_ok();
    let said = fs::read_to_string(&log).or_else(|error| fail(format!("{}: {error}", log.display())))?;
    Ok((clean, Figures::of(&said)))
}

/// What libFuzzer says of its work.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    executions: u64,
    /// Edges of the control flow that some input took.
    edges: u64,
    seconds: u64,
}

impl Figures {
    fn of(log: &str) -> Figures {
        let mut figures = Figures::default();
        for line in log.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["stat::number_of_executed_units:", number] => figures.set(|it| &mut it.executions, number),
                ["Done", _, "runs", "in", number, "second(s)"] => figures.set(|it| &mut it.seconds, number),
                [_, _, "cov:", number, ..] => figures.set(|it| &mut it.edges, number),
                _ => {}
            }
        }
        figures
    }

    fn set(&mut self, field: fn(&mut Figures) -> &mut u64, number: &str) {
        if let Ok(number) = number.parse() {
            *field(self) = number;
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { executions, edges, seconds } = self;
        write!(f, "{executions} runs in {seconds} s, {edges} edges")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_figures_are_those_of_the_run() {
        let log = "#2\tINITED cov: 7 ft: 8 corp: 1/1b exec/s: 0\n#9\tDONE   cov: 31 ft: 4 corp: 2/4b\n\
                   Done 900 runs in 601 second(s)\nstat::number_of_executed_units: 900\n";
        assert_eq!(Figures::of(log).to_string(), "900 runs in 601 s, 31 edges");
        assert_eq!(Figures::of("error: could not compile"), Figures::default());
    }

    #[test]
    fn targets_and_their_time_come_in_any_order() {
        let wanted = Options { targets: vec!["iso", "range"], seconds: 7 };
        assert_eq!(options(&["iso", "--seconds", "7", "range"]).unwrap(), wanted);
        assert_eq!(options(&[]).unwrap(), Options { targets: vec![], seconds: 60 });
        for wrong in [&["--seconds"][..], &["--seconds", "0"], &["--forever"]] {
            assert!(options(wrong).is_err(), "{wrong:?}");
        }
    }
}
