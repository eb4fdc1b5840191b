//! The events of a job, one line each.
//!
//! Invariant: no event holds a password, a token, a media URL's token or any part of a kickstart.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantNames};

use super::{JobId, Serial, Step};

/// An event as written, before the store numbers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    pub time: Timestamp,
    pub level: Level,
    pub step: Step,
    /// The step's name, or that of a part of it.
    pub op: String,
    pub status: EventStatus,
    /// Try within the step, from 1.
    pub attempt: u32,
    pub duration_ms: Option<u64>,
    /// One sentence.
    pub message: String,
    /// Facts by name; `null` where there are none.
    pub detail: serde_json::Value,
}

/// An event as kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Global, rising in the order of commits.
    pub id: u64,
    /// Within the job, from 1 without gaps.
    pub seq: u64,
    pub job: JobId,
    pub server: Serial,
    pub event: NewEvent,
}

/// The least important first.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    IntoStaticStr,
    EnumString,
    VariantNames,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Level {
    Info,
    Warning,
    Error,
}

impl Level {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// `Started` and one of the last three frame every step; `Progress` lies between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum EventStatus {
    Started,
    Progress,
    /// The try failed and another will follow.
    Retrying,
    Succeeded,
    /// The step turned out to be needless; the message says why.
    Skipped,
    Failed,
}

impl EventStatus {
    pub fn name(self) -> &'static str {
        self.into()
    }
}
