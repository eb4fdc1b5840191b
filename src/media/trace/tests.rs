//! Every rule of the trace as a play: what happens to the media, and what is seen of it.
//!
//! Times are seconds since the play's start. Invariant: a play drives the trace as the server does,
//! slice by slice, and keeps what the store would keep.

mod copies;
mod shared;
mod signals;

use super::*;
use crate::domain::length;
use Medium::{Boot, Task};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const CD1_BYTES: u64 = 64 * MIB;
const METADATA_END: u64 = 60 * KIB;
const KS: Range<u64> = METADATA_END + 4 * MIB..METADATA_END + 4 * MIB + 2 * KIB;
const CD2_BYTES: u64 = KS.end + 30 * KIB;
/// Of a task ISO that has one.
const NONCE: Range<u64> = KS.end + 4 * MIB..KS.end + 4 * MIB + 2 * KIB;
const DESCRIPTORS: Range<u64> = 32 * KIB..40 * KIB;
const CATALOG: Range<u64> = 2 * MIB..2 * MIB + 2 * KIB;
const BOOT_CFG: Range<u64> = 3 * MIB..3 * MIB + 2 * KIB;
const KERNEL: Range<u64> = 4 * MIB..10 * MIB;
const MODULES: Range<u64> = 20 * MIB..60 * MIB;

/// Something that happens to the media, `.0` seconds after the test's start.
#[derive(Clone, Debug)]
enum Do {
    /// Our reset.
    Reset(i64),
    /// A request for a part.
    Part(i64, Medium, Range<u64>),
    /// A GET without a range that was broken off at the given byte.
    Whole(i64, Medium, u64),
    /// The controller was killed and started again.
    Crash(i64),
}
use Do::{Crash, Part, Reset, Whole};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + secs).unwrap()
}

/// Seconds since the test's start of the milestones that were reached.
fn secs(times: [Option<Timestamp>; 5]) -> [Option<i64>; 5] {
    times.map(|time| time.map(|time| time.as_second() - 1_800_000_000))
}

/// Drives a [`Trace`] as the server does: slices of at most 256 KiB, milestones kept for a restart.
struct TraceBench {
    trace: Trace,
    reset_at: Option<Timestamp>,
    saved: [MediumTrace; 2],
    /// Nonce, failure, started.
    signals: [Option<Range<u64>>; 3],
    /// Behind everything else on CD2.
    image_bytes: u64,
}

impl TraceBench {
    fn new() -> TraceBench {
        TraceBench::with_signals([None, None, None])
    }

    fn with_signals(signals: [Option<Range<u64>>; 3]) -> TraceBench {
        let saved = Default::default();
        let mut bench =
            TraceBench { trace: Trace::default(), reset_at: None, saved, signals, image_bytes: 0 };
        bench.publish(at(0));
        bench
    }

    fn publish(&mut self, now: Timestamp) {
        let installer = Landmarks {
            descriptors: DESCRIPTORS,
            boot_catalog: Some(CATALOG),
            payload: vec![KERNEL, MODULES],
        };
        if let Some(reset_at) = self.reset_at {
            self.trace.start(reset_at);
        }
        let last = self.signals.iter().flatten().next_back();
        let cd2_bytes = last.map_or(CD2_BYTES, |last| last.end + 4 * MIB) + self.image_bytes;
        let [nonce, failure, started] = self.signals.clone();
        let place = KickstartPlace { kickstart: KS, nonce, failure, started, rest_end: METADATA_END };
        let task = MediumLandmarks::task(place);
        let [saved_installer, saved_task] = self.saved.clone();
        let marks = MediumLandmarks::installer(installer);
        self.trace.publish(Boot, CD1_BYTES, marks, saved_installer, now);
        self.trace.publish(Task, cd2_bytes, task, saved_task, now);
    }

    fn play(&mut self, act: &Do) {
        match act.clone() {
            Reset(secs) => {
                self.reset_at = Some(at(secs));
                self.trace.start(at(secs));
            }
            Part(secs, medium, range) => self.read(secs, medium, range, false),
            Whole(secs, medium, end) => self.read(secs, medium, 0..end, true),
            Crash(secs) => {
                self.trace = Trace::default();
                self.publish(at(secs));
            }
        }
    }

    fn read(&mut self, secs: i64, medium: Medium, range: Range<u64>, whole: bool) {
        for start in range.clone().step_by(256 << 10) {
            let slice = start..range.end.min(start + (256 << 10));
            if self.trace.read(&Read { medium, range: slice, whole, at: at(secs) }) {
                let saved = &mut self.saved[medium as usize];
                *saved = std::mem::take(saved).joined(self.trace.kept(medium));
            }
        }
    }
}

