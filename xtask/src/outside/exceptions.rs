//! `tests/outside/exceptions.txt`: what other people's programs find and what stays as it is, each with a
//! reason. Pure, but for the reading of the file.
//!
//! Invariant: no exception without a reason.

use super::driver;
use crate::process::{Done, fail};

#[derive(Debug)]
pub struct Exception {
    program: String,
    /// As the program's driver names it.
    pub check: String,
}

#[derive(Debug)]
pub struct Exceptions(Vec<Exception>);

impl Exceptions {
    pub fn read() -> Done<Exceptions> {
        let path = driver::folder().join("exceptions.txt");
        match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text),
            Err(error) => fail(format!("{}: {error}", path.display())),
        }
    }

    pub fn of<'a>(&'a self, program: &str) -> impl Iterator<Item = &'a Exception> {
        self.0.iter().filter(move |exception| exception.program == program)
    }
}

/// Lines of `PROGRAM | CHECK | why`; empty ones and those with `#` in front are no exceptions.
pub fn parse(text: &str) -> Done<Exceptions> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let read = |line: &str| {
        let parts: Vec<&str> = line.splitn(3, '|').map(str::trim).collect();
        match parts[..] {
            [program, check, why] if !why.is_empty() => {
                Ok(Exception { program: program.to_owned(), check: check.to_owned() })
            }
            _ => fail(format!("exceptions.txt: `{line}` is not PROGRAM | CHECK | why")),
        }
    };
    lines.map(read).collect::<Done<_>>().map(Exceptions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_without_a_reason_is_refused() {
        for wrong in ["a | b", "a | b | ", "a"] {
            let failure = parse(&format!("# fine\n{wrong}\n")).expect_err("no reason");
            assert!(failure.to_string().contains("is not PROGRAM"), "{failure}");
        }
    }

    #[test]
    fn a_reason_may_hold_a_bar() {
        let read = parse("a | b: c | either | or\n\nx | y | z").expect("the list is good");
        assert_eq!(read.of("a").map(|exception| exception.check.as_str()).collect::<Vec<_>>(), ["b: c"]);
    }
}
