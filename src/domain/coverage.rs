//! Which bytes of an image have been read: a set of ranges with a bound on their number, which is the bound of what is
//! stored of it too.
//!
//! It is not exact at the bound: where one more range would be too many, the two that lie closest
//! are joined, and the hole between them counts as read. Invariant: ranges are sorted, not empty and
//! do not touch.

use std::cmp::Ordering;
use std::ops::Range;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Ranges kept at most: 16 KiB of memory. A host that reads an installer leaves a few hundred.
const RANGES_MAX: usize = 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Coverage {
    ranges: Vec<Range<u64>>,
    bytes: u64,
}

/// What several controllers that serve the same image have read of it, each a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReadRanges {
    /// Before the reset of the host.
    pub before: Coverage,
    /// The reset that `since` counts from.
    pub reset_at: Option<Timestamp>,
    pub since: Coverage,
    /// So many bytes since then mean that the installer on it is loaded; none where there is none.
    pub loaded_bytes: Option<u64>,
}

impl Coverage {
    /// Adds a range; says how many of its bytes are new.
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let first = self.ranges.partition_point(|kept| kept.end < range.start);
        let after = self.ranges.partition_point(|kept| kept.start <= range.end);
        let touched = &self.ranges[first..after];
        let joined = touched.iter().fold(range, |all, kept| all.start.min(kept.start)..all.end.max(kept.end));
        let had: u64 = touched.iter().map(length).sum();
        let new = length(&joined) - had;
        self.ranges.splice(first..after, [joined]);
        self.bytes += new;
        self.hold_bound();
        new
    }

    pub fn unite(&mut self, other: &Coverage) {
        for range in &other.ranges {
            self.insert(range.clone());
        }
    }

    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Distinct bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether every byte of `range` is in the set.
    pub fn contains(&self, range: &Range<u64>) -> bool {
        let at = self.ranges.partition_point(|kept| kept.end < range.end);
        range.is_empty() || self.ranges.get(at).is_some_and(|kept| kept.start <= range.start)
    }

    fn hold_bound(&mut self) {
        if self.ranges.len() <= RANGES_MAX {
            return;
        }
        let holes = self.ranges.windows(2).map(|pair| pair[1].start - pair[0].end);
        let Some((at, hole)) = holes.enumerate().min_by_key(|(_, hole)| *hole) else { return };
        self.ranges[at].end = self.ranges[at + 1].end;
        self.ranges.remove(at + 1);
        self.bytes += hole;
    }
}

impl From<Vec<(u64, u64)>> for Coverage {
    fn from(ranges: Vec<(u64, u64)>) -> Coverage {
        let mut set = Coverage::default();
        for (start, end) in ranges {
            set.insert(start..end);
        }
        set
    }
}

impl From<Coverage> for Vec<(u64, u64)> {
    fn from(set: Coverage) -> Vec<(u64, u64)> {
        set.ranges.into_iter().map(|range| (range.start, range.end)).collect()
    }
}

impl ReadRanges {
    /// The reads since that reset; those since another one count no more.
    pub fn since_reset(self, reset_at: Option<Timestamp>, loaded_bytes: Option<u64>) -> ReadRanges {
        let since = if self.reset_at == reset_at { self.since } else { Coverage::default() };
        ReadRanges { before: self.before, reset_at, since, loaded_bytes }
    }

    /// Adds what another controller has read. Of two resets the later one stands.
    pub fn join(&mut self, other: &ReadRanges) {
        self.before.unite(&other.before);
        self.loaded_bytes = other.loaded_bytes.or(self.loaded_bytes);
        match self.reset_at.cmp(&other.reset_at) {
            Ordering::Less => (self.reset_at, self.since) = (other.reset_at, other.since.clone()),
            Ordering::Equal => self.since.unite(&other.since),
            Ordering::Greater => {}
        }
    }

    /// Whether the installer is loaded, as far as these reads show.
    pub fn is_loaded(&self) -> bool {
        self.loaded_bytes.is_some_and(|wanted| self.since.bytes() >= wanted)
    }
}

/// The part of `range` that lies in `bounds`; empty where they do not meet.
pub fn within(range: &Range<u64>, bounds: &Range<u64>) -> Range<u64> {
    let start = range.start.clamp(bounds.start, bounds.end.max(bounds.start));
    start..range.end.min(bounds.end).max(start)
}

pub fn overlaps(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

pub fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn touching_ranges_become_one() {
        let mut set = Coverage::default();
        assert_eq!(set.insert(0..10), 10);
        assert_eq!(set.insert(20..30), 10);
        assert_eq!(set.insert(10..20), 10);
        assert_eq!(set.insert(5..25), 0);
        assert_eq!(set.ranges.len(), 1);
        assert!(set.contains(&(0..30)) && !set.contains(&(0..31)));
    }

    #[test]
    fn at_the_bound_the_smallest_hole_is_closed() {
        let mut set = Coverage::default();
        for n in 0..RANGES_MAX as u64 {
            set.insert(n * 100..n * 100 + 10);
        }
        set.insert(RANGES_MAX as u64 * 100 - 85..RANGES_MAX as u64 * 100 - 80);
        assert_eq!(set.ranges.len(), RANGES_MAX);
        assert_eq!(set.bytes(), RANGES_MAX as u64 * 10 + 5 + 5, "a hole of 5 counts as read");
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_booleans(ranges in prop::collection::vec((0u64..200, 0u64..40), 0..60)) {
            let mut set = Coverage::default();
            let mut bytes = [false; 240];
            for (start, len) in ranges {
                let cells = &mut bytes[start as usize..(start + len) as usize];
                let new = cells.iter().filter(|read| !**read).count() as u64;
                cells.fill(true);
                prop_assert_eq!(set.insert(start..start + len), new);
                prop_assert_eq!(set.bytes(), bytes.iter().filter(|read| **read).count() as u64);
                prop_assert!(set.ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
                for probe in 0..200u64 {
                    let all = bytes[probe as usize..probe as usize + 7].iter().all(|read| *read);
                    prop_assert_eq!(set.contains(&(probe..probe + 7)), all);
                }
            }
        }
    }
}
