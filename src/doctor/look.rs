//! Reads what a BMC shows to an authenticated client, as facts.
//!
//! Look only. Invariants: the first refused login ends the look, so that no account is locked by it;
//! and each part of it has a bound of its own.

use std::future::Future;
use std::time::Duration;

use jiff::{Timestamp, civil};
use url::Url;

use super::facts::{ClockFacts, LatencyFacts, LayoutFacts, SlotFacts, SourceFact, SystemSeen, Trouble};
use super::{CheckFacts, Subject, Whose, maintenance, plan};
use crate::domain::MediaLayout;
use crate::flow::{identity, layout};
use shoal_base::world::World;
use shoal_redfish::{About, RedfishError, RedfishErrorKind, Slot, System};

/// For each part of the look, retries included.
const PART_TIMEOUT: Duration = Duration::from_secs(120);
/// Reads of the System that are timed.
const TIMED_READS: usize = 7;

/// What later parts of a check go on with.
pub struct SystemAndSlots {
    pub system: System,
    pub slots: Vec<Slot>,
}

/// Fills in what can be read. `None` where the system that is meant was not found.
pub async fn look(world: &World, subject: &Subject<'_>, facts: &mut CheckFacts) -> Option<SystemAndSlots> {
    let service = bounded(subject.bmc.observe_service()).await;
    if let Ok(service) = &service {
        facts.vendor = Some(service.vendor.clone());
        (facts.product, facts.redfish_version) = (service.product.clone(), service.redfish_version.clone());
    }
    let systems = match service.map(|_| ()) {
        Ok(()) => bounded(subject.bmc.observe_systems()).await,
        Err(trouble) => Err(trouble),
    };
    let systems = match systems {
        Ok(systems) => systems,
        Err(trouble) => {
            facts.login.problem = Some(trouble);
            return None;
        }
    };
    facts.login.good = true;
    let unread = identity::unread(&systems);
    let system = match choose(systems, &subject.whose) {
        Ok(system) => system,
        Err(reason) => {
            let text = unread.map_or(reason.clone(), |unread| format!("{reason}; {unread}"));
            facts.system_problem = Some(Trouble { kind: "identity".to_owned(), text });
            return None;
        }
    };
    note_system(&system, facts);
    let about =
        tokio::time::timeout(PART_TIMEOUT, subject.bmc.observe_about(&system)).await.unwrap_or_default();
    note_about(world, about, facts);
    let slots = match bounded(subject.bmc.observe_slots(&system)).await {
        Ok(slots) => slots,
        Err(trouble) => {
            facts.layout.problem = Some(trouble.text);
            Vec::new()
        }
    };
    note_slots(&slots, subject.layout, facts);
    facts.layout.hint = subject.bmc.without_drives(&system).map(str::to_owned);
    facts.armed = armed(subject, &system, &slots).await;
    let url = subject.media_base.as_ref().map_or("http://media.invalid/", Url::as_str);
    facts.plan = match bounded(plan::plan(subject.bmc, &system, url)).await {
        Ok(plan) => plan,
        Err(trouble) => plan::unknown(&trouble.text),
    };
    if let Some(iso) = &subject.maintenance {
        facts.maintenance = Some(maintenance::look(world, subject.bmc, &system, iso).await);
    }
    let took = subject.bmc.observe_latency(&system.link, TIMED_READS);
    let took = tokio::time::timeout(PART_TIMEOUT, took).await.unwrap_or_default();
    facts.latency = latency(took);
    Some(SystemAndSlots { system, slots })
}

/// What the next start of the host boots, where that is not what it always boots.
async fn armed(subject: &Subject<'_>, system: &System, slots: &[Slot]) -> Option<String> {
    let cd = slots.iter().find(|slot| slot.is_usable_cd()).map(|slot| slot.link.as_str());
    let by_slot = async || bounded(subject.bmc.observe_boot_from_cd(system, cd)).await.unwrap_or(false);
    match system.boot.armed() {
        Some(shown) => Some(shown),
        None => by_slot().await.then(|| "the virtual CD, once".to_owned()),
    }
}

/// One part of the look, which ends.
async fn bounded<T>(part: impl Future<Output = Result<T, RedfishError>>) -> Result<T, Trouble> {
    match tokio::time::timeout(PART_TIMEOUT, part).await {
        Ok(read) => read.map_err(|error| trouble(&error)),
        Err(_) => Err(Trouble {
            kind: "timeout".to_owned(),
            text: format!("no usable answer in {} s", PART_TIMEOUT.as_secs()),
        }),
    }
}

/// An error in the words of a report.
pub fn trouble(error: &RedfishError) -> Trouble {
    use RedfishErrorKind as Kind;
    let kind = match &error.kind {
        Kind::Refused { message_id, .. } | Kind::Unauthorised { message_id, .. }
            if message_id.contains("PasswordChangeRequired") =>
        {
            "password"
        }
        Kind::Refused { message_id, .. } if message_id.contains("SessionLimit") => "sessions",
        Kind::Refused { message_id, .. }
        | Kind::TaskFailed { message_id, .. }
        | Kind::ReportedFailure { message_id, .. }
            if message_id.contains("License") =>
        {
            "licence"
        }
        _ if error.concerns_the_url() => "protocol",
        Kind::Unauthorised { .. } | Kind::Refused { status: 401 | 403, .. } => "unauthorised",
        Kind::Unreachable | Kind::Broken => "unreachable",
        Kind::TimedOut { .. } => "timeout",
        Kind::Refused { status: 429 | 503, .. } => "busy",
        Kind::Refused { status: 404 | 405 | 501, .. } | Kind::Garbled | Kind::Unsupported { .. } => {
            "not_redfish"
        }
        _ => "other",
    };
    Trouble { kind: kind.to_owned(), text: error.to_string() }
}

