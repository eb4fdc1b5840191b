//! What the values of one second-boot source mean. Pure.
//!
//! Values that cannot be read (garbage, words of a vendor's own) are left out before they come here,
//! see [`is_readable`]. Invariant: values are compared with earlier values of the same source only, because the clocks
//! of BMCs are wrong.

use jiff::{Timestamp, civil};

use crate::domain::BootSource;

/// Whether the value can be compared with others of its source. `BootProgress` has OEM values in the
/// middle of a boot whose position in it is unknown.
pub fn is_readable(source: BootSource, value: &str) -> bool {
    match source {
        BootSource::LastResetTime => is_time(value),
        BootSource::NumberOfReboots => value.parse::<u64>().is_ok(),
        BootSource::PostState => rank(&POST_STATES, value).is_some(),
        BootSource::BootProgress => rank(&PROGRESS, split(value).0).is_some(),
        BootSource::LastBootTimeSeconds => value.parse::<f64>().is_ok(),
    }
}

/// Whether the host booted between two values.
pub fn is_boot(source: BootSource, last: &str, value: &str) -> bool {
    match source {
        BootSource::LastResetTime => is_later(last, value),
        BootSource::NumberOfReboots => {
            last.parse::<u64>().ok().zip(value.parse::<u64>().ok()).is_some_and(|(last, value)| value > last)
        }
        BootSource::PostState => rank(&POST_STATES, value) < rank(&POST_STATES, last),
        BootSource::BootProgress => has_progress_restarted(last, value),
        BootSource::LastBootTimeSeconds => {
            last.parse::<f64>().ok().zip(value.parse::<f64>().ok()).is_some_and(|(last, value)| {
                // It is 0 while the host boots (iLO 7 1.14); the rise from 0 ends a boot that was seen.
                last > 0.0 && last != value
            })
        }
    }
}

/// Whether the host has begun a boot between two values, or come to the end of its self test.
pub fn shows_a_start(source: BootSource, before: &str, value: &str) -> bool {
    let handed_over = |course: &[&str], before: &str, value: &str, to: &str| {
        rank(course, before) < rank(course, to) && rank(course, to) <= rank(course, value)
    };
    let is_readable = is_readable(source, before) && is_readable(source, value);
    let is_handed_over = || match source {
        BootSource::BootProgress => handed_over(&PROGRESS, split(before).0, split(value).0, "OSBootStarted"),
        BootSource::PostState => handed_over(&POST_STATES, before, value, "FinishedPost"),
        _ => false,
    };
    is_readable && (is_boot(source, before, value) || is_handed_over())
}

/// Whether a change from `before` is the source's word on our own start.
pub fn differs(source: BootSource, before: Option<&str>, value: &str) -> bool {
    match source {
        BootSource::BootProgress => before.map(|before| split(before).0) != Some(split(value).0),
        _ => before != Some(value),
    }
}

/// Whether each boot shows, so that the silence of a source that showed our own start means
/// something. Two boots may take the same number of seconds.
pub fn shows_each_boot(source: BootSource) -> bool {
    source != BootSource::LastBootTimeSeconds
}

/// Whether an unobserved boot still shows afterwards.
pub fn remembers(source: BootSource, value: &str) -> bool {
    match source {
        BootSource::LastResetTime | BootSource::NumberOfReboots | BootSource::LastBootTimeSeconds => true,
        BootSource::PostState => false,
        BootSource::BootProgress => split(value).1.is_some(),
    }
}

/// Whether there may have been a boot between two values with an unobserved time between them.
/// `BootProgress` shows a later stage of the same boot, or of another one.
pub fn may_hide_a_boot(source: BootSource, last: &str, value: &str) -> bool {
    source == BootSource::BootProgress && last != value
}

/// A [`BootSource::BootProgress`] value is `State` or `State@Time`.
fn split(value: &str) -> (&str, Option<&str>) {
    match value.split_once('@') {
        Some((state, time)) => (state, Some(time)),
        None => (value, None),
    }
}

fn has_progress_restarted(last: &str, value: &str) -> bool {
    let ((last_state, last_time), (state, time)) = (split(last), split(value));
    match rank(&PROGRESS, state).cmp(&rank(&PROGRESS, last_state)) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => {
            last_time.zip(time).is_some_and(|(last_time, time)| is_later(last_time, time))
        }
        std::cmp::Ordering::Greater => false,
    }
}

