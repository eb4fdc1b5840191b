//! What the agent posts to the job's webhook.
//!
//! The form is that of CONTRACT §9: readers ignore keys that they do not know, so that operators' own maintenance
//! systems may report too.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So much of the log's end is in a report of a failure.
pub const REPORT_LOG_BYTES_MAX: usize = 4096;
/// Tries of a result whose agent has never reached its controller: about four minutes.
pub const REPORT_TRIES_UNREACHED: u32 = 10;
/// Tries of one that has: about six hours, in which a controller that is away comes back.
pub const REPORT_TRIES: u32 = 366;
const REPORT_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The pause after so many failed tries, from one second to a minute.
pub fn report_pause(failed_tries: u32) -> Duration {
    let doublings = failed_tries.saturating_sub(1).min(6);
    Duration::from_secs(1 << doublings).min(REPORT_PAUSE_MAX)
}

/// The body of `POST` to the webhook, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub status: ReportStatus,
    /// The same for every repetition of one report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<String>,
    /// A [`FailedStep`] where the agent reports; operators' own systems may send any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_step: Option<String>,
    /// One sentence for an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What the agent does now, in reports of progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Bytes of the image that were read so far, and all of them where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What went wrong without stopping the installation, such as a refused boot entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The end of the agent's log, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportStatus {
    Progress,
    Success,
    Failed,
}

/// The part of an installation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailedStep {
    /// The task medium, its recipe, or the machine's identity.
    Dispatcher,
    Network,
    Disk,
    Image,
    Write,
    Verify,
    BootEntry,
    Seed,
}

impl FailedStep {
    pub const ALL: [FailedStep; 8] = [
        FailedStep::Dispatcher,
        FailedStep::Network,
        FailedStep::Disk,
        FailedStep::Image,
        FailedStep::Write,
        FailedStep::Verify,
        FailedStep::BootEntry,
        FailedStep::Seed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            FailedStep::Dispatcher => "dispatcher",
            FailedStep::Network => "network",
            FailedStep::Disk => "disk",
            FailedStep::Image => "image",
            FailedStep::Write => "write",
            FailedStep::Verify => "verify",
            FailedStep::BootEntry => "boot-entry",
            FailedStep::Seed => "seed",
        }
    }
}

impl fmt::Display for FailedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Report {
    /// A report with a status and nothing else.
    pub fn new(status: ReportStatus) -> Report {
        Report {
            status,
            delivery_id: None,
            failed_step: None,
            detail: None,
            step: None,
            bytes: None,
            total: None,
            warnings: Vec::new(),
            log: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_tried_for_four_minutes_or_for_six_hours() {
        let hours = |tries: u32| (1..tries).map(report_pause).sum::<Duration>().as_secs_f64() / 3600.0;
        assert!((0.06..0.08).contains(&hours(REPORT_TRIES_UNREACHED)));
        assert!((6.0..6.1).contains(&hours(REPORT_TRIES)));
    }

    #[test]
    fn a_report_has_the_contracts_form_and_unknown_keys_are_ignored() {
        let mut report = Report::new(ReportStatus::Failed);
        report.failed_step = Some(FailedStep::BootEntry.to_string());
        report.delivery_id = Some("a".to_owned());
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(json, r#"{"status":"failed","delivery_id":"a","failed_step":"boot-entry"}"#);
        let foreign = r#"{"status":"success","started_at":"2026","schema_id":"x"}"#;
        assert_eq!(serde_json::from_str::<Report>(foreign).unwrap(), Report::new(ReportStatus::Success));
        assert!(serde_json::from_str::<Report>(r#"{"status":"done"}"#).is_err());
    }
}
