//! One look at a BMC folded into what is known of a watched host. Pure.
//!
//! Invariant: a source is believed only once it has shown our own start, so that a value which a BMC
//! updates late is never taken for a second boot.

use std::time::Duration;

use jiff::Timestamp;

use super::WatchContext;
use super::missed::POST_MIN;
use crate::domain::{BootSample, BootSource, Evidence, EvidenceKind, Power, WatchFacts};
use crate::flow::boot_source;
use shoal_base::world::{after, elapsed};

/// What an installer shows of its own beginning, it has shown by then.
const SETTLED: Duration = Duration::from_secs(30);

/// Folds one look at the BMC into the facts. A boot that turns out to be from before the kickstart's
/// (last) read is taken back.
pub fn observe(watch: &mut WatchFacts, context: &WatchContext<'_>, sample: &BootSample) {
    note_silence(watch, context, sample.at);
    note_pause(watch, context, sample.at);
    note_nonce(watch, context, sample.at);
    note_power(watch, context, sample);
    observe_sources(watch, context, sample);
    let counting = context.counting_since(sample.at);
    if watch.second_boot.as_ref().is_some_and(|boot| counting.is_none_or(|since| boot.at <= since)) {
        watch.second_boot = None;
    }
    watch.observed_at = Some(sample.at);
}

/// Folds the sources in alone: of the look that showed the host's start, where that was before anybody
/// watched the host.
pub fn observe_sources(watch: &mut WatchFacts, context: &WatchContext<'_>, sample: &BootSample) {
    let readable = sample.sources.iter().filter(|(source, value)| boot_source::is_readable(**source, value));
    for (source, value) in readable {
        note_source(watch, context, *source, value, sample.at);
    }
}

