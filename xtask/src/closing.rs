//! The closing lines of test runners, read and added up. Pure.
//!
//! Knows `cargo nextest` and `cargo test`. Invariant: what a runner did not count is not counted.

use std::fmt;
use std::ops::AddAssign;

/// How many tests went how. Shown as `3 passed, 0 failed, 1 skipped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Tally {
    /// The tally that a line closes a run with, if it is such a line.
    pub fn of_closing_line(line: &str) -> Option<Tally> {
        // Indented, it is what nextest shows of a test that failed.
        let counts = match line.strip_prefix("test result:") {
            Some(counts) => counts,
            None if line.trim().starts_with("Summary [") => line.split_once("run:")?.1,
            None => return None,
        };
        // A detail in brackets, as in `5 passed (2 slow)`, is counted before it.
        let words: Vec<&str> =
            counts.split([' ', ',', ';', '(', ')']).filter(|word| !word.is_empty()).collect();
        let mut tally = Tally::default();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => tally.passed += count,
                "failed" | "timed" | "exec" => tally.failed += count,
                "skipped" | "ignored" => tally.skipped += count,
                _ => {}
            }
        }
        Some(tally)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(Tally::of_closing_line(line).map(|tally| tally.to_string()).unwrap_or_default(), expected);
    }

    #[test]
    fn closing_lines_of_both_runners_are_read_and_others_are_not() {
        check(
            "     Summary [   0.128s] 20 tests run: 20 passed, 3 skipped",
            "20 passed, 0 failed, 3 skipped",
        );
        check(
            "     Summary [ 1.0s] 9/20 tests run: 5 passed (2 slow), 2 failed, 1 timed out, 1 exec failed, 0 skipped",
            "5 passed, 4 failed, 0 skipped",
        );
        check(
            "test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.02s",
            "7 passed, 0 failed, 1 skipped",
        );
        check("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out", "");
        check("test tidy::words ... ok", "");
        check("3 passed, 1 failed", "");
    }
}
