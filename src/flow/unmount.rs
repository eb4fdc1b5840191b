//! `cleanup.unmount-task` (CD2, or the USB stick) and `cleanup.unmount-maintenance` (CD1): give the drives back.
//!
//! Runs after every outcome, each step at least once, and until its retry budget is used up. In this order:
//!
//! 1. The override that this job armed is cleared, and looked at again.
//! 2. Is there nothing of this job in the slot, the step is over.
//! 3. May the media go? Immediately where the host was never started or the job succeeded; else once the path says that no
//!    installer can be running ([`super::Path::may_eject`]), or an operator has said `force`.
//! 4. Eject, and look again. The other slot is tried too, so that one that fails does not keep the other loaded.
//!
//! The boot override is cleared and each slot is ejected independently of the others,
//! so that one failure does not leave the rest loaded. Where the host was started and the job did not succeed,
//! nothing is ejected before the installer is gone, the install timeout is over, or an operator has said
//! `force`; the same holds after a success whose host installs again. An insertion whose end is not known is waited
//! for: its image would otherwise appear in a drive after the job.
//! Invariant: what this job did not insert is left alone, and a BMC on which it inserted and armed nothing
//! is not touched.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::{Context, Failure, StepError, StepOutcome, mount};
use crate::domain::{EjectFacts, EjectReason, FailureCode, Job, Medium, Mount, Outcome, Step};
use shoal_base::world::{after, elapsed};
use shoal_redfish::{ErrorClass, ReadAge, RedfishError, Slot, System};

/// How long a slot may take to show that it was ejected, before that counts as a failed try.
const SHOW_GRACE: Duration = Duration::from_secs(60);

/// The override and the slots do not depend on each other: whatever fails is tried again, and the rest is done.
pub(super) async fn ensure(cx: &mut Context<'_>, medium: Medium) -> Result<StepOutcome, StepError> {
    let cleared = failure_of(ensure_cleared(cx).await)?;
    let ejected = failure_of(ensure_empty(cx, medium).await)?;
    let is_over =
        cleared.is_ok() && matches!(ejected, Ok(StepOutcome::Done { .. } | StepOutcome::Skipped { .. }));
    if !is_over || !cx.job.facts.cleanup.left.is_empty() {
        try_other(cx, medium).await?;
    }
    if !cx.job.facts.cleanup.left.is_empty() && cx.job.leftover().is_empty() {
        cx.job.facts.cleanup.left.clear();
    }
    note_leftover(cx).await?;
    // The step of CD2 has used up the retry budget of the override.
    let is_known_left = medium == Medium::Boot && !cx.job.facts.cleanup.left.is_empty();
    match (cleared, ejected) {
        (_, Ok(wait @ StepOutcome::Wait { .. })) => Ok(wait),
        (Err(_), Ok(answer)) if is_known_left => Ok(answer),
        (Ok(()), ejected) => ejected.map_err(StepError::Failed),
        (Err(cleared), Ok(_)) => Err(StepError::Failed(cleared)),
        (Err(cleared), Err(ejected)) => Err(StepError::Failed(both(&cleared, &ejected))),
    }
}

/// Only what concerns the job's own records ends the try.
fn failure_of<T>(result: Result<T, StepError>) -> Result<Result<T, Failure>, StepError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(StepError::Failed(failure)) => Ok(Err(failure)),
        Err(error) => Err(error),
    }
}

fn both(first: &Failure, second: &Failure) -> Failure {
    let message = format!("{}; and {}", first.sentence(), second.sentence());
    Failure { code: first.code, retry: true, message, source: None }
}

/// The slot of the other step, as soon as media may be ejected at all. That step reports what fails.
async fn try_other(cx: &mut Context<'_>, medium: Medium) -> Result<(), StepError> {
    let other = match medium {
        Medium::Boot => Medium::Task,
        Medium::Task => Medium::Boot,
    };
    if cx.job.facts.cleanup.released.is_none() {
        return Ok(());
    }
    if let Err(failure) = failure_of(ensure_empty(cx, other).await)? {
        tracing::debug!(job = %cx.job.id, error = failure.sentence(), "the other slot cannot be ejected either");
    }
    Ok(())
}

/// Writes an event whenever it changes what the next start of the host would boot.
async fn note_leftover(cx: &mut Context<'_>) -> Result<(), StepError> {
    let now = cx.job.leftover().warning();
    if now == cx.job.facts.cleanup.warning {
        return Ok(());
    }
    cx.job.facts.cleanup.warning.clone_from(&now);
    match now {
        Some(warning) => cx.warn("cleanup.leftover", warning, json!(null)).await,
        None => {
            cx.report("cleanup.leftover", "the next start of the host no longer installs", json!(null)).await
        }
    }
}

