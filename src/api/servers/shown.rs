//! How a server is shown, and which state of its record that is.
//!
//! Invariant: neither the password nor the value of a variable is part of it, and every change of a record changes its
//! validator.

use std::collections::BTreeMap;

use http::{HeaderMap, header};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::error::ApiError;
use crate::api::inspect::HardwareBody;
use crate::api::jobs::{DeadlineBody, JobBody, ProgressBody};
use crate::api::words::{CleanupState, ConfidenceName, FailureCodeName, JobStatus, StepName};
use crate::store::{ServerRecord, StoredJob};
use shoal_base::world::reference;

/// A server as shown: everything but the password and the values of variables.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerBody {
    serial: String,
    bmc_address: String,
    bmc_username: String,
    /// Where the password is kept, `env:NAME` or `file:NAME`, if that is elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    bmc_password_from: Option<String>,
    /// `verify`, `pin:<sha256>`, `insecure` or `none`.
    tls: String,
    /// Which system of the service it is, where the service reports no serial number.
    system_id: Option<String>,
    /// Compared with the system's UUID where the service reports no serial number.
    system_uuid: Option<String>,
    /// Host name or address of the installed ESXi.
    management_address: Option<String>,
    /// Jobs on it are refused.
    protected: bool,
    labels: BTreeMap<String, String>,
    /// Of the variables for templates, whose values are not shown.
    variable_names: Vec<String>,
    /// When the record was added; unknown of one that an earlier release wrote.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    /// When it was last changed; the same.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<Timestamp>,
    /// The newest job of it, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_job: Option<LastJobBody>,
    /// What its BMC reported of the hardware at the last inspection; where one server is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<HardwareBody>,
    /// What has worked on its BMC, a sentence each; where one server is shown, and something has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned: Option<Vec<String>>,
}

impl From<ServerRecord> for ServerBody {
    fn from(record: ServerRecord) -> ServerBody {
        let ServerRecord { server, created_at, updated_at, revision: _, last_job } = record;
        ServerBody {
            serial: server.serial.to_string(),
            // As most people write it: without the slash that a parsed URL ends with.
            bmc_address: server.bmc_address.as_str().trim_end_matches('/').to_owned(),
            bmc_username: server.bmc_username,
            bmc_password_from: reference(&server.bmc_password).map(str::to_owned),
            tls: server.tls.to_string(),
            system_id: server.system_id,
            system_uuid: server.system_uuid,
            management_address: server.management_address,
            protected: server.protected,
            labels: server.labels,
            variable_names: server.variables.names().map(str::to_owned).collect(),
            created_at,
            updated_at,
            last_job: last_job.map(LastJobBody::from),
            hardware: None,
            learned: None,
        }
    }
}

/// What became of a server's newest job.
#[derive(Debug, Serialize, ToSchema)]
pub struct LastJobBody {
    job_id: String,
    #[schema(value_type = JobStatus)]
    status: &'static str,
    /// Of a success.
    #[schema(value_type = Option<ConfidenceName>)]
    confidence: Option<&'static str>,
    /// Of the installer that the job used.
    build: Option<String>,
    task_target: String,
    /// As in the job itself, like all that follow.
    #[schema(value_type = Option<StepName>)]
    step: Option<&'static str>,
    #[schema(value_type = Option<StepName>)]
    failed_step: Option<&'static str>,
    reason: Option<String>,
    #[schema(value_type = Option<FailureCodeName>)]
    failure_code: Option<&'static str>,
    deadline: Option<DeadlineBody>,
    progress: ProgressBody,
    #[schema(value_type = CleanupState)]
    cleanup: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_update: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

impl From<StoredJob> for LastJobBody {
    fn from(job: StoredJob) -> LastJobBody {
        let build = match &job {
            StoredJob::Readable(job) => {
                job.facts.esxi().installer.as_ref().and_then(|found| found.build.clone())
            }
            StoredJob::Unreadable(_) => None,
        };
        let job = JobBody::from(job);
        let (status, confidence) = job.outcome();
        LastJobBody {
            job_id: job.job_id,
            status,
            confidence,
            build,
            task_target: job.task_target,
            step: job.step,
            failed_step: job.failed_step,
            reason: job.reason,
            failure_code: job.failure_code,
            deadline: job.deadline,
            progress: job.progress,
            cleanup: job.cleanup,
            created_at: job.created_at,
            last_update: job.last_update,
            finished_at: job.finished_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ServerList {
    pub servers: Vec<ServerBody>,
    /// Give it as `cursor` for the next page.
    pub next_cursor: Option<String>,
}

/// Another one for each change, and for a record that was removed and added again.
pub fn etag(record: &ServerRecord) -> String {
    let since = record.created_at.map_or(0, Timestamp::as_millisecond);
    format!("\"{since}-{}\"", record.revision)
}

/// Refuses where `If-Match` names another state of the record than the present one (RFC 9110, 13.1.1).
pub fn check_match(headers: &HeaderMap, record: Option<&ServerRecord>) -> Result<(), ApiError> {
    let mut tags = headers.get_all(header::IF_MATCH).iter().peekable();
    if tags.peek().is_none() {
        return Ok(());
    }
    let present = record.map(etag);
    let is_present = |tag: &str| present.as_ref().is_some_and(|present| tag == "*" || tag == present);
    let mut tags = tags.filter_map(|tags| tags.to_str().ok()).flat_map(|tags| tags.split(','));
    if tags.any(|tag| is_present(tag.trim())) { Ok(()) } else { Err(ApiError::Stale) }
}
