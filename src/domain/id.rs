//! Names of jobs, batches and servers.
//!
//! A job's id is 32 lower-case hex digits without hyphens, because some BMCs refuse hyphens in the
//! URL of an image (OpenBMC, openbmc/openbmc#4064).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shoal_base::unhex;

/// A UUID of version 7: sorts by the time at which the job was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct JobId(uuid::Uuid);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an id is 32 lower-case hex digits")]
pub struct JobIdError;

impl JobId {
    /// The id of a job made at `unix_millis`, with ten bytes of randomness.
    pub fn new(unix_millis: u64, random: [u8; 10]) -> JobId {
        JobId(uuid::Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = unhex(text).ok_or(JobIdError)?;
        Ok(JobId(uuid::Uuid::from_bytes(bytes.try_into().map_err(|_| JobIdError)?)))
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for JobId {
    type Error = JobIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The id of a batch; of the same form as a [`JobId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(JobId);

impl BatchId {
    /// See [`JobId::new`].
    pub fn new(unix_millis: u64, random: [u8; 10]) -> BatchId {
        BatchId(JobId::new(unix_millis, random))
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BatchId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(BatchId)
    }
}

/// A server's serial number, as its BMC reports it: 1 to 64 letters, digits, `.`, `_`, `-` or
/// blanks inside, compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Serial(String);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a serial number has 1 to 64 letters, digits, dots, underscores, hyphens or inner blanks")]
pub struct SerialError;

impl Serial {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same for serial numbers that differ in case and blanks only: no two servers of an inventory share it.
    pub fn likeness(&self) -> String {
        likeness(&self.0)
    }
}

/// A serial number as typed, without what people get wrong about it.
pub fn likeness(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect()
}

impl AsRef<str> for Serial {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Serial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ');
        let dots_only = text.chars().all(|c| c == '.');
        if text.is_empty()
            || text.len() > 64
            || text.trim() != text
            || dots_only
            || !text.chars().all(allowed)
        {
            return Err(SerialError);
        }
        Ok(Serial(text.to_owned()))
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> String {
        serial.0
    }
}

impl TryFrom<String> for Serial {
    type Error = SerialError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_ids_sort_by_time_and_have_no_hyphen() {
        let (early, late) = (JobId::new(1_000, [9; 10]), JobId::new(2_000, [1; 10]));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().len(), 32);
        assert_eq!(early.to_string().parse(), Ok(early));
        for wrong in ["", "ABCDEF", "0123", "not-an-id", &"A".repeat(32)] {
            assert_eq!(wrong.parse::<JobId>(), Err(JobIdError), "{wrong}");
        }
    }

    #[test]
    fn serials_are_alike_whatever_their_case_and_blanks() {
        let serial: Serial = "Cz 3021-X".parse().unwrap();
        for typed in [" CZ3021-x\t", "cz 3021-x", "Cz 3021-X"] {
            assert_eq!(likeness(typed), serial.likeness(), "{typed:?}");
        }
        assert_ne!(likeness("CZ3021X"), serial.likeness());
    }

    #[test]
    fn serials_cannot_escape_a_path() {
        for good in ["ABC123", "CN-7016.x_1", "Not Specified"] {
            assert!(good.parse::<Serial>().is_ok(), "{good}");
        }
        for bad in ["", " A", "a/b", "..", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<Serial>().is_err(), "{bad}");
        }
    }
}
