//! `cargo xtask test`: what the tests need, then every test, then third-party programs, then a
//! real installation in the lab.
//!
//! Part after part, each timed; a part that fails does not keep the next from running, except that a
//! lab is no use to a controller whose own tests fail. Invariant: the last lines are the runner's own
//! and the total, and no run without a test passes.

use std::time::Instant;

use crate::closing::Tally;
use crate::debian;
use crate::lab;
use crate::outside;
use crate::process::{self, Done, command, fail, has, tee};
use crate::report::{self, Table};

pub struct Options {
    /// Every scenario of the lab, and every program from outside.
    pub all: bool,
    pub lab: bool,
    /// Third-party clients and checkers.
    pub outside: bool,
    /// The profile of `.config/nextest.toml`.
    pub profile: &'static str,
}

pub fn run(options: &Options) -> Done {
    debian::ensure("the tests", debian::FOR_TESTS)?;
    report::begin();
    let mut report = Report::new();
    report.part("tests", || tests(options))?;
    report.part("doc tests", doc_tests)?;
    match options.outside {
        true => {
            let makes_images = options.all && options.lab && report.total.failed == 0;
            report.part("outside", || from_outside(options, makes_images))?;
        }
        false => println!("outside: left out (--no-outside)"),
    }
    match (options.lab, report.total.failed) {
        (false, _) => println!("lab: left out (--no-lab)"),
        (true, 0) => report.part("lab", || in_the_lab(options))?,
        (true, _) => println!("lab: left out, since tests failed"),
    }
    report.close()
}

/// What one part came to, and the lines it closed with.
#[derive(Default)]
struct Part {
    tally: Tally,
    closing: Vec<String>,
}

struct Report {
    total: Tally,
    /// Closing lines and durations of the parts, in order.
    lines: Vec<String>,
    parts: Table,
}

impl Report {
    fn new() -> Report {
        let parts = Table::new("Parts", &["part", "passed", "failed", "skipped", "time"]);
        Report { total: Tally::default(), lines: Vec::new(), parts }
    }

    fn part(&mut self, name: &str, run: impl FnOnce() -> Done<Part>) -> Done {
        println!("\n== {name}");
        let start = Instant::now();
        let part = run()?;
        let Tally { passed, failed, skipped } = part.tally;
        let time = format!("{:.0} s", start.elapsed().as_secs_f64());
        let [passed, failed, skipped] = [passed, failed, skipped].map(|count| count.to_string());
        self.parts.row(&[name, &passed, &failed, &skipped, &time]);
        self.total += part.tally;
        self.lines.push(format!("{name} ({time})"));
        self.lines.extend(part.closing);
        Ok(())
    }

    fn close(self) -> Done {
        self.parts.show();
        report::keep(&format!("total: {}\n", self.total));
        println!("kept in {}\n", report::PLACE);
        for line in &self.lines {
            println!("{line}");
        }
        println!("total: {}", self.total);
        match self.total {
            Tally { failed: 0, passed: 0, .. } => fail("no test ran"),
            Tally { failed: 0, .. } => Ok(()),
            Tally { failed, .. } => fail(format!("{failed} tests failed")),
        }
    }
}

/// In parallel: what waits for programs leaves its processor to others (.config/nextest.toml).
const TESTS_A_PROCESSOR: usize = 3;

fn tests(options: &Options) -> Done<Part> {
    let threads = TESTS_A_PROCESSOR * std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.to_string();
    if has("cargo-nextest") {
        let profile = ["--profile", options.profile, "--test-threads", &threads];
        return runner(&[&["nextest", "run", "--workspace", "--locked"][..], &profile].concat());
    }
    let test = ["test", "--workspace", "--locked", "--lib", "--bins", "--tests", "--no-fail-fast"];
    runner(&[&test[..], &["--", "--test-threads", &threads]].concat())
}

fn doc_tests() -> Done<Part> {
    runner(&["test", "--workspace", "--locked", "--doc", "--no-fail-fast"])
}

fn runner(arguments: &[&str]) -> Done<Part> {
    let mut part = Part::default();
    let passed = tee(&mut command("cargo", arguments), |line| {
        if let Some(tally) = Tally::of_closing_line(line) {
            part.tally += tally;
            if tally != Tally::default() {
                part.closing.push(line.to_owned());
            }
        }
    })?;
    match (passed, part.tally.failed) {
        (true, 0) | (false, 1..) => Ok(part),
        _ => fail(format!("`cargo {}` ended otherwise than it counted", arguments.join(" "))),
    }
}

fn from_outside(options: &Options, makes_images: bool) -> Done<Part> {
    let extent = if options.all { outside::Extent::All } else { outside::Extent::Fast };
    if makes_images {
        // First: two installations of packages at the same time would fight for the database of dpkg.
        lab::ensure_packages()?;
    }
    let tally = outside::run_all(extent, || {
        if makes_images {
            make_images();
        }
    })?;
    Ok(Part { tally, closing: vec![format!("outside: {tally}")] })
}

/// Those of the lab, on a processor that would idle. The lab itself makes what is missing then, and fails if it cannot.
fn make_images() {
    let made = process::run(&mut command("nice", &["-n", "10", "cargo", "xtask", "lab", "images"]));
    if let Err(failure) = made {
        eprintln!("the lab's images: {failure}");
    }
}

fn in_the_lab(options: &Options) -> Done<Part> {
    let extent = if options.all { lab::Extent::All } else { lab::Extent::Fast };
    let tally = lab::prove(extent)?;
    Ok(Part { tally, closing: vec![format!("lab: {tally}")] })
}
