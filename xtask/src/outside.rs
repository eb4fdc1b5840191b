//! `cargo xtask outside`: third-party clients and checkers, at work on this checkout's binary.
//!
//! One driver each in `tests/outside/`, which sets its program to work and reports every check; here they
//! are given what they need, run side by side, counted and bounded. Not the lab: nothing boots for real but
//! one QEMU. Invariant: a failed check is a failure unless `exceptions.txt` says why it stays, and an
//! exception that nothing needs any more is a failure too.

mod checks;
mod driver;
mod exceptions;
mod programs;
mod python;

use std::fs::File;
use std::time::Instant;

use self::checks::Findings;
use self::exceptions::Exceptions;
use self::programs::{PROGRAMS, Program};
use crate::closing::Tally;
use crate::debian;
use crate::lab;
use crate::process::{Done, fail};
use crate::program;
use crate::report::{self, Table};

/// Which programs are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those that take less than about a minute.
    Fast,
    All,
    /// Those that test what `cargo xtask dist` has made, by name or by `release`. No change runs them: a release takes
    /// longer to build than all programs take to run.
    Release,
}

/// Names all programs that test a release.
const RELEASE: &str = "release";

/// The chore: the named programs, or all that a change has to pass.
pub fn check(names: &[&str]) -> Done {
    let is_known = |name: &&&str| **name == RELEASE || PROGRAMS.iter().any(|program| program.name == **name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
        return fail(format!("outside: there is no {unknown}, only {}", known.join(", ")));
    }
    report::begin();
    let is_wanted = |program: &Program| match program.extent {
        Extent::Release => names.contains(&RELEASE) || names.contains(&program.name),
        _ => names.is_empty() || names.contains(&program.name),
    };
    let tally = prove(is_wanted, || {})?;
    println!("outside: {tally}");
    match tally.failed {
        0 => Ok(()),
        failed => fail(format!("outside: {failed} checks failed")),
    }
}

/// All programs of this extent, and `meanwhile`, once all is there that they need.
pub fn run_all(extent: Extent, meanwhile: impl FnOnce() + Send) -> Done<Tally> {
    prove(|program| program.extent == Extent::Fast || program.extent == extent, meanwhile)
}

/// Side by side, since they wait far more than they work, and none uses what another one does.
fn prove(wanted: impl Fn(&Program) -> bool, meanwhile: impl FnOnce() + Send) -> Done<Tally> {
    let _alone = lock()?;
    let programs: Vec<&Program> = PROGRAMS.iter().filter(|program| wanted(program)).collect();
    let exceptions = Exceptions::read()?;
    prepare(&programs)?;
    let rows: Vec<Row> = std::thread::scope(|scope| {
        let exceptions = &exceptions;
        scope.spawn(meanwhile);
        let examine = |program| scope.spawn(move || examine(program, exceptions));
        let at_work: Vec<_> = programs.iter().map(|program| examine(*program)).collect();
        at_work.into_iter().map(|thread| thread.join().expect("no examiner panics")).collect()
    });
    show(&rows);
    let mut tally = Tally::default();
    rows.iter().for_each(|row| tally += row.findings.tally());
    Ok(tally)
}

/// What the programs need, made once; nothing of it is in the programs' time.
fn prepare(programs: &[&Program]) -> Done {
    let mut packages = vec!["python3-venv", "xorriso"];
    packages.extend(programs.iter().flat_map(|program| program.packages));
    debian::ensure("the clients and checkers", &packages)?;
    for program in programs {
        python::ensure(program.python)?;
        if program.boots {
            lab::ensure_standin()?;
        }
        if program.lab {
            debian::ensure("a booted Debian", &["systemd-container"])?;
            lab::ensure_service()?;
        }
    }
    program::build()
}

struct Row<'a> {
    program: &'a Program,
    findings: Findings,
    secs: f64,
}

fn examine<'a>(program: &'a Program, exceptions: &Exceptions) -> Row<'a> {
    let start = Instant::now();
    let reported = driver::run(program);
    let secs = start.elapsed().as_secs_f64();
    let mut findings = match reported {
        Ok(report) => checks::parse(&report.lines, &report.ended),
        Err(failure) => Findings::broken(failure.to_string()),
    };
    findings.except(exceptions.of(program.name));
    findings.demand(program.least);
    println!("{}: {} ({secs:.0} s)", program.name, findings.tally());
    if let Some(why) = findings.unfit() {
        println!("{}: SKIPPED {why}", program.name);
    }
    for fault in findings.faults() {
        println!("{}: FAILED {fault}", program.name);
    }
    Row { program, findings, secs }
}

fn show(rows: &[Row]) {
    let mut table = Table::new(
        "Clients and checkers",
        &["program", "version", "drove", "passed", "failed", "excepted", "skipped", "time"],
    );
    for Row { program, findings, secs } in rows {
        let count = findings.tally();
        let numbers = [count.passed, count.failed, findings.excepted(), count.skipped].map(|n| n.to_string());
        let [passed, failed, excepted, skipped] = &numbers;
        let time = format!("{secs:.0} s");
        table.row(&[
            program.name,
            &findings.version,
            program.drives,
            passed,
            failed,
            excepted,
            skipped,
            &time,
        ]);
    }
    table.show();
}

/// Two simultaneous runs would create the same environments.
fn lock() -> Done<File> {
    let path = driver::home().with_extension("lock");
    let made = std::fs::create_dir_all(driver::home());
    let open = made.and_then(|()| File::create(&path)).and_then(|file| file.lock().map(|()| file));
    open.or_else(|error| fail(format!("{}: {error}", path.display())))
}
