//! What the reads of one job's media show of its host. A pure state machine: reads in, milestones out.
//!
//! It receives every slice of an image just before that slice leaves, and the job's own reset. It is
//! not a log (nothing here grows with the number of reads) and no judge (`flow::detect` is).
//! Invariant: a read before our reset never counts as the host's, and a BMC that copies an image
//! never looks like a host that reads it.
//!
//! # Who reads: the host, or its BMC?
//!
//! A BMC either streams (it fetches the blocks that its host asks for, with some read-ahead) or
//! downloads (at insert, at power-on, or in the background) and serves its host from the copy. Only
//! the reads of a streamed medium show the host. What sets the two apart:
//!
//! - *A copy is whole.* Nearly all of an image fetched before our reset: [`MediaMode::Prefetched`],
//!   and it stays so, whatever is read afterwards (a BMC may check its copy).
//! - *A copy goes straight on.* A GET without a range, or ranges that each continue where the last
//!   one ended, from the first byte on, for more than [`SWEEP_BYTES_MAX`], is a download, also after
//!   the reset and across it. A host cannot read so: it goes from the descriptors at 32 KiB to the
//!   boot catalogue, to a boot file, back to a directory. The first jump shows a host
//!   ([`MediaMode::Streamed`]), unless the sweep has come to the end of the image by then.
//! - *A copy holds what no file system needs.* Between the metadata and the kickstart of a task ISO lie
//!   4 MiB of zeros that belong to no file. A client that reads half of them copies, in whatever order and
//!   over however many connections. So the kickstart counts as read only by a read of its extent
//!   before half of that gap has been read (before the reset too), and the word is taken back if
//!   the gap follows within [`QUIET`]: then it was a copy that began at the end. Between the
//!   kickstart and the nonce lies such a gap again; the nonce counts as read only after the
//!   kickstart, and under the same rule for this second gap. The medium of a Linux or Windows job has its recipe in
//!   the kickstart's place, what is read for success in the nonce's, and behind a gap each what is read for failure and what its agent
//!   reads when it starts; that counts before either of the others alone.
//!
//! A system on the disk may read its CDs too. An installer is loaded from CD1 first: a kickstart's read from
//! before [`LOADED_BYTES`] (or half the payload) is replaced by the next one.
//!
//! The first two rules alone can take a download over several connections for a host. On CD1 that
//! costs nothing, because all evidence also rests on the kickstart's read, which the gap guards. So
//! a [`MediumTrace`] with `ks_read_at` is always [`MediaMode::Streamed`].

mod coverage;
mod gap;
mod landmarks;
mod manner;

use std::ops::Range;
use std::time::Duration;
use strum::VariantArray as _;

use jiff::Timestamp;

use crate::domain::{MediaMode, Medium, MediumTrace};
use shoal_base::world::elapsed;
use shoal_image::installer::Landmarks;

use coverage::{Coverage, overlaps};
use gap::Gap;
use landmarks::Signal;
pub use landmarks::{KickstartPlace, MediumLandmarks};
use manner::Manner;

/// Silence of CD1 that separates a host's boots, and the time in which a copy that reached the
/// kickstart first gives itself away by the gap.
pub const QUIET: Duration = Duration::from_secs(60);
/// Ranges that go straight on from the first byte are a download from here on. More than the
/// read-ahead over the metadata of an image, which a host reads in order too.
pub const SWEEP_BYTES_MAX: u64 = 1 << 20;

/// More than a system reads of a CD to show it, and less than any boot loader reads of an installer.
pub const LOADED_BYTES: u64 = 4 << 20;

/// Steps in which what has been read on the way there becomes durable: the bytes that a crash makes the
/// controller forget are not read again, and without them a kickstart's read would never count.
const LOADING_STEPS: u64 = 16;

/// One slice of an image, about to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub medium: Medium,
    pub range: Range<u64>,
    /// The request asked for the whole image.
    pub whole: bool,
    pub at: Timestamp,
}

/// The reads of both media of one job.
#[derive(Debug, Default)]
pub struct Trace {
    reset_at: Option<Timestamp>,
    installer: Reads,
    task: Reads,
    /// The installer's CD carries the kickstart too, and the host reads it there.
    is_single: bool,
    gap: Gap,
    /// Before each [`Signal`].
    signal_gaps: [Gap; 3],
    firmware: Firmware,
}

