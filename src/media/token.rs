//! The paths under which a BMC finds its media, and their unguessable tokens.
//!
//! Not a session and not a signature with a date: a path is good as long as its job is published.
//! A path holds lower-case letters, digits, dots and slashes only, ends in `.iso` (`.img` where it is a
//! disk: Dell's RemovableDisk takes nothing else) and is shorter than 120 characters, because BMCs refuse hyphens (openbmc/openbmc#4064), query characters
//! (Supermicro X12), long URLs (iDRAC, openshift/assisted-image-service#183) and names that do not
//! look like an image's. Invariant: every insertion has a token of its own, since a BMC may answer
//! an insert of a URL that it knows from its cache.

use crate::domain::{Drive, JobId, Medium};
use crate::token::Token;

use super::ending;

/// The token of one insertion of one medium of one job.
pub fn token(key: &[u8; 32], job: JobId, medium: Medium, insertion: u32) -> Token {
    Token::new(key, &format!("{job}|{}|{insertion}", medium.name()))
}

/// The path given to a BMC.
pub fn path(token: &Token, job: JobId, medium: Medium, drive: Drive) -> String {
    let (token, ending) = (token.expose(), ending(drive));
    match medium {
        Medium::Task => format!("/media/tasks/{job}.{token}/task.{ending}"),
        Medium::Boot => format!("/media/installers/{job}.{token}/esxi.{ending}"),
    }
}

/// What stands between the last two slashes of a path: a job, and the token if there is one.
pub fn parse_name(name: &str) -> Option<(JobId, Option<&str>)> {
    match name.split_once('.') {
        Some((job, token)) => Some((job.parse().ok()?, Some(token))),
        None => Some((name.parse().ok()?, None)),
    }
}

/// The job whose medium is behind a URL, as a BMC shows it: with another host, or without one.
pub fn job_of_url(url: &str) -> Option<JobId> {
    let (_, path) = url.split_once("/media/")?;
    let (kind, rest) = path.split_once('/')?;
    let (name, _) = rest.split_once('/')?;
    let (job, token) = parse_name(name)?;
    (matches!(kind, "tasks" | "installers") && token.is_some()).then_some(job)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn job(n: u8) -> JobId {
        JobId::new(1_800_000_000_000, [n; 10])
    }

    #[test]
    fn a_path_is_what_the_pickiest_bmc_takes() {
        for (medium, drive, ending) in [
            (Medium::Boot, Drive::Cd, ".iso"),
            (Medium::Task, Drive::Cd, ".iso"),
            (Medium::Task, Drive::Usb, ".img"),
        ] {
            let path = path(&token(&KEY, job(1), medium, u32::MAX), job(1), medium, drive);
            assert!(path.len() < 120 && path.ends_with(ending), "{path}");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '/');
            assert!(path.chars().all(plain), "{path}");
        }
    }

    #[test]
    fn a_token_is_that_of_its_job_medium_insertion_and_key_alone() {
        let shown = token(&KEY, job(1), Medium::Task, 1);
        assert!(token(&KEY, job(1), Medium::Task, 1).matches(shown.expose()));
        let others = [
            token(&KEY, job(2), Medium::Task, 1),
            token(&KEY, job(1), Medium::Boot, 1),
            token(&KEY, job(1), Medium::Task, 2),
            token(&[8; 32], job(1), Medium::Task, 1),
        ];
        assert!(others.iter().all(|other| !other.matches(shown.expose())));
    }

    #[test]
    fn names_are_read_back() {
        let name = format!("{}.abc", job(3));
        assert_eq!(parse_name(&name), Some((job(3), Some("abc"))));
        assert_eq!(parse_name(&job(3).to_string()), Some((job(3), None)));
        assert_eq!(parse_name("unknown.abc"), None);
        assert_eq!(parse_name(""), None);
    }

    #[test]
    fn a_url_names_the_job_whatever_its_host() {
        let path = path(&token(&KEY, job(1), Medium::Task, 1), job(1), Medium::Task, Drive::Cd);
        for host in ["http://10.0.0.1:8080", "http://10.0.0.1", ""] {
            assert_eq!(job_of_url(&format!("{host}{path}")), Some(job(1)), "{host}");
        }
        for other in
            ["http://h/isos/debian.iso", "http://h/media/x.iso", "http://h/media/tasks/debian/task.iso", ""]
        {
            assert_eq!(job_of_url(other), None, "{other}");
        }
    }
}
