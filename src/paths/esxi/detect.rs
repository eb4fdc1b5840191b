//! The judge: from what was seen of a BMC and of the media, is the installation over?
//!
//! Pure: observations, policy and times go in, a [`Judgement`] comes out; nothing here looks at a
//! BMC or a clock. Two halves: [`observe()`] folds one look at the BMC into [`WatchFacts`], [`judge`]
//! weighs them. Invariants: a success names evidence that was seen after our own start of the host
//! and after the kickstart was read (or, where the read trace is inconclusive, after a floor); `On`
//! alone convinces only where no source of the BMC could have spoken.

mod address;
mod early;
mod hook;
mod missed;
mod observe;
mod proof;
mod unused;

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::FailureCode as Code;
use crate::domain::{
    ApiHost, ApiSample, BootSample, CompletionHook, Confidence, Evidence, EvidenceKind, FailureCode,
    MediaMode, MediumTrace, Power, SourceFacts, WatchFacts,
};
use crate::flow::policy::{Detection, Policy};
use shoal_base::world::after;

use early::early_failure;
use hook::judge_hook;
use proof::{proof, settles};
use unused::capped;

pub use address::{may_fall_silent, observe_api, silent_until};
pub use early::next_deadline;
pub use missed::pause_max;
pub use observe::{observe, observe_sources};
pub use proof::{NEXT_RUN_MIN, installed_host};
pub use unused::shows_a_used_override;

/// No ESXi installation is over so soon after its start; a boot before that is still our own
/// (a firmware that restarts itself during POST). Used where the read trace is inconclusive.
const BOOT_FLOOR: Duration = Duration::from_secs(120);

/// How long a weaker word is held back for the installed system to answer for itself: a self test
/// of ten minutes, and ESXi's first boot until its API is up (facts: HPE, 2 to 3 minutes).
const API_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// What does not change while a host is watched.
#[derive(Clone, Copy, Debug)]
pub struct WatchContext<'a> {
    pub policy: &'a Policy,
    pub hook: CompletionHook,
    /// The BMC before our reset.
    pub before: Option<&'a BootSample>,
    /// When we asked the host to start.
    pub started_at: Timestamp,
    /// CD1 comes from us; otherwise its trace is empty and says nothing.
    pub serves_installer: bool,
    pub installer: &'a MediumTrace,
    /// The trace of the medium that carries the kickstart.
    pub kickstart: &'a MediumTrace,
    /// Where the installed system is to answer, if the job says so.
    pub management: Option<Management<'a>>,
    /// When this controller took the job up, if that was since the start of the watch.
    pub taken_up_at: Option<Timestamp>,
}

/// What the management address is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Management<'a> {
    /// What answered there before our reset.
    pub before: &'a ApiSample,
    /// The installer's build.
    pub build: &'a str,
}

/// What the evidence says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Look again, at `until` at the latest; `why` is shown to the operator.
    Wait {
        until: Option<Timestamp>,
        why: String,
    },
    Succeeded {
        confidence: Confidence,
        evidence: Vec<Evidence>,
    },
    Failed {
        code: FailureCode,
        reason: String,
    },
}

impl WatchContext<'_> {
    /// Whether the trace of the task medium shows when the kickstart is read. That of a medium that was
    /// never fetched does: it cannot have been read.
    fn trace_shows_reads(&self) -> bool {
        self.kickstart.mode != MediaMode::Prefetched
    }

    /// The last read of the kickstart; a second one means that the host installs again.
    fn ks_read_at(&self) -> Option<Timestamp> {
        if !self.trace_shows_reads() {
            return None;
        }
        let first = self.installer.installer_read(self.kickstart)?;
        Some(self.kickstart.ks_read_again_at.unwrap_or(first))
    }

    /// When the hook read the nonce, in the run of the installer that read the kickstart last.
    fn nonce_read_at(&self) -> Option<Timestamp> {
        let ks_read_at = self.ks_read_at()?;
        self.kickstart.nonce_read_at.filter(|at| *at >= ks_read_at)
    }

    /// From when on a boot is a second boot; `None` while it is still too early.
    fn counting_since(&self, now: Timestamp) -> Option<Timestamp> {
        if self.trace_shows_reads() {
            return self.ks_read_at();
        }
        let floor = self.floor();
        (now >= floor).then_some(floor)
    }

    /// Whether no installation can have come to its end yet: too soon after the start, or after the kickstart's read.
    fn is_too_early_for_a_second_boot(&self, now: Timestamp) -> bool {
        let read = self.ks_read_at();
        now < self.floor() || read.is_some_and(|read| now < after(read, self.policy.proof_floor))
    }

    fn floor(&self) -> Timestamp {
        after(self.started_at, BOOT_FLOOR.min(self.policy.min_install_time))
    }
}

