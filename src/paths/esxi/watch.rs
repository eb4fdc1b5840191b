//! `esxi.poll_power`: watch the BMC and the media until the judge is convinced.
//!
//! One turn, in this order:
//!
//! | what | leads to |
//! |---|---|
//! | the management address, if a system answered there before the reset | its silence ties later answers to this host |
//! | the System: power and boot sources, folded into the facts | not observable: wait, and no deadline runs |
//! | an override still armed | cleared once the installer runs, at most [`DISARMS_MAX`] times |
//! | the stored hook report, and the management address once the installed system may run | evidence in the facts |
//! | a second run of the installer, or one that would begin unseen | the media are ejected, at most [`LOOP_EJECTS_MAX`] times |
//! | [`detect::judge`], over facts and read trace | wait, success or failure |
//! | after a success, the slots | an ejected medium is one more evidence; then the judge is asked again |
//!
//! A crash loses at most one look: the facts are saved at the end of each turn, reads of the media by the media server,
//! and a hook report by the request that brings it. The time without a controller counts as unobserved, like that of
//! a silent BMC: it moves deadlines and ends the trust in sources that show only the present. A clear or an eject
//! that was sent and not saved is sent again, which is harmless: both have the same result twice.
//!
//! Looks only, with two exceptions that cannot hurt an installer: an override that is still armed
//! once the installer runs is disarmed, and a host that installs again and again loses its media between
//! two runs. Invariant: no failure to look at the BMC fails the job; what could not be observed is not
//! held against it.

use jiff::Timestamp;
use serde_json::json;

use super::address;
use super::detect::{self, Judgement, Management, NEXT_RUN_MIN, WatchContext};
use crate::domain::{
    AddressFacts, BootSource, CompletionHook, Confidence, Evidence, EvidenceKind, FailureCode,
    InstalledFacts, MediaMode, Medium, Progress, WatchFacts,
};
use crate::flow::look::sample;
use crate::flow::media_base::what_reaching_needs;
use crate::flow::policy::{self, Policy};
use crate::flow::{Context, Decision, StepError, StepOutcome};
use shoal_base::world::{after, elapsed};
use shoal_redfish::{ReadAge, RedfishError, Slot, System};

/// Times that a loop of installations is tried to be ended.
const LOOP_EJECTS_MAX: u32 = 5;
/// Times that an override is disarmed under a running installer; the cleanup tries again.
const DISARMS_MAX: u32 = 3;

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    notice_silence(cx).await?;
    let system = match look(cx).await? {
        Ok(system) => system,
        Err(answer) => return Ok(answer),
    };
    // Before the judge: a success must not leave an override that installs again at the next start.
    let armed = disarm_if_installing(cx, &system).await?;
    listen(cx).await?;
    end_loop(cx).await?;
    match judged(cx).await? {
        Judgement::Wait { until, why } => Ok(wait(cx, until, why)),
        // `Assumed` rests on power and time alone, and the armed override contradicts both.
        Judgement::Succeeded { confidence: Confidence::Assumed, .. } if armed && is_copied(cx) => {
            let reason = "the host is on, and the one-time boot from the virtual CD is still armed: it has not booted \
                          the installer, or boots it at every start; look at its console, and ask for \
                          completion_hook: poweroff";
            let code = FailureCode::BootOverrideNotUsed;
            Ok(StepOutcome::Decided(Decision::Failed { code, reason: reason.to_owned() }))
        }
        Judgement::Succeeded { confidence, evidence } => {
            cx.job.facts.esxi_mut().installed = installed(cx)?;
            Ok(StepOutcome::Decided(Decision::Succeeded { confidence, evidence }))
        }
        Judgement::Failed { code, reason } => {
            let more = [lost_medium(cx).await, reads_of_the_installer(cx)].into_iter().flatten();
            let reason = std::iter::once(reason).chain(more).collect::<Vec<_>>().join("; ");
            Ok(StepOutcome::Decided(Decision::Failed { code, reason }))
        }
    }
}

/// What is recorded of the installed system, for those who add the host to a vCenter.
fn installed(cx: &Context<'_>) -> Result<Option<InstalledFacts>, StepError> {
    let host = with_context(cx, |facts, context| detect::installed_host(facts, context).cloned())?;
    let address = address::of(cx).map(str::to_owned);
    Ok(address.zip(host).map(|(management_address, host)| InstalledFacts { management_address, host }))
}

