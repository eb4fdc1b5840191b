//! `cleanup.unmount-task` (CD2, or the USB stick) and `cleanup.unmount-maintenance` (CD1): give the drives back.
//!
//! Runs after every outcome. Before anything is ejected the override is disarmed, and, where the
//! host was started and the job did not succeed, the installer must be gone, the install timeout
//! over, or an operator must have said `force`; so it is after a success whose host installs again. An
//! insertion whose end nobody knows is waited for: the image would else appear in a drive after its job.
//! Invariant: what this job did not insert is left alone, and a BMC on which it inserted and armed nothing
//! is not touched.

use std::time::Duration;

use serde_json::json;

use super::{Answer, mount, mount_of, watch};
use crate::job::{EjectFacts, Outcome, Release};
use crate::media::Medium;
use crate::redfish::Slot;
use crate::workflow::detect;
use crate::workflow::layout::drive_name;
use crate::workflow::{Context, StepError};
use crate::world::after;

const LOOK_AGAIN: Duration = Duration::from_secs(2);

pub(super) async fn ensure(cx: &mut Context<'_>, medium: Medium) -> Result<Answer, StepError> {
    if let Some(answer) = ensure_disarmed(cx).await? {
        return Ok(answer);
    }
    if mount_of(&cx.job.facts, medium).insertions == 0 {
        return Ok(Answer::Skipped { why: "this job mounted nothing there".to_owned() });
    }
    if let Some(answer) = ensure_released(cx).await? {
        return Ok(answer);
    }
    ensure_ejected(cx, medium).await
}

/// `None` once the next boot is an ordinary one.
async fn ensure_disarmed(cx: &mut Context<'_>) -> Result<Option<Answer>, StepError> {
    if !cx.job.facts.override_armed {
        cx.job.facts.cleanup.disarmed = true;
        return Ok(None);
    }
    let system = cx.observe_system().await?;
    if !cx.boots_from_cd(&system).await? {
        cx.job.facts.override_armed = false;
        cx.job.facts.cleanup.disarmed = true;
        return Ok(None);
    }
    let doing = || format!("disarming the boot override of server {}", cx.server.serial);
    let cd = cx.job.facts.cd1.slot.as_deref();
    cx.bmc.request_boot_disarm(&system, cd).await.map_err(|error| StepError::bmc(doing(), error))?;
    cx.tell("boot.override.disarm", "the boot override was still armed and was disarmed", json!(null))
        .await?;
    Ok(Some(Answer::Wait { until: cx.now(), why: "looking whether the override is gone".to_owned() }))
}

/// `None` once the media may be ejected.
async fn ensure_released(cx: &mut Context<'_>) -> Result<Option<Answer>, StepError> {
    let installs_again = installs_again(cx);
    if cx.job.facts.cleanup.released.is_some() && !installs_again {
        return Ok(None);
    }
    let succeeded = cx.job.verdict.as_ref().is_some_and(|verdict| verdict.outcome == Outcome::Succeeded);
    let reset = &mut cx.job.facts.reset;
    // A host that nobody had started yet may have started by itself.
    let traces = cx.kit.media.trace(cx.job.id);
    reset.started_at = reset.started_at.or(traces.installer.installer_read(&traces.kickstart));
    if (succeeded && !installs_again) || reset.started_at.is_none() {
        cx.job.facts.cleanup.released = Some(Release::Safe);
        return Ok(None);
    }
    let looked = watch::look(cx).await?;
    let release = match looked {
        Ok(_) => may_release(cx)?,
        Err(_) => forced(cx),
    };
    if release.is_none() {
        let why = "the installer may still be running: its media stay until it cannot be".to_owned();
        return Ok(Some(watch::wait(cx, None, why)));
    }
    cx.job.facts.cleanup.released = release;
    Ok(None)
}