fn choose(systems: Vec<System>, whose: &Whose<'_>) -> Result<System, String> {
    match whose {
        Whose::Server(server) => {
            identity::choose_system(systems, server).map_err(|mismatch| mismatch.to_string())
        }
        Whose::Anybody { system_id } => identity::only_host(systems, *system_id),
    }
}

fn note_system(system: &System, facts: &mut CheckFacts) {
    facts.system = Some(SystemSeen {
        id: system.id.clone(),
        manufacturer: system.manufacturer.clone(),
        model: system.model.clone(),
        serial: system.serial.clone(),
        service_tag: system.service_tag().map(str::to_owned),
        uuid: system.uuid.clone(),
        power: system.power.map(|power| power.name().to_owned()),
        bmc_model: None,
        bmc_firmware: None,
    });
    let progress = system.boot_progress.as_ref().map(|progress| match &progress.time {
        Some(time) => format!("{} at {time}", progress.state),
        None => progress.state.clone(),
    });
    let sources = [
        ("BootProgress", progress),
        ("LastResetTime", system.last_reset_time.clone()),
        ("LastBootTimeSeconds", system.last_boot_time_seconds.clone()),
        ("PostState", system.post_state.clone()),
        ("NumberOfReboots", system.number_of_reboots.clone()),
    ];
    let shown = sources.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    facts.sources = shown.map(|(name, value)| SourceFact { name, value }).collect();
}

fn note_about(world: &World, about: About, facts: &mut CheckFacts) {
    facts.login.uses_basic = about.uses_basic;
    facts.login.session_timeout_secs = about.session_timeout_secs;
    facts.login.sessions = about.sessions;
    (facts.login.lockout_threshold, facts.login.lockout_secs) = (about.lockout_threshold, about.lockout_secs);
    facts.licences = about.licences;
    let manager = about.manager.unwrap_or_default();
    if let Some(system) = &mut facts.system {
        (system.bmc_model, system.bmc_firmware) = (manager.model, manager.firmware);
    }
    let by_header = facts.reach.date_ahead_secs.map(|ahead_secs| ("Date", ahead_secs));
    let by_manager = || Some(("DateTime", date_ahead(manager.date_time.as_deref()?, world.clock.wall())?));
    let ahead = by_header.or_else(by_manager);
    facts.clock = ahead.map(|(source, ahead_secs)| ClockFacts { source: source.to_owned(), ahead_secs });
}

/// A date without an offset is taken for UTC.
fn date_ahead(text: &str, now: Timestamp) -> Option<i64> {
    let without_offset = || text.parse::<civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let date = text.parse::<Timestamp>().ok().or_else(|| without_offset().map(|date| date.timestamp()))?;
    Some(date.duration_since(now).as_secs())
}

fn note_slots(slots: &[Slot], wanted: Option<MediaLayout>, facts: &mut CheckFacts) {
    facts.slots = slots
        .iter()
        .map(|slot| SlotFacts {
            id: slot.id.clone(),
            media_types: slot.media_types.clone(),
            usable_cd: slot.is_usable_cd(),
            occupied: !slot.is_empty(),
        })
        .collect();
    let all = [MediaLayout::DualCd, MediaLayout::SingleCd, MediaLayout::CdUsb];
    let allowed = all.into_iter().filter(|layout| layout::choose(slots.to_vec(), Some(*layout)).is_ok());
    let allowed = allowed.map(|layout| layout.name().to_owned()).collect();
    let problem = facts.layout.problem.take();
    match layout::choose(slots.to_vec(), wanted) {
        Ok(chosen) => {
            let drives =
                std::iter::once(&chosen.cd1).chain(&chosen.cd2).map(|slot| slot.id.clone()).collect();
            let name = chosen.layout.name().to_owned();
            facts.layout = LayoutFacts { allowed, chosen: Some(name), drives, ..LayoutFacts::default() };
        }
        Err(reason) => {
            let problem = Some(problem.unwrap_or(reason.to_string()));
            facts.layout = LayoutFacts { allowed, problem, ..LayoutFacts::default() };
        }
    }
}

/// Of a handful of reads the 95th percentile is the slowest.
fn latency(mut took: Vec<Duration>) -> Option<LatencyFacts> {
    took.sort_unstable();
    let rank = |percent: usize| took.get((took.len() * percent).div_ceil(100).max(1) - 1).copied();
    let ms = |took: Duration| took.as_secs_f64() * 1000.0;
    Some(LatencyFacts {
        answered: took.len(),
        asked: TIMED_READS,
        p50_ms: ms(rank(50)?),
        p95_ms: ms(rank(95)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let ms = |times: &[u64]| latency(times.iter().map(|ms| Duration::from_millis(*ms)).collect());
        assert_eq!(ms(&[]), None);
        let one = ms(&[4]).unwrap();
        assert_eq!((one.p50_ms, one.p95_ms, one.answered), (4.0, 4.0, 1));
        let seven = ms(&[7, 1, 6, 2, 5, 3, 90]).unwrap();
        assert_eq!((seven.p50_ms, seven.p95_ms), (5.0, 90.0));
    }

    #[test]
    fn a_date_is_compared_whatever_its_offset() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(date_ahead("2026-01-01T01:00:10+01:00", now), Some(10));
        assert_eq!(date_ahead("2025-12-31T23:00:00", now), Some(-3600));
        assert_eq!(date_ahead("yesterday", now), None);
    }
}
