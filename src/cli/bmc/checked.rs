//! What became of the look at one server of many.

use serde_json::{Value, json};

use crate::doctor::{CheckReport, Readiness};

/// What became of one server.
pub struct Checked {
    pub serial: String,
    /// The sentence says why there is no report.
    pub result: Result<Box<CheckReport>, String>,
}

impl Checked {
    pub fn is_ready(&self) -> bool {
        self.result.as_ref().is_ok_and(|report| report.verdict != Readiness::NotReady)
    }

    pub fn json(&self) -> Value {
        match &self.result {
            Ok(report) => serde_json::to_value(report).unwrap_or_default(),
            Err(why) => json!({ "serial": self.serial, "verdict": "not_checked", "sentence": why }),
        }
    }

    pub fn line(&self) -> String {
        match &self.result {
            Ok(report) => format!("{}: {}", self.serial, report.sentence),
            Err(why) => format!("{}: not checked: {why}", self.serial),
        }
    }
}
