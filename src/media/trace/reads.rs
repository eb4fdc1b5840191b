//! The reads of one medium: how much of it, in which manner, and the milestones that follow from that alone.
//!
//! What takes both media to judge is in [`super::Trace`]. Invariant: what is learned of other controllers counts as if it
//! had been read here.

use jiff::Timestamp;
use shoal_base::world::elapsed;
use shoal_image::installer::Landmarks;

use super::landmarks::{MediumLandmarks, Signal};
use super::manner::Manner;
use super::{QUIET, Read, SWEEP_BYTES_MAX};
use crate::domain::{Coverage, MediaMode, MediumTrace, ReadRanges};

/// Steps in which what has been read on the way there becomes durable: the bytes that a crash makes the
/// controller forget are not read again, and without them a kickstart's read would never count. An installer reads at
/// least twice what it takes, so that many crashes leave enough.
const LOADING_STEPS: u64 = 4;
/// Steps in which it becomes known to other controllers, each of which may have served a part.
pub const SHARED_LOADING_STEPS: u64 = 16;
/// Steps in which a copy that is made before the reset becomes known to other controllers.
const COPYING_STEPS: u64 = 128;

pub type Milestones = (MediaMode, [bool; 3], u64, [Option<Timestamp>; 9]);

/// The reads of one medium.
#[derive(Debug, Default)]
pub struct Reads {
    pub seen: MediumTrace,
    pub marks: MediumLandmarks,
    /// Of this run of the controller, and of the others that share the work.
    pub ranges: ReadRanges,
    /// Bytes read since our reset that are in no range: in earlier runs of the controller.
    since_before: u64,
    manner: Manner,
    /// Something has been read here since our reset.
    is_begun: bool,
    /// The BMC holds a copy of (nearly) the whole image.
    copied: bool,
}

impl Reads {
    pub fn restored(
        total: u64,
        marks: MediumLandmarks,
        saved: MediumTrace,
        reset_at: Option<Timestamp>,
    ) -> Reads {
        let copied = saved.mode == MediaMode::Prefetched;
        let streamed = saved.mode == MediaMode::Streamed;
        let manner = Manner { ranged: streamed, jumped: streamed, front: 0 };
        let ranges = if saved.total == total { saved.ranges.clone() } else { ReadRanges::default() };
        // A start that came to nothing left the record and not the trace.
        let reset_at = reset_at.map(|at| ranges.reset_at.map_or(at, |theirs| at.max(theirs)));
        let is_outdated = ranges.reset_at.is_some_and(|at| Some(at) < reset_at) && saved.ks_read_at.is_none();
        let ranges = ranges.since_reset(reset_at, marks.loaded_bytes());
        let mut reads = Reads { copied, manner, marks, ranges, ..Reads::default() };
        let (mode, fault, map) = (saved.mode, saved.fault.clone(), reads.marks.read_map());
        reads.seen = MediumTrace { mode, total, fault, map, ..MediumTrace::default() };
        // Of an earlier start only the mode stays. The start may have been noted a moment after its
        // first reads.
        if reset_at.is_some() && saved.last_read_at >= reset_at && !is_outdated {
            let first_read_at = saved.first_read_at.max(reset_at);
            let since_reset = |at: Option<Timestamp>| at.filter(|at| Some(*at) >= reset_at);
            let (loaded_at, read_through_at) =
                (since_reset(saved.loaded_at), since_reset(saved.read_through_at));
            reads.since_before = saved.read.saturating_sub(reads.ranges.since.bytes());
            let ranges = ReadRanges::default();
            reads.seen = MediumTrace { total, first_read_at, loaded_at, read_through_at, ranges, ..saved };
        }
        if copied {
            reads.forget_kickstart();
        }
        reads
    }

    /// Takes up what another controller has seen.
    pub fn learn(&mut self, saved: MediumTrace) {
        let theirs = Reads::restored(self.seen.total, self.marks.clone(), saved, self.ranges.reset_at);
        self.copied |= theirs.copied;
        if theirs.seen.last_read_at.is_some() {
            self.manner.ranged |= theirs.manner.ranged;
            self.manner.jumped |= theirs.manner.jumped;
        }
        self.ranges.join(&theirs.ranges);
        // An earlier version says how much it has seen and not which parts, so those may be counted twice.
        let unknown = theirs.seen.read.saturating_sub(self.ranges.since.bytes());
        self.since_before = self.since_before.max(unknown);
        self.seen = theirs.seen.joined(std::mem::take(&mut self.seen));
        let at = self.seen.last_read_at.unwrap_or_default();
        if at > Timestamp::default() {
            self.count(at);
        }
        self.look_for_a_copy(self.ranges.before.bytes(), at);
        if self.copied {
            self.forget_kickstart();
        }
        self.seen.mode = self.mode();
    }

    pub fn start(&mut self, at: Timestamp) {
        let MediumTrace { mode, total, fault, .. } = std::mem::take(&mut self.seen);
        self.seen = MediumTrace { mode, total, fault, map: self.marks.read_map(), ..MediumTrace::default() };
        (self.ranges.reset_at, self.ranges.since) = (Some(at), Coverage::default());
        (self.is_begun, self.since_before) = (false, 0);
    }

