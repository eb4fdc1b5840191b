//! `cargo xtask sim`: the sweep over seeds, built for speed, and how fast it was.
//!
//! What happens in a world and what must be true of it is in `tests/it/sweep`; this says which worlds.
//! Invariant: nothing is measured while it is built, and a violation fails the chore.

use std::path::Path;
use std::time::Instant;

use crate::process::{Done, command, fail, run};

/// One test of the integration binary, configured by its environment.
const SWEEP: [&str; 9] = [
    "test",
    "--locked",
    "--profile",
    "sweep",
    "--test",
    "it",
    "sweep::seeds_violate_nothing",
    "--",
    "--exact",
];
/// Databases and images of simulated controllers are better kept in memory.
const MEMORY: &str = "/dev/shm";

#[derive(Debug, PartialEq, Eq)]
struct Options<'a> {
    seeds: u64,
    jobs: u64,
    first: u64,
    rule: &'a str,
    /// What the controllers are on.
    store: &'a str,
    /// Where each job's history goes.
    record: Option<&'a str>,
}

pub fn sweep(flags: &[&str]) -> Done {
    let options = options(flags)?;
    run(command("cargo", &SWEEP[..6]).arg("--no-run"))?;
    let Options { seeds, jobs, first, rule, store, record } = options;
    let mut sweep = command("cargo", &SWEEP);
    sweep.args(["--nocapture", "--test-threads", "1"]);
    sweep.env("SHOAL_SWEEP", format!("first={first} seeds={seeds} jobs={jobs} rule={rule} store={store}"));
    if let Some(record) = record {
        let path = std::path::absolute(record).or_else(|error| fail(format!("sim: {record}: {error}")))?;
        sweep.env("SHOAL_SWEEP_RECORD", path);
    }
    if Path::new(MEMORY).is_dir() {
        sweep.env("TMPDIR", MEMORY);
    }
    let start = Instant::now();
    let swept = run(&mut sweep);
    let secs = start.elapsed().as_secs_f64();
    println!("{secs:.0} s, {:.0} jobs a second", (seeds * jobs) as f64 / secs);
    swept
}

fn options<'a>(flags: &[&'a str]) -> Done<Options<'a>> {
    let mut options =
        Options { seeds: 100, jobs: 50, first: 1, rule: "evidence", store: "sqlite", record: None };
    let (pairs, rest) = flags.as_chunks::<2>();
    if let [flag] = rest {
        return fail(format!("sim: {flag} wants a value"));
    }
    for [flag, value] in pairs {
        let number = || value.parse().or_else(|_| fail(format!("sim: {flag} wants a number, not {value}")));
        match *flag {
            "--seeds" => options.seeds = number()?,
            "--jobs" => options.jobs = number()?,
            "--first-seed" => options.first = number()?,
            "--rule" if matches!(*value, "evidence" | "power") => options.rule = value,
            "--store" if matches!(*value, "sqlite" | "shared" | "postgres") => options.store = value,
            "--record" => options.record = Some(value),
            _ => return fail(format!("sim: what is {flag} {value}?")),
        }
    }
    if options.jobs == 0 || options.jobs > 1000 {
        return fail("sim: a world has 1 to 1000 jobs");
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_which_worlds() {
        let wanted =
            Options { seeds: 3, jobs: 7, first: 40, rule: "power", store: "shared", record: Some("x") };
        let flags = "--seeds 3 --first-seed 40 --jobs 7 --rule power --store shared --record x";
        let flags: Vec<&str> = flags.split(' ').collect();
        assert_eq!(options(&flags).unwrap(), wanted);
        for wrong in
            [&["--seeds"][..], &["--seeds", "many"], &["--jobs", "0"], &["--rule", "luck"], &["--store", "x"]]
        {
            assert!(options(wrong).is_err(), "{wrong:?}");
        }
    }
}
