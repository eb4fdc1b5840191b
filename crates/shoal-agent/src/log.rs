//! The agent's log: one line an event, on every console, and its end for the report of a failure.
//!
//! Invariant: no line holds a token or a password; what must be hidden is named before anything could log it.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use shoal_base::UrlSecrets;
use tokio::time::Instant;
use url::Url;

/// So much is kept, in bytes.
const KEPT_BYTES: usize = 16 * 1024;
/// A part of a URL's path that is longer is a token.
const TOKEN_CHARS_MIN: usize = 16;

pub struct Log {
    state: Mutex<LogState>,
    start: Instant,
}

struct LogState {
    consoles: Vec<Box<dyn Write + Send>>,
    kept: VecDeque<String>,
    kept_bytes: usize,
    secrets: Vec<String>,
}

impl Log {
    pub fn new(consoles: Vec<Box<dyn Write + Send>>) -> Log {
        let state = LogState { consoles, kept: VecDeque::new(), kept_bytes: 0, secrets: Vec::new() };
        Log { state: Mutex::new(state), start: Instant::now() }
    }

    /// Hides the secrets of URLs in every later line: tokens in their paths, and the values of their queries in every
    /// spelling.
    pub fn hide_all<'a>(&self, urls: impl IntoIterator<Item = &'a Url>) {
        urls.into_iter().for_each(|url| self.hide(url));
    }

    fn hide(&self, url: &Url) {
        let parts = url.path_segments().into_iter().flatten().flat_map(|part| part.split('.'));
        let tokens = parts.filter(|part| part.len() >= TOKEN_CHARS_MIN).map(str::to_owned);
        let queries = UrlSecrets::of([url]);
        let mut state = self.state();
        state.secrets.extend(tokens.chain(queries.words().map(str::to_owned)));
        // No part of one is left behind.
        state.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// `text` without what is hidden.
    pub fn redact(&self, text: &str) -> String {
        let state = self.state();
        let hidden =
            state.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "(hidden)"));
        shoal_base::hide_url_secrets(&hidden)
    }

    /// Writes one event to every console. A console that does not take it loses it.
    pub fn line(&self, text: &str) {
        let text = self.redact(&shoal_base::visible(text));
        let line = format!("[{:8.1}] shoal: {text}\n", self.start.elapsed().as_secs_f64());
        let mut state = self.state();
        for console in &mut state.consoles {
            console.write_all(line.replace('\n', "\r\n").as_bytes()).ok();
        }
        state.kept_bytes += line.len();
        state.kept.push_back(line);
        while state.kept_bytes > KEPT_BYTES {
            let Some(oldest) = state.kept.pop_front() else { break };
            state.kept_bytes -= oldest.len();
        }
    }

    /// The last lines, of at most `bytes_max` bytes together.
    pub fn tail(&self, bytes_max: usize) -> String {
        let state = self.state();
        let mut bytes = 0;
        let fits = |line: &&String| {
            bytes += line.len();
            bytes <= bytes_max
        };
        let count = state.kept.iter().rev().take_while(fits).count();
        state.kept.range(state.kept.len() - count..).map(String::as_str).collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_has_whole_lines_and_a_bound() {
        let log = Log::new(Vec::new());
        for index in 0..2000 {
            log.line(&format!("event {index} é"));
        }
        let tail = log.tail(4096);
        assert!(tail.len() <= 4096 && tail.len() > 3900 && tail.starts_with('['), "{tail}");
        assert!(tail.ends_with("event 1999 é\n") && log.tail(usize::MAX).len() <= KEPT_BYTES);
    }

    #[test]
    fn tokens_and_passwords_are_hidden() {
        let log = Log::new(Vec::new());
        log.hide_all([&"https://ctl:8443/media/images/0192.0123456789abcdef0123/image?sig=s3cret"
            .parse()
            .unwrap()]);
        log.line("GET https://ctl:8443/media/images/0192.0123456789abcdef0123/image?sig=s3cret from http://u:pw@h/x");
        log.line("line\u{1b}[2J\nsecond");
        log.hide_all([&"https://s3.example/i.raw?X-Amz-Signature=ab%2Fcd%3D%3D12&x=short&sas=0f1e2d3c"
            .parse()
            .unwrap()]);
        log.line("the server says: signature ab/cd==12 has expired, not ab%2fcd%3d%3d12 (0f1e2d3c), token 0f1e2d3c");
        log.line("moved to https://mirror.example/i.raw?sig=unknown-signature");
        let tail = log.tail(4096);
        for secret in ["ab/cd", "ab%2fcd", "0f1e2d3c", "unknown-signature"] {
            assert!(!tail.contains(secret), "{secret} in {tail}");
        }
        assert!(
            !tail.contains("0123456789abcdef0123") && !tail.contains("s3cret") && !tail.contains("pw@"),
            "{tail}"
        );
        assert!(!tail.contains('\u{1b}') && tail.lines().count() == 4, "{tail}");
    }
}