    pub fn read(&mut self, read: &Read, hosts: bool) {
        if hosts && !std::mem::replace(&mut self.is_begun, true) {
            self.manner.begin_anew();
        }
        self.manner.read(read);
        if hosts {
            self.note(read);
        } else {
            self.ranges.before.insert(read.range.clone());
        }
        let straight_on = if self.manner.jumped { 0 } else { self.manner.front };
        let in_one_request = if read.whole { read.range.end } else { 0 };
        let most = self.ranges.before.bytes().max(straight_on).max(in_one_request);
        self.look_for_a_copy(most, read.at);
    }

    /// The BMC holds a copy where so many bytes are (nearly) all.
    fn look_for_a_copy(&mut self, bytes: u64, at: Timestamp) {
        let is_nearly_all = bytes > 0 && bytes >= self.seen.total - self.seen.total / 16;
        self.copied |= is_nearly_all && !self.kickstart_stands(at);
    }

    fn note(&mut self, read: &Read) {
        let new = self.ranges.since.insert(read.range.clone());
        let seen = &mut self.seen;
        seen.map.note(&read.range, seen.total, read.at);
        seen.first_read_at.get_or_insert(read.at);
        seen.last_read_at = Some(read.at);
        if new > 0 {
            seen.last_new_read_at = Some(read.at);
        }
        self.count(read.at);
    }

    fn count(&mut self, at: Timestamp) {
        let seen = &mut self.seen;
        // What was read before a crash may be read, and is counted, once more; never more than there is.
        seen.read = (self.since_before + self.ranges.since.bytes()).min(seen.total);
        if self.marks.loaded_bytes().is_some_and(|wanted| seen.read >= wanted) {
            seen.loaded_at.get_or_insert(at);
        }
    }

    /// How far the loading of an installer has come, in so many steps.
    pub fn loading_step(&self, steps: u64) -> u64 {
        let step = self.marks.loaded_bytes().map_or(u64::MAX, |wanted| wanted.div_ceil(steps));
        (self.seen.read / step.max(1)).min(steps)
    }

    /// The gap before the kickstart has been read, so the image is being copied; and so it was when
    /// the kickstart's extent was read a moment ago.
    pub fn withdraw_kickstart(&mut self, at: Timestamp) {
        if !self.kickstart_stands(at) {
            self.forget_kickstart();
            self.copied = true;
        }
    }

    fn forget_kickstart(&mut self) {
        let seen = &mut self.seen;
        (seen.ks_read_at, seen.ks_read_loaded, seen.ks_read_again_at) = (None, false, None);
        (seen.nonce_read_at, seen.failure_read_at, seen.started_read_at) = (None, None, None);
    }

    pub fn signal_read(&mut self, signal: Signal, at: Timestamp) {
        let MediumTrace { nonce_read_at, failure_read_at, .. } = &self.seen;
        if signal == Signal::Started && nonce_read_at.or(*failure_read_at).is_some() {
            return;
        }
        let (read_at, copied) = self.signal_mut(signal);
        if !*copied {
            read_at.get_or_insert(at);
        }
    }

    /// The gap before the signal has been read too: whatever reads the medium reads all of it.
    pub fn withdraw_signal(&mut self, signal: Signal, at: Timestamp) {
        let (read_at, copied) = self.signal_mut(signal);
        if !read_at.is_some_and(|read_at| elapsed(read_at, at) >= QUIET) {
            (*read_at, *copied) = (None, true);
        }
    }

    fn signal_mut(&mut self, signal: Signal) -> (&mut Option<Timestamp>, &mut bool) {
        let seen = &mut self.seen;
        match signal {
            Signal::Nonce => (&mut seen.nonce_read_at, &mut seen.nonce_copied),
            Signal::Failure => (&mut seen.failure_read_at, &mut seen.failure_copied),
            Signal::Started => (&mut seen.started_read_at, &mut seen.started_copied),
        }
    }

    /// The kickstart's read can no longer be taken back, so its medium was streamed, and a copy
    /// made from now on does not change that.
    fn kickstart_stands(&self, at: Timestamp) -> bool {
        self.seen.ks_read_at.is_some_and(|ks_read_at| elapsed(ks_read_at, at) >= QUIET)
    }

    pub fn mode(&self) -> MediaMode {
        let untouched = self.ranges.before.is_empty() && self.ranges.since.is_empty();
        let in_pieces = self.manner.jumped || self.manner.front <= SWEEP_BYTES_MAX;
        if self.copied {
            MediaMode::Prefetched
        } else if self.manner.ranged && in_pieces {
            MediaMode::Streamed
        } else if untouched {
            MediaMode::None
        } else {
            MediaMode::Prefetched
        }
    }

    pub fn has_payload(&self, marks: &Landmarks) -> bool {
        !marks.payload.is_empty() && marks.payload.iter().all(|extent| self.ranges.since.contains(extent))
    }

    /// How far a copy has come that is made before the reset.
    pub fn copying_step(&self) -> u64 {
        let step = self.ranges.before.bytes() * COPYING_STEPS / self.seen.total.max(1);
        if self.copied { COPYING_STEPS } else { step }
    }

    /// What is worth a write to the database before the bytes leave.
    pub fn milestones(&self) -> Milestones {
        let seen = &self.seen;
        let times = [
            seen.first_read_at,
            seen.loaded_at,
            seen.read_through_at,
            seen.ks_read_at,
            seen.nonce_read_at,
            seen.failure_read_at,
            seen.started_read_at,
            seen.reenumerated_at,
            seen.ks_read_again_at,
        ];
        let copied = [seen.nonce_copied, seen.failure_copied, seen.started_copied];
        (seen.mode, copied, self.loading_step(LOADING_STEPS), times)
    }
}
