//! `reset`: the one dangerous act, the start of the host into the installer.
//!
//! A sequence of shutdown, Off, a look at media and override, On; each act has its own intent ([`super::power`] says
//! which comes next). What one look leads to, before and after a start was requested:
//!
//! | requested | the host | next |
//! |---|---|---|
//! | no | has used the one-time boot unrequested, and something shows it | its start is taken for ours |
//! | no | may have, and nothing on this BMC would show it | the job fails before anything is forced off |
//! | no | anything else | the next act of the sequence; On only with override and media seen in place |
//! | yes | reads the media, reports, is on, or has used the override up | done |
//! | yes | shows no sign, for less than [`POWER_GRACE`] | wait |
//! | yes | is off and may have installed meanwhile, unseen | the job fails: a second start could wipe it again |
//! | yes | shows no sign for longer | the start did not happen: ask again, at most [`STARTS_MAX`] times |
//!
//! What the next controller does after a crash:
//!
//! | the crash came | so |
//! |---|---|
//! | before an intent was saved | the act is chosen anew from what the host does now |
//! | after the intent of a shutdown | it is requested again if the host is still on: no host is forced off that was not asked first |
//! | after the receipt of a shutdown | it counts as requested, and the graceful timeout runs on from then |
//! | after the intent of ForceOff | it counts as requested: one that never left costs [`POWER_GRACE`] (then ForceOff again) |
//! | after the intent of a start | `started_at` is set, so the last four rows above apply: a lost start costs [`POWER_GRACE`] and is repeated, one that happened is recognised |
//! | after the receipt of a start | the same, but a host that is off later than [`Path::shortest_run`](super::Path::shortest_run) is not started again where its reads are not seen |
//!
//! Invariants: a start that may have happened is not repeated before a grace period without any
//! sign of it, and never once this job's installer has been read or has reported; every start is recorded
//! before the request; an unrequested start is believed only where something shows it.

use std::time::Duration;

use serde_json::json;

use super::look::{sample, shows_a_start};
use super::power::{Move, POWER_GRACE, next_move};
use super::{Context, StepError, StepOutcome, act};
use crate::domain::{Act, FailureCode, MediaMode, Step};
use shoal_base::world::elapsed;
use shoal_redfish::{PowerState, ReadAge, ResetType, System};

/// Starts that a BMC may accept without any sign of one: a mock-up accepts any number of them.
const STARTS_MAX: u32 = 10;
/// A medium that was read so lately is being read.
const READING: Duration = Duration::from_secs(60);
/// Beyond the graceful timeout, how long the host may hang between On and Off.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(600);

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    let system = cx.observe_system().await?;
    let now = cx.now();
    if let Some(started_at) = cx.job.facts.reset.started_at {
        if has_started(cx, &system).await? {
            if was_off_before(cx) && matches!(system.power, Some(PowerState::On | PowerState::Off)) {
                cx.path.note_start(cx, None)?;
            }
            let detail = json!({ "starts": cx.job.facts.reset.starts });
            return Ok(StepOutcome::Done { message: "the host was started".to_owned(), detail });
        }
        if cx.age(started_at) < POWER_GRACE {
            return Ok(cx.look_again("looking for a sign that the host started"));
        }
        if elapsed(started_at, now) > cx.path.shortest_run() && is_in_doubt(cx) {
            let why = format!(
                "the BMC of server {} accepted the start, did not respond for minutes, and shows the host off: \
                 it may have installed meanwhile; check the host before retrying the job",
                cx.server.serial
            );
            return Err(StepError::permanent(FailureCode::StartInDoubt, why));
        }
    } else {
        // The state to compare with. Never replaced: after the first act a sample would show our own doing.
        if cx.job.facts.reset.before.is_none() {
            cx.job.facts.reset.before = Some(sample(&system, now));
        }
        match own_start(cx, &system).await? {
            UnrequestedBoot::Seen => return adopt_start(cx).await,
            UnrequestedBoot::Reading => {
                return Ok(cx.look_again(
                    "the installer is being read, although the host was not started by this job",
                ));
            }
            UnrequestedBoot::InDoubt => return Err(leave_in_doubt(cx)),
            UnrequestedBoot::Unseen => {}
        }
        let path = cx.path;
        path.before_start(cx).await?;
    }
    let graceful_timeout = cx.services.policy.graceful_timeout;
    match next_move(
        system.power.unwrap_or(PowerState::Other),
        &system.reset_types,
        cx.last_power_act().as_ref(),
        graceful_timeout,
        now,
    ) {
        Move::Request { act: act @ (Act::PowerOn | Act::Restart), reset } => {
            start(cx, &system, act, reset).await
        }
        Move::Request { act, reset } => request(cx, &system, act, reset).await,
        Move::Wait(why) if waited_too_long(cx) => {
            let serial = &cx.server.serial;
            let why = format!(
                "server {serial} did not get to a fresh start ({why}): look at its power and console"
            );
            Err(StepError::permanent(FailureCode::PowerStateStuck, why))
        }
        Move::Wait(why) => Ok(cx.look_again(why)),
        Move::Stuck(why) => Err(stuck(cx, why)),
    }
}

