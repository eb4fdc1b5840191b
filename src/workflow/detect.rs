//! The judge: from what was seen of a BMC and of the media, is the installation over?
//!
//! Pure: observations, policy and times go in, a [`Judgement`] comes out; nothing here looks at a
//! BMC or a clock. Two halves: [`observe`] folds one look at the BMC into [`WatchFacts`], [`judge`]
//! weighs them. Invariants: a success names evidence that was seen after our own start of the host
//! and after the kickstart was read (or, where the read trace cannot tell, after a floor); `On`
//! alone convinces only where no source of the BMC could have spoken; values are compared with
//! earlier values of the same source only, never with our clock.

use std::time::Duration;

use jiff::{Timestamp, civil};

use super::policy::{Detection, Policy};
use crate::job::{
    BootSample, BootSource, CompletionHook, Confidence, Evidence, EvidenceKind, MediaMode, MediumTrace,
    Power, SourceFacts, WatchFacts,
};
use crate::world::{after, elapsed};

/// No ESXi installation is over so soon after its start; a boot before that is still our own
/// (a firmware that restarts itself during POST). Only used where the read trace cannot tell.
const BOOT_FLOOR: Duration = Duration::from_secs(120);

/// What does not change while a host is watched.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub policy: &'a Policy,
    pub hook: CompletionHook,
    /// The BMC before our reset.
    pub before: Option<&'a BootSample>,
    /// When we asked the host to start.
    pub started_at: Timestamp,
    /// CD1 comes from us; otherwise its trace is empty and says nothing.
    pub serves_installer: bool,
    pub installer: &'a MediumTrace,
    pub task: &'a MediumTrace,
}

/// What the evidence says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Look again, at `until` at the latest; `why` is for whoever watches.
    Wait {
        until: Option<Timestamp>,
        why: String,
    },
    Succeeded {
        confidence: Confidence,
        evidence: Vec<Evidence>,
    },
    Failed {
        reason: String,
    },
}

impl Scene<'_> {
    /// Whether the trace of the task medium shows when the kickstart is read. A medium that was
    /// never fetched tells as well: nobody can have read it.
    fn trace_tells(&self) -> bool {
        self.task.mode != MediaMode::Prefetched
    }

    /// The last read of the kickstart; a second one means that the host installs again.
    fn ks_read_at(&self) -> Option<Timestamp> {
        if !self.trace_tells() {
            return None;
        }
        self.task.ks_read_again_at.or(self.task.ks_read_at)
    }

    /// From when on a boot is a second boot; `None` while it is still too early.
    fn counting_since(&self, now: Timestamp) -> Option<Timestamp> {
        if self.trace_tells() {
            return self.ks_read_at();
        }
        let floor = after(self.started_at, BOOT_FLOOR.min(self.policy.min_install_time));
        (now >= floor).then_some(floor)
    }
}

/// Folds one look at the BMC into the facts. A boot that turns out to be from before the kickstart's
/// (last) read is taken back.
pub fn observe(watch: &mut WatchFacts, scene: &Scene<'_>, sample: &BootSample) {
    note_silence(watch, scene, sample.at);
    note_power(watch, scene, sample);
    for (source, value) in &sample.sources {
        note_source(watch, scene, *source, value, sample.at);
    }
    let counting = scene.counting_since(sample.at);
    if watch.second_boot.as_ref().is_some_and(|boot| counting.is_none_or(|since| boot.at <= since)) {
        watch.second_boot = None;
    }
    watch.observed_at = Some(sample.at);
}

/// A silence of the BMC (or of this controller) moves every deadline, and takes the word of those
/// sources that cannot tell of what they saw meanwhile.
fn note_silence(watch: &mut WatchFacts, scene: &Scene<'_>, now: Timestamp) {
    let silence = elapsed(watch.observed_at.unwrap_or(scene.started_at), now);
    if silence > scene.policy.stable_window {
        watch.power = watch.power.map(|(power, _)| (power, now));
    }
    if silence <= (3 * scene.policy.poll_interval).max(Duration::from_secs(10)) {
        return;
    }
    watch.blind_ms = watch.blind_ms.saturating_add(u64::try_from(silence.as_millis()).unwrap_or(u64::MAX));
    watch.silence_ended_at = Some(now);
    if let Some(progress) = watch.sources.get_mut(&BootSource::BootProgress) {
        progress.live &= progress.last.as_deref().is_some_and(|value| split_progress(value).1.is_some());
    }
}

