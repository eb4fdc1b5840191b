//! The API's event stream, read for what it is about: which servers have news, and up to which event.
//!
//! Invariant: events that are ready together are taken together, so that a burst is one update.

use std::collections::BTreeSet;

use axum::body::{Body, BodyDataStream};
use futures_util::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, header};

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
    body: BodyDataStream,
    lines: Lines,
}

impl Feed {
    pub async fn open(viewer: &Viewer, path: String) -> Result<Feed, PageRefusal> {
        let accept = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("text/event-stream"))]);
        let answer = viewer.api.send(Method::GET, &path, None, accept).await?;
        let body: Body = answer.into_body();
        Ok(Feed { body: body.into_data_stream(), lines: Lines::default() })
    }

    /// Waits for news, and takes all that are there by then.
    pub async fn next(&mut self) -> News {
        let mut news = News::default();
        loop {
            let more = match news.servers.is_empty() {
                true => Some(self.body.next().await),
                false => self.body.next().now_or_never(),
            };
            match more {
                None => return news,
                Some(Some(Ok(bytes))) => self.lines.take(&bytes, &mut news),
                Some(None | Some(Err(_))) => {
                    news.is_over = true;
                    return news;
                }
            }
        }
    }
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
