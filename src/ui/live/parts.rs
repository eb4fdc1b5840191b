//! Which page a stream is of, and the parts of that page as they are now.
//!
//! Invariant: a part is what the page itself would show, rendered by the same function.

use std::collections::BTreeMap;

use axum::extract::Query;
use http::Uri;
use jiff::Timestamp;

use crate::access::Role;
use crate::ui::batches;
use crate::ui::fleet::{self, FleetQuery, SUMMARY_ID, row_id};
use crate::ui::job;
use crate::ui::refusal::PageRefusal;
use crate::ui::text::{job_word, step_word};
use crate::ui::viewer::Viewer;

/// A page with live updates.
pub enum PageView {
    Fleet(FleetQuery),
    Job(String),
    Batch(String),
}

/// One part of a page.
pub struct PagePart {
    pub html: String,
    /// What differs between two renderings. The HTML itself, unless it holds fields that are drawn anew each time.
    pub compared: String,
    /// The server that it is about.
    pub server: Option<String>,
    /// It is about all servers.
    pub is_summary: bool,
    /// When its job last changed.
    pub changed_at: Option<Timestamp>,
    /// The state in words, where a change of it is worth a sentence.
    pub state: Option<String>,
}

impl PagePart {
    fn new(html: maud::Markup) -> PagePart {
        let html = html.into_string();
        let compared = html.clone();
        PagePart { html, compared, server: None, is_summary: false, changed_at: None, state: None }
    }
}

impl PageView {
    /// From path and query of the page; `None` for a page without live updates.
    pub fn of(page: &str) -> Option<PageView> {
        let uri: Uri = page.parse().ok()?;
        let id =
            |prefix: &str| uri.path().strip_prefix(prefix).filter(|id| !id.contains('/')).map(str::to_owned);
        if uri.path() == "/" {
            let Query(query) = Query::<FleetQuery>::try_from_uri(&uri).ok()?;
            return Some(PageView::Fleet(query));
        }
        let is_id = |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let job = id("/jobs/").filter(is_id).map(PageView::Job);
        job.or_else(|| id("/batches/").filter(is_id).map(PageView::Batch))
    }

    /// The events that concern the page.
    pub fn events_path(&self, after: u64) -> String {
        match self {
            PageView::Fleet(_) => format!("/api/v1/events?after={after}"),
            PageView::Job(id) => format!("/api/v1/jobs/{id}/events?after={after}"),
            PageView::Batch(id) => format!("/api/v1/events?batch_id={id}&after={after}"),
        }
    }

    /// It is not sent anew when a stream begins.
    pub fn is_large(&self) -> bool {
        matches!(self, PageView::Fleet(_) | PageView::Batch(_))
    }

    /// Its updates come to an end.
    pub fn ends(&self) -> bool {
        matches!(self, PageView::Job(_))
    }

    pub async fn parts(&self, viewer: &Viewer) -> Result<BTreeMap<String, PagePart>, PageRefusal> {
        match self {
            PageView::Fleet(query) => fleet_parts(viewer, query.clone()).await,
            PageView::Job(id) => job_parts(viewer, id).await,
            PageView::Batch(id) => batch_parts(viewer, id).await,
        }
    }
}

/// The buttons of a page, for those who have any: the same as long as `state` is. Sent once at the start, because a page
/// may be older than its stream.
fn actions(id: &str, html: maud::Markup, state: String, viewer: &Viewer) -> Option<(String, PagePart)> {
    let part = PagePart { compared: state, changed_at: Some(viewer.now()), ..PagePart::new(html) };
    viewer.may(Role::Operator).then(|| (id.to_owned(), part))
}

async fn fleet_parts(viewer: &Viewer, query: FleetQuery) -> Result<BTreeMap<String, PagePart>, PageRefusal> {
    let fleet = fleet::load(viewer, query).await?;
    let now = viewer.now();
    let summary = PagePart { is_summary: true, ..PagePart::new(fleet::summary(&fleet)) };
    let rows = fleet.rows().map(|server| {
        let ended =
            server.last_job.as_ref().filter(|job| job.finished_at.is_some() || job.status == "failed");
        let state = ended.map(|job| {
            let (_, word) = job_word(&job.status, job.confidence.as_deref(), &job.cleanup);
            format!("Server {}: {word}.", server.serial)
        });
        let changed_at = server.last_job.as_ref().map(|job| job.last_update);
        let part = PagePart {
            server: Some(server.serial.clone()),
            changed_at,
            state,
            ..PagePart::new(fleet::row(server, now))
        };
        (row_id(&server.serial), part)
    });
    Ok(rows.chain([(SUMMARY_ID.to_owned(), summary)]).collect())
}

