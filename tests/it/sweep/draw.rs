//! Drawing from a seed: numbers, choices, and the faults of a machine.
//!
//! Invariant: every fault of the simulator is drawn by some seed; a test sees to it.

use std::time::Duration;

use shoal_base::world::Rng;
use shoal_sim::Fault;

pub struct Draw(Rng);

impl Draw {
    pub fn new(rng: Rng) -> Draw {
        Draw(rng)
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    pub fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn sometimes<T>(&self, percent: u64, make: impl FnOnce() -> T) -> Option<T> {
        self.percent(percent).then(make)
    }

    pub fn between(&self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub fn secs(&self, least: u64, most: u64) -> Duration {
        Duration::from_secs(self.between(least, most))
    }

    pub fn among<T: Copy>(&self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// Of so many seconds.
    pub fn one(&self, secs: &[u64]) -> Duration {
        Duration::from_secs(self.among(secs))
    }
}

/// The faults of one machine: perhaps one that no job survives, a few that must not matter, and
/// perhaps a bad connection.
pub fn draw_faults(draw: &Draw) -> Vec<Fault> {
    let mut names = vec![];
    if draw.percent(15) {
        names.push(draw.among(GRAVE));
    }
    let bearable = draw.among(&[0, 0, 1, 1, 2, 2, 3, 4]);
    names.extend((0..bearable).map(|_| draw.among(BEARABLE)));
    let mishaps = draw.among(&[0, 0, 0, 1, 1, 2]);
    names.extend((0..mishaps).map(|_| draw.among(MISHAPS)));
    names.sort_unstable();
    names.dedup_by_key(|(name, ..)| *name);
    names.into_iter().map(|row| draw_value(draw, row)).collect()
}

/// A fault, and the least and the most of its value; 0 and 0 where it has none.
pub type Row = (&'static str, u64, u64);

pub fn draw_value(draw: &Draw, (name, least, most): Row) -> Fault {
    let text = if most == 0 { name.to_owned() } else { format!("{name}={}", draw.between(least, most)) };
    text.parse().unwrap()
}

/// A job seldom ends well with one of these.
const GRAVE: &[Row] = &[
    ("wrong-serial", 0, 0),
    ("no-serial", 0, 0),
    ("board-serial", 0, 0),
    ("no-slots", 0, 0),
    ("no-virtual-media", 0, 0),
    ("no-override", 0, 0),
    ("insert-task-fails", 0, 0),
    ("insert-not-done", 9, 9),
    ("media-lost-at-start", 0, 0),
    ("override-ignored", 0, 0),
    ("override-not-stored", 0, 0),
    ("override-value-refused", 0, 0),
    ("power-lies", 0, 0),
    ("strict-kickstart", 0, 0),
    ("guest-hangs", 0, 0),
    ("guest-fails", 0, 0),
    ("guest-crashes", 0, 0),
    ("guest-crashes", 0, 0),
    ("live-media-ignored", 0, 0),
];

/// These should not matter, or not much.
const BEARABLE: &[Row] = &[
    ("media-left", 0, 0),
    ("one-cd", 0, 0),
    ("second-cd-refused", 0, 0),
    ("second-cd-replaces", 0, 0),
    ("stuck-boot-progress", 0, 0),
    ("stuck-last-reset-time", 0, 0),
    ("stuck-post-state", 0, 0),
    ("stuck-number-of-reboots", 0, 0),
    ("null-sources", 0, 0),
    ("api-late", 10, 400),
    ("stale-inserted", 2, 30),
    ("insert-task", 1, 90),
    ("insert-task-fails-late", 5, 120),
    ("insert-500-once", 0, 0),
    ("insert-quotes-url", 0, 0),
    ("insert-not-done", 1, 2),
    ("insert-not-seen", 1, 1),
    ("insert-checks-url", 0, 0),
    ("insert-needs-protocol", 0, 0),
    ("insert-rejects-inserted", 0, 0),
    ("eject-empty-400", 0, 0),
    ("prefetch", 0, 0),
    ("no-eject", 0, 0),
    ("no-eject", 0, 0),
    ("cd-first", 0, 0),
    ("override-continuous", 0, 0),
    ("override-turned-continuous", 0, 0),
    ("override-lost", 1, 60),
    ("override-elsewhere", 0, 0),
    ("disabled-alone-refused", 0, 0),
    ("disabled-with-target-refused", 0, 0),
    ("boot-patch-400-in-post", 0, 0),
    ("etag-412-once", 0, 0),
    ("graceful-ignored", 0, 0),
    ("power-transitions", 1, 30),
    ("legacy-boot", 0, 0),
    ("legacy-while-disabled", 0, 0),
    ("on-409-once", 0, 0),
    ("reset-action-info", 0, 0),
    ("reset-answer-lost", 0, 0),
    ("bmc-down-after-reset", 5, 600),
    ("system-404-after-reset", 5, 200),
    ("slots-404-after-reset", 5, 200),
    ("unauthorised-after-reset", 5, 100),
    ("slots-404-until-listed", 0, 0),
    ("not-ready-after-reset", 5, 200),
    ("clear-refused", 1, 6),
    ("bmc-down-in-install", 10, 900),
    ("bmc-restarts-in-install", 1, 400),
    ("bmc-restarts-in-install", 1, 400),
    ("no-boot-progress", 0, 0),
    ("no-boot-progress", 0, 0),
    ("no-last-reset-time", 0, 0),
    ("no-last-reset-time", 0, 0),
    ("zero-last-reset-time", 0, 0),
    ("os-running-early", 0, 0),
    ("old-system-reads-media", 0, 0),
    ("old-system-reads-media", 0, 0),
    ("no-sessions", 0, 0),
    ("session-timeout", 30, 120),
    ("lockout", 3, 5),
    ("unauthorised-once", 0, 0),
    ("busy-503", 1, 10),
    ("slow", 100, 8000),
    ("slow-media", 1, 400),
    ("guest-ejects-early", 0, 0),
    ("verifies-media-tls", 0, 0),
    ("pre-copies-media", 0, 0),
    ("post-skipped", 0, 0),
    ("post-cannot-read", 0, 0),
    ("hook-fails", 0, 0),
    ("cdrom-boot-skips-ks", 0, 0),
    ("no-guest-network", 0, 0),
    ("first-slot-refuses", 400, 409),
    ("insert-500-after-eject", 1, 15),
    ("eject-empty-500", 0, 0),
    ("etag-412-always", 0, 0),
    ("busy-503-after-start", 5, 600),
    ("extended-info-object", 0, 0),
    ("import-busy", 1, 6),
    ("error-bodies-cut", 0, 0),
    ("reset-task-fails", 1, 4),
    ("reset-critical", 1, 4),
    ("reset-done-task-fails", 1, 4),
    ("reset-done-critical", 1, 4),
    ("tokens-refused-after-start", 5, 120),
    ("locations-absolute", 0, 0),
    ("locations-relative", 0, 0),
    ("locations-in-body", 0, 0),
    ("posts-redirected", 0, 0),
];

/// Of a bad connection or a bad web server: in a thousand requests.
const MISHAPS: &[Row] = &[
    ("throttled-429", 5, 80),
    ("flaky-5xx", 5, 80),
    ("lost-request", 2, 20),
    ("lost-answer", 2, 20),
    ("reset-connection", 5, 50),
    ("truncated-json", 5, 50),
    ("garbled-json", 5, 50),
    ("cut-body", 5, 50),
];

/// Of a Linux job: what a maintenance system and those around it do wrong.
pub const LINUX: &[Row] = &[
    ("guest-crashes", 0, 0),
    ("guest-fails", 0, 0),
    ("guest-hangs", 0, 0),
    ("guest-stays-on", 0, 0),
    ("no-guest-network", 0, 0),
    ("operator-system", 0, 0),
    ("prefetch", 0, 0),
    ("report-forged", 0, 0),
    ("report-late", 1, 600),
    ("report-lost", 0, 0),
    ("report-repeated", 0, 0),
    ("smbios-differs", 0, 0),
];

#[test]
fn every_fault_of_the_simulator_is_drawn() {
    let drawn = |name: &&str| [GRAVE, BEARABLE, MISHAPS, LINUX].concat().iter().any(|row| row.0 == *name);
    let left_out: Vec<&str> = shoal_sim::fault_names().into_iter().filter(|name| !drawn(name)).collect();
    assert_eq!(left_out, Vec::<&str>::new());
}