fn note_power(watch: &mut WatchFacts, scene: &Scene<'_>, sample: &BootSample) {
    let before = watch.power;
    if before.is_none_or(|(power, _)| power != sample.power) {
        watch.power = Some((sample.power, sample.at));
    }
    if sample.power == Power::On && watch.effect_at.is_none() {
        watch.effect_at = Some(sample.at);
        return;
    }
    if let (Some((Power::Off, since)), Power::On) = (before, sample.power)
        && scene.counting_since(sample.at).is_some_and(|counting| since >= counting)
    {
        note_boot(watch, sample.at, "PowerState went from Off to On by itself".to_owned());
    }
}

fn note_source(watch: &mut WatchFacts, scene: &Scene<'_>, source: BootSource, value: &str, now: Timestamp) {
    let facts = watch.sources.entry(source).or_default();
    let last = facts.last.replace(value.to_owned());
    if scene.counting_since(now).is_none() {
        let before = scene.before.map(|sample| sample.sources.get(&source).map(String::as_str));
        facts.live |=
            before.is_some_and(|before| before.map(|text| shown(source, text)) != Some(shown(source, value)));
    } else if let Some(last) = last
        && is_boot(source, &last, value)
    {
        note_boot(watch, now, format!("{} went from {last} to {value}", source.property()));
    }
}

fn note_boot(watch: &mut WatchFacts, at: Timestamp, detail: String) {
    watch.second_boot.get_or_insert(Evidence { kind: EvidenceKind::SecondBoot, at, detail });
}

/// The part of a value whose change shows that the source lives.
fn shown(source: BootSource, value: &str) -> &str {
    match source {
        BootSource::BootProgress => split_progress(value).0,
        BootSource::LastResetTime => value,
    }
}

/// A [`BootSource::BootProgress`] value is `State` or `State@Time`.
fn split_progress(value: &str) -> (&str, Option<&str>) {
    match value.split_once('@') {
        Some((state, time)) => (state, Some(time)),
        None => (value, None),
    }
}

/// Whether the host booted between two values of one source.
fn is_boot(source: BootSource, last: &str, value: &str) -> bool {
    match source {
        BootSource::LastResetTime => is_later(last, value),
        BootSource::BootProgress => {
            let ((last_state, last_time), (state, time)) = (split_progress(last), split_progress(value));
            match progress_rank(state).cmp(&progress_rank(last_state)) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Equal => {
                    state == last_state
                        && last_time.zip(time).is_some_and(|(last_time, time)| is_later(last_time, time))
                }
                std::cmp::Ordering::Greater => false,
            }
        }
    }
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

/// Place of a `BootProgress.LastState` in the course of a boot (DSP0268, BootProgressTypes).
/// Unknown and OEM words rank highest, so that entering one is never taken for a boot.
fn progress_rank(state: &str) -> u8 {
    match state {
        "None" => 0,
        "PrimaryProcessorInitializationStarted" => 1,
        "BusInitializationStarted" => 2,
        "MemoryInitializationStarted" => 3,
        "SecondaryProcessorInitializationStarted" => 4,
        "PCIResourceConfigStarted" => 5,
        "SystemHardwareInitializationComplete" => 6,
        "SetupEntered" => 7,
        "OSBootStarted" => 8,
        "OSRunning" => 9,
        _ => 10,
    }
}

/// Weighs what has been seen up to the last look at the BMC.
pub fn judge(watch: &WatchFacts, scene: &Scene<'_>) -> Judgement {
    let Some(now) = watch.observed_at else {
        return Judgement::Wait { until: None, why: "the BMC has not answered since the reset".to_owned() };
    };
    let judged = match scene.policy.detection {
        Detection::Power => judge_power(watch, scene),
        Detection::Evidence => judge_evidence(watch, scene, now),
    };
    match judged {
        Judgement::Wait { until, why } => {
            give_up(watch, scene, now).unwrap_or(Judgement::Wait { until, why })
        }
        Judgement::Succeeded { confidence, .. } if confidence < scene.policy.min_confidence => {
            Judgement::Failed { reason: not_confirmed(confidence, scene.policy.min_confidence) }
        }
        decided => decided,
    }
}

fn not_confirmed(found: Confidence, wanted: Confidence) -> String {
    format!(
        "not confirmed: the evidence makes the installation {} and ESXI_MIN_CONFIDENCE asks for {}; \
         look at the console, or give the job a completion_hook",
        found.name(),
        wanted.name()
    )
}