async fn ensure_empty(cx: &mut Context<'_>, medium: Medium) -> Result<StepOutcome, StepError> {
    if cx.job.facts.mounts.of(medium).insertions == 0 {
        return Ok(StepOutcome::Skipped { why: "this job mounted nothing there".to_owned() });
    }
    if cx.job.leftover().slots(medium).is_empty() {
        return Ok(StepOutcome::done("the slot is empty already"));
    }
    if let Some(answer) = ensure_released(cx).await? {
        return Ok(answer);
    }
    ensure_ejected(cx, medium).await
}

/// The next boot is an ordinary one.
async fn ensure_cleared(cx: &mut Context<'_>) -> Result<(), StepError> {
    if !cx.job.facts.override_armed {
        cx.job.facts.cleanup.disarmed = true;
        return Ok(());
    }
    let system = cx.observe_system().await?;
    let doing = |cx: &Context<'_>| format!("clearing the boot override of server {}", cx.server.serial);
    let cd = cx.job.facts.mounts.boot.slot.clone();
    let armed = match cx.bmc.observe_boot_armed(&system, cd.as_deref()).await {
        Ok(armed) => armed,
        Err(error) => {
            clear_on_system(cx, &system).await;
            return Err(cx.bmc_error(doing(cx), error));
        }
    };
    // Before the host was started nothing can have used it up: a request may still be under way, which a BMC that is at it
    // ends before the next one, or this BMC shows no import.
    if !armed && cx.job.facts.reset.started_at.is_none() {
        let cleared = clear_unseen(cx, &system, cd.as_deref()).await;
        cleared.map_err(|error| cx.bmc_error(doing(cx), error))?;
    }
    if armed {
        let cleared = cx.bmc.request_boot_disarm(&system, cd.as_deref()).await;
        cleared.map_err(|error| cx.bmc_error(doing(cx), error))?;
        cx.report(
            "boot.override.disarm",
            "the boot override was still armed: the BMC was asked to clear it",
            json!(null),
        )
        .await?;
        let system = cx.observe_system().await?;
        let armed = cx.bmc.observe_boot_armed(&system, cd.as_deref()).await;
        if armed.map_err(|error| cx.bmc_error(doing(cx), error))? {
            let message = format!("{}: the BMC accepted that and still shows it armed", doing(cx));
            return Err(StepError::transient(FailureCode::BootOverrideNotCleared, message));
        }
    }
    cx.job.facts.override_armed = false;
    cx.job.facts.cleanup.disarmed = true;
    Ok(())
}

/// No start of the host is requested while the BMC shows both the override armed and the installer inserted,
/// whatever it has shown before.
pub(super) async fn ensure_unloaded(cx: &mut Context<'_>, system: &System) -> Result<(), StepError> {
    if !cx.boots_from_cd(system).await? {
        return Ok(());
    }
    let Some(link) = cx.job.facts.mounts.boot.slot.clone() else { return Ok(()) };
    let looking =
        |cx: &Context<'_>| format!("looking at the virtual CD {link} of server {}", cx.server.serial);
    let slot =
        cx.observe_slot(&link, ReadAge::JustRead).await.map_err(|error| cx.bmc_error(looking(cx), error))?;
    if slot.inserted == Some(false) {
        return Ok(());
    }
    cx.job.facts.override_armed = true;
    let Err(uncleared) = failure_of(ensure_cleared(cx).await)? else { return Ok(()) };
    cx.job.facts.mounts.boot.gone = None;
    let mut why = uncleared.sentence();
    if let Err(uneject) = failure_of(ensure_ejected(cx, Medium::Boot).await)? {
        why = format!("{why}; {}", uneject.sentence());
    }
    note_leftover(cx).await?;
    let message = format!(
        "a start of server {} would install it again, because the installer is inserted and the boot override is \
         armed ({why})",
        cx.server.serial
    );
    Err(StepError::transient(uncleared.code, message))
}

/// Where the slot that may have a switch of its own cannot be read, the System's override is cleared all the
/// same.
async fn clear_on_system(cx: &Context<'_>, system: &System) {
    if cx.bmc.observe_boot_from_cd(system, None).await.unwrap_or(false)
        && let Err(error) = clear_unseen(cx, system, None).await
    {
        tracing::debug!(job = %cx.job.id, %error, "the boot override of the System is not cleared either");
    }
}

/// Clears what the BMC may not show. It may refuse that for good, as there is nothing to clear.
async fn clear_unseen(cx: &Context<'_>, system: &System, cd: Option<&str>) -> Result<(), RedfishError> {
    match cx.bmc.request_boot_disarm(system, cd).await {
        Err(error) if error.class() == ErrorClass::Retry => Err(error),
        _ => Ok(()),
    }
}