/// Weighs what has been seen up to the last look at the BMC.
pub fn judge(watch: &WatchFacts, context: &WatchContext<'_>) -> Judgement {
    let Some(now) = watch.observed_at else {
        return Judgement::Wait { until: None, why: "the BMC has not answered since the reset".to_owned() };
    };
    let judged = match context.policy.detection {
        Detection::Power => judge_power(watch, context),
        Detection::Evidence => judge_evidence(watch, context, now),
    };
    match capped(judged, watch, context) {
        Judgement::Wait { until, why } => {
            give_up(watch, context, now).unwrap_or(Judgement::Wait { until, why })
        }
        Judgement::Succeeded { confidence, .. } if confidence < context.policy.min_confidence => {
            failed(Code::SuccessNotConfirmed, not_confirmed(confidence, context.policy.min_confidence))
        }
        decided => decided,
    }
}

fn not_confirmed(found: Confidence, wanted: Confidence) -> String {
    format!(
        "not confirmed: the evidence makes the installation {} and ESXI_MIN_CONFIDENCE requires {}; \
         look at the console, or give the job a completion_hook",
        found.name(),
        wanted.name()
    )
}

/// The plain rule of `ESXI_DETECTION=power`.
fn judge_power(watch: &WatchFacts, context: &WatchContext<'_>) -> Judgement {
    let Some(effect_at) = watch.effect_at else {
        return Judgement::Wait { until: None, why: "waiting for PowerState On".to_owned() };
    };
    when_stable(watch, context, effect_at, || {
        succeeded(Confidence::Assumed, power_stable(watch, context), [])
    })
}

fn judge_evidence(watch: &WatchFacts, context: &WatchContext<'_>, now: Timestamp) -> Judgement {
    if watch.hook.is_some_and(|report| !report.succeeded) {
        let reason = "the installer itself reported by its webhook that it failed: look at the console";
        return failed(Code::InstallerReportedFailure, reason);
    }
    if let Some(judged) = judge_off(watch, context, now) {
        return judged;
    }
    if let Some(proof) = proof(watch, context) {
        if let Some(wait) = wait_for_doubted(watch, context, &proof) {
            return wait;
        }
        let judged = when_stable(watch, context, proof.at, || {
            let boot = second_boot(watch, context);
            let rest = [boot, kickstart_read(context), Some(power_stable(watch, context))];
            succeeded(proof::worth(watch, context, &proof), proof.clone(), rest)
        });
        return unless_the_api_may_answer(watch, context, proof.at, judged);
    }
    if let Some(boot) = second_boot(watch, context) {
        let judged = when_stable(watch, context, boot.at, || {
            let rest = [kickstart_read(context), Some(power_stable(watch, context))];
            succeeded(Confidence::Probable, boot.clone(), rest)
        });
        return unless_the_api_may_answer(watch, context, boot.at, judged);
    }
    if let Some(failure) = early_failure(watch, context, now) {
        return failure;
    }
    judge_power_alone(watch, context)
}