/// The plain rule of `ESXI_DETECTION=power`.
fn judge_power(watch: &WatchFacts, scene: &Scene<'_>) -> Judgement {
    let Some(effect_at) = watch.effect_at else {
        return Judgement::Wait { until: None, why: "waiting for PowerState On".to_owned() };
    };
    when_stable(watch, scene, effect_at, || Judgement::Succeeded {
        confidence: Confidence::Assumed,
        evidence: vec![power_stable(watch, scene)],
    })
}

fn judge_evidence(watch: &WatchFacts, scene: &Scene<'_>, now: Timestamp) -> Judgement {
    if let Some(judged) = judge_off(watch, scene, now) {
        return judged;
    }
    if let Some(boot) = second_boot(watch, scene) {
        return when_stable(watch, scene, boot.at, || Judgement::Succeeded {
            confidence: Confidence::Probable,
            evidence: [Some(boot.clone()), kickstart_read(scene), Some(power_stable(watch, scene))]
                .into_iter()
                .flatten()
                .collect(),
        });
    }
    if let Some(reason) = early_failure(watch, scene, now) {
        return Judgement::Failed { reason };
    }
    judge_power_alone(watch, scene)
}

/// A host that is off without our asking: the end of a hook, or something is wrong.
fn judge_off(watch: &WatchFacts, scene: &Scene<'_>, now: Timestamp) -> Option<Judgement> {
    let Some((Power::Off, since)) = watch.power else { return None };
    watch.effect_at?;
    let until = after(since, scene.policy.stable_window);
    if now < until {
        return Some(Judgement::Wait {
            until: Some(until),
            why: "the host is off: watching whether it stays so".into(),
        });
    }
    let may_be_done = scene.ks_read_at().is_some() || !scene.trace_tells();
    if scene.hook == CompletionHook::OwnPoweroff && may_be_done {
        let detail = "the host powered itself off, as its kickstart said it would".to_owned();
        let off = Evidence { kind: EvidenceKind::InstallerHook, at: since, detail };
        let evidence = [Some(off), kickstart_read(scene)].into_iter().flatten().collect();
        return Some(Judgement::Succeeded { confidence: Confidence::Probable, evidence });
    }
    let when = if may_be_done { "" } else { " before the kickstart was read" };
    Some(Judgement::Failed {
        reason: format!(
            "the host went off by itself{when} and stayed off: look at its console and its power"
        ),
    })
}

/// The second boot, in a source of the BMC or in the read trace. The trace counts only where the
/// BMC answered all along: one that restarted reads its media again of its own accord.
fn second_boot(watch: &WatchFacts, scene: &Scene<'_>) -> Option<Evidence> {
    if let Some(boot) = &watch.second_boot {
        return Some(boot.clone());
    }
    let (ks_read_at, at) = (scene.ks_read_at()?, scene.installer.reenumerated_at?);
    let unbroken = watch.silence_ended_at.is_none_or(|ended| ended < ks_read_at);
    let detail = "media_trace: long after the kickstart was read, the volume descriptors and the boot catalogue of CD1 \
                  were read again, as a firmware does that looks for something to boot";
    (unbroken && at > ks_read_at).then(|| Evidence {
        kind: EvidenceKind::SecondBoot,
        at,
        detail: detail.to_owned(),
    })
}

fn kickstart_read(scene: &Scene<'_>) -> Option<Evidence> {
    let at = scene.ks_read_at()?;
    Some(Evidence {
        kind: EvidenceKind::KickstartRead,
        at,
        detail: "the host read the kickstart from CD2".into(),
    })
}

fn power_stable(watch: &WatchFacts, scene: &Scene<'_>) -> Evidence {
    let at = watch.power.map_or(scene.started_at, |(_, since)| since);
    let window = scene.policy.stable_window.as_secs();
    Evidence {
        kind: EvidenceKind::PowerStable,
        at,
        detail: format!("PowerState was On for {window} s and more"),
    }
}

/// `done`, once `On` has been seen without a break for the window, counted from `from`.
fn when_stable(
    watch: &WatchFacts,
    scene: &Scene<'_>,
    from: Timestamp,
    done: impl FnOnce() -> Judgement,
) -> Judgement {
    let Some((Power::On, since)) = watch.power else {
        return Judgement::Wait { until: None, why: "waiting for PowerState On".to_owned() };
    };
    let until = after(since.max(from), scene.policy.stable_window);
    if watch.observed_at.is_some_and(|now| now >= until) {
        return done();
    }
    Judgement::Wait { until: Some(until), why: "waiting for PowerState On to hold for the window".to_owned() }
}

