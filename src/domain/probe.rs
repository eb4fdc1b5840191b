//! What was requested of a probe: a small image that the doctor shows to a BMC for a moment.
//!
//! Not the image and not its path (`media`). Invariant: what is kept of the requests is bounded, and all are counted.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Requests of one probe that are kept.
const FETCHES_MAX: usize = 64;

/// What was requested of one probe, at any controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeReads {
    pub requests: u64,
    /// The first of them.
    pub fetches: Vec<ProbeFetch>,
    /// Connections of the BMC that ended before a request came, such as those of one that does not
    /// trust the controller's certificate.
    pub refused: u64,
    /// How the last of those ended.
    pub refused_why: Option<String>,
}

/// One request for a probe's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFetch {
    pub is_head: bool,
    /// The requested part of the image, by `Range`.
    pub range: Option<Range<u64>>,
    pub status: u16,
    /// The `User-Agent` of the request.
    pub agent: Option<String>,
}

impl ProbeReads {
    pub fn add(&mut self, fetch: ProbeFetch) {
        self.requests += 1;
        if self.fetches.len() < FETCHES_MAX {
            self.fetches.push(fetch);
        }
    }

    pub fn add_refused(&mut self, why: &str) {
        self.refused += 1;
        self.refused_why = Some(why.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_requests_is_bounded() {
        let mut reads = ProbeReads::default();
        for status in 0..FETCHES_MAX as u16 + 5 {
            reads.add(ProbeFetch { is_head: true, range: None, status, agent: None });
        }
        assert_eq!((reads.requests, reads.fetches.len()), (FETCHES_MAX as u64 + 5, FETCHES_MAX));
        assert_eq!(reads.fetches[0].status, 0, "the first are kept");
    }
}