/// What is expected of both media: their modes, and when the milestones were reached.
#[derive(Debug, Default, PartialEq)]
struct ExpectedTrace {
    modes: (MediaMode, MediaMode),
    first: Option<i64>,
    through: Option<i64>,
    ks: Option<i64>,
    reenumerated: Option<i64>,
    ks_again: Option<i64>,
}

fn play(acts: &[Do]) -> TraceBench {
    let mut bench = TraceBench::new();
    acts.iter().for_each(|act| bench.play(act));
    bench
}

fn seen(acts: &[Do]) -> ExpectedTrace {
    let bench = play(acts);
    let (cd1, cd2) = (bench.trace.seen(Boot), bench.trace.seen(Task));
    let times =
        [cd1.first_read_at, cd1.read_through_at, cd2.ks_read_at, cd1.reenumerated_at, cd2.ks_read_again_at];
    let [first, through, ks, reenumerated, ks_again] = secs(times);
    ExpectedTrace { modes: (cd1.mode, cd2.mode), first, through, ks, reenumerated, ks_again }
}

#[track_caller]
fn check(acts: &[Do], expected: ExpectedTrace) {
    assert_eq!(seen(acts), expected);
}

const STREAMED: (MediaMode, MediaMode) = (MediaMode::Streamed, MediaMode::Streamed);

/// A host that boots the installer after a reset at 10 s and reads the kickstart at 200 s.
fn install() -> Vec<Do> {
    vec![
        Reset(10),
        Part(60, Boot, DESCRIPTORS),
        Part(60, Boot, CATALOG),
        Part(61, Boot, BOOT_CFG),
        Part(70, Boot, KERNEL),
        Part(100, Boot, MODULES),
        Part(199, Task, DESCRIPTORS),
        Part(200, Task, KS),
    ]
}

fn with(mut acts: Vec<Do>, more: &[Do]) -> Vec<Do> {
    acts.extend_from_slice(more);
    acts
}

#[test]
fn nothing_fetched_is_no_mode_at_all() {
    check(&[Reset(10)], ExpectedTrace::default());
}

#[test]
fn a_streaming_host_reaches_every_milestone_in_order() {
    let installed = ExpectedTrace {
        modes: STREAMED,
        first: Some(60),
        through: Some(100),
        ks: Some(200),
        ..ExpectedTrace::default()
    };
    check(&install(), installed);
    let second_boot = [
        Part(500, Boot, DESCRIPTORS),
        Part(501, Boot, CATALOG),
        Part(510, Boot, BOOT_CFG),
        Part(700, Task, DESCRIPTORS),
        Part(701, Task, KS),
    ];
    let looped = ExpectedTrace {
        modes: STREAMED,
        first: Some(60),
        through: Some(100),
        ks: Some(200),
        reenumerated: Some(501),
        ks_again: Some(701),
    };
    check(&with(install(), &second_boot), looped);
    let third_run = [Part(1000, Task, DESCRIPTORS), Part(1001, Task, KS), Part(1002, Task, KS)];
    let acts = with(with(install(), &second_boot), &third_run);
    assert_eq!(seen(&acts).ks_again, Some(1001), "the last run of the installer counts");
}

#[test]
fn reads_before_our_reset_are_not_the_hosts() {
    let before: Vec<Do> = install().into_iter().skip(1).collect();
    check(&before, ExpectedTrace { modes: STREAMED, ..ExpectedTrace::default() });
    let after = with(before, &[Reset(300), Part(400, Boot, CATALOG)]);
    check(&after, ExpectedTrace { modes: STREAMED, first: Some(400), ..ExpectedTrace::default() });
}

#[test]
fn the_payload_counts_only_from_the_reset_on() {
    let acts = [Part(1, Boot, KERNEL), Reset(10), Part(20, Boot, DESCRIPTORS), Part(30, Boot, MODULES)];
    check(
        &acts,
        ExpectedTrace {
            modes: (MediaMode::Streamed, MediaMode::None),
            first: Some(20),
            ..ExpectedTrace::default()
        },
    );
    let acts = with(acts.to_vec(), &[Part(40, Boot, KERNEL)]);
    assert_eq!(seen(&acts).through, Some(40));
}

