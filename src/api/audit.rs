//! `/api/v1/audit`: who did what, for admins.
//!
//! It writes nothing. Invariant: entries come as they are kept, newest first, and the chain is checked
//! over all of them, not over a page.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::ApiState;
use super::body::{Params, Position, page_limit};
use super::error::ApiError;
use crate::access::Entry;
use crate::store::AuditFilter;
use shoal_base::hex;

const LIST_DEFAULT: usize = 100;
const LIST_MAX: usize = 499;

/// One act of an actor.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryBody {
    /// From 1, without a gap.
    seq: u64,
    time: String,
    /// `token:` and its id, `controller`, or `anybody` where no tokens are required.
    actor: String,
    actor_name: String,
    role: String,
    /// The address that it was asked from.
    source: Option<String>,
    /// Such as `server.add`, `job.submit` or `token.revoke`.
    action: String,
    server_serial: Option<String>,
    job_id: Option<String>,
    #[schema(value_type = Object)]
    detail: Value,
    /// Covers all of this and the hash of the entry before.
    hash: String,
}

impl From<Entry> for EntryBody {
    fn from(entry: Entry) -> EntryBody {
        EntryBody {
            seq: entry.seq,
            time: entry.at.to_string(),
            actor: entry.actor,
            actor_name: entry.actor_name,
            role: entry.role,
            source: entry.source,
            action: entry.action,
            server_serial: entry.server,
            job_id: entry.job,
            detail: serde_json::from_str(&entry.detail).unwrap_or(Value::String(entry.detail)),
            hash: hex(&entry.hash),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EntryList {
    entries: Vec<EntryBody>,
    /// Give it back as `cursor`; absent on the last page.
    next_cursor: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditParams {
    /// The id or the name of the actor.
    actor: Option<String>,
    action: Option<String>,
    server_serial: Option<String>,
    job_id: Option<String>,
    /// At most 499; 100 by default.
    #[param(minimum = 1, maximum = 499)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<u64>)]
    cursor: Option<Position>,
}

/// What was done, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(AuditParams),
    responses((status = 200, body = EntryList)))]
pub async fn list(
    State(state): State<ApiState>,
    Params(params): Params<AuditParams>,
) -> Result<Json<EntryList>, ApiError> {
    let limit = page_limit(params.limit, LIST_DEFAULT, LIST_MAX)?;
    // One more than requested shows whether there is another page.
    let filter = AuditFilter {
        actor: params.actor,
        action: params.action,
        server: params.server_serial,
        job: params.job_id,
        before: params.cursor.map(|Position(number)| number),
        limit: limit + 1,
    };
    let mut entries = state.store.audit(&filter).await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next_cursor = entries.last().filter(|_| more).map(|entry| entry.seq);
    Ok(Json(EntryList { entries: entries.into_iter().map(EntryBody::from).collect(), next_cursor }))
}

/// Whether the audit log is unchanged.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditVerdict {
    ok: bool,
    /// The number of the first entry that is kept; older ones were exported and removed (`AUDIT_EXPORT_DIR`).
    first: u64,
    /// The number of the last entry that is good, and so are all before it.
    entries: u64,
    /// The hash of the last good one: compared with a copy kept elsewhere, it reveals a database that was rolled back.
    last_hash: String,
    /// What is wrong with the next one.
    fault: Option<String>,
}

/// Check the whole chain.
#[utoipa::path(get, path = "/api/v1/audit/verify", tag = "audit", responses((status = 200, body = AuditVerdict)))]
pub async fn verify(State(state): State<ApiState>) -> Result<Json<AuditVerdict>, ApiError> {
    let report = state.store.verify_audit().await?;
    if let Some(fault) = &report.fault {
        tracing::error!(%fault, "the audit log was changed");
    }
    Ok(Json(AuditVerdict {
        ok: report.fault.is_none(),
        first: report.first,
        entries: report.good,
        last_hash: hex(&report.last_hash),
        fault: report.fault.map(|fault| fault.to_string()),
    }))
}
