//! From a System resource as read to what the judge works with. Pure.

use jiff::Timestamp;

use super::boot_source;
use crate::domain::{BootSample, BootSource, Power};
use shoal_redfish::{PowerState, System};

/// What `system` shows of its host's boots at `at`.
pub fn sample(system: &System, at: Timestamp) -> BootSample {
    let progress = system.boot_progress.as_ref().map(|progress| match &progress.time {
        Some(time) => format!("{}@{time}", progress.state),
        None => progress.state.clone(),
    });
    let sources = [
        (BootSource::BootProgress, progress),
        (BootSource::LastResetTime, system.last_reset_time.clone()),
        (BootSource::LastBootTimeSeconds, system.last_boot_time_seconds.clone()),
        (BootSource::PostState, system.post_state.clone()),
        (BootSource::NumberOfReboots, system.number_of_reboots.clone()),
    ];
    BootSample {
        at,
        power: power(system.power),
        sources: sources.into_iter().filter_map(|(source, value)| Some((source, value?))).collect(),
    }
}

/// Whether a source of the BMC shows that the host has begun to boot something since `before`.
pub fn shows_a_start(before: &BootSample, sample: &BootSample) -> bool {
    let earlier = |source| before.sources.get(source);
    sample.sources.iter().any(|(source, value)| {
        earlier(source).is_some_and(|before| boot_source::shows_a_start(*source, before, value))
    })
}

fn power(state: Option<PowerState>) -> Power {
    match state {
        Some(PowerState::On) => Power::On,
        Some(PowerState::Off) => Power::Off,
        _ => Power::Unclear,
    }
}