#[test]
fn media_fetched_whole_before_the_reset_show_nothing() {
    let acts = with(vec![Whole(1, Boot, CD1_BYTES), Whole(2, Task, CD2_BYTES)], &install());
    let expected = ExpectedTrace {
        modes: (MediaMode::Prefetched, MediaMode::Prefetched),
        first: Some(60),
        through: Some(100),
        ..ExpectedTrace::default()
    };
    check(&acts, expected);
}

#[test]
fn a_look_at_insert_does_not_spoil_a_streamed_medium() {
    let look = [Part(1, Boot, 0..64 * KIB), Part(1, Task, 0..64 * KIB), Whole(2, Task, 128 * KIB)];
    assert_eq!(seen(&with(look.to_vec(), &install())).ks, Some(200));
}

#[test]
fn a_download_at_power_on_is_no_host() {
    let acts = [Reset(10), Whole(20, Boot, CD1_BYTES), Whole(50, Task, CD2_BYTES)];
    let got = seen(&acts);
    assert_eq!((got.modes, got.ks), ((MediaMode::Prefetched, MediaMode::Prefetched), None));
}

#[test]
fn a_download_in_ranges_is_no_host_from_its_first_megabyte_on() {
    let chunks = |medium, bytes: u64| {
        (0..bytes).step_by(512 << 10).map(move |at| Part(20, medium, at..(at + 512 * KIB).min(bytes)))
    };
    let begun: Vec<Do> = [Reset(10)].into_iter().chain(chunks(Boot, 2 * MIB)).collect();
    assert_eq!(seen(&begun).modes.0, MediaMode::Prefetched);
    let jumped = with(begun, &[Part(30, Boot, MODULES)]);
    assert_eq!(seen(&jumped).modes.0, MediaMode::Streamed, "a host with a long read-ahead");
    let whole: Vec<Do> = [Reset(10)].into_iter().chain(chunks(Boot, CD1_BYTES)).collect();
    assert_eq!(seen(&with(whole, &[Part(90, Boot, CATALOG)])).modes.0, MediaMode::Prefetched);
}

#[test]
fn a_download_may_straddle_the_reset() {
    let acts = [
        Part(1, Task, 0..METADATA_END + 3 * MIB),
        Reset(10),
        Part(11, Task, METADATA_END + 3 * MIB..CD2_BYTES),
    ];
    assert_eq!((seen(&acts).modes.1, seen(&acts).ks), (MediaMode::Prefetched, None));
}

#[test]
fn a_resumed_download_is_no_host() {
    let half = METADATA_END + 2 * MIB + 64 * KIB;
    let acts = [Reset(10), Whole(20, Task, half), Part(30, Task, half..CD2_BYTES)];
    assert_eq!((seen(&acts).modes.1, seen(&acts).ks), (MediaMode::Prefetched, None));
}

#[test]
fn a_copy_that_begins_at_the_end_takes_the_kickstarts_read_back() {
    let tail_first = with(install(), &[Part(230, Task, METADATA_END..KS.start)]);
    assert_eq!((seen(&tail_first).modes.1, seen(&tail_first).ks), (MediaMode::Prefetched, None));
    let long_after = with(install(), &[Part(261, Task, METADATA_END..KS.start)]);
    assert_eq!(seen(&long_after).ks, Some(200), "the kickstart was read by then, whatever the BMC does");
    let whole = seen(&with(install(), &[Whole(261, Task, CD2_BYTES), Crash(270)]));
    assert_eq!((whole.modes.1, whole.ks), (MediaMode::Streamed, Some(200)));
}

#[test]
fn a_restart_does_not_bring_a_taken_back_kickstart_read_again() {
    let mut bench = play(&with(install(), &[Part(230, Task, METADATA_END..KS.start)]));
    // The store keeps the first time of a milestone, even if it is taken back later.
    bench.saved[Task as usize].ks_read_at = Some(at(200));
    bench.play(&Crash(240));
    assert_eq!(bench.trace.seen(Task).ks_read_at, None);
}

/// A host reads each part of an installer once. What a crash makes the controller forget never comes again.
#[test]
fn an_installer_that_is_loaded_while_the_controller_crashes_counts_as_loaded() {
    let wanted = KERNEL.start..KERNEL.start + LOADED_BYTES + MIB;
    let pieces = wanted.clone().step_by(1 << 20).map(|start| start..start + MIB);
    let loads = pieces.flat_map(|piece| [Part(20, Boot, piece), Crash(21)]);
    let acts: Vec<Do> = [Reset(10)].into_iter().chain(loads).chain([Part(30, Task, KS)]).collect();
    let bench = play(&acts);
    let loaded_by = |at: i64| bench.trace.seen(Boot).may_be_loaded_by(self::at(at));
    assert!(loaded_by(30), "{:?}", bench.trace.seen(Boot));
    let little = [Reset(10), Part(20, Boot, KERNEL.start..KERNEL.start + MIB), Crash(21), Part(30, Task, KS)];
    assert!(!play(&little).trace.seen(Boot).may_be_loaded_by(at(30)), "a megabyte is no installer");
}