/// What the requests for the installer add to a failure: how much was read where it was not all, and what reaching
/// us takes where there was none. Of a copied image they say nothing.
fn reads_of_the_installer(cx: &Context<'_>) -> Option<String> {
    let traces = cx.services.media.trace(cx.job.id);
    let seen = &traces.installer;
    let shows_host = seen.total > 0 && seen.mode != MediaMode::Prefetched;
    if !shows_host || seen.read_through_at.is_some() || traces.kickstart.ks_read_at.is_some() {
        return None;
    }
    if seen.read > 0 {
        return Some(format!("{} of the installer's {} bytes were read", seen.read, seen.total));
    }
    let is_asked = cx.services.media.fetched(cx.job.id, Medium::Boot).requests > 0;
    let base = cx.job.facts.media_base.as_deref().filter(|_| !is_asked)?;
    Some(format!("the BMC never requested the image from {base}: {}", what_reaching_needs(base)))
}

/// What the evidence says, and what the slots add to a success. A slow BMC is asked about them for
/// seconds, in which the host may begin to install again: so the judge has the last word.
async fn judged(cx: &Context<'_>) -> Result<Judgement, StepError> {
    let mut judged = with_context(cx, detect::judge)?;
    if let Judgement::Succeeded { confidence, .. } = judged {
        let ejected = guest_ejected(cx, confidence).await;
        judged = with_context(cx, detect::judge)?;
        if let Judgement::Succeeded { evidence, .. } = &mut judged {
            evidence.extend(ejected);
        }
    }
    Ok(judged)
}

/// A medium that the host never read and that is gone explains a failure. Some BMCs drop a fresh
/// mount when the host starts (AMI MegaRAC 13, field report).
async fn lost_medium(cx: &Context<'_>) -> Option<String> {
    let traces = cx.services.media.trace(cx.job.id);
    if traces.installer.installer_read(&traces.kickstart).is_some() {
        return None;
    }
    let slot = empty_slot(cx).await?;
    Some(format!("{} is empty, although this controller did not eject it", slot.id))
}

async fn empty_slot(cx: &Context<'_>) -> Option<Slot> {
    for link in cx.job.facts.mounts.read().filter_map(|drive| drive.slot.as_ref()) {
        let slot = cx.bmc.observe_slot_of(link, ReadAge::JustRead).await.ok()?;
        if slot.inserted == Some(false) {
            return Some(slot);
        }
    }
    None
}

/// One look at the BMC, folded into the facts. An unobservable BMC is a reason to wait.
pub(super) async fn look(cx: &mut Context<'_>) -> Result<Result<System, StepOutcome>, StepError> {
    cx.job.facts.esxi_mut().watch.polls = cx.job.facts.esxi().watch.polls.saturating_add(1);
    note_progress(cx);
    let link = cx.system_link()?;
    let system = match cx.bmc.observe_system_of(&link, ReadAge::JustRead).await {
        Ok(system) => system,
        Err(error) => return Ok(Err(wait(cx, None, cx.unobserved(&error)))),
    };
    let seen = sample(&system, cx.now());
    fold(cx, |facts, context| detect::observe(facts, context, &seen))?;
    Ok(Ok(system))
}

/// Takes in what comes from elsewhere than the BMC: the installer's call, and the installed system's
/// answer once the host may be that far.
async fn listen(cx: &mut Context<'_>) -> Result<(), StepError> {
    if super::asked(cx.spec()?)?.completion_hook == CompletionHook::Webhook
        && cx.job.facts.esxi().watch.hook.is_none()
    {
        cx.job.facts.esxi_mut().watch.hook = cx.services.store.load_hook_report(cx.job.id).await?;
    }
    // An answer while the installer still loads is another host's, or that of a system that was slow to answer
    // before: from here on it is what later answers are compared with.
    if with_context(cx, detect::is_too_early_to_answer)?
        && let Some(early) = address::observe(cx, 1).await.filter(|sample| sample.host.is_some())
    {
        let message = "a host answers at the management address before this one can have installed anything: its answer \
                       will prove nothing";
        cx.job.facts.esxi_mut().api_before = Some(early);
        cx.job.facts.esxi_mut().watch.address = AddressFacts::default();
        cx.warn("os_api", message, json!(null)).await?;
    }
    let may_answer = with_context(cx, |facts, context| {
        let is_asked_already = detect::may_fall_silent(facts, context);
        detect::may_run_what_it_installed(facts, context) && !is_asked_already
    })?;
    if may_answer && let Some(sample) = address::observe(cx, 1).await {
        fold(cx, |facts, context| detect::observe_api(facts, context, sample))?;
    }
    Ok(())
}

/// A system that answered at the management address before the reset falls silent after it, if it is this host.
pub(super) async fn notice_silence(cx: &mut Context<'_>) -> Result<(), StepError> {
    if with_context(cx, detect::may_fall_silent)?
        && let Some(sample) = address::observe(cx, 1).await
    {
        fold(cx, |facts, context| detect::observe_api(facts, context, sample))?;
    }
    Ok(())
}