impl Trace {
    /// Takes up a medium of `total` bytes, with what an earlier run of this controller saved of it.
    pub fn publish(
        &mut self,
        medium: Medium,
        total: u64,
        marks: MediumLandmarks,
        saved: MediumTrace,
        now: Timestamp,
    ) {
        let reset_at = self.reset_at;
        if medium == Medium::Boot {
            self.is_single = marks.kickstart.is_some();
        }
        if medium == self.carrier()
            && let Some(place) = &marks.kickstart
        {
            self.gap = Gap::new(place.rest_end..place.kickstart.start);
            for (gap, signal) in self.signal_gaps.iter_mut().zip(Signal::VARIANTS) {
                *gap = Gap::new(place.gap_before(*signal));
            }
        }
        *self.reads_mut(medium) = Reads::restored(total, marks, saved, reset_at);
        self.firmware = Firmware { last_read_at: Some(now), round: None };
    }

    /// Takes up what another controller has seen of a medium since the reset.
    pub fn learn(&mut self, medium: Medium, saved: MediumTrace) {
        if self.reset_at.is_some() && saved.last_read_at >= self.reset_at {
            let reset_at = self.reset_at;
            self.reads_mut(medium).learn(saved, reset_at);
        }
    }

    /// Our reset: reads from now on are the host's. A later reset starts anew (the earlier one is
    /// known not to have happened), but never once the kickstart has been read.
    pub fn start(&mut self, at: Timestamp) {
        let stands = self.reset_at.is_some_and(|reset_at| at <= reset_at);
        let is_read = self.kickstart().ks_read_at.is_some_and(|at| self.installer.seen.may_be_loaded_by(at));
        if stands || is_read {
            return;
        }
        self.reset_at = Some(at);
        self.installer.start();
        self.task.start();
    }

    /// Says whether this read changed a milestone of its medium, which must then be durable before
    /// the bytes leave.
    pub fn read(&mut self, read: &Read) -> bool {
        let before = self.reads(read.medium).milestones();
        let hosts = self.reset_at.is_some();
        self.reads_mut(read.medium).read(read, hosts);
        if read.medium == Medium::Boot {
            self.read_installer(read, hosts);
        }
        if read.medium == self.carrier() {
            self.read_kickstart(read, hosts);
        }
        let reads = self.reads_mut(read.medium);
        reads.seen.mode = reads.mode();
        reads.milestones() != before
    }

    pub fn seen(&self, medium: Medium) -> &MediumTrace {
        &self.reads(medium).seen
    }

    /// Of the medium that the host reads the kickstart from.
    pub fn kickstart(&self) -> &MediumTrace {
        self.seen(self.carrier())
    }

    fn carrier(&self) -> Medium {
        if self.is_single { Medium::Boot } else { Medium::Task }
    }

    /// A fetch ended as it should: what went wrong before it did no lasting harm.
    pub fn completed(&mut self, medium: Medium) {
        let seen = &mut self.reads_mut(medium).seen;
        (seen.fault, seen.fault_at) = (None, None);
    }

    /// A fetch was refused or broken off.
    pub fn failed(&mut self, medium: Medium, fault: String, now: Timestamp) {
        let seen = &mut self.reads_mut(medium).seen;
        seen.fault = Some(fault);
        seen.fault_at.get_or_insert(now);
    }

    fn read_installer(&mut self, read: &Read, hosts: bool) {
        let ks_read_at = self.kickstart().ks_read_at;
        let Some(marks) = &self.installer.marks.installer else { return };
        if hosts && self.installer.seen.read_through_at.is_none() && self.installer.has_payload(marks) {
            self.installer.seen.read_through_at = Some(read.at);
        }
        let enumerated = self.firmware.read(read, marks, ks_read_at);
        let streamed = self.installer.mode() == MediaMode::Streamed;
        // Once a run; the next one begins with its kickstart's read.
        let again = self.kickstart().ks_read_again_at;
        let known = self.installer.seen.reenumerated_at;
        if enumerated && hosts && streamed && known.is_none_or(|known| again > Some(known)) {
            self.installer.seen.reenumerated_at = Some(read.at);
            self.gap.forget();
        }
    }

