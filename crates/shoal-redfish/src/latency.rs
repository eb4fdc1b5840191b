//! How long one BMC takes to answer a read, learned from its answers.
//!
//! As TCP learns its retransmission timeout (RFC 6298): a smoothed mean and deviation; a read that
//! got no answer doubles what the next one is given. Invariant: never more than `REDFISH_TIMEOUT`,
//! and never less than [`FLOOR`]: BMCs pause for seconds while they do something else.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The least that a read is given.
const FLOOR: Duration = Duration::from_secs(10);
/// Answers before the figures are believed.
const SAMPLES_MIN: u32 = 16;
/// Deviations above the mean that an answer may take.
const DEVIATIONS: u32 = 8;
/// Doublings after reads without an answer.
const DOUBLINGS_MAX: u32 = 8;

#[derive(Default)]
pub(super) struct Latency(Mutex<LatencyFigures>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LatencyFigures {
    samples: u32,
    mean: Duration,
    deviation: Duration,
    doublings: u32,
}

impl Latency {
    fn figures(&self) -> MutexGuard<'_, LatencyFigures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait for the answer to a read.
    pub(super) fn deadline(&self, max: Duration) -> Duration {
        let figures = *self.figures();
        if figures.samples < SAMPLES_MIN {
            return max;
        }
        let learned = (figures.mean + figures.deviation * DEVIATIONS).max(FLOOR);
        learned.saturating_mul(1 << figures.doublings).min(max)
    }

    /// A read was answered after so long.
    pub(super) fn answered(&self, took: Duration) {
        let mut figures = self.figures();
        figures.doublings = 0;
        if figures.samples == 0 {
            (figures.mean, figures.deviation) = (took, took / 2);
        } else {
            let away = took.abs_diff(figures.mean);
            figures.deviation = (figures.deviation * 3 + away) / 4;
            figures.mean = (figures.mean * 7 + took) / 8;
        }
        figures.samples = figures.samples.saturating_add(1);
    }

    /// A read got no answer in its time.
    pub(super) fn timed_out(&self) {
        let mut figures = self.figures();
        figures.doublings = (figures.doublings + 1).min(DOUBLINGS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(60);

    fn after(answers: &[u64]) -> Latency {
        let latency = Latency::default();
        answers.iter().for_each(|millis| latency.answered(Duration::from_millis(*millis)));
        latency
    }

    #[test]
    fn an_unknown_bmc_gets_all_the_time_there_is() {
        assert_eq!(after(&[]).deadline(MAX), MAX);
        assert_eq!(after(&[100; 15]).deadline(MAX), MAX);
    }

    #[test]
    fn a_quick_bmc_is_given_up_sooner_and_a_slow_one_is_not() {
        assert_eq!(after(&[100; 16]).deadline(MAX), FLOOR);
        assert_eq!(after(&[100; 16]).deadline(Duration::from_secs(5)), Duration::from_secs(5));
        let mixed: Vec<u64> = (0..32).map(|n| if n % 2 == 0 { 200 } else { 8000 }).collect();
        let deadline = after(&mixed).deadline(MAX);
        assert!(deadline > Duration::from_secs(20) && deadline < MAX, "{deadline:?}");
    }

    #[test]
    fn silence_doubles_the_timeout_and_an_answer_takes_that_back() {
        let latency = after(&[100; 16]);
        latency.timed_out();
        assert_eq!(latency.deadline(MAX), FLOOR * 2);
        (0..9).for_each(|_| latency.timed_out());
        assert_eq!(latency.deadline(MAX), MAX);
        latency.answered(Duration::from_millis(100));
        assert_eq!(latency.deadline(MAX), FLOOR);
    }
}