/// An answer that may be another host's is no reason to leave an installation alone in its midst.
fn wait_for_doubted(watch: &WatchFacts, context: &WatchContext<'_>, proof: &Evidence) -> Option<Judgement> {
    let is_answer = proof.kind == EvidenceKind::OsApi;
    let until = address::doubted_until(watch, context, proof.at).filter(|_| is_answer)?;
    watch.observed_at.is_none_or(|now| now < until).then(|| Judgement::Wait {
        until: Some(until),
        why: format!("{}: waiting until an installation can be over", proof.detail),
    })
}

fn succeeded(
    confidence: Confidence,
    first: Evidence,
    rest: impl IntoIterator<Item = Option<Evidence>>,
) -> Judgement {
    let evidence = std::iter::once(first).chain(rest.into_iter().flatten()).collect();
    Judgement::Succeeded { confidence, evidence }
}

/// A host that is off without our asking: the end of a hook, or something is wrong.
fn judge_off(watch: &WatchFacts, context: &WatchContext<'_>, now: Timestamp) -> Option<Judgement> {
    let Some((Power::Off, since)) = watch.power else { return None };
    watch.effect_at?;
    let until = after(since, context.policy.stable_window);
    if now < until {
        return Some(Judgement::Wait {
            until: Some(until),
            why: "the host is off: watching whether it stays so".into(),
        });
    }
    if let Some(proof) = settles(watch, context) {
        let worth = proof::worth(watch, context, &proof);
        return Some(succeeded(worth, proof, [kickstart_read(context)]));
    }
    let may_be_done = context.ks_read_at().is_some() || !context.trace_shows_reads();
    if context.hook.powers_off() && may_be_done {
        return Some(judge_hook(watch, context, since));
    }
    Some(unrequested_off(may_be_done))
}

fn failed(code: FailureCode, reason: impl Into<String>) -> Judgement {
    Judgement::Failed { code, reason: reason.into() }
}

/// Why a host that is off ends the job. Once the kickstart was read, its own `%post` is the likely cause.
fn unrequested_off(may_be_done: bool) -> Judgement {
    if may_be_done {
        let reason = "the host powered itself off after the kickstart was read, and stayed off: if the kickstart's %post \
                      powers the host off (poweroff, halt, esxcli system shutdown), submit it with `completion_hook: \
                      own-poweroff`; otherwise look at the host's console and its power";
        return failed(Code::HostOffAfterKickstart, reason);
    }
    let reason = "the host powered itself off before the kickstart was read and stayed off: look at its console and \
                  its power";
    failed(Code::HostOffBeforeKickstart, reason)
}

/// A success that is weaker than what the management address may yet say is held back for a while.
fn unless_the_api_may_answer(
    watch: &WatchFacts,
    context: &WatchContext<'_>,
    from: Timestamp,
    judged: Judgement,
) -> Judgement {
    let until = shifted(watch, context.policy, after(from, API_TIMEOUT)).min(install_deadline(
        watch,
        context.policy,
        context.started_at,
    ));
    // What has answered and can prove nothing any more is not waited for.
    let is_over = matches!(&judged, Judgement::Succeeded { evidence, .. }
        if evidence.first().is_some_and(|first| first.kind == EvidenceKind::OsApi
            && address::doubt(watch, context, first.at).is_some()));
    let too_early = !is_over && watch.observed_at.is_none_or(|now| now < until);
    match judged {
        Judgement::Succeeded { confidence, .. }
            if confidence < Confidence::Proven && context.management.is_some() && too_early =>
        {
            Judgement::Wait { until: Some(until), why: why_no_api(watch, context) }
        }
        judged => judged,
    }
}

fn why_no_api(watch: &WatchFacts, context: &WatchContext<'_>) -> String {
    let waiting = "waiting for the installed ESXi to answer at its management address";
    let seen = watch.api.as_ref().and_then(|sample| sample.host.as_ref());
    match seen.zip(context.management) {
        None => waiting.to_owned(),
        Some((host, management)) if host.build != management.build => {
            format!("{waiting}, where a host of build {} answers instead of {}", host.build, management.build)
        }
        Some((host, management)) if !is_before(host, management) => format!("{waiting} once more"),
        Some(_) => format!(
            "{waiting}, where a host answers with the certificate that it had before the reset: is the address right?"
        ),
    }
}

