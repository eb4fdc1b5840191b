//! How a BMC reads a medium: piece by piece, or straight on as a download does.

use super::{Read, SWEEP_BYTES_MAX};

/// How a medium is being read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Some request asked for a part.
    pub ranged: bool,
    /// Some request for a part did not go on where the reading had come to.
    pub jumped: bool,
    /// How far the reading has come without a jump, from the first byte on.
    pub front: u64,
}

impl Manner {
    /// The first read since our reset: forget how the BMC looked at the medium before, but not a
    /// download that is still going on.
    pub fn begin_anew(&mut self) {
        let front = if self.jumped { 0 } else { self.front };
        *self = Manner { front, ..Manner::default() };
    }

    pub fn read(&mut self, read: &Read) {
        let goes_on = read.range.start <= self.front && self.front - read.range.start <= SWEEP_BYTES_MAX;
        if goes_on {
            self.front = self.front.max(read.range.end);
        }
        if !read.whole {
            self.ranged = true;
            self.jumped |= !goes_on;
        }
    }
}