    fn read_kickstart(&mut self, read: &Read, hosts: bool) {
        let reenumerated = self.installer.seen.reenumerated_at.is_some();
        let installer = self.installer.seen.clone();
        let carrier = match self.carrier() {
            Medium::Boot => &mut self.installer,
            Medium::Task => &mut self.task,
        };
        let Some(place) = carrier.marks.kickstart.clone() else { return };
        let is_kickstart = overlaps(&read.range, &place.kickstart);
        self.gap.note(read);
        if self.gap.is_copied() {
            carrier.withdraw_kickstart(read.at);
        }
        for (gap, signal) in self.signal_gaps.iter_mut().zip(Signal::VARIANTS) {
            gap.note(read);
            if place.signal(*signal).is_some() && gap.is_copied() {
                carrier.withdraw_signal(*signal, read.at);
            }
        }
        let streamed = carrier.mode() == MediaMode::Streamed && !self.gap.is_copied();
        if !(hosts && streamed) || read.whole {
            return;
        }
        if carrier.seen.ks_read_at.is_some() {
            let is_read =
                |signal: &&Signal| place.signal(**signal).is_some_and(|it| overlaps(&read.range, it));
            Signal::VARIANTS.iter().filter(is_read).for_each(|signal| carrier.signal_read(*signal, read.at));
        }
        if !is_kickstart {
            return;
        }
        // Each run of the installer reads it once, in one go. A firmware's look at its drives may be
        // missed: while the controller is away, or where the BMC reads nothing during the self test.
        let first = carrier.seen.ks_read_at;
        let is_later = first.is_some_and(|first| elapsed(first, read.at) >= QUIET);
        if first.is_some_and(|first| !installer.may_be_loaded_by(first)) {
            carrier.seen.ks_read_at = Some(read.at);
        } else if reenumerated || is_later {
            let again = &mut carrier.seen.ks_read_again_at;
            if again.is_none_or(|at| elapsed(at, read.at) >= QUIET) {
                *again = Some(read.at);
                self.firmware.round = None;
            }
        } else {
            carrier.seen.ks_read_at.get_or_insert(read.at);
        }
    }

    fn reads(&self, medium: Medium) -> &Reads {
        match medium {
            Medium::Boot => &self.installer,
            Medium::Task => &self.task,
        }
    }

    fn reads_mut(&mut self, medium: Medium) -> &mut Reads {
        match medium {
            Medium::Boot => &mut self.installer,
            Medium::Task => &mut self.task,
        }
    }
}

/// Watches CD1 for a firmware that enumerates its drives again.
#[derive(Debug, Default)]
struct Firmware {
    last_read_at: Option<Timestamp>,
    /// What has been read since the last silence; absent before there was one.
    round: Option<Round>,
}

#[derive(Debug, Default)]
struct Round {
    descriptors: bool,
    boot_catalog: bool,
}

impl Firmware {
    /// Whether the descriptors and the boot catalogue have both been read since a silence that began
    /// no sooner than the kickstart's read.
    fn read(&mut self, read: &Read, marks: &Landmarks, ks_read_at: Option<Timestamp>) -> bool {
        let last = self.last_read_at.replace(read.at).max(ks_read_at);
        if ks_read_at.is_none() {
            self.round = None;
        } else if last.is_some_and(|last| elapsed(last, read.at) >= QUIET) {
            self.round = Some(Round::default());
        }
        let Some(round) = self.round.as_mut().filter(|_| !read.whole) else { return false };
        round.descriptors |= overlaps(&read.range, &marks.descriptors);
        round.boot_catalog |=
            marks.boot_catalog.as_ref().is_none_or(|catalog| overlaps(&read.range, catalog));
        round.descriptors && round.boot_catalog
    }
}

/// The reads of one medium.
#[derive(Debug, Default)]
struct Reads {
    seen: MediumTrace,
    marks: MediumLandmarks,
    /// Read before our reset.
    before: Coverage,
    /// Read since our reset, in this run of the controller.
    since: Coverage,
    /// Bytes read since our reset, in earlier runs of the controller.
    since_before: u64,
    manner: Manner,
    /// The BMC holds a copy of (nearly) the whole image.
    copied: bool,
}

impl Reads {
    fn restored(
        total: u64,
        marks: MediumLandmarks,
        saved: MediumTrace,
        reset_at: Option<Timestamp>,
    ) -> Reads {
        let copied = saved.mode == MediaMode::Prefetched;
        let streamed = saved.mode == MediaMode::Streamed;
        let manner = Manner { ranged: streamed, jumped: streamed, front: 0 };
        let mut reads = Reads { copied, manner, marks, ..Reads::default() };
        let (mode, fault, map) = (saved.mode, saved.fault.clone(), reads.marks.read_map());
        reads.seen = MediumTrace { mode, total, fault, map, ..MediumTrace::default() };
        // Of an earlier start only the mode stays. The start may have been noted a moment after its
        // first reads.
        if reset_at.is_some() && saved.last_read_at >= reset_at {
            let first_read_at = saved.first_read_at.max(reset_at);
            let since_reset = |at: Option<Timestamp>| at.filter(|at| Some(*at) >= reset_at);
            let (loaded_at, read_through_at) =
                (since_reset(saved.loaded_at), since_reset(saved.read_through_at));
            reads.since_before = saved.read;
            reads.seen = MediumTrace { total, first_read_at, loaded_at, read_through_at, ..saved };
        }
        if copied {
            (reads.seen.ks_read_at, reads.seen.ks_read_again_at) = (None, None);
            reads.seen.nonce_read_at = None;
            reads.seen.failure_read_at = None;
            reads.seen.started_read_at = None;
        }
        reads
    }

