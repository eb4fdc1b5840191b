//! Several controllers serve one host's media, each a part of it, and what they saw comes together in the store.
//!
//! Invariant: what the driver knows at the end does not depend on which of them served which read, nor on how often they
//! look at what the others saw.

use proptest::prelude::*;

use super::*;

/// Controllers that serve, and a driver that only learns.
struct Shared {
    serving: Vec<TraceBench>,
    driver: TraceBench,
    rows: [Option<MediumTrace>; 2],
    turn: usize,
}

impl Shared {
    fn new(serving: usize) -> Shared {
        let controller = || {
            let mut bench = TraceBench::with_signals([Some(NONCE), None, None]);
            bench.trace = Trace::new(true);
            bench.publish(at(0));
            bench
        };
        Shared {
            serving: (0..serving).map(|_| controller()).collect(),
            driver: controller(),
            rows: [None, None],
            turn: 0,
        }
    }

    /// A controller that begins with what is in the store, and knows of a start at `reset`.
    fn restart(bench: &mut TraceBench, rows: &[Option<MediumTrace>; 2], reset: i64, secs: i64) {
        bench.saved = rows.clone().map(Option::unwrap_or_default);
        (bench.trace, bench.reset_at) = (Trace::new(true), Some(at(reset)));
        bench.publish(at(secs));
    }

    fn reset(&mut self, secs: i64) {
        for bench in self.serving.iter_mut().chain([&mut self.driver]) {
            bench.play(&Reset(secs));
        }
    }

    /// A range in pieces, each by the next controller.
    fn read(&mut self, secs: i64, medium: Medium, range: Range<u64>, piece: u64) {
        for start in range.clone().step_by(piece as usize) {
            let read =
                Read { medium, range: start..range.end.min(start + piece), whole: false, at: at(secs) };
            let serving = self.serving.len();
            let bench = &mut self.serving[self.turn % serving];
            self.turn += 1;
            if bench.trace.read(&read) {
                let new = bench.trace.kept(medium);
                let row = self.rows[medium as usize].take();
                self.rows[medium as usize] = Some(row.map_or(new.clone(), |row| row.joined(new)));
            }
        }
    }

    fn learn(bench: &mut TraceBench, rows: &[Option<MediumTrace>; 2]) {
        for medium in [Boot, Task] {
            rows[medium as usize].clone().into_iter().for_each(|row| bench.trace.learn(medium, row));
        }
    }

    fn all_learn(&mut self) {
        self.serving.iter_mut().for_each(|bench| Shared::learn(bench, &self.rows));
    }

    /// Of both media, as the driver knows them.
    fn known(&mut self) -> (MediumTrace, MediumTrace) {
        Shared::learn(&mut self.driver, &self.rows);
        (self.driver.trace.seen(Boot).clone(), self.driver.trace.seen(Task).clone())
    }