/// Only where nothing in the BMC could have told of a second boot.
fn judge_power_alone(watch: &WatchFacts, scene: &Scene<'_>) -> Judgement {
    if scene.trace_tells() && scene.ks_read_at().is_none() {
        return Judgement::Wait { until: None, why: "waiting for the host to read the kickstart".to_owned() };
    }
    if let Some((source, _)) = watch.sources.iter().find(|(_, facts)| facts.live) {
        let read =
            if scene.trace_tells() { "the kickstart was read" } else { "the installer may be running" };
        let why = format!("{read}: waiting for {} to show a second boot", source.property());
        return Judgement::Wait { until: None, why };
    }
    let from = scene.ks_read_at().unwrap_or(scene.started_at);
    let floor = shifted(watch, after(from, scene.policy.min_install_time));
    if watch.observed_at.is_none_or(|now| now < floor) {
        let why = "this BMC shows no second boot: waiting until an installation can be over".to_owned();
        return Judgement::Wait { until: Some(floor), why };
    }
    when_stable(watch, scene, from, || Judgement::Succeeded {
        confidence: Confidence::Assumed,
        evidence: [Some(power_stable(watch, scene)), kickstart_read(scene)].into_iter().flatten().collect(),
    })
}

/// What the reads of the media say is wrong, long before the install timeout.
fn early_failure(watch: &WatchFacts, scene: &Scene<'_>, now: Timestamp) -> Option<String> {
    let policy = scene.policy;
    let late = |from: Timestamp, timeout: Duration| now >= shifted(watch, after(from, timeout));
    if scene.serves_installer
        && scene.installer.first_read_at.is_none()
        && scene.installer.mode != MediaMode::Prefetched
        && late(scene.started_at, policy.boot_timeout)
    {
        return Some(with_fault(
            "the host never read CD1 after the reset: the BMC cannot fetch it, or the host did not boot from it",
            scene.installer,
        ));
    }
    let last_new = match scene.installer.mode {
        MediaMode::Streamed => scene.installer.last_new_read_at?,
        MediaMode::Prefetched | MediaMode::None => return None,
    };
    (scene.trace_tells() && scene.ks_read_at().is_none() && late(last_new, policy.ks_timeout)).then(|| {
        with_fault(
            "the kickstart was not read: the host did not boot the installer, or the installer waits at a prompt; look at the console",
            scene.task,
        )
    })
}

fn with_fault(reason: &str, trace: &MediumTrace) -> String {
    match &trace.fault {
        Some(fault) => format!("{reason} (the last fetch: {fault})"),
        None => reason.to_owned(),
    }
}

/// The end of all patience.
fn give_up(watch: &WatchFacts, scene: &Scene<'_>, now: Timestamp) -> Option<Judgement> {
    if now < install_deadline(watch, scene.policy, scene.started_at) {
        return None;
    }
    let live = watch.sources.values().any(|facts: &SourceFacts| facts.live);
    let minutes = scene.policy.install_timeout.as_secs() / 60;
    let reason = match (scene.ks_read_at(), live) {
        (Some(_), true) => "kickstart read, the installer never rebooted: look at the console".to_owned(),
        (None, _) if scene.trace_tells() => "the kickstart was never read: look at the console".to_owned(),
        (_, true) => "the installer never rebooted: look at the console".to_owned(),
        (_, false) => {
            format!("no evidence of a finished installation within {minutes} minutes: look at the console")
        }
    };
    Some(Judgement::Failed { reason })
}

/// When the whole wait ends, unobserved time not counted.
pub fn install_deadline(watch: &WatchFacts, policy: &Policy, started_at: Timestamp) -> Timestamp {
    shifted(watch, after(started_at, policy.install_timeout))
}

fn shifted(watch: &WatchFacts, deadline: Timestamp) -> Timestamp {
    after(deadline, Duration::from_millis(watch.blind_ms))
}

/// Whether the installer cannot be running any more (or cannot have begun): then media may be
/// ejected without harm.
pub fn installer_is_gone(watch: &WatchFacts, scene: &Scene<'_>) -> bool {
    let off = matches!(watch.power, Some((Power::Off, _)));
    let never_read = scene.serves_installer
        && scene.installer.first_read_at.is_none()
        && scene.installer.mode != MediaMode::Prefetched;
    off || never_read || second_boot(watch, scene).is_some()
}

#[cfg(test)]
mod tests;