fn is_before(host: &ApiHost, management: Management<'_>) -> bool {
    management.before.host.as_ref().is_some_and(|before| before.certificate == host.certificate)
}

/// The second boot, in a source of the BMC or in the read trace. The trace counts only where the
/// BMC answered all along: one that restarted reads its media again of its own accord.
fn second_boot(watch: &WatchFacts, context: &WatchContext<'_>) -> Option<Evidence> {
    let read = context.ks_read_at();
    if let Some(boot) = watch.second_boot.as_ref().filter(|boot| read.is_none_or(|read| boot.at > read)) {
        return Some(boot.clone());
    }
    let (ks_read_at, at) = (read?, context.installer.reenumerated_at?);
    let unbroken = watch.silence_ended_at.is_none_or(|ended| ended < ks_read_at);
    let detail = "media_trace: long after the kickstart was read, the volume descriptors and the boot catalogue of CD1 \
                  were read again, as a firmware does that looks for something to boot";
    (unbroken && at > ks_read_at).then(|| Evidence {
        kind: EvidenceKind::SecondBoot,
        at,
        detail: detail.to_owned(),
    })
}

/// Whether a source of the BMC would have shown a second boot.
fn is_live(watch: &WatchFacts) -> bool {
    watch.sources.values().any(|facts: &SourceFacts| facts.live)
}

fn kickstart_read(context: &WatchContext<'_>) -> Option<Evidence> {
    let at = context.ks_read_at()?;
    Some(Evidence { kind: EvidenceKind::KickstartRead, at, detail: "the host read the kickstart".into() })
}

fn power_stable(watch: &WatchFacts, context: &WatchContext<'_>) -> Evidence {
    let at = watch.power.map_or(context.started_at, |(_, since)| since);
    let window = context.policy.stable_window.as_secs();
    Evidence {
        kind: EvidenceKind::PowerStable,
        at,
        detail: format!("PowerState was On for {window} s and more"),
    }
}

/// `done`, once `On` has been seen without a break for the window, counted from `from`.
fn when_stable(
    watch: &WatchFacts,
    context: &WatchContext<'_>,
    from: Timestamp,
    done: impl FnOnce() -> Judgement,
) -> Judgement {
    let Some((Power::On, since)) = watch.power else {
        return Judgement::Wait { until: None, why: "waiting for PowerState On".to_owned() };
    };
    let until = after(since.max(from), context.policy.stable_window);
    if watch.observed_at.is_some_and(|now| now >= until) {
        return done();
    }
    Judgement::Wait { until: Some(until), why: "waiting for PowerState On to hold for the window".to_owned() }
}

/// Only where no source of the BMC could have shown a second boot.
fn judge_power_alone(watch: &WatchFacts, context: &WatchContext<'_>) -> Judgement {
    if context.trace_shows_reads() && context.ks_read_at().is_none() {
        return Judgement::Wait { until: None, why: "waiting for the host to read the kickstart".to_owned() };
    }
    if let Some((source, _)) = watch.sources.iter().find(|(_, facts)| facts.live) {
        let read = if context.trace_shows_reads() {
            "the kickstart was read"
        } else {
            "the installer may be running"
        };
        let why = format!("{read}: waiting for {} to show a second boot", source.property());
        return Judgement::Wait { until: None, why };
    }
    let from = context.ks_read_at().unwrap_or(context.started_at);
    let floor = shifted(watch, context.policy, after(from, context.policy.min_install_time));
    if watch.observed_at.is_none_or(|now| now < floor) {
        let why = "this BMC shows no second boot: waiting until an installation can be over".to_owned();
        return Judgement::Wait { until: Some(floor), why };
    }
    let judged = when_stable(watch, context, from, || {
        succeeded(Confidence::Assumed, power_stable(watch, context), [kickstart_read(context)])
    });
    unless_the_api_may_answer(watch, context, floor, judged)
}