/// Changes what is known of the watched host by what was seen of it.
pub(super) fn fold(
    cx: &mut Context<'_>,
    observe: impl FnOnce(&mut WatchFacts, &WatchContext<'_>),
) -> Result<(), StepError> {
    let mut facts = std::mem::take(&mut cx.job.facts.esxi_mut().watch);
    let observed = with_context(cx, |_, context| observe(&mut facts, context));
    cx.job.facts.esxi_mut().watch = facts;
    observed
}

/// Runs `judge` on what is known of this job: its facts, the read trace, the policy.
pub(super) fn with_context<T>(
    cx: &Context<'_>,
    judge: impl FnOnce(&WatchFacts, &WatchContext<'_>) -> T,
) -> Result<T, StepError> {
    let facts = &cx.job.facts;
    let mut traces = cx.services.media.trace(cx.job.id);
    // What was read since the backup, another controller has served.
    let is_unseen = facts.restored_at.is_some() && traces.kickstart.ks_read_at.is_none();
    if is_unseen {
        traces.kickstart.mode = MediaMode::Prefetched;
    }
    let started_at =
        facts.reset.started_at.ok_or_else(|| StepError::internal("the host was never started"))?;
    let build = facts.esxi().installer.as_ref().and_then(|installer| installer.build.as_deref());
    let management =
        facts.esxi().api_before.as_ref().zip(build).map(|(before, build)| Management { before, build });
    let context = WatchContext {
        policy: &cx.services.policy,
        hook: super::asked(cx.spec()?)?.completion_hook,
        before: facts.reset.before.as_ref(),
        started_at,
        serves_installer: !is_unseen && facts.esxi().installer.is_some() && !facts.is_direct(),
        installer: &traces.installer,
        kickstart: &traces.kickstart,
        management,
        taken_up_at: cx.job.cursor.taken_up_at(),
    };
    Ok(judge(&facts.esxi().watch, &context))
}

fn note_progress(cx: &mut Context<'_>) {
    let traces = cx.services.media.trace(cx.job.id);
    let installer = cx.job.facts.esxi().installer.as_ref();
    cx.job.facts.esxi_mut().progress = Progress {
        installer_bytes_read: traces.installer.read,
        installer_bytes_total: installer.map_or(0, |installer| installer.size),
        ks_read: traces.installer.installer_read(&traces.kickstart).is_some(),
    };
}

/// A one-time boot that is still armed while the installer runs was turned into a lasting one by
/// the BMC, or never took effect; either way the next boot must not start the installer again. Says
/// whether it was seen armed.
async fn disarm_if_installing(cx: &mut Context<'_>, system: &System) -> Result<bool, StepError> {
    if !cx.job.facts.override_armed {
        return Ok(false);
    }
    // An unreadable override is looked at again in the next turn.
    let Ok(armed) = cx.boots_from_cd(system).await else { return Ok(false) };
    if !armed {
        cx.job.facts.override_armed = false;
        return Ok(false);
    }
    if !is_installing(cx, system) || cx.job.facts.esxi().watch.disarms >= DISARMS_MAX {
        return Ok(true);
    }
    cx.job.facts.esxi_mut().watch.disarms += 1;
    // Clearing an override that was never used would make the next start boot the disk, which looks like the end of
    // an installation: such a success is capped at `assumed`.
    let is_used = with_context(cx, detect::shows_a_used_override)?;
    cx.job.facts.esxi_mut().watch.disarmed_unused |= !is_used;
    let message = match cx.bmc.request_boot_disarm(system, cx.job.facts.mounts.boot.slot.as_deref()).await {
        Ok(()) => {
            "the BMC kept the boot override armed after the installer had started: it was disarmed".to_owned()
        }
        Err(error) => format!("the boot override is still armed and could not be disarmed: {error}"),
    };
    cx.warn("boot.override.disarm", message, json!(null)).await?;
    Ok(true)
}

/// The kickstart was read; or, where reads show nothing, the firmware has handed over to a loader since
/// our start, which an override that was armed then has chosen.
fn is_installing(cx: &Context<'_>, system: &System) -> bool {
    let watch = &cx.job.facts.esxi().watch;
    let showed_start = |source| watch.sources.get(&source).is_some_and(|seen| seen.showed_start);
    let handed_over = (showed_start(BootSource::BootProgress) && is_past_firmware(system))
        || (showed_start(BootSource::PostState) && has_finished_post(system));
    let traces = cx.services.media.trace(cx.job.id);
    let ks_read = traces.installer.installer_read(&traces.kickstart).is_some();
    ks_read || (is_copied(cx) && watch.effect_at.is_some() && handed_over)
}

/// Whether the BMC copies the kickstart's medium, so that the host's reads of it are not seen.
pub(super) fn is_copied(cx: &Context<'_>) -> bool {
    cx.services.media.trace(cx.job.id).kickstart.mode == MediaMode::Prefetched
}

fn is_past_firmware(system: &System) -> bool {
    let state = system.boot_progress.as_ref().map(|progress| progress.state.as_str());
    matches!(state, Some("OSBootStarted" | "OSRunning"))
}

fn has_finished_post(system: &System) -> bool {
    system.post_state.as_deref() == Some("FinishedPost")
}

/// Whether this BMC shows when the firmware has handed over to a loader.
pub(super) fn shows_loader(system: &System) -> bool {
    system.boot_progress.is_some() || system.post_state.is_some()
}

/// A firmware that prefers CDs, behind a BMC that ignores its guest's eject, installs again and again. The
/// run that goes on is let end; then the media are ejected before the next one can begin. Where the beginning
/// of the next run would not be seen, they are ejected at the end of the first.
async fn end_loop(cx: &mut Context<'_>) -> Result<(), StepError> {
    let watch = &cx.job.facts.esxi().watch;
    if watch.loop_ended_at.is_some() || watch.loop_ejects >= LOOP_EJECTS_MAX {
        return Ok(());
    }
    let report = watch.hook.filter(|report| report.succeeded && is_copied(cx));
    let is_again = with_context(cx, detect::reinstalls_and_is_between_runs)?;
    let why = match (is_again, report) {
        (true, _) => "the host boots its installer again and again",
        (false, Some(_)) => "the installer has reported its end, and a second run could not be observed",
        (false, None) => return Ok(()),
    };
    let slots = match loaded_slots(cx).await {
        Ok(slots) => slots,
        Err(error) => {
            tracing::debug!(job = %cx.job.id, %error, "looking whether the media are out");
            return Ok(());
        }
    };
    // By an operator, by the guest after all, or by an eject of which the result was not saved.
    if slots.is_empty() {
        cx.job.facts.esxi_mut().watch.loop_ended_at = Some(cx.now());
        return Ok(());
    }
    // A run that may have begun unseen must not be cut short.
    if !is_again && report.is_some_and(|report| elapsed(report.at, cx.now()) > NEXT_RUN_MIN) {
        return Ok(());
    }
    cx.job.facts.esxi_mut().watch.loop_ejects += 1;
    let mut message = format!("{why}: its media were ejected between two runs");
    match eject_all(cx, &slots).await {
        Ok(()) => cx.job.facts.esxi_mut().watch.loop_ended_at = Some(cx.now()),
        Err(error) => message = format!("{why}, and its media could not be ejected: {error}"),
    }
    cx.warn("media.eject", message, json!(null)).await
}

async fn loaded_slots(cx: &Context<'_>) -> Result<Vec<Slot>, RedfishError> {
    let mut loaded = vec![];
    for link in cx.job.facts.mounts.read().filter_map(|drive| drive.slot.as_ref()) {
        let slot = cx.bmc.observe_slot_of(link, ReadAge::JustRead).await?;
        if slot.inserted == Some(true) {
            loaded.push(slot);
        }
    }
    Ok(loaded)
}

async fn eject_all(cx: &Context<'_>, slots: &[Slot]) -> Result<(), RedfishError> {
    for slot in slots {
        cx.bmc.request_eject(slot).await?;
    }
    Ok(())
}

/// Media that the guest ejected corroborate that its installer came to its end.
async fn guest_ejected(cx: &Context<'_>, confidence: Confidence) -> Option<Evidence> {
    // What we have ejected ourselves, the guest has not.
    if confidence == Confidence::Assumed || cx.job.facts.esxi().watch.loop_ejects > 0 {
        return None;
    }
    let Some(slot) = empty_slot(cx).await else {
        // Media that are still in are looked at anew before they are ejected: the host may begin to read them.
        cx.bmc.look_anew();
        return None;
    };
    let detail = format!("{} is empty, and this controller did not eject it", slot.id);
    Some(Evidence { kind: EvidenceKind::GuestEjected, at: cx.now(), detail })
}

/// The next look: at the steady pace, or earlier where the judge waits for a moment. A window wants
/// two looks at least, since a silence longer than the window starts it anew.
pub(super) fn wait(cx: &Context<'_>, until: Option<Timestamp>, why: String) -> StepOutcome {
    let policy: &Policy = &cx.services.policy;
    let pause = policy::poll_delay(cx.job.facts.esxi().watch.polls, policy.poll_interval);
    let pause = cx.services.world.rng.jitter(pause).min(policy.poll_interval).min(policy.stable_window / 2);
    let pause_max = with_context(cx, |facts, context| detect::pause_max(facts, context, cx.now()));
    let pause = pause_max.ok().flatten().map_or(pause, |most| pause.min(most));
    let next = after(cx.now(), pause);
    let until = until.into_iter().chain(detect::silent_until(&cx.job.facts.esxi().watch)).min();
    let until = until.filter(|until| *until > cx.now()).map_or(next, |until| until.min(next));
    StepOutcome::Wait { until, why }
}