/// The BMC offers no way on.
pub(super) fn stuck(cx: &Context<'_>, why: &str) -> StepError {
    StepError::permanent(FailureCode::PowerControlMissing, format!("server {}: {why}", cx.server.serial))
}

/// Whether the requested start has happened, by anything that shows it.
async fn has_started(cx: &Context<'_>, system: &System) -> Result<bool, StepError> {
    let trace = cx.services.media.trace(cx.job.id);
    if trace.installer.first_read_at.is_some() || trace.kickstart.first_read_at.is_some() {
        return Ok(true);
    }
    if cx.path.has_reported(cx).await? {
        return Ok(true);
    }
    Ok(match cx.job.cursor.intent.as_ref().map(|intent| (intent.act, intent.receipt_at)) {
        // A restarted host was on before, so its power shows nothing: the BMC's answer or a changed source must.
        Some((Act::Restart, receipt)) => {
            let before = cx.job.facts.reset.before.as_ref();
            receipt.is_some()
                || before.is_some_and(|before| before.sources != sample(system, before.at).sources)
        }
        _ => {
            matches!(system.power, Some(PowerState::On | PowerState::PoweringOn))
                || was_used_up(cx, system).await?
        }
    })
}

/// The one-time boot was armed when the start was requested, and is gone: the host has used it, and, if
/// it is off, has gone off since, as one does at the end of an installation.
async fn was_used_up(cx: &Context<'_>, system: &System) -> Result<bool, StepError> {
    Ok(was_off_before(cx) && !cx.boots_from_cd(system).await?)
}

/// Whether the host was off before the requested start.
fn was_off_before(cx: &Context<'_>) -> bool {
    cx.job.cursor.intent.as_ref().is_some_and(|intent| intent.act == Act::PowerOn)
}

/// An accepted start of a host whose reads do not reach us.
fn is_in_doubt(cx: &Context<'_>) -> bool {
    let accepted = cx.job.cursor.intent.as_ref().is_some_and(|intent| intent.receipt_at.is_some());
    accepted
        && was_off_before(cx)
        && cx.services.media.trace(cx.job.id).kickstart.mode == MediaMode::Prefetched
}

/// Whether the host has booted this job's installer without our start: it was in its self test when the
/// one-time boot was armed, or an operator restarted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnrequestedBoot {
    /// Nothing speaks for it.
    Unseen,
    Seen,
    /// The one-time boot is gone and CD1 is being read: the kickstart's read will decide.
    Reading,
    /// The one-time boot is gone, and whatever this BMC shows would be the same either way.
    InDoubt,
}