    fn learn(&mut self, saved: MediumTrace, reset_at: Option<Timestamp>) {
        let theirs = Reads::restored(self.seen.total, self.marks.clone(), saved, reset_at);
        self.copied |= theirs.copied;
        self.manner.ranged |= theirs.manner.ranged;
        self.manner.jumped |= theirs.manner.jumped;
        // The parts that they have seen are not known, so they may be counted twice.
        self.since_before = self.since_before.max(theirs.seen.read.saturating_sub(self.since.bytes()));
        self.seen = theirs.seen.joined(std::mem::take(&mut self.seen));
        self.seen.mode = self.mode();
    }

    fn start(&mut self) {
        let MediumTrace { mode, total, fault, .. } = std::mem::take(&mut self.seen);
        self.seen = MediumTrace { mode, total, fault, map: self.marks.read_map(), ..MediumTrace::default() };
        (self.since, self.since_before) = (Coverage::default(), 0);
    }

    fn read(&mut self, read: &Read, hosts: bool) {
        if hosts && self.since.is_empty() {
            self.manner.begin_anew();
        }
        self.manner.read(read);
        if hosts {
            self.count(read);
        } else {
            self.before.insert(read.range.clone());
        }
        let straight_on = if self.manner.jumped { 0 } else { self.manner.front };
        let in_one_request = if read.whole { read.range.end } else { 0 };
        let most = self.before.bytes().max(straight_on).max(in_one_request);
        self.copied |= !self.kickstart_stands(read.at) && self.is_nearly_all(most);
    }

    fn count(&mut self, read: &Read) {
        let new = self.since.insert(read.range.clone());
        let seen = &mut self.seen;
        // What was read before a crash may be read, and is counted, once more; never more than there is.
        seen.read = (self.since_before + self.since.bytes()).min(seen.total);
        seen.map.note(&read.range, seen.total, read.at);
        seen.first_read_at.get_or_insert(read.at);
        seen.last_read_at = Some(read.at);
        if new > 0 {
            seen.last_new_read_at = Some(read.at);
        }
        if self.marks.loaded_bytes().is_some_and(|wanted| seen.read >= wanted) {
            seen.loaded_at.get_or_insert(read.at);
        }
    }

    /// How far the loading of an installer has come.
    fn loading_step(&self) -> u64 {
        let step = self.marks.loaded_bytes().map_or(u64::MAX, |wanted| wanted.div_ceil(LOADING_STEPS));
        (self.seen.read / step.max(1)).min(LOADING_STEPS)
    }

    /// The gap before the kickstart has been read, so the image is being copied; and so it was when
    /// the kickstart's extent was read a moment ago.
    fn withdraw_kickstart(&mut self, at: Timestamp) {
        if !self.kickstart_stands(at) {
            self.seen.ks_read_at = None;
            self.seen.nonce_read_at = None;
            self.seen.failure_read_at = None;
            self.seen.started_read_at = None;
            self.copied = true;
        }
    }

    fn signal_read(&mut self, signal: Signal, at: Timestamp) {
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
    fn withdraw_signal(&mut self, signal: Signal, at: Timestamp) {
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

    fn mode(&self) -> MediaMode {
        let untouched = self.before.is_empty() && self.since.is_empty();
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

    fn has_payload(&self, marks: &Landmarks) -> bool {
        !marks.payload.is_empty() && marks.payload.iter().all(|extent| self.since.contains(extent))
    }

    fn is_nearly_all(&self, bytes: u64) -> bool {
        bytes > 0 && bytes >= self.seen.total - self.seen.total / 16
    }

    /// What is worth a write to the database before the bytes leave.
    fn milestones(&self) -> (MediaMode, [bool; 3], [u64; 2], [Option<Timestamp>; 9]) {
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
        (seen.mode, copied, [self.loading_step(), seen.map.saving_step()], times)
    }
}

#[cfg(test)]
mod tests;
