//! The API's event stream, read for what it is about: which servers have news, and up to which event.
//!
//! Invariants: events that are ready together are taken together, so that a burst is one update; the stream is read
//! in a task of its own, and never left half-read while a page is rendered, because what it waits for may hold the
//! database that the page needs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::ui::records::EventRecord;
use crate::ui::refusal::PageRefusal;
use crate::ui::viewer::Viewer;

/// What came in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    pub servers: BTreeSet<String>,
    pub last_event: u64,
    /// There will be no more: the job is over, the session has ended, or the controller stops.
    pub is_over: bool,
}

/// An open stream of events.
pub struct Feed {
    shared: Arc<FeedShared>,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct FeedShared {
    news: Mutex<News>,
    changed: Notify,
}

impl FeedShared {
    fn change(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }
}

impl Feed {
    pub async fn open(viewer: &Viewer, path: String) -> Result<Feed, PageRefusal> {
        let accept = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("text/event-stream"))]);
        let answer = viewer.api.send(Method::GET, &path, None, accept).await?;
        let shared = Arc::<FeedShared>::default();
        let reader = tokio::spawn(read(answer.into_body(), Arc::clone(&shared)));
        Ok(Feed { shared, reader })
    }

    /// Waits for news, and takes all that are there by then.
    pub async fn next(&self) -> News {
        loop {
            let news = {
                let mut news = self.shared.news.lock().unwrap_or_else(PoisonError::into_inner);
                let is_over = news.is_over;
                // The end is seen by each who asks from then on.
                std::mem::replace(&mut *news, News { is_over, ..News::default() })
            };
            if news.is_over || !news.servers.is_empty() {
                return news;
            }
            self.shared.changed.notified().await;
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads the stream to its end.
async fn read(body: Body, shared: Arc<FeedShared>) {
    let (mut body, mut lines) = (body.into_data_stream(), Lines::default());
    while let Some(Ok(bytes)) = body.next().await {
        shared.change(|news| lines.take(&bytes, news));
    }
    shared.change(|news| news.is_over = true);
}

/// Lines of a stream that may be cut anywhere.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn take(&mut self, bytes: &[u8], news: &mut News) {
        self.0.extend_from_slice(bytes);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            // Comments keep the stream alive; ids stand in the data too.
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            if let Ok(event) = serde_json::from_slice::<EventRecord>(data) {
                news.last_event = news.last_event.max(event.id);
                news.servers.insert(event.server_serial);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_wherever_the_stream_is_cut() {
        let event = |id: u64, serial: &str| {
            format!(
                "id: {id}\ndata: {{\"id\":{id},\"server_serial\":\"{serial}\",\"time\":\"2026-11-22T12:00:00Z\",\"level\":\
                 \"info\",\"step\":\"reset\",\"op\":\"reset\",\"status\":\"started\",\"attempt\":1,\"duration_ms\":null,\
                 \"message\":\"x\"}}\n\n"
            )
        };
        let text = format!(
            "{}: \n\nevent: gap\ndata: {{\"removed_up_to\":3}}\n\n{}",
            event(4, "A1"),
            event(9, "B2")
        );
        for cut in 0..text.len() {
            let (mut lines, mut news) = (Lines::default(), News::default());
            lines.take(&text.as_bytes()[..cut], &mut news);
            lines.take(&text.as_bytes()[cut..], &mut news);
            assert_eq!(news.servers.iter().map(String::as_str).collect::<Vec<_>>(), ["A1", "B2"], "{cut}");
            assert_eq!(news.last_event, 9);
        }
    }
}