async fn job_parts(viewer: &Viewer, id: &str) -> Result<BTreeMap<String, PagePart>, PageRefusal> {
    let view = job::load(viewer, id).await?;
    let state = &view.job.state;
    let sentence = match (state.status.as_str(), &state.step) {
        ("provisioning", Some(step)) => format!("{}.", step_word(step)),
        _ => format!("The job: {}.", job_word(&state.status, view.job.confidence(), &state.cleanup).1),
    };
    let mut parts: BTreeMap<String, PagePart> =
        job::parts(&view).into_iter().map(|(id, html)| (id.to_owned(), PagePart::new(html))).collect();
    let actions =
        actions(job::ACTIONS_ID, job::actions(&view.job, viewer), view.job.is_active().to_string(), viewer);
    parts.extend(actions);
    if let Some(head) = parts.get_mut("job-head") {
        head.state = Some(sentence);
    }
    Ok(parts)
}

async fn batch_parts(viewer: &Viewer, id: &str) -> Result<BTreeMap<String, PagePart>, PageRefusal> {
    let batch = batches::load(viewer, id).await?;
    let state = Some(format!("The batch is {}.", batch.status));
    let head = PagePart { is_summary: true, state, ..PagePart::new(batches::head(&batch)) };
    let rows = batch.rows.iter().enumerate().map(|(number, row)| {
        let part = PagePart {
            server: Some(row.server_serial.clone()),
            ..PagePart::new(batches::row(&batch, number, row))
        };
        (row_id(&row.server_serial), part)
    });
    let standing = format!("{} {}", batch.status, batch.counts.failed > 0);
    let actions = actions(batches::ACTIONS_ID, batches::actions(&batch, viewer), standing, viewer);
    Ok(rows.chain([(batches::HEAD_ID.to_owned(), head)]).chain(actions).collect())
}

/// What has changed, in a sentence: a step, an end, or hosts that the page does not show.
pub fn sentence(before: &BTreeMap<String, PagePart>, now: &BTreeMap<String, PagePart>) -> Option<String> {
    if before.is_empty() {
        return None;
    }
    if !now.keys().all(|id| before.contains_key(id)) || before.len() != now.len() {
        return Some("The list has changed. Reload the page to see all of it.".to_owned());
    }
    let is_new = |id: &String, part: &PagePart| before.get(id).is_some_and(|sent| sent.state != part.state);
    let new: Vec<&String> = now
        .iter()
        .filter(|(id, part)| is_new(id, part))
        .filter_map(|(_, part)| part.state.as_ref())
        .collect();
    match new.as_slice() {
        [] => None,
        [one] => Some((*one).clone()),
        [first, ..] => Some(format!("{first} {} more changes.", new.len() - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(state: Option<&str>) -> PagePart {
        let state = state.map(str::to_owned);
        PagePart {
            html: String::new(),
            compared: String::new(),
            server: None,
            is_summary: false,
            changed_at: None,
            state,
        }
    }

    fn page(parts: &[(&str, Option<&str>)]) -> BTreeMap<String, PagePart> {
        parts.iter().map(|(id, state)| ((*id).to_owned(), part(*state))).collect()
    }

    #[test]
    fn only_pages_with_live_updates_have_a_view() {
        assert!(
            matches!(PageView::of("/?q=a+b&state=failed"), Some(PageView::Fleet(query)) if query.q == "a b")
        );
        assert!(
            matches!(PageView::of("/jobs/0123abcd?notice=x"), Some(PageView::Job(id)) if id == "0123abcd")
        );
        for other in ["", "/jobs/", "/jobs/a/cancel", "/jobs/a%2Fb", "/tokens", "https://x.example/y", "jobs"]
        {
            assert!(PageView::of(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_sentence_is_said_when_a_state_changes() {
        let before = page(&[("a", None), ("b", Some("Server B: failed."))]);
        assert_eq!(sentence(&before, &page(&[("a", None), ("b", Some("Server B: failed."))])), None);
        let after = page(&[("a", Some("Server A: failed.")), ("b", Some("Server B: failed."))]);
        assert_eq!(sentence(&before, &after).as_deref(), Some("Server A: failed."));
        assert!(sentence(&before, &page(&[("a", None)])).unwrap().contains("Reload"));
        assert_eq!(sentence(&BTreeMap::new(), &after), None, "the page has just been loaded");
    }
}
