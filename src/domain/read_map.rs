//! Where and when an image was read, coarsely: what a picture of the reads is drawn from.
//!
//! It proves nothing; evidence is in the milestones of [`super::MediumTrace`]. Invariants: at most [`BINS`] places are
//! kept, however many reads there are; their order is that of the image; times are whole seconds since the first read.

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shoal_base::world::{after, elapsed};

/// Equal parts of an image.
pub const BINS: u64 = 128;
/// A part that was not read for so long and is read then has been read again.
const QUIET_SECS: u32 = 60;
/// So many new parts are worth a write to the database.
const SAVED_EVERY: u64 = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReadMap {
    /// When the first of these reads was.
    pub from: Option<Timestamp>,
    /// Where the kickstart, or the recipe of a Linux or Windows job, lies: bytes from the start of the image.
    pub kickstart: Option<Range<u64>>,
    pub bins: Vec<ReadBin>,
}

/// One part of an image that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReadBin {
    /// Its number, from 0.
    pub bin: u8,
    /// Seconds from [`ReadMap::from`] to its first and to its last read.
    pub first: u32,
    pub last: u32,
    /// Reads with at least a minute between them.
    pub times: u32,
}

impl ReadMap {
    /// Adds a read of an image of `total` bytes.
    pub fn note(&mut self, range: &Range<u64>, total: u64, at: Timestamp) {
        if range.is_empty() || total == 0 {
            return;
        }
        let from = *self.from.get_or_insert(at);
        let second = seconds(elapsed(from, at));
        let place = |offset: u64| {
            let bin = u128::from(offset.min(total - 1)) * u128::from(BINS) / u128::from(total);
            u8::try_from(bin).unwrap_or(u8::MAX)
        };
        for bin in place(range.start)..=place(range.end - 1) {
            match self.bins.binary_search_by_key(&bin, |kept| kept.bin) {
                Ok(index) => {
                    let kept = &mut self.bins[index];
                    kept.times += u32::from(second.saturating_sub(kept.last) >= QUIET_SECS);
                    kept.last = kept.last.max(second);
                }
                Err(index) => {
                    self.bins.insert(index, ReadBin { bin, first: second, last: second, times: 1 });
                }
            }
        }
    }

    /// What two controllers, or two runs of one, have seen of the same image.
    pub fn joined(&self, other: &ReadMap) -> ReadMap {
        let from = match (self.from, other.from) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        let kickstart = other.kickstart.clone().or_else(|| self.kickstart.clone());
        let mut joined = ReadMap { from, kickstart, bins: self.shifted(from) };
        for bin in other.shifted(from) {
            match joined.bins.binary_search_by_key(&bin.bin, |kept| kept.bin) {
                Ok(index) => {
                    let kept = &mut joined.bins[index];
                    kept.first = kept.first.min(bin.first);
                    kept.last = kept.last.max(bin.last);
                    kept.times = kept.times.max(bin.times);
                }
                Err(index) => joined.bins.insert(index, bin),
            }
        }
        joined
    }

    /// The parts with times since `from`.
    fn shifted(&self, from: Option<Timestamp>) -> Vec<ReadBin> {
        let by = from.zip(self.from).map_or(0, |(from, own)| seconds(elapsed(from, own)));
        let later = |bin: &ReadBin| ReadBin {
            first: bin.first.saturating_add(by),
            last: bin.last.saturating_add(by),
            ..*bin
        };
        self.bins.iter().map(later).collect()
    }

    /// The time of a second of this map.
    pub fn time(&self, second: u32) -> Option<Timestamp> {
        self.from.map(|from| after(from, Duration::from_secs(second.into())))
    }

    /// Another number whenever enough has been read since the last time.
    pub fn saving_step(&self) -> u64 {
        self.bins.len() as u64 / SAVED_EVERY
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000 + second).unwrap()
    }

    #[test]
    fn a_part_has_its_first_and_last_read_and_how_often() {
        let mut map = ReadMap::default();
        map.note(&(0..2_048), 128_000, at(0));
        map.note(&(500..600), 128_000, at(59));
        map.note(&(0..1), 128_000, at(200));
        map.note(&(127_999..128_000), 128_000, at(3));
        map.note(&(5..5), 128_000, at(9));
        let bin = |bin, first, last, times| ReadBin { bin, first, last, times };
        assert_eq!(map.bins, [bin(0, 0, 200, 2), bin(1, 0, 0, 1), bin(2, 0, 0, 1), bin(127, 3, 3, 1),]);
        assert_eq!(map.time(200), Some(at(200)));
    }

    #[test]
    fn its_size_has_a_bound() {
        let mut map = ReadMap::default();
        for offset in 0..100_000 {
            map.note(&(offset * 10..offset * 10 + 10), 1_000_000, at(1));
        }
        map.note(&(0..u64::MAX), 1_000_000, at(2));
        map.note(&(0..1), 0, at(2));
        assert_eq!((map.bins.len() as u64, map.bins.last().unwrap().bin), (BINS, 127));
    }

    #[test]
    fn two_maps_become_one_with_the_times_of_both() {
        let (mut one, mut two) = (ReadMap::default(), ReadMap::default());
        one.note(&(0..10), 1_280, at(100));
        two.note(&(0..10), 1_280, at(90));
        two.note(&(30..31), 1_280, at(95));
        for joined in [one.joined(&two), two.joined(&one)] {
            assert_eq!(joined.from, Some(at(90)));
            assert_eq!(
                joined.bins,
                [
                    ReadBin { bin: 0, first: 0, last: 10, times: 1 },
                    ReadBin { bin: 3, first: 5, last: 5, times: 1 },
                ]
            );
        }
        assert_eq!(one.joined(&ReadMap::default()), one);
        assert_eq!(ReadMap::default().joined(&one), one);
    }
}