/// What such a host reads counts from when the override was first requested. A cleared override proves
/// nothing alone, because some BMCs forget it.
async fn own_start(cx: &mut Context<'_>, system: &System) -> Result<UnrequestedBoot, StepError> {
    let is_on = system.power == Some(PowerState::On);
    let may_be_used_from = cx.job.facts.reset.armed_at.or(cx.job.cursor.entered_at);
    if let Some(from) = may_be_used_from.filter(|_| is_on) {
        cx.services.media.start_trace(cx.job.id, from);
    }
    let trace = cx.services.media.trace(cx.job.id);
    if trace.installer.installer_read(&trace.kickstart).is_some() {
        return Ok(UnrequestedBoot::Seen);
    }
    let last = cx.job.cursor.intent.as_ref();
    let by_our_own_act = last.is_some_and(|intent| intent.act != Act::GracefulShutdown);
    if !is_on || by_our_own_act {
        return Ok(UnrequestedBoot::Unseen);
    }
    note_unasked_boot(cx, system);
    // An override that is still armed counts as unused.
    if cx.boots_from_cd(system).await? {
        return Ok(UnrequestedBoot::Unseen);
    }
    if cx.job.facts.reset.unasked_boot.is_some() {
        return Ok(UnrequestedBoot::Seen);
    }
    let is_read = |at| cx.age(at) < READING;
    if trace.installer.mode == MediaMode::Streamed && trace.installer.last_read_at.is_some_and(is_read) {
        return Ok(UnrequestedBoot::Reading);
    }
    // A shutdown in good order harms no installer, which does not listen; force would.
    let last = cx.last_power_act();
    let is_next_forced =
        last.is_some_and(|intent| elapsed(intent.at, cx.now()) >= cx.services.policy.graceful_timeout);
    let is_untold = trace.kickstart.mode == MediaMode::Prefetched;
    Ok(if is_next_forced && is_untold { UnrequestedBoot::InDoubt } else { UnrequestedBoot::Unseen })
}

/// A source without a memory shows a boot while the host is in its self test, before it has
/// used the one-time boot up, and no more afterwards.
fn note_unasked_boot(cx: &mut Context<'_>, system: &System) {
    let seen = sample(system, cx.now());
    let reset = &mut cx.job.facts.reset;
    let before = reset.before.as_ref();
    if before.is_some_and(|before| shows_a_start(before, &seen)) {
        reset.unasked_boot.get_or_insert(seen);
    }
}

/// From here on the host is treated as one that installs, so its media stay until it cannot be.
fn leave_in_doubt(cx: &mut Context<'_>) -> StepError {
    cx.job.facts.reset.started_at = Some(cx.now());
    let why = format!(
        "server {} did not shut down when asked, and meanwhile the one-time boot from the virtual CD is gone: either its \
         BMC has forgotten it, or the host was restarted and it installs. Nothing on this BMC shows which (it \
         downloads its media whole, and no property shows a boot), so the host was not forced off: look at its console; \
         if the old system runs, shut that down and try again",
        cx.server.serial
    );
    StepError::permanent(FailureCode::StartInDoubt, why)
}

/// A restart was requested without an answer, and nothing on this BMC shows whether the host made it.
fn is_restart_in_doubt(cx: &Context<'_>) -> bool {
    let intent = cx.job.cursor.intent.as_ref();
    let unanswered = intent.is_some_and(|intent| intent.act == Act::Restart && intent.receipt_at.is_none());
    let is_untold = cx.services.media.trace(cx.job.id).kickstart.mode == MediaMode::Prefetched;
    unanswered && is_untold && cx.job.facts.reset.started_at.is_some()
}

fn restart_in_doubt(cx: &Context<'_>) -> StepError {
    let why = format!(
        "the BMC of server {} gave no answer to the restart of the host, and the one-time boot from the virtual CD is \
         gone since: either the BMC has forgotten it, or the host was restarted and it installs. Nothing on this BMC \
         shows which, so the host was not started again: look at its console",
        cx.server.serial
    );
    StepError::permanent(FailureCode::StartInDoubt, why)
}

