//! What a driver reports: a line of JSON for every check. Pure.
//!
//! Invariant: a driver that ends otherwise than well, says what cannot be read, or passes fewer checks than
//! it should, has failed, whatever its checks say; unless it says that this machine cannot run its program.

use serde_json::Value;

use super::exceptions::Exception;
use crate::closing::Tally;

/// What one program found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Of the program, as it says itself.
    pub version: String,
    passed: u64,
    skipped: u64,
    failed: Vec<Failed>,
    excepted: u64,
    /// Why this machine cannot run the program.
    unfit: Option<String>,
    /// What is wrong with the run as a whole.
    broken: Vec<String>,
}

#[derive(Debug)]
struct Failed {
    check: String,
    detail: String,
}

/// Reads all that a driver printed; `ended` says how it ended, if that was not well.
pub fn parse(lines: &[String], ended: &Option<String>) -> Findings {
    let mut findings = Findings::default();
    for line in lines {
        if let Err(why) = findings.read(line) {
            findings.broken.push(format!("{why}: {line}"));
        }
    }
    findings.broken.extend(ended.clone());
    findings
}

impl Findings {
    /// The driver could not even be run.
    pub fn broken(why: String) -> Findings {
        Findings { broken: vec![why], ..Findings::default() }
    }

    fn read(&mut self, line: &str) -> Result<(), &'static str> {
        let report: Value = serde_json::from_str(line).map_err(|_| "no line of JSON")?;
        let text = |key: &str| report[key].as_str().map(str::to_owned);
        if let Some(version) = text("version") {
            self.version = version;
            return Ok(());
        }
        if let Some(why) = text("unfit") {
            self.unfit = Some(why);
            self.skipped += 1;
            return Ok(());
        }
        let check = text("check").ok_or("no check")?;
        match report["result"].as_str() {
            Some("passed") => self.passed += 1,
            Some("skipped") => self.skipped += 1,
            Some("failed") => self.failed.push(Failed { check, detail: text("detail").unwrap_or_default() }),
            _ => return Err("no result"),
        }
        Ok(())
    }

    /// Takes out what is listed as staying as it is. A line that takes nothing out is itself a fault.
    pub fn except<'a>(&mut self, exceptions: impl IntoIterator<Item = &'a Exception>) {
        for exception in exceptions {
            let before = self.failed.len();
            self.failed.retain(|failed| failed.check != exception.check);
            let taken = before - self.failed.len();
            self.excepted += taken as u64;
            if taken == 0 {
                let check = &exception.check;
                self.broken.push(format!("the exception {check} is needed no more: take it off the list"));
            }
        }
    }

    /// Fewer passed checks mean that the program did not see what it should have seen.
    pub fn demand(&mut self, least: u64) {
        if self.passed < least && self.unfit.is_none() {
            self.broken.push(format!("only {} checks passed, where {least} should", self.passed));
        }
    }

    pub fn tally(&self) -> Tally {
        let failed = self.failed.len() + self.broken.len();
        Tally { passed: self.passed, failed: failed as u64, skipped: self.skipped }
    }

    pub fn unfit(&self) -> Option<&str> {
        self.unfit.as_deref()
    }

    pub fn excepted(&self) -> u64 {
        self.excepted
    }

    pub fn faults(&self) -> impl Iterator<Item = String> {
        let failed = self.failed.iter().map(|failed| format!("{}: {}", failed.check, failed.detail));
        failed.chain(self.broken.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outside::exceptions::parse as exceptions;

    const REPORTED: &str = r#"{"version": "1.2"}
{"check": "a", "result": "passed", "detail": ""}
{"check": "b", "result": "failed", "detail": "why"}
{"check": "b", "result": "failed", "detail": "again"}
{"check": "c", "result": "skipped", "detail": ""}"#;

    /// How a run counts that reports this, is excepted that, and should pass so much.
    #[track_caller]
    fn check(reported: &str, excepted: &str, least: u64, ended: Option<&str>, expected: &str) {
        let lines: Vec<String> = reported.lines().map(str::to_owned).collect();
        let mut findings = parse(&lines, &ended.map(str::to_owned));
        findings.except(exceptions(excepted).expect("the list is good").of("x"));
        findings.demand(least);
        let shown: Vec<String> = findings.faults().collect();
        assert_eq!(format!("{}; {}", findings.tally(), shown.join(", ")), expected);
    }

    #[test]
    fn what_a_driver_reports_is_counted() {
        check(REPORTED, "", 1, None, "1 passed, 2 failed, 1 skipped; b: why, b: again");
    }

    #[test]
    fn an_exception_takes_out_its_check_and_no_other() {
        check(REPORTED, "x | b | known", 1, None, "1 passed, 0 failed, 1 skipped; ");
        check(REPORTED, "y | b | known", 1, None, "1 passed, 2 failed, 1 skipped; b: why, b: again");
    }

    #[test]
    fn an_exception_that_nothing_needs_is_a_failure() {
        let expected =
            "1 passed, 1 failed, 1 skipped; the exception a is needed no more: take it off the list";
        check(REPORTED, "x | b | known\nx | a | it passes", 1, None, expected);
    }

    #[test]
    fn a_program_that_the_machine_cannot_run_is_skipped() {
        check(r#"{"unfit": "no root"}"#, "", 9, None, "0 passed, 0 failed, 1 skipped; ");
    }

    #[test]
    fn a_run_that_saw_too_little_or_ended_badly_has_failed() {
        check("", "", 1, None, "0 passed, 1 failed, 0 skipped; only 0 checks passed, where 1 should");
        check("", "", 0, Some("killed"), "0 passed, 1 failed, 0 skipped; killed");
        check("oh", "", 0, None, "0 passed, 1 failed, 0 skipped; no line of JSON: oh");
        check(
            r#"{"check": "a"}"#,
            "",
            0,
            None,
            r#"0 passed, 1 failed, 0 skipped; no result: {"check": "a"}"#,
        );
    }
}