/// The last deadline; evidence that came at the last moment has its window.
fn give_up(watch: &WatchFacts, context: &WatchContext<'_>, now: Timestamp) -> Option<Judgement> {
    let evidence = proof(watch, context).or_else(|| second_boot(watch, context));
    let last_moment = evidence.as_ref().map(|evidence| after(evidence.at, 2 * context.policy.stable_window));
    if now < install_deadline(watch, context.policy, context.started_at) || Some(now) < last_moment {
        return None;
    }
    if evidence.is_some() {
        let reason = "the host came out of the installer and did not stay On: look at its power and console";
        return Some(failed(Code::HostNotStable, reason));
    }
    let minutes = context.policy.install_timeout.as_secs() / 60;
    Some(match (context.ks_read_at(), is_live(watch)) {
        (Some(_), true) => missed::failure(watch, true),
        (None, _) if context.trace_shows_reads() => {
            failed(Code::KickstartNotRead, "the kickstart was never read: look at the console")
        }
        (_, true) => missed::failure(watch, false),
        (_, false) => failed(
            Code::InstallationTimedOut,
            format!("no evidence of a finished installation within {minutes} minutes: look at the console"),
        ),
    })
}

/// Whether the host reads again what it has installed already, and has come to the end of that run: a
/// firmware that prefers CDs behind a BMC that ignores its guest's eject would go on so without end. It is
/// in its self test then, or looks for something to boot, so its media may go.
pub fn reinstalls_and_is_between_runs(watch: &WatchFacts, context: &WatchContext<'_>) -> bool {
    let is_again = context.trace_shows_reads() && context.kickstart.ks_read_again_at.is_some();
    is_again && second_boot(watch, context).is_some()
}

/// Whether the system that answers at the management address now cannot be the one that this job installs.
pub fn is_too_early_to_answer(watch: &WatchFacts, context: &WatchContext<'_>) -> bool {
    let is_silent_before = context.management.is_some_and(|management| management.before.host.is_none());
    let unread = context.trace_shows_reads() && context.ks_read_at().is_none();
    is_silent_before && unread && watch.hook.is_none()
}

/// Whether the host may be so far that the installed system runs, and its address is worth a question.
pub fn may_run_what_it_installed(watch: &WatchFacts, context: &WatchContext<'_>) -> bool {
    let is_on = matches!(watch.power, Some((Power::On, _)));
    let counts = watch.observed_at.is_some_and(|now| context.counting_since(now).is_some());
    context.management.is_some() && is_on && counts
}

/// When the whole wait ends, unobserved time not counted.
pub fn install_deadline(watch: &WatchFacts, policy: &Policy, started_at: Timestamp) -> Timestamp {
    shifted(watch, policy, after(started_at, policy.install_timeout))
}

/// Moves a deadline by the time without a controller, and by the unobserved time, at most by the whole timeout or the
/// longest silence: a BMC that is silent again and again (after each boot of a host that installs in a loop, say) must not
/// postpone it without limit.
fn shifted(watch: &WatchFacts, policy: &Policy, deadline: Timestamp) -> Timestamp {
    let most = Duration::from_millis(watch.longest_unobserved_ms).max(policy.install_timeout);
    let away = Duration::from_millis(watch.away_ms);
    after(deadline, away + Duration::from_millis(watch.unobserved_ms).min(most))
}

/// Whether the installer cannot be running any more (or cannot have begun): then media may be
/// ejected without harm.
pub fn installer_is_gone(watch: &WatchFacts, context: &WatchContext<'_>) -> bool {
    let off = matches!(watch.power, Some((Power::Off, _)));
    let never_read = context.serves_installer
        && context.installer.first_read_at.is_none()
        && context.installer.mode != MediaMode::Prefetched;
    off || never_read || settles(watch, context).is_some() || second_boot(watch, context).is_some()
}

#[cfg(test)]
mod tests;
