//! `/jobs/{id}`: one job: how far it is, how it got there, and what its verdict rests on.
//!
//! Acts are in [`mod@acts`]. Invariants: every part of the page comes from one read of the job and one of its reads of
//! media; a part has an id and one function that renders it, for the page and for live updates.

mod acts;
mod read_map;
mod timeline;
mod verdict;
mod view;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::fleet::latest_event;
use super::page::PageFrame;
use super::records::{JobRecord, ReadsRecord};
use super::refusal::PageRefusal;
use super::viewer::Viewer;

pub use acts::{
    bmc, cancel, confirm_cancel, confirm_force, confirm_retry, force, identity, present_state, retry,
};
pub use view::{ACTIONS_ID, actions, drives, parts};

/// What the page shows.
pub struct JobView {
    pub job: JobRecord,
    pub reads: ReadsRecord,
    pub now: Timestamp,
}

impl JobView {
    /// Until when the pictures go.
    fn end(&self) -> Timestamp {
        self.job.state.finished_at.unwrap_or(self.now)
    }
}

pub async fn show(viewer: Viewer, Path(id): Path<String>) -> Result<Response, PageRefusal> {
    let after = latest_event(&viewer).await?;
    let job = load(&viewer, &id).await?;
    let title = format!("Job on {}", job.job.server_serial);
    let mut frame = PageFrame::new(&title, "Fleet", &viewer);
    frame.live_after = job.job.is_active().then_some(after);
    Ok(frame.render(&view::page(&job, &viewer)).into_response())
}

pub async fn load(viewer: &Viewer, id: &str) -> Result<JobView, PageRefusal> {
    let path = api_path(id)?;
    let job: JobRecord = viewer.api.get(&path).await?;
    let reads: ReadsRecord = viewer.api.get(&format!("{path}/reads")).await?;
    Ok(JobView { job, reads, now: viewer.now() })
}

/// The path of a job in the API. An id is hex digits; anything else is no job.
fn api_path(id: &str) -> Result<String, PageRefusal> {
    let is_id = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_id { Ok(format!("/api/v1/jobs/{id}")) } else { Err(PageRefusal::not_found()) }
}
