//! The zeros between files of a medium, which no file system needs.
//!
//! It judges one gap and no medium. Invariant: a gap counts as read by what was asked for in it, in whatever order.

use std::ops::Range;

use super::Read;
use super::coverage::{Coverage, length, within};

/// Zeros that belong to no file: before the kickstart, or between it and a signal.
#[derive(Debug, Default)]
pub struct Gap {
    extent: Range<u64>,
    /// Since the medium was published; after the host's second boot, since then.
    read: Coverage,
}

impl Gap {
    pub fn new(extent: Range<u64>) -> Gap {
        Gap { extent, read: Coverage::default() }
    }

    pub fn note(&mut self, read: &Read) {
        self.read.insert(within(&read.range, &self.extent));
    }

    /// Half of it or more; in an image without a gap a copy looks like a host.
    pub fn is_copied(&self) -> bool {
        self.read.bytes() * 2 >= length(&self.extent)
    }

    /// The host has booted again.
    pub fn forget(&mut self) {
        self.read = Coverage::default();
    }
}