/// Forcing that host off now would cut its installation short, and another start would be a second
/// one: its own start is taken for ours.
async fn adopt_start(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    let now = cx.now();
    let reset = &mut cx.job.facts.reset;
    (reset.started_at, reset.adopted) = (Some(now), true);
    reset.starts += 1;
    let shown = reset.unasked_boot.clone();
    cx.path.note_start(cx, shown.as_ref())?;
    let message = "the host restarted without a request and consumed the one-time boot: its start is treated as this job's";
    cx.warn("reset.adopt", message, json!(null)).await?;
    Ok(StepOutcome::Done { message: "the host had already started".to_owned(), detail: json!(null) })
}

fn waited_too_long(cx: &Context<'_>) -> bool {
    let limit = cx.services.policy.graceful_timeout + CHANGE_TIMEOUT;
    cx.job.cursor.driven_since.is_some_and(|since| elapsed(since, cx.now()) > limit)
}

/// Starts the host, once more having made sure that it will boot this job's installer.
async fn start(
    cx: &mut Context<'_>,
    system: &System,
    act: Act,
    reset: ResetType,
) -> Result<StepOutcome, StepError> {
    if !cx.boots_from_cd(system).await? {
        if is_restart_in_doubt(cx) {
            return Err(restart_in_doubt(cx));
        }
        let why = "the one-time boot from the virtual CD is gone before the start".to_owned();
        return Ok(StepOutcome::Back { to: Step::BootOverride, code: FailureCode::BootOverrideLost, why });
    }
    // The mount steps have just seen the media, unless power was changed or the job went back since.
    let disturbed = cx.job.cursor.intent.is_some() || cx.job.facts.reset.rewinds > 0;
    if disturbed && let Some(lost) = lost_medium(cx).await? {
        return Ok(lost);
    }
    if cx.job.facts.reset.starts >= STARTS_MAX {
        let why = format!(
            "the BMC of server {} accepted {STARTS_MAX} starts and the host never came on: look at its power and console",
            cx.server.serial
        );
        return Err(StepError::permanent(FailureCode::HostNotStarted, why));
    }
    let now = cx.now();
    let reset_facts = &mut cx.job.facts.reset;
    let earlier = reset_facts.started_at.replace(now);
    reset_facts.starts += 1;
    // From here on a read is the host's. Before the request, since a fast host reads before the BMC answers.
    cx.services.media.start_trace(cx.job.id, now);
    let before = cx.job.cursor.intent.clone();
    let answer = request(cx, system, act, reset).await;
    if let Err(StepError::Failed(_)) = &answer
        && cx.job.cursor.intent == before
    {
        // The intent was taken back: the BMC certainly did nothing.
        let reset_facts = &mut cx.job.facts.reset;
        reset_facts.started_at = earlier;
        reset_facts.starts -= 1;
    }
    answer
}

async fn request(
    cx: &mut Context<'_>,
    system: &System,
    act: Act,
    kind: ResetType,
) -> Result<StepOutcome, StepError> {
    let doing = format!("asking the BMC of server {} for {kind:?}", cx.server.serial);
    act::reset(cx, system, act, kind).await?.map_err(|error| StepError::bmc(doing, error))?;
    Ok(cx.look_again("looking what the host does"))
}

/// Power changes detach media on some BMCs (AMI MegaRAC 13: a fresh mount can go at power-on).
async fn lost_medium(cx: &Context<'_>) -> Result<Option<StepOutcome>, StepError> {
    let steps = [Step::MountMaintenance, Step::MountTask];
    for (to, mount) in steps.into_iter().zip(cx.job.facts.mounts.read()) {
        let Some(link) = &mount.slot else { continue };
        let slot = cx.observe_slot(link, ReadAge::JustRead).await;
        let slot =
            slot.map_err(|error| StepError::bmc(format!("looking at the virtual medium {link}"), error))?;
        if slot.inserted == Some(false) {
            let why = format!("{} is empty before the start", slot.id);
            return Ok(Some(StepOutcome::Back { to, code: FailureCode::MediaLost, why }));
        }
    }
    Ok(None)
}