/// The system on the disk shows what is in its drives, and reads the files there.
#[test]
fn a_kickstart_that_was_read_before_the_installer_is_read_anew() {
    let little = [Part(11, Boot, DESCRIPTORS), Part(12, Boot, CATALOG), Part(13, Task, KS)];
    let story = with(vec![Part(5, Boot, KERNEL), Reset(10)], &little);
    assert_eq!(seen(&story).ks, Some(13));
    let installs = [Part(30, Boot, KERNEL), Crash(35), Part(40, Task, KS), Part(45, Task, KS)];
    let installed = with(story.clone(), &installs);
    assert_eq!(seen(&installed).ks, Some(40));
    assert_eq!(seen(&with(installed, &[Crash(50)])).ks, Some(40), "and so says the store");
    assert_eq!(seen(&with(story, &[Reset(20)])).ks, None, "it starts anew");
    let loaded = with(vec![Reset(10), Part(15, Boot, KERNEL)], &[Part(16, Task, KS), Reset(20)]);
    assert_eq!(seen(&loaded).ks, Some(16), "an installer runs");
}

#[test]
fn read_ahead_over_less_than_half_of_the_gap_changes_nothing() {
    let ahead =
        |bytes| seen(&[Reset(10), Part(20, Task, DESCRIPTORS), Part(21, Task, KS.start - bytes..KS.end)]).ks;
    assert_eq!(ahead(MIB), Some(21));
    assert_eq!(ahead(2 * MIB - KIB), Some(21));
    assert_eq!(ahead(2 * MIB), None);
}

#[test]
fn a_second_boot_needs_a_minute_of_quiet_since_the_kickstart() {
    let enumerated = |at| [Part(at, Boot, DESCRIPTORS), Part(at, Boot, CATALOG)];
    assert_eq!(seen(&with(install(), &enumerated(259))).reenumerated, None);
    assert_eq!(seen(&with(install(), &enumerated(260))).reenumerated, Some(260));
    let busy = with(install(), &[Part(250, Boot, MODULES)]);
    assert_eq!(seen(&with(busy.clone(), &enumerated(300))).reenumerated, None);
    assert_eq!(seen(&with(busy, &enumerated(310))).reenumerated, Some(310));
}

#[test]
fn a_second_boot_needs_descriptors_and_boot_catalog_in_one_round() {
    let mounted = with(install(), &[Part(300, Boot, DESCRIPTORS)]);
    assert_eq!(seen(&mounted).reenumerated, None, "an installer that mounts CD1 reads no boot catalogue");
    let later = with(mounted, &[Part(400, Boot, CATALOG)]);
    assert_eq!(seen(&later).reenumerated, None, "each belongs to another round");
    assert_eq!(seen(&with(later, &[Part(401, Boot, DESCRIPTORS)])).reenumerated, Some(401));
}

#[test]
fn without_a_kickstart_read_there_is_no_second_boot() {
    let mut acts = install();
    acts.pop();
    let again = [Part(500, Boot, DESCRIPTORS), Part(500, Boot, CATALOG)];
    assert_eq!(seen(&with(acts, &again)).reenumerated, None);
}

#[test]
fn a_later_reset_starts_anew_until_the_kickstart_is_read() {
    let lost = [Reset(10), Part(20, Boot, DESCRIPTORS), Reset(100)];
    assert_eq!(seen(&lost).first, None);
    assert_eq!(seen(&with(lost.to_vec(), &[Part(130, Boot, CATALOG)])).first, Some(130));
    assert_eq!(seen(&with(install(), &[Reset(300)])).ks, Some(200));
}

#[test]
fn a_restart_keeps_the_milestones_and_waits_for_its_own_minute() {
    let acts = with(install(), &[Crash(230)]);
    let kept = ExpectedTrace {
        modes: STREAMED,
        first: Some(60),
        through: Some(100),
        ks: Some(200),
        ..ExpectedTrace::default()
    };
    check(&acts, kept);
    let enumerated = |at| [Part(at, Boot, DESCRIPTORS), Part(at, Boot, CATALOG)];
    assert_eq!(
        seen(&with(acts.clone(), &enumerated(280))).reenumerated,
        None,
        "who knows what was read before"
    );
    assert_eq!(seen(&with(acts, &enumerated(290))).reenumerated, Some(290));
}

