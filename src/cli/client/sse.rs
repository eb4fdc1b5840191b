//! Reads `text/event-stream`: each event's id and data.
//!
//! Invariant: a stream on which nothing comes for longer than a few heartbeats counts as broken.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::Instant;

use crate::cli::output::to_stderr;

/// Four heartbeats of the controller.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const LINE_BYTES_MAX: usize = 4 << 20;

/// Why a stream cannot be read on. It can be resumed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("the event stream was silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("the event stream broke off")]
    Broken(#[source] axum::Error),
    #[error("the event stream holds no events")]
    Garbled,
}

/// One event: its id and what it holds.
pub type StreamEvent = (u64, Value);

pub struct EventStream {
    body: Body,
    parser: Parser,
    /// When bytes last came: reads may be cancelled and begun anew without restarting the clock.
    heard_at: Instant,
}

impl EventStream {
    pub fn new(body: Body) -> EventStream {
        EventStream { body, parser: Parser::default(), heard_at: Instant::now() }
    }

    /// The next event; `None` at the end. Cancel safe: what was read is kept.
    pub async fn next(&mut self) -> Result<Option<StreamEvent>, StreamError> {
        loop {
            if let Some(id) = self.parser.removed_up_to.take() {
                to_stderr(&format!("events up to {id} may be missing: retention has removed some"));
            }
            if let Some(event) = self.parser.ready.pop_front() {
                return Ok(Some(event));
            }
            let frame = tokio::time::timeout_at(self.heard_at + SILENCE_MAX, self.body.frame()).await;
            match frame.map_err(|_| StreamError::Silent)? {
                None => return Ok(None),
                Some(frame) => {
                    self.heard_at = Instant::now();
                    let frame = frame.map_err(StreamError::Broken)?;
                    self.parser.take(frame.data_ref().map_or(&[][..], |data| data))?;
                }
            }
        }
    }
}

/// Bytes to events, wherever the bytes are cut.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    id: Option<u64>,
    /// The type of the event, if it has one.
    kind: Option<String>,
    data: String,
    ready: VecDeque<StreamEvent>,
    /// What a `gap` said.
    removed_up_to: Option<u64>,
}

impl Parser {
    fn take(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    self.take_line(&String::from_utf8_lossy(&line))?;
                }
                b'\r' => {}
                _ if self.line.len() >= LINE_BYTES_MAX => return Err(StreamError::Garbled),
                byte => self.line.push(*byte),
            }
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str) -> Result<(), StreamError> {
        if line.is_empty() {
            return self.end_event();
        }
        match line.split_once(':') {
            Some(("id", id)) => self.id = id.trim().parse().ok(),
            Some(("event", kind)) => self.kind = Some(kind.trim().to_owned()),
            Some(("data", data)) => self.data.push_str(data),
            _ => {}
        }
        Ok(())
    }

    fn end_event(&mut self) -> Result<(), StreamError> {
        let (data, kind) = (std::mem::take(&mut self.data), self.kind.take());
        if data.is_empty() {
            return Ok(());
        }
        let value: Value = serde_json::from_str(&data).map_err(|_| StreamError::Garbled)?;
        // Types that a later release may add are no events of a job.
        if kind.is_some() {
            self.removed_up_to = value["removed_up_to"].as_u64().or(self.removed_up_to);
            return Ok(());
        }
        self.ready.push_back((self.id.ok_or(StreamError::Garbled)?, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_bytes_are_cut() {
        let text =
            ":\n\nid: 7\ndata: {\"a\":1}\n\n: beat\n\nid: 9\r\ndata: {\"b\":\ndata: \"é\"}\r\n\r\nid: 10\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            text.as_bytes().chunks(size).for_each(|part| parser.take(part).unwrap());
            let events: Vec<StreamEvent> = parser.ready.into();
            assert_eq!(events, [(7, serde_json::json!({"a": 1})), (9, serde_json::json!({"b": "é"}))]);
        }
    }

    #[test]
    fn a_gap_is_no_event_of_a_job() {
        let mut parser = Parser::default();
        parser.take(b"event: gap\ndata: {\"removed_up_to\":6}\n\nid: 7\ndata: {}\n\n").unwrap();
        assert_eq!((parser.removed_up_to, parser.ready.len()), (Some(6), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_broken_stream() {
        let body = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, axum::Error>>());
        let mut stream = EventStream::new(body);
        for _ in 0..29 {
            let read = tokio::time::timeout(Duration::from_secs(2), stream.next()).await;
            assert!(read.is_err(), "a cancelled read does not restart the clock");
        }
        let read = tokio::time::timeout(Duration::from_secs(3), stream.next()).await;
        assert!(matches!(read, Ok(Err(StreamError::Silent))));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        assert!(Parser::default().take(b"id: 1\ndata: oops\n\n").is_err());
        assert!(Parser::default().take(b"data: 1\n\n").is_err());
    }
}