    fn install(&mut self, piece: u64, learns: bool) {
        for (secs, medium, range) in [
            (60, Boot, DESCRIPTORS),
            (60, Boot, CATALOG),
            (61, Boot, BOOT_CFG),
            (70, Boot, KERNEL),
            (100, Boot, MODULES),
            (199, Task, DESCRIPTORS),
            (200, Task, KS),
            (260, Task, NONCE),
        ] {
            self.read(secs, medium, range, piece);
            if learns {
                self.all_learn();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_host_is_known_as_by_one_controller(
        serving in 1usize..6, piece in prop::sample::select(vec![32 * KIB, 64 * KIB, 100_000]), learns: bool,
    ) {
        let mut shared = Shared::new(serving);
        shared.reset(10);
        shared.install(piece, learns);
        let (boot, task) = shared.known();
        prop_assert_eq!((boot.mode, task.mode), STREAMED);
        prop_assert_eq!(boot.installer_read(&task), Some(at(200)));
        // A controller looks at what the others saw every second.
        prop_assert_eq!(task.nonce_read_at, Some(at(260)).filter(|_| learns || serving == 1));
        let all: u64 = [DESCRIPTORS, CATALOG, BOOT_CFG, KERNEL, MODULES].iter().map(length).sum();
        prop_assert!(boot.read > all / 2 && boot.read <= all, "{} of {all}", boot.read);
    }

    /// Each controller sees its part of the zeros before the kickstart, which alone is that of a host.
    #[test]
    fn a_copy_through_all_of_them_is_no_host(
        serving in 1usize..9, piece in prop::sample::select(vec![2 * KIB, 32 * KIB, 100_000]), learns: bool, from_end: bool,
    ) {
        let mut shared = Shared::new(serving);
        shared.reset(10);
        shared.read(15, Task, DESCRIPTORS, piece);
        let mut parts = [0..METADATA_END, METADATA_END..KS.start, KS, KS.end..NONCE.start, NONCE];
        if from_end {
            parts.reverse();
        }
        for part in parts {
            shared.read(20, Task, part, piece);
            if learns {
                shared.all_learn();
            }
        }
        let (_, task) = shared.known();
        prop_assert_eq!((task.mode, task.ks_read_at, task.nonce_read_at), (MediaMode::Prefetched, None, None));
        // Whatever a controller that has not learned of it writes.
        shared.read(30, Task, KS, piece);
        let (_, task) = shared.known();
        prop_assert_eq!((task.mode, task.ks_read_at), (MediaMode::Prefetched, None));
    }

    #[test]
    fn a_copy_before_the_reset_is_known_to_the_driver(serving in 1usize..6, learns: bool) {
        let mut shared = Shared::new(serving);
        for medium in [Boot, Task] {
            let total = shared.driver.trace.seen(medium).total;
            shared.read(5, medium, 0..total, 64 * KIB);
        }
        if learns {
            shared.known();
        }
        shared.reset(10);
        shared.read(60, Task, KS, 64 * KIB);
        let (boot, task) = shared.known();
        prop_assert_eq!((boot.mode, task.mode), (MediaMode::Prefetched, MediaMode::Prefetched));
        prop_assert_eq!(task.ks_read_at, None);
    }
}

/// A whole image in one request before the reset: only the controller that answered it saw any of it.
#[test]
fn a_download_from_one_of_them_is_known_to_the_driver() {
    let mut shared = Shared::new(2);
    let total = shared.driver.trace.seen(Task).total;
    shared.serving[0].read(5, Task, 0..total, true);
    shared.rows[Task as usize] = Some(shared.serving[0].trace.kept(Task));
    shared.reset(10);
    assert_eq!(shared.known().1.mode, MediaMode::Prefetched);
}

#[test]
fn what_was_read_before_a_later_reset_loads_nothing() {
    let mut shared = Shared::new(3);
    shared.reset(10);
    shared.read(60, Boot, KERNEL, 64 * KIB);
    assert_eq!(shared.known().0.loaded_at, Some(at(60)));
    shared.reset(100);
    shared.read(160, Boot, DESCRIPTORS, 2 * KIB);
    assert_eq!(shared.known().0.loaded_at, None);
    shared.read(170, Boot, KERNEL, 64 * KIB);
    shared.read(180, Task, KS, 2 * KIB);
    let (boot, task) = shared.known();
    assert_eq!(boot.installer_read(&task), Some(at(180)), "{boot:?}\n{task:?}");
}

/// The driver of a job is killed, and the next one begins with what is in the store.
#[test]
fn the_next_driver_knows_as_much() {
    let mut shared = Shared::new(3);
    shared.reset(10);
    shared.install(64 * KIB, false);
    let before = shared.known();
    Shared::restart(&mut shared.driver, &shared.rows, 10, 300);
    let after = shared.known();
    assert_eq!(before.0.installer_read(&before.1), after.0.installer_read(&after.1));
    assert_eq!((before.0.read, before.1.mode), (after.0.read, after.1.mode));
}

/// The record of a start is taken back where the BMC certainly refused it, and a host that boots of its own is read on.
#[test]
fn a_start_that_came_to_nothing_loses_no_reads() {
    let mut shared = Shared::new(2);
    shared.reset(10);
    shared.reset(50);
    shared.read(60, Boot, KERNEL, 64 * KIB);
    shared.all_learn();
    // The next controllers know of the first start only.
    shared.serving.iter_mut().for_each(|bench| Shared::restart(bench, &shared.rows, 10, 70));
    shared.read(80, Task, KS, 64 * KIB);
    let (boot, task) = shared.known();
    assert_eq!(boot.installer_read(&task), Some(at(80)), "{boot:?}\n{task:?}");
}

/// The system that was on the disk reads the kickstart before the installer is loaded.
#[test]
fn the_installers_read_of_the_kickstart_counts_at_every_controller() {
    let mut shared = Shared::new(2);
    shared.reset(10);
    for (secs, medium, range) in [(12, Task, KS), (30, Boot, KERNEL), (40, Task, KS), (45, Task, KS)] {
        shared.read(secs, medium, range, 64 * KIB);
        shared.all_learn();
    }
    let (boot, task) = shared.known();
    assert_eq!(boot.installer_read(&task), Some(at(40)), "{boot:?}\n{task:?}");
}

/// A start that the flow notes once more, after the host has read its kickstart, begins nothing anew anywhere.
#[test]
fn a_start_after_the_kickstart_was_read_takes_nothing_back() {
    let mut shared = Shared::new(2);
    shared.reset(10);
    shared.install(64 * KIB, true);
    Shared::restart(&mut shared.serving[1], &shared.rows, 300, 301);
    shared.turn = 1;
    shared.read(310, Task, NONCE, 64 * KIB);
    let (boot, task) = shared.known();
    assert_eq!(boot.installer_read(&task), Some(at(200)), "{boot:?}\n{task:?}");
}
