//! Which requests a BMC was sent: how many of them were polls, and how many came at the same time.
//!
//! A *poll* is a GET of a resource that was read before, at least [`PAUSE`] ago, with nothing written to the BMC in
//! between but sessions: the client waits for a change and looks again. So is each look at a Task, which is there to
//! be waited for. Everything else is counted as a request besides polls, so a resource that is read twice in a row is
//! not excused. Invariant: bounded, whatever is sent.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use shoal_base::world::elapsed;

/// Who waits looks no more often than this.
const PAUSE: Duration = Duration::from_millis(500);
/// Resources of which the last read is remembered; the largest persona has fewer.
const RESOURCES_MAX: usize = 512;
/// Requests that are kept for the message of a failed test.
const KEPT_MAX: usize = 200;

/// A request that is no poll, for those who want to know which it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSeen {
    pub at: Timestamp,
    pub method: Method,
    pub path: String,
}

#[derive(Debug, Default)]
pub struct Traffic {
    polls: u64,
    in_flight: u64,
    most_in_parallel: u64,
    /// When each resource was last read since the last write.
    read_at: BTreeMap<String, Timestamp>,
    kept: VecDeque<RequestSeen>,
}

impl Traffic {
    /// A request has come in.
    pub fn arrive(&mut self) {
        self.in_flight += 1;
        self.most_in_parallel = self.most_in_parallel.max(self.in_flight);
    }

    /// It was answered, or its client has gone.
    pub fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A request is being answered.
    pub fn note(&mut self, method: &Method, path: &str, at: Timestamp) {
        let is_read = method == Method::GET || method == Method::HEAD;
        let earlier = is_read.then(|| self.read_at.get(path).copied()).flatten();
        let is_of_task = is_read && path.contains("/TaskService/");
        if is_of_task || earlier.is_some_and(|earlier| elapsed(earlier, at) >= PAUSE) {
            self.polls += 1;
        } else {
            self.kept.truncate(KEPT_MAX - 1);
            self.kept.push_front(RequestSeen { at, method: method.clone(), path: path.to_owned() });
        }
        if is_read && (earlier.is_some() || self.read_at.len() < RESOURCES_MAX) {
            self.read_at.insert(path.to_owned(), at);
        } else if !is_read && !path.contains("/Sessions") {
            self.read_at.clear();
        }
    }

    /// Another client begins, for whom nothing is a repetition.
    pub fn begin_anew(&mut self) {
        self.read_at.clear();
        self.kept.clear();
    }

    pub fn polls(&self) -> u64 {
        self.polls
    }

    /// The most requests that were in flight at the same time.
    pub fn most_in_parallel(&self) -> u64 {
        self.most_in_parallel
    }

    /// The last requests besides polls, in their order.
    pub fn besides_polls(&self) -> Vec<RequestSeen> {
        self.kept.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polls(requests: &[(u64, Method, &str)]) -> u64 {
        let mut traffic = Traffic::default();
        for (ms, method, path) in requests {
            let at = Timestamp::UNIX_EPOCH + Duration::from_millis(*ms);
            traffic.note(method, path, at);
        }
        traffic.polls()
    }

    #[test]
    fn a_poll_is_a_read_that_is_repeated_after_a_pause_with_nothing_written_since() {
        let (get, post) = (Method::GET, Method::POST);
        assert_eq!(polls(&[(0, get.clone(), "/1"), (500, get.clone(), "/1"), (1000, get.clone(), "/1")]), 2);
        assert_eq!(polls(&[(0, get.clone(), "/1"), (499, get.clone(), "/1")]), 0, "read twice in a row");
        assert_eq!(polls(&[(0, get.clone(), "/1"), (900, get.clone(), "/2")]), 0, "another resource");
        let (act, login) = ("/1/Actions/Reset", "/SessionService/Sessions");
        assert_eq!(polls(&[(0, get.clone(), "/1"), (1, post.clone(), act), (900, get.clone(), "/1")]), 0);
        assert_eq!(polls(&[(0, get.clone(), "/1"), (1, post, login), (900, get.clone(), "/1")]), 1);
        assert_eq!(polls(&[(0, get, "/TaskService/Tasks/1")]), 1);
    }

    #[test]
    fn the_most_in_parallel_is_kept() {
        let mut traffic = Traffic::default();
        traffic.arrive();
        traffic.arrive();
        traffic.leave();
        traffic.leave();
        traffic.arrive();
        assert_eq!(traffic.most_in_parallel(), 2);
    }
}