/// `None` once the media may be ejected.
async fn ensure_released(cx: &mut Context<'_>) -> Result<Option<StepOutcome>, StepError> {
    let installs_again = installs_again(cx);
    let succeeded = cx.job.verdict.as_ref().is_some_and(|verdict| verdict.outcome == Outcome::Succeeded);
    // Without a success, safe means safe at that moment: a host in its self test has read nothing yet, and installs
    // when a slot that could not be asked is asked again.
    let released = cx.job.facts.cleanup.released;
    let stands = released.is_some_and(|reason| succeeded || reason != EjectReason::Safe);
    if stands && !installs_again {
        return Ok(None);
    }
    let reset = &mut cx.job.facts.reset;
    // A host that the job had not started may have started nevertheless.
    let traces = cx.services.media.trace(cx.job.id);
    reset.started_at = reset.started_at.or(traces.installer.installer_read(&traces.kickstart));
    if (succeeded && !installs_again) || reset.started_at.is_none() {
        cx.job.facts.cleanup.released = Some(EjectReason::Safe);
        return Ok(None);
    }
    let path = cx.path;
    match path.may_eject(cx).await? {
        Ok(reason) => cx.job.facts.cleanup.released = Some(reason),
        Err(later) => return Ok(Some(later)),
    }
    Ok(None)
}

/// The host has read its kickstart once more since the verdict: a firmware that prefers CDs was quicker
/// than this BMC.
fn installs_again(cx: &Context<'_>) -> bool {
    let evidence = cx.job.verdict.iter().flat_map(|verdict| &verdict.evidence);
    let known_at = evidence.map(|evidence| evidence.at).max();
    known_at.is_some() && cx.services.media.trace(cx.job.id).kickstart.ks_read_again_at > known_at
}

/// Whether the media of a decided job stay where they are because an installer may be running.
pub fn holds_media(job: &Job) -> bool {
    let succeeded = job.verdict.as_ref().is_some_and(|verdict| verdict.outcome == Outcome::Succeeded);
    let is_unmounted = matches!(job.cursor.step, Step::CleanupUnmountTask | Step::CleanupUnmountMaintenance);
    let is_started = job.facts.reset.started_at.is_some();
    is_started && is_unmounted && !succeeded && job.facts.cleanup.released.is_none()
}

/// An operator has said that the media are to go, whatever the host does.
pub fn is_forced(cx: &Context<'_>) -> bool {
    cx.job.cancel.is_some_and(|cancel| cancel.force)
}

/// The slot of the medium and, independently of it, those that the medium was moved away from.
async fn ensure_ejected(cx: &mut Context<'_>, medium: Medium) -> Result<StepOutcome, StepError> {
    let own = failure_of(ensure_own_ejected(cx, medium).await)?;
    let earlier = failure_of(ensure_left_ejected(cx, medium).await)?;
    match (own, earlier) {
        (Err(own), Err(earlier)) => Err(StepError::Failed(both(&own, &earlier))),
        (Err(failure), Ok(_)) | (Ok(_), Err(failure)) => Err(StepError::Failed(failure)),
        (Ok(wait @ StepOutcome::Wait { .. }), Ok(_)) | (Ok(_), Ok(Some(wait))) => Ok(wait),
        (Ok(own), Ok(None)) => Ok(own),
    }
}

async fn ensure_own_ejected(cx: &mut Context<'_>, medium: Medium) -> Result<StepOutcome, StepError> {
    let Mount { slot, open_since, gone, .. } = cx.job.facts.mounts.of(medium).clone();
    let Some(link) = slot else {
        return Ok(StepOutcome::Skipped { why: "no slot was chosen for this medium".to_owned() });
    };
    if gone.is_some() {
        return Ok(StepOutcome::done("the slot is empty already"));
    }
    Ok(match eject_from(cx, medium, &link, open_since).await? {
        Ejected::Later(wait) => wait,
        Ejected::Unsure(why) => {
            cx.job.facts.cleanup.left = cx.job.leftover().items();
            StepOutcome::Skipped { why }
        }
        Ejected::Foreign(slot) => {
            note_gone(cx, medium, false);
            let why = format!("{} holds an image that is not this job's", slot.id);
            StepOutcome::Skipped { why }
        }
        Ejected::Empty(slot) => ejected(cx, medium, &slot),
    })
}

/// The answer is to wait, as long as there is something to wait for.
async fn ensure_left_ejected(cx: &mut Context<'_>, medium: Medium) -> Result<Option<StepOutcome>, StepError> {
    for left in cx.job.facts.mounts.of(medium).left_open.clone() {
        match eject_from(cx, medium, &left.slot, Some(left.since)).await? {
            Ejected::Later(wait) => return Ok(Some(wait)),
            Ejected::Unsure(_) => cx.job.facts.cleanup.left = cx.job.leftover().items(),
            Ejected::Foreign(_) | Ejected::Empty(_) => {
                cx.job.facts.mounts.of_mut(medium).left_open.retain(|open| *open != left);
            }
        }
    }
    Ok(None)
}

