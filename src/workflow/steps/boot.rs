//! `boot.override`: the next start, and only that one, boots from the virtual CD.
//!
//! Which target that is, the Redfish client knows. The boot mode (UEFI or Legacy) is left as it is. Invariant: the step is done only when the
//! BMC reads the override back.

use std::time::Duration;

use serde_json::json;

use super::{StepOutcome, watch};
use crate::job::{CompletionHook, MediaMode};
use crate::workflow::look::sample;
use crate::workflow::{Context, StepError};
use shoal_base::world::after;
use shoal_redfish::{How, PowerState, System};

/// Times that the override is set before the BMC is given up.
const TRIES_MAX: u32 = 4;

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    let system = cx.observe_system().await?;
    if cx.boots_from_cd(&system).await? {
        cx.job.facts.override_armed = true;
        check_end(cx, &system)?;
        return Ok(done(cx, &system, None));
    }
    cx.job.facts.override_armed = true;
    let now = cx.now();
    let armed_at = *cx.job.facts.reset.armed_at.get_or_insert(now);
    if system.power == Some(PowerState::On) {
        cx.services.media.start_trace(cx.job.id, armed_at);
    }
    cx.tell("boot.override.set", "asking for a one-time boot from the virtual CD", json!(null)).await?;
    let doing = || format!("setting the one-time boot of server {}", cx.server.serial);
    let cd = cx.job.facts.cd1.slot.clone();
    let how = cx.bmc.request_boot_from_cd(&system, cd.as_deref()).await;
    let how = how.map_err(|error| StepError::bmc(doing(), error))?;
    let system = cx.observe_system().await?;
    if cx.boots_from_cd(&system).await? {
        check_end(cx, &system)?;
        return Ok(done(cx, &system, Some(how)));
    }
    let shown = format!(
        "{}/{}",
        system.boot.enabled.as_deref().unwrap_or("nothing"),
        system.boot.target.as_deref().unwrap_or("nothing")
    );
    if cx.job.cursor.attempt >= TRIES_MAX {
        return Err(StepError::permanent(format!(
            "the BMC of server {} accepted a one-time boot from the virtual CD and reads back {shown}",
            cx.server.serial
        )));
    }
    cx.job.cursor.attempt += 1;
    let why = format!("the BMC accepted the override and reads back {shown}");
    Ok(StepOutcome::Wait { until: after(cx.now(), Duration::from_secs(2)), why })
}

/// A BMC that makes a lasting override of a one-time boot starts the installer again at its end, unless
/// somebody sees it start and disarms that in time. Where neither the reads of the media nor the BMC's
/// own words show it, and the installation does not end with the host off, nobody could.
fn check_end(cx: &Context<'_>, system: &System) -> Result<(), StepError> {
    let lasts = system.boot.enabled.as_deref() == Some("Continuous");
    let is_copied = cx.services.media.trace(cx.job.id).kickstart.mode == MediaMode::Prefetched;
    let ends_off =
        matches!(cx.spec()?.completion_hook, CompletionHook::Poweroff | CompletionHook::OwnPoweroff);
    if !lasts || !is_copied || ends_off || watch::tells_of_the_loader(system) {
        return Ok(());
    }
    Err(StepError::permanent(format!(
        "the BMC of server {} turns a one-time boot into a lasting one, downloads images whole and tells nothing of \
         the host's boots: the installer would start again and again, unseen; ask for completion_hook: poweroff, \
         with which the installation ends with the host off",
        cx.server.serial
    )))
}

/// What the BMC shows now is what a start of the host, by us or not, is compared with.
fn done(cx: &mut Context<'_>, system: &System, how: Option<How>) -> StepOutcome {
    cx.job.facts.reset.before = Some(sample(system, cx.now()));
    cx.job.facts.reset.unasked_boot = None;
    let detail = json!({
        "how": how.map(|how| how.to_string()),
        "enabled": system.boot.enabled,
        "target": system.boot.target,
        "mode": system.boot.mode,
    });
    StepOutcome::Done { message: "the next start boots from the virtual CD".to_owned(), detail }
}