/// A silence of the BMC (or of this controller) moves every deadline, and discards those
/// sources that do not remember what happened meanwhile.
fn note_silence(watch: &mut WatchFacts, context: &WatchContext<'_>, now: Timestamp) {
    let looked = watch.observed_at.unwrap_or(context.started_at);
    let silence = elapsed(looked, now);
    if silence > context.policy.stable_window {
        watch.power = watch.power.map(|(power, _)| (power, now));
    }
    if silence <= (3 * context.policy.poll_interval).max(Duration::from_secs(10)) {
        return;
    }
    let away = context.taken_up_at.map_or(Duration::ZERO, |at| elapsed(looked, at.min(now)));
    watch.away_ms = watch.away_ms.saturating_add(millis(away));
    let silent_ms = millis(silence.saturating_sub(away));
    watch.unobserved_ms = watch.unobserved_ms.saturating_add(silent_ms);
    watch.longest_unobserved_ms = watch.longest_unobserved_ms.max(silent_ms);
    watch.silence_ended_at = Some(now);
    for (source, facts) in &mut watch.sources {
        facts.live &= facts.last.as_deref().is_some_and(|value| boot_source::remembers(*source, value));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The longest pause between two looks while a second boot was to be seen; a silence is noted elsewhere.
fn note_pause(watch: &mut WatchFacts, context: &WatchContext<'_>, now: Timestamp) {
    let counted =
        context.counting_since(now).zip(watch.observed_at).filter(|(since, looked)| looked >= since);
    if let Some((_, looked)) = counted.filter(|_| watch.silence_ended_at != Some(now)) {
        let pause_ms = millis(elapsed(looked, now));
        watch.longest_pause_ms = watch.longest_pause_ms.max(pause_ms);
    }
}

/// Counts the time from the nonce's read to the look that showed the host off; a silence is none of it.
fn note_nonce(watch: &mut WatchFacts, context: &WatchContext<'_>, now: Timestamp) {
    let Some(nonce_read_at) = context.nonce_read_at() else {
        watch.since_nonce_ms = 0;
        return;
    };
    let was_off = matches!(watch.power, Some((Power::Off, _)));
    if was_off || watch.silence_ended_at == Some(now) {
        return;
    }
    let from = watch.observed_at.unwrap_or(context.started_at).max(nonce_read_at);
    let watched_ms = millis(elapsed(from, now));
    watch.since_nonce_ms = watch.since_nonce_ms.saturating_add(watched_ms);
}

fn note_power(watch: &mut WatchFacts, context: &WatchContext<'_>, sample: &BootSample) {
    let before = watch.power;
    if before.is_none_or(|(power, _)| power != sample.power) {
        watch.power = Some((sample.power, sample.at));
    }
    if sample.power == Power::On && watch.effect_at.is_none() {
        watch.effect_at = Some(sample.at);
        return;
    }
    if let (Some((Power::Off, since)), Power::On) = (before, sample.power)
        && context.counting_since(sample.at).is_some_and(|counting| since >= counting)
    {
        note_boot(
            watch,
            sample.at,
            "PowerState went from Off to On without a request from this job".to_owned(),
        );
    }
}

/// Until a boot counts, a change is our own start. So is the first change of a source that had not
/// shown it by then. What such a source missed is unknown, so it does not count as live, unless it is too
/// early for it to have missed anything.
fn note_source(
    watch: &mut WatchFacts,
    context: &WatchContext<'_>,
    source: BootSource,
    value: &str,
    now: Timestamp,
) {
    let counts = context.counting_since(now).is_some();
    let was_unseen = watch.silence_ended_at == Some(now) || may_have_missed_a_boot(watch, context, now);
    let facts = watch.sources.entry(source).or_default();
    let last = facts.last.replace(value.to_owned());
    let was_shown = facts.showed_start;
    if !counts || !facts.showed_start {
        let before = context.before.map(|sample| sample.sources.get(&source).map(String::as_str));
        let shows_start = before.is_some_and(|before| boot_source::differs(source, before, value));
        facts.showed_start |= shows_start || (before.is_none() && !counts);
        let missed_nothing = !counts || context.is_too_early_for_a_second_boot(now);
        facts.live |= shows_start && missed_nothing && boot_source::shows_each_boot(source);
        let is_another =
            facts.showed_start && last.is_some_and(|last| boot_source::is_boot(source, &last, value));
        watch.booted_early |= is_another && was_shown && !context.trace_shows_reads();
    } else if let Some(last) = last {
        if boot_source::is_boot(source, &last, value) {
            if may_be_of_an_earlier_run(watch, context) {
                return;
            }
            note_boot(watch, now, format!("{} went from {last} to {value}", source.property()));
        } else if was_unseen && boot_source::may_hide_a_boot(source, &last, value) {
            facts.live = false;
        }
    }
}

/// Whether a whole boot may lie between this look and the last one, and both are well after the kickstart's read.
/// After a second boot there is no further one to miss, unless the kickstart is read again.
fn may_have_missed_a_boot(watch: &WatchFacts, context: &WatchContext<'_>, now: Timestamp) -> bool {
    if watch.second_boot.is_some() {
        return false;
    }
    let looked = watch.observed_at.filter(|looked| elapsed(*looked, now) >= POST_MIN);
    let since = context.counting_since(now).map(|since| after(since, SETTLED));
    looked.zip(since).is_some_and(|(looked, since)| looked >= since)
}

/// Whether a boot since the last look may be the one that led to the run of the installer which goes on
/// now: its kickstart was read since that look too.
fn may_be_of_an_earlier_run(watch: &WatchFacts, context: &WatchContext<'_>) -> bool {
    let again = context.kickstart.ks_read_again_at.filter(|_| context.trace_shows_reads());
    again.is_some_and(|again| watch.observed_at.is_none_or(|looked| looked < again))
}

fn note_boot(watch: &mut WatchFacts, at: Timestamp, detail: String) {
    watch.second_boot.get_or_insert(Evidence { kind: EvidenceKind::SecondBoot, at, detail });
}