/// What an eject came to.
enum Ejected {
    Empty(Slot),
    /// The slot holds an image that this job has not inserted.
    Foreign(Slot),
    /// An operator does not want to wait for an image that may still come.
    Unsure(String),
    Later(StepOutcome),
}

/// `open_since`: when an insertion into that slot was requested whose end is not known.
async fn eject_from(
    cx: &mut Context<'_>,
    medium: Medium,
    link: &str,
    open_since: Option<Timestamp>,
) -> Result<Ejected, StepError> {
    let drive = cx.job.facts.mounts.of(medium).drive.label();
    let doing = || format!("ejecting from the {drive} {link} of server {}", cx.server.serial);
    let slot =
        cx.observe_slot(link, ReadAge::JustRead).await.map_err(|error| cx.bmc_error(doing(), error))?;
    if slot.is_empty() {
        return Ok(may_fill(cx, &slot, open_since).unwrap_or(Ejected::Empty(slot)));
    }
    if !may_be_ours(cx, &slot) {
        return Ok(may_fill(cx, &slot, open_since).unwrap_or(Ejected::Foreign(slot)));
    }
    // A slow BMC has taken seconds to show its slot.
    if let Some(answer) = ensure_released(cx).await? {
        return Ok(Ejected::Later(answer));
    }
    let was_known = installs_again(cx);
    cx.bmc.request_eject(&slot).await.map_err(|error| cx.bmc_error(doing(), error))?;
    if !was_known && installs_again(cx) {
        let message = "the host began to install once more while the BMC was at the eject: look at its console, and \
                       install it again with a completion_hook that ends with the host off";
        cx.warn("media.eject", message, json!(null)).await?;
    }
    let is_last = mount::is_of_last_insertion(cx, medium, &slot)?;
    let slot =
        cx.observe_slot(link, ReadAge::JustRead).await.map_err(|error| cx.bmc_error(doing(), error))?;
    if slot.inserted == Some(true) {
        return show_later(cx, &doing()).map(Ejected::Later);
    }
    // An image of an earlier insertion says nothing of the end of the last one.
    let open_since = open_since.filter(|_| !is_last);
    Ok(may_fill(cx, &slot, open_since).unwrap_or(Ejected::Empty(slot)))
}

/// While an insertion may still fill the slot, what it shows is not the end.
fn may_fill(cx: &Context<'_>, slot: &Slot, open_since: Option<Timestamp>) -> Option<Ejected> {
    open_since.filter(|since| mount::may_still_come(cx, *since))?;
    if is_forced(cx) {
        return Some(Ejected::Unsure(format!(
            "{} is left as it is, by force: the BMC may still be at the last insertion",
            slot.id
        )));
    }
    let why = format!("the BMC may still be at the last insertion into {}", slot.id);
    Some(Ejected::Later(StepOutcome::Wait { until: after(cx.now(), mount::OPEN_PAUSE), why }))
}

/// A job's own media have its id in their URL; a direct installer has the source's URL.
fn may_be_ours(cx: &Context<'_>, slot: &Slot) -> bool {
    let direct = cx.job.facts.is_direct();
    let image = slot.image.as_deref().unwrap_or_default();
    direct || image.is_empty() || image.contains(&cx.job.id.to_string())
}

/// Some BMCs show an eject late, and some never.
fn show_later(cx: &Context<'_>, doing: &str) -> Result<StepOutcome, StepError> {
    let why = "the BMC accepted the eject and does not show it yet";
    let since = cx.job.cursor.driven_since;
    if since.is_some_and(|since| elapsed(since, cx.now()) > SHOW_GRACE) {
        return Err(StepError::transient(FailureCode::MediaNotEjected, format!("{doing}: {why}")));
    }
    Ok(cx.look_again(why))
}

fn ejected(cx: &mut Context<'_>, medium: Medium, slot: &Slot) -> StepOutcome {
    let forced = cx.job.facts.cleanup.released == Some(EjectReason::Forced);
    note_gone(cx, medium, forced);
    let how = if forced { ", by force: an installer may have been running" } else { "" };
    let detail = json!({ "slot": slot.link, "forced": forced, "released": cx.job.facts.cleanup.released });
    StepOutcome::Done { message: format!("{} is empty{how}", slot.id), detail }
}

/// Nothing of this job is in the slot of the medium any more.
fn note_gone(cx: &mut Context<'_>, medium: Medium, forced: bool) {
    cx.job.facts.mounts.of_mut(medium).gone = Some(EjectFacts { at: cx.now(), forced });
}