fn is_time(text: &str) -> bool {
    text.parse::<Timestamp>().is_ok() || text.parse::<civil::DateTime>().is_ok()
}

/// Some BMCs leave the offset out of their times; two such times compare as they stand.
fn is_later(last: &str, value: &str) -> bool {
    if let (Ok(last), Ok(value)) = (last.parse::<Timestamp>(), value.parse::<Timestamp>()) {
        return value > last;
    }
    match (last.parse::<civil::DateTime>(), value.parse::<civil::DateTime>()) {
        (Ok(last), Ok(value)) => value > last,
        _ => false,
    }
}

/// `BootProgress.LastState` in the course of a boot (DSP0268, BootProgressTypes).
const PROGRESS: [&str; 10] = [
    "None",
    "PrimaryProcessorInitializationStarted",
    "BusInitializationStarted",
    "MemoryInitializationStarted",
    "SecondaryProcessorInitializationStarted",
    "PCIResourceConfigStarted",
    "SystemHardwareInitializationComplete",
    "SetupEntered",
    "OSBootStarted",
    "OSRunning",
];

/// HPE's `PostState` in the course of a boot (iLO 5 2.73 and iLO 6 documentation).
const POST_STATES: [&str; 6] =
    ["PowerOff", "Reset", "InPost", "InPostDiscoveryStart", "InPostDiscoveryComplete", "FinishedPost"];

fn rank(course: &[&str], state: &str) -> Option<usize> {
    course.iter().position(|known| *known == state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use BootSource::*;

    /// `boots[i]`: whether there is a boot between the values `i` and `i + 1`; unreadable ones are
    /// left out.
    #[track_caller]
    fn check(source: BootSource, values: &[&str], boots: &[bool]) {
        let values: Vec<&str> = values.iter().copied().filter(|value| is_readable(source, value)).collect();
        let found: Vec<bool> = values.windows(2).map(|pair| is_boot(source, pair[0], pair[1])).collect();
        assert_eq!(found, boots, "{source:?} {values:?}");
    }

    #[test]
    fn each_source_shows_a_boot_and_nothing_else_does() {
        check(NumberOfReboots, &["16", "16", "17", "x", "18", "3"], &[false, true, true, false]);
        let course = ["FinishedPost", "FinishedPost", "InPost", "InPostDiscoveryComplete", "FinishedPost"];
        check(PostState, &course, &[false, true, false, false]);
        check(LastBootTimeSeconds, &["114.0", "0", "120", "120", "121", ""], &[true, false, false, true]);
        check(LastResetTime, &["2026-01-01T00:00:00Z", "soon", "2026-02-01T00:00:00Z"], &[true]);
    }

    #[test]
    fn a_start_is_a_boot_or_the_end_of_a_self_test() {
        let starts = [
            (BootProgress, "OSRunning@2026-01-01T00:00:00Z", "MemoryInitializationStarted"),
            (BootProgress, "MemoryInitializationStarted", "OSBootStarted"),
            (PostState, "FinishedPost", "InPost"),
            (PostState, "InPostDiscoveryComplete", "FinishedPost"),
            (NumberOfReboots, "16", "17"),
        ];
        for (source, before, value) in starts {
            assert!(shows_a_start(source, before, value), "{source:?} {before} {value}");
        }
        let none = [
            (BootProgress, "OSBootStarted", "OSRunning"),
            (BootProgress, "None", "MemoryInitializationStarted"),
            (PostState, "InPost", "InPostDiscoveryComplete"),
            (PostState, "FinishedPost", "FinishedPost"),
            (LastResetTime, "", "2026-02-01T00:00:00Z"),
            (NumberOfReboots, "16", "16"),
        ];
        for (source, before, value) in none {
            assert!(!shows_a_start(source, before, value), "{source:?} {before} {value}");
        }
    }

    #[test]
    fn a_vendors_own_words_are_passed_over() {
        check(PostState, &["InPost", "Unknown", "FinishedPost", "Unknown"], &[false]);
        check(BootProgress, &["OSBootStarted", "OEM", "OSRunning", "OEM"], &[false]);
        check(BootProgress, &["OSRunning", "OEM", "PCIResourceConfigStarted"], &[true]);
    }
}
