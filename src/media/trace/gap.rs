//! The zeros between files of a medium, which no file system needs.
//!
//! It judges one gap and no medium. Invariant: a gap counts as read by what was asked for in it, in whatever order.

use std::ops::Range;

use super::Read;
use crate::domain::{Coverage, ReadRanges, length, within};

/// Steps in which its reading becomes known to other controllers: each sees its part of a copy that goes through all.
const STEPS: u64 = 32;

/// Zeros that belong to no file: before the kickstart, or between it and a signal.
#[derive(Debug, Default)]
pub struct Gap {
    extent: Range<u64>,
    /// Since the medium was published; after the host's second boot, since then.
    read: Coverage,
    is_forgotten: bool,
}

impl Gap {
    pub fn new(extent: Range<u64>) -> Gap {
        Gap { extent, ..Gap::default() }
    }

    pub fn note(&mut self, read: &Read) {
        self.read.insert(within(&read.range, &self.extent));
    }

    /// What was read through other controllers. Once the host has booted again, what was before that no longer counts.
    pub fn learn(&mut self, ranges: &ReadRanges) {
        for range in ranges.before.ranges().iter().chain(ranges.since.ranges()).filter(|_| !self.is_forgotten)
        {
            self.read.insert(within(range, &self.extent));
        }
    }

    /// How far its reading has come towards [`Gap::is_copied`].
    pub fn step(&self) -> u64 {
        (self.read.bytes() * STEPS / length(&self.extent).max(1)).min(STEPS / 2)
    }

    /// Half of it or more; in an image without a gap a copy looks like a host.
    pub fn is_copied(&self) -> bool {
        self.read.bytes() * 2 >= length(&self.extent)
    }

    /// The host has booted again.
    pub fn forget(&mut self) {
        (self.read, self.is_forgotten) = (Coverage::default(), true);
    }
}
