//! Boots that are over before anybody looks: how often to look, and what may be said where none was seen. Pure.
//!
//! Invariant: a reason says that a host never rebooted only where a source of its BMC would still show it.

use std::time::Duration;

use jiff::Timestamp;

use super::{Judgement, WatchContext, failed, second_boot};
use crate::domain::FailureCode as Code;
use crate::domain::{BootSource, CompletionHook, Power, SourceFacts, WatchFacts};
use crate::flow::policy::Detection;
use shoal_base::world::elapsed;

/// No self test of a real host is shorter; a stand-in's takes a second or two.
pub const POST_MIN: Duration = Duration::from_secs(10);
/// While only a source without a memory could show the second boot: two looks in the shortest real self test.
const WATCHFUL: Duration = Duration::from_secs(5);
/// And so often for the first minutes, in which stand-ins install.
const BRISK: Duration = Duration::from_secs(1);
const BRISK_FOR: Duration = Duration::from_secs(5 * 60);
/// The hook powers its host off within a minute, and that is to be seen.
const HOOK_PAUSE_MAX: Duration = Duration::from_secs(20);

/// The longest pause until the next look at the BMC, whatever interval is configured.
pub fn pause_max(watch: &WatchFacts, context: &WatchContext<'_>, now: Timestamp) -> Option<Duration> {
    let awaits_hook = context.hook == CompletionHook::Poweroff && context.ks_read_at().is_some();
    let hook = awaits_hook.then_some(HOOK_PAUSE_MAX);
    if context.policy.detection == Detection::Power
        || second_boot(watch, context).is_some()
        || !must_watch(watch)
    {
        return hook;
    }
    let pause = match context.counting_since(now) {
        Some(since) if context.trace_shows_reads() && elapsed(since, now) < BRISK_FOR => Some(BRISK),
        Some(_) => Some(WATCHFUL),
        // The installer is being loaded: its kickstart's read is to be seen soon.
        None if context.installer.first_read_at.is_some() => Some(WATCHFUL),
        None => None,
    };
    pause.into_iter().chain(hook).min()
}

/// Some source would show a second boot while it goes on, and none would show it afterwards.
fn must_watch(watch: &WatchFacts) -> bool {
    let is_on = matches!(watch.power, Some((Power::On, _)));
    is_on && live(watch).next().is_some() && !live(watch).any(|(source, seen)| keeps_a_record(*source, seen))
}

fn live(watch: &WatchFacts) -> impl Iterator<Item = (&BootSource, &SourceFacts)> {
    watch.sources.iter().filter(|(_, seen)| seen.live)
}

/// Whether a boot between two looks would show in the next one. `BootProgress` shows that a stage was entered anew
/// by its time, and a later stage may be of either boot; so it is sure only at the last one.
fn keeps_a_record(source: BootSource, seen: &SourceFacts) -> bool {
    match source {
        BootSource::LastResetTime | BootSource::NumberOfReboots => true,
        BootSource::BootProgress => seen.last.as_deref().is_some_and(|last| last.starts_with("OSRunning@")),
        BootSource::PostState | BootSource::LastBootTimeSeconds => false,
    }
}

/// Why a host whose live sources have shown no second boot has failed.
pub(super) fn failure(watch: &WatchFacts, read: bool) -> Judgement {
    let begins = if read { "kickstart read, " } else { "" };
    if watch.booted_early {
        let reason = format!(
            "{begins}no boot was seen later than two minutes after the start, and an earlier one counts as the \
             firmware's own (a stand-in that installs so fast needs a lower ESXI_MIN_INSTALL_TIME): look at the console"
        );
        return failed(Code::SecondBootTooEarly, reason);
    }
    if live(watch).any(|(source, seen)| keeps_a_record(*source, seen)) {
        let reason = format!("{begins}the installer never rebooted: look at the console");
        return failed(Code::InstallerNeverRebooted, reason);
    }
    let names: Vec<&str> = live(watch).map(|(source, _)| source.property()).collect();
    let reason = format!(
        "{begins}and no second boot was seen in {}, which keeps no record of one: a boot shorter than the {} s between \
         two looks would have been missed; look at the console",
        names.join(" and "),
        Duration::from_millis(watch.longest_pause_ms).as_secs().max(1)
    );
    failed(Code::SecondBootMissed, reason)
}
