//! `/`: the fleet. Which hosts are installing, how far each is, which need a person and why.
//!
//! What is shown is chosen in the URL (search, state, label, page), so that a link shows the same to everyone and
//! nothing needs JavaScript. Invariant: counts and rows come from one read of the inventory.

mod model;
mod view;

use axum::extract::Query;
use axum::response::{IntoResponse, Response};

use super::page::PageFrame;
use super::records::{EventPage, ServerPage, ServerRow};
use super::refusal::PageRefusal;
use super::viewer::Viewer;

pub use model::{Fleet, FleetQuery};
pub use view::{SUMMARY_ID, row, row_id, summary};

/// Servers that one page of the API holds.
const API_PAGE: usize = 500;
/// Pages of the API that are read: beyond, the page says so.
const API_PAGES_MAX: usize = 20;

pub async fn show(viewer: Viewer, Query(query): Query<FleetQuery>) -> Result<Response, PageRefusal> {
    let after = latest_event(&viewer).await?;
    let fleet = load(&viewer, query).await?;
    let mut frame = PageFrame::new("Fleet", "Fleet", &viewer);
    frame.live_after = Some(after);
    Ok(frame.render(&view::page(&fleet, viewer.now())).into_response())
}

/// The newest event of any job: what a page that is read after this shows at least.
pub async fn latest_event(viewer: &Viewer) -> Result<u64, PageRefusal> {
    let page: EventPage = viewer.api.get("/api/v1/events?from=now&limit=1").await?;
    Ok(page.next_after.unwrap_or(0))
}

/// The fleet as the query wants it.
pub async fn load(viewer: &Viewer, query: FleetQuery) -> Result<Fleet, PageRefusal> {
    let mut servers: Vec<ServerRow> = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..API_PAGES_MAX {
        let more = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page: ServerPage = viewer.api.get(&format!("/api/v1/servers?limit={API_PAGE}{more}")).await?;
        servers.extend(page.servers);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok(Fleet::new(servers, query, cursor.is_some()))
}