#[test]
fn a_restart_in_the_midst_of_a_download_does_not_make_it_a_host() {
    for broken_at in (256 * KIB..CD2_BYTES).step_by(256 << 10) {
        let acts = [Reset(10), Whole(20, Task, broken_at), Crash(30), Part(31, Task, broken_at..CD2_BYTES)];
        assert_eq!(seen(&acts).ks, None, "broken at {broken_at}");
    }
}

#[test]
fn a_restart_forgets_what_belongs_to_an_earlier_reset() {
    let acts = [Reset(10), Part(20, Boot, DESCRIPTORS), Reset(100), Crash(110)];
    assert_eq!(seen(&acts).first, None);
}

#[test]
fn progress_counts_each_byte_once_and_survives_a_restart() {
    let acts = with(install(), &[Part(300, Boot, KERNEL)]);
    let read = play(&acts).trace.seen(Boot).read;
    let marks = [&DESCRIPTORS, &CATALOG, &BOOT_CFG, &KERNEL, &MODULES];
    assert_eq!(read, marks.into_iter().map(length).sum::<u64>());
    let after = play(&with(install(), &[Crash(230), Part(240, Boot, KERNEL)]));
    assert!(after.trace.seen(Boot).read >= MODULES.end - MODULES.start, "{}", after.trace.seen(Boot).read);
}

/// The nonce's read after `acts`, in seconds, with a nonce on the task ISO.
fn nonce_read(acts: &[Do]) -> Option<i64> {
    let mut bench = TraceBench::with_signals([Some(NONCE), None, None]);
    acts.iter().for_each(|act| bench.play(act));
    secs([bench.trace.seen(Task).nonce_read_at, None, None, None, None])[0]
}

#[test]
fn the_nonce_counts_after_the_kickstart_only() {
    assert_eq!(nonce_read(&with(install(), &[Part(500, Task, NONCE)])), Some(500));
    let mut without = install();
    without.pop();
    assert_eq!(nonce_read(&with(without, &[Part(500, Task, NONCE)])), None);
    assert_eq!(nonce_read(&with(install(), &[Part(500, Task, NONCE), Crash(510)])), Some(500));
}

#[test]
fn a_copy_does_not_read_the_nonce() {
    let on = Part(500, Task, KS.end..NONCE.end + MIB);
    assert_eq!(nonce_read(&with(install(), &[on])), None, "it came through the gap");
    let whole = Whole(500, Task, NONCE.end + 4 * MIB);
    assert_eq!(nonce_read(&with(install(), &[whole])), None);
    let backwards = [Part(500, Task, NONCE), Part(520, Task, KS.end..NONCE.start)];
    let backwards = with(install(), &backwards);
    assert_eq!(nonce_read(&backwards), None, "the gap follows: it began at the end");
    assert_eq!(nonce_read(&with(backwards, &[Crash(530), Part(540, Task, NONCE)])), None);
    let ahead = [Part(500, Task, NONCE.start - MIB..NONCE.end)];
    assert_eq!(nonce_read(&with(install(), &ahead)), Some(500), "a read-ahead is no copy");
}

#[test]
fn a_completed_fetch_clears_the_fault() {
    let mut bench = play(&install());
    bench.trace.failed(Boot, "aborted".into(), at(300));
    bench.trace.failed(Boot, "aborted".into(), at(310));
    assert_eq!(bench.trace.seen(Boot).fault_at, Some(at(300)));
    assert_eq!(bench.trace.seen(Boot).fault.as_deref(), Some("aborted"));
    bench.trace.completed(Boot);
    assert_eq!(bench.trace.seen(Boot).fault, None);
}

#[test]
fn a_second_read_of_the_kickstart_a_minute_later_is_a_second_run_whatever_was_enumerated() {
    let again = |secs| seen(&with(install(), &[Part(secs, Task, KS)])).ks_again;
    let first = seen(&install()).ks.unwrap();
    assert_eq!(again(first + 59), None, "one run reads it in one go");
    assert_eq!(again(first + 60), Some(first + 60));
    // The controller was away while the firmware looked at its drives.
    let missed = with(install(), &[Crash(first + 100), Part(first + 130, Task, KS)]);
    assert_eq!(seen(&missed).ks_again, Some(first + 130));
}
