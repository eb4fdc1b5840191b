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
//! # Several controllers
//!
//! Each may serve a part of the same medium. What they save holds the ranges that were read ([`ReadRanges`]), the store
//! unites them, and a rule applies to the union: at the latest when the driver learns of it, which takes back what it
//! has to.
//!
//! The first two rules alone can take a download over several connections for a host. On CD1 that
//! costs nothing, because all evidence also rests on the kickstart's read, which the gap guards. So
//! a [`MediumTrace`] with `ks_read_at` is always [`MediaMode::Streamed`].

mod gap;
mod landmarks;
mod manner;
mod reads;

use std::ops::Range;
use std::time::Duration;
use strum::VariantArray as _;

use jiff::Timestamp;

use crate::domain::{MediaMode, Medium, MediumTrace, ReadRanges, overlaps};
use shoal_base::world::elapsed;
use shoal_image::installer::Landmarks;

use gap::Gap;
use landmarks::Signal;
pub use landmarks::{KickstartPlace, MediumLandmarks};
use reads::{Milestones, Reads, SHARED_LOADING_STEPS};

/// Silence of CD1 that separates a host's boots, and the time in which a copy that reached the
/// kickstart first gives itself away by the gap.
pub const QUIET: Duration = Duration::from_secs(60);
/// Ranges that go straight on from the first byte are a download from here on. More than the
/// read-ahead over the metadata of an image, which a host reads in order too.
pub const SWEEP_BYTES_MAX: u64 = 1 << 20;

/// More than a system reads of a CD to show it, and less than any boot loader reads of an installer.
pub const LOADED_BYTES: u64 = 4 << 20;

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
    /// Other controllers may serve parts of the same media.
    is_shared: bool,
}

impl Trace {
    pub fn new(is_shared: bool) -> Trace {
        Trace { is_shared, ..Trace::default() }
    }

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
        let ranges = saved.ranges.clone();
        *self.reads_mut(medium) = Reads::restored(total, marks, saved, reset_at);
        self.firmware = Firmware { last_read_at: Some(now), round: None };
        self.learn_gaps(medium, &ranges);
    }

    /// Takes up what another controller has seen of a medium.
    pub fn learn(&mut self, medium: Medium, saved: MediumTrace) {
        let ranges = saved.ranges.clone();
        self.reads_mut(medium).learn(saved);
        self.learn_gaps(medium, &ranges);
    }

    /// A copy that was fetched through several controllers is one in what all of them have seen.
    fn learn_gaps(&mut self, medium: Medium, ranges: &ReadRanges) {
        let carrier = self.carrier();
        let at = self.reads(carrier).seen.last_read_at.unwrap_or_default();
        if medium != carrier || *ranges == ReadRanges::default() {
            return;
        }
        self.gap.learn(ranges);
        self.signal_gaps.iter_mut().for_each(|gap| gap.learn(ranges));
        self.withdraw_copied(at);
        let reads = self.reads_mut(carrier);
        reads.seen.mode = reads.mode();
    }

    /// Takes back what was counted as the host's, and was a copy's on its way over the gap before it.
    fn withdraw_copied(&mut self, at: Timestamp) {
        let carrier = match self.carrier() {
            Medium::Boot => &mut self.installer,
            Medium::Task => &mut self.task,
        };
        let Some(place) = carrier.marks.kickstart.clone() else { return };
        if self.gap.is_copied() {
            carrier.withdraw_kickstart(at);
        }
        for (gap, signal) in self.signal_gaps.iter().zip(Signal::VARIANTS) {
            if place.signal(*signal).is_some() && gap.is_copied() {
                carrier.withdraw_signal(*signal, at);
            }
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
        self.installer.start(at);
        self.task.start(at);
    }

    /// Says whether this read changed a milestone of its medium, which must then be durable before
    /// the bytes leave.
    pub fn read(&mut self, read: &Read) -> bool {
        let before = self.milestones(read.medium);
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
        self.milestones(read.medium) != before
    }

    /// What is worth a write to the database before the bytes leave.
    fn milestones(&self, medium: Medium) -> (Milestones, Option<[u64; 7]>) {
        let reads = self.reads(medium);
        let spread = self.is_shared.then(|| {
            let [nonce, failure, started] = &self.signal_gaps;
            let [gap, nonce, failure, started] = [&self.gap, nonce, failure, started].map(Gap::step);
            let (loading, map) = (reads.loading_step(SHARED_LOADING_STEPS), reads.seen.map.saving_step());
            [loading, map, reads.copying_step(), gap, nonce, failure, started]
        });
        (reads.milestones(), spread)
    }

    /// What the store keeps of a medium: with all that other controllers need to go on counting, if there are any.
    pub fn kept(&self, medium: Medium) -> MediumTrace {
        let reads = self.reads(medium);
        let ReadRanges { reset_at, loaded_bytes, .. } = reads.ranges;
        let alone = || ReadRanges { reset_at, loaded_bytes, ..ReadRanges::default() };
        let ranges = if self.is_shared { reads.ranges.clone() } else { alone() };
        MediumTrace { ranges, ..reads.seen.clone() }
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
        self.gap.note(read);
        self.signal_gaps.iter_mut().for_each(|gap| gap.note(read));
        self.withdraw_copied(read.at);
        let reenumerated = self.installer.seen.reenumerated_at.is_some();
        let installer = self.installer.seen.clone();
        let carrier = match self.carrier() {
            Medium::Boot => &mut self.installer,
            Medium::Task => &mut self.task,
        };
        let Some(place) = carrier.marks.kickstart.clone() else { return };
        let is_kickstart = overlaps(&read.range, &place.kickstart);
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
        let is_replaced = first.is_some_and(|first| !installer.may_be_loaded_by(first));
        if is_replaced || (first.is_none() && !reenumerated) {
            (carrier.seen.ks_read_at, carrier.seen.ks_read_loaded) =
                (Some(read.at), installer.may_be_loaded_by(read.at));
        } else if reenumerated || is_later {
            let again = &mut carrier.seen.ks_read_again_at;
            if again.is_none_or(|at| elapsed(at, read.at) >= QUIET) {
                *again = Some(read.at);
                self.firmware.round = None;
            }
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

#[cfg(test)]
mod tests;
