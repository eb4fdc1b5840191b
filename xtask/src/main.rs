//! The project's chores: `cargo xtask VERB`.
//!
//! One file a verb; what they share is in `process`, `program`, `debian` and `closing`. Invariant: a chore
//! installs what it needs or says exactly what is missing, and its exit code shows the result.

mod agent;
mod bench;
mod ci;
mod closing;
mod debian;
mod dist;
mod fuzz;
mod lab;
mod outside;
mod process;
mod program;
mod report;
mod rules;
mod shape;
mod sim;
mod test;
mod written;

use std::process::ExitCode;

use process::{Done, fail};

const USAGE: &str = "\
cargo xtask VERB

  test [--all] [--no-lab] [--no-outside]
                            every test, third-party clients and checkers, and one BIOS and one
                            UEFI machine installed in the lab; --all: what a change must pass
  ci                        what a change must pass: format, lints, licences, docs, all tests
  bench [FIGURE ...]        the project's figures, as ratios to peers measured in the same run
  bench controllers         what 1, 2 and 3 controllers cost on one PostgreSQL database, counted
  bench --compare REV [FIGURE ...]
                            the same of an earlier commit and of this checkout, three times by turns
  lab up [N]                N virtual machines (2) behind a real Redfish service, on loopback
  lab test [--all | --long | NAME …]
                            install them with this checkout's controller; --all: what a change must pass;
                            --long: every scenario; or those
  lab images                make ahead what `lab test --all` boots and writes
  lab down [--purge]        stop them; --purge: delete them too
  outside [PROGRAM ...]     third-party clients and checkers (default: all of them); `release`: those that
                            test what `dist` has made
  sim [--seeds N] [--jobs M] [--first-seed S] [--rule evidence|power] [--store sqlite|shared|postgres]
                            N simulated worlds (100) of M jobs each (50) with faults in everything,
                            and checkers over all of them; one seed alone prints every event
  dist [amd64] [arm64]      what a release is made of, in target/shipped: archives, Debian packages, container
                            images, a CycloneDX list of what is in them, hashes
  dist --check-reproducible the same for amd64 a second time, in another folder: are the bytes the same?
  fuzz [TARGET ...] [--seconds N]
                            any bytes for every parser of untrusted bytes, N seconds (60) for each target
  rules                     docs/kickstart-rules.md and a page of each rule, written from the rule table
  failures                  docs/failures.md, written from the table of failure codes
  settings                  dist/shoal.toml, the settings file of packages, written from the table of settings
  shape [FOLDER ...]        how long files and functions are (src, crates, tests and xtask unless said)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match verb(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn verb(words: &[&str]) -> Done {
    match words {
        ["test", flags @ ..] => test::run(&test_options(flags)?),
        ["ci"] => ci::check(),
        ["bench", figures @ ..] => bench::measure(figures),
        ["lab", "up"] => lab::up(2),
        ["lab", "up", count] => match count.parse() {
            Ok(count @ 1..=64) => lab::up(count),
            _ => fail(format!("lab up: {count} is no number of machines from 1 to 64")),
        },
        ["lab", "images"] => lab::make_images(),
        ["lab", "test"] => lab::test(lab::Extent::Fast),
        ["lab", "test", "--all"] => lab::test(lab::Extent::All),
        ["lab", "test", "--long"] => lab::test(lab::Extent::Long),
        ["lab", "test", names @ ..] => lab::test(lab::Extent::Named(names)),
        ["lab", "down"] => lab::down(false),
        ["lab", "down", "--purge"] => lab::down(true),
        ["outside", programs @ ..] => outside::check(programs),
        ["sim", flags @ ..] => sim::sweep(flags),
        ["dist", words @ ..] => dist::release(words),
        ["fuzz", words @ ..] => fuzz::targets(words),
        ["rules"] => rules::write(),
        ["failures"] => written::failures(),
        ["settings"] => written::settings(),
        ["shape", folders @ ..] => shape::run(folders),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => fail(format!("what should be done?\n\n{USAGE}")),
    }
}

fn test_options(flags: &[&str]) -> Done<test::Options> {
    let mut options = test::Options { all: false, lab: true, outside: true, profile: "default" };
    for flag in flags {
        match *flag {
            "--all" => options.all = true,
            "--no-lab" => options.lab = false,
            "--no-outside" => options.outside = false,
            other => return fail(format!("test: unknown flag {other}\n\n{USAGE}")),
        }
    }
    Ok(options)
}