/// The host has read its kickstart once more since the verdict: a firmware that prefers CDs was quicker
/// than this BMC.
fn installs_again(cx: &Context<'_>) -> bool {
    let evidence = cx.job.verdict.iter().flat_map(|verdict| &verdict.evidence);
    let known_at = evidence.map(|evidence| evidence.at).max();
    known_at.is_some() && cx.kit.media.trace(cx.job.id).kickstart.ks_read_again_at > known_at
}

fn may_release(cx: &Context<'_>) -> Result<Option<Release>, StepError> {
    let gone = watch::with_scene(cx, detect::installer_is_gone)?;
    let deadline = watch::with_scene(cx, |facts, scene| {
        detect::install_deadline(facts, scene.policy, scene.started_at)
    })?;
    Ok(match gone {
        true => Some(Release::Safe),
        false if cx.now() >= deadline => Some(Release::TimedOut),
        false => forced(cx),
    })
}

fn forced(cx: &Context<'_>) -> Option<Release> {
    cx.job.cancel.is_some_and(|cancel| cancel.force).then_some(Release::Forced)
}

async fn ensure_ejected(cx: &mut Context<'_>, medium: Medium) -> Result<Answer, StepError> {
    let Some(link) = mount_of(&cx.job.facts, medium).slot.clone() else {
        return Ok(Answer::Skipped { why: "no slot was chosen for this medium".to_owned() });
    };
    let drive = drive_name(cx.job.facts.layout, medium);
    let doing = || format!("ejecting from the {drive} {link} of server {}", cx.server.serial);
    let slot = cx.bmc.observe_slot(&link).await.map_err(|error| StepError::bmc(doing(), error))?;
    if slot.inserted != Some(true) {
        if mount::is_open(cx, medium) && forced(cx).is_none() {
            let why = "the slot is empty, and the BMC may still be at the last insertion";
            return Ok(Answer::Wait { until: after(cx.now(), mount::OPEN_PAUSE), why: why.to_owned() });
        }
        return Ok(ejected(cx, medium, &slot));
    }
    if !may_be_ours(cx, &slot) {
        return Ok(Answer::Skipped { why: format!("{} holds an image that is not this job's", slot.id) });
    }
    // A slow BMC has taken seconds to show its slot.
    if let Some(answer) = ensure_released(cx).await? {
        return Ok(answer);
    }
    let was_known = installs_again(cx);
    cx.bmc.request_eject(&slot).await.map_err(|error| StepError::bmc(doing(), error))?;
    if !was_known && installs_again(cx) {
        let message = "the host began to install once more while the BMC was at the eject: look at its console, and \
                       install it again with a completion_hook that ends with the host off";
        cx.warn("media.eject", message, json!(null)).await?;
    }
    let slot = cx.bmc.observe_slot(&link).await.map_err(|error| StepError::bmc(doing(), error))?;
    if slot.inserted == Some(true) {
        let until = after(cx.now(), LOOK_AGAIN);
        return Ok(Answer::Wait {
            until,
            why: "the BMC accepted the eject and does not show it yet".to_owned(),
        });
    }
    Ok(ejected(cx, medium, &slot))
}

/// A job's own media have its id in their URL; a direct installer has the source's URL.
fn may_be_ours(cx: &Context<'_>, slot: &Slot) -> bool {
    let direct = cx.job.facts.is_direct();
    let image = slot.image.as_deref().unwrap_or_default();
    direct || image.is_empty() || image.contains(&cx.job.id.to_string())
}

fn ejected(cx: &mut Context<'_>, medium: Medium, slot: &Slot) -> Answer {
    let forced = cx.job.facts.cleanup.released == Some(Release::Forced);
    let done = Some(EjectFacts { at: cx.now(), forced });
    match medium {
        Medium::Installer => cx.job.facts.cleanup.installer = done,
        Medium::Task => cx.job.facts.cleanup.task = done,
    }
    let how = if forced { ", by force: an installer may have been running" } else { "" };
    let detail = json!({ "slot": slot.link, "forced": forced, "released": cx.job.facts.cleanup.released });
    Answer::Done { message: format!("{} is empty{how}", slot.id), detail }
}
