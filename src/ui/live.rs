//! `/live`: the parts of one page that have changed, as server-sent events.
//!
//! A stream of the API's events says when to look; what is sent is rendered by the functions of the page. One stream
//! serves one tab. Invariants: at most two updates a second; a part is sent when its HTML has changed, and not
//! otherwise; the stream ends with the session, and with `end` once the job of the page is over.

mod feed;
mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Query;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::refusal::PageRefusal;
use super::viewer::Viewer;
use feed::{Feed, News};
use parts::{PagePart, PageView};

/// Between two updates.
const UPDATE_EVERY: Duration = Duration::from_millis(500);
/// Bytes read and time left change without an event.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
pub struct LiveParams {
    /// Path and query of the page.
    #[serde(default)]
    view: String,
    /// The last event that the page shows.
    #[serde(default)]
    after: u64,
    /// When the page was rendered, in milliseconds.
    #[serde(default)]
    since: i64,
}

pub async fn follow(viewer: Viewer, Query(params): Query<LiveParams>) -> Result<Response, PageRefusal> {
    let view = PageView::of(&params.view).ok_or_else(|| PageRefusal::bad("this page has no live updates"))?;
    let feed = Feed::open(&viewer, view.events_path(params.after)).await?;
    let mut follower = LiveFollower {
        viewer,
        view,
        feed: Some(feed),
        last: params.after,
        sent: BTreeMap::new(),
        is_new: true,
        next_at: Instant::now(),
    };
    follower.begin(Timestamp::from_millisecond(params.since).unwrap_or_default()).await?;
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // A proxy that collects the answer would hold all updates back.
    let name = HeaderName::from_static("x-accel-buffering");
    response.headers_mut().insert(name, HeaderValue::from_static("no"));
    Ok(response)
}

/// One open stream.
struct LiveFollower {
    viewer: Viewer,
    view: PageView,
    /// `None` once the last update was sent.
    feed: Option<Feed>,
    last: u64,
    /// What the page shows, by the ids of its parts.
    sent: BTreeMap<String, PagePart>,
    /// No look was taken yet.
    is_new: bool,
    /// No update before this.
    next_at: Instant,
}

#[derive(Serialize)]
struct UpdateBody<'a> {
    parts: Vec<PartBody<'a>>,
    /// One sentence for screen readers, where something of note has happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    say: Option<String>,
}

#[derive(Serialize)]
struct PartBody<'a> {
    id: &'a str,
    html: &'a str,
}

impl LiveFollower {
    /// Takes a large page as the browser has it. What has changed since it was rendered comes by events; a small page
    /// is sent anew.
    async fn begin(&mut self, rendered_at: Timestamp) -> Result<(), PageRefusal> {
        if !self.view.is_large() {
            return Ok(());
        }
        self.sent = self.view.parts(&self.viewer).await?;
        // A job that was queued since has no event yet.
        for part in self.sent.values_mut().filter(|part| part.changed_at.is_some_and(|at| at >= rendered_at))
        {
            part.compared.clear();
        }
        Ok(())
    }

    /// The next event of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let (news, is_over) = self.wait().await?;
            let Ok(parts) = self.view.parts(&self.viewer).await else {
                // The session has ended, or what the page shows is gone.
                return None;
            };
            let update = self.update(parts, &news);
            self.next_at = Instant::now() + UPDATE_EVERY;
            if is_over {
                self.feed = None;
                let name = if self.view.ends() { "end" } else { "update" };
                // The last parts are sent with it.
                return Some(self.event(name, &update.unwrap_or_else(|| r#"{"parts":[]}"#.to_owned())));
            }
            if let Some(update) = update {
                return Some(self.event("update", &update));
            }
        }
    }

    /// Waits until there may be something new; says whether it is the last.
    async fn wait(&mut self) -> Option<(BTreeSet<String>, bool)> {
        tokio::time::sleep_until(self.next_at).await;
        let feed = self.feed.as_ref()?;
        let look_at =
            if std::mem::take(&mut self.is_new) { Instant::now() } else { Instant::now() + LOOK_EVERY };
        let shutdown = self.viewer.ui.shutdown.clone();
        let found = tokio::select! {
            () = shutdown.cancelled() => return None,
            news = feed.next() => news,
            () = tokio::time::sleep_until(look_at) => News::default(),
        };
        if let Some(session) = &self.viewer.session
            && !self.viewer.ui.sessions.holds(session, &self.viewer.ui.access).await.unwrap_or(false)
        {
            return None;
        }
        self.last = self.last.max(found.last_event);
        Some((found.servers, found.is_over))
    }

    /// What differs from what the browser has; parts that the news are about are sent in any case.
    fn update(&mut self, parts: BTreeMap<String, PagePart>, news: &BTreeSet<String>) -> Option<String> {
        let is_new = |id: &str, part: &PagePart| {
            let is_named = part.server.as_ref().is_some_and(|server| news.contains(server));
            let is_changed = self.sent.get(id).is_none_or(|sent| sent.compared != part.compared);
            is_changed || is_named || (part.is_summary && !news.is_empty())
        };
        let changed: Vec<(&String, &PagePart)> = parts.iter().filter(|(id, part)| is_new(id, part)).collect();
        let say = parts::sentence(&self.sent, &parts);
        let bodies = changed.iter().map(|(id, part)| PartBody { id, html: &part.html }).collect();
        let update = (!changed.is_empty() || say.is_some()).then(|| {
            serde_json::to_string(&UpdateBody { parts: bodies, say }).expect("an update has string keys")
        });
        self.sent = parts;
        update
    }

    fn event(&self, name: &str, data: &str) -> Event {
        Event::default().event(name).id(self.last.to_string()).data(data)
    }
}
