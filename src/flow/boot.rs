//! `boot.override`: the next start, and only that one, boots from the virtual CD.
//!
//! Which target that is, the Redfish client knows. The boot mode (UEFI or Legacy) is left as it is.
//! Invariant: the step is done only when the BMC reads the override back.

use std::time::Duration;

use serde_json::json;

use super::look::sample;
use super::{Context, StepError, StepOutcome};
use crate::domain::FailureCode;
use shoal_base::world::after;
use shoal_redfish::{How, PowerState, ReadAge, System};

/// Times that the override is set before the BMC is given up.
const TRIES_MAX: u32 = 4;

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    let system = cx.observe_system_of(ReadAge::BeforeAct).await?;
    if cx.boots_from_cd(&system).await? {
        cx.job.facts.override_armed = true;
        cx.path.check_override(cx, &system)?;
        return Ok(done(cx, &system, None));
    }
    cx.job.facts.override_armed = true;
    let now = cx.now();
    let armed_at = *cx.job.facts.reset.armed_at.get_or_insert(now);
    if system.power == Some(PowerState::On) {
        cx.services.media.start_trace(cx.job.id, armed_at);
    }
    cx.report("boot.override.set", "asking for a one-time boot from the virtual CD", json!(null)).await?;
    let doing = || format!("setting the one-time boot of server {}", cx.server.serial);
    let cd = cx.job.facts.mounts.boot.slot.clone();
    let how = cx.bmc.request_boot_from_cd(&system, cd.as_deref()).await;
    let how = how.map_err(|error| StepError::bmc(doing(), error))?;
    let system = cx.observe_system().await?;
    if cx.boots_from_cd(&system).await? {
        cx.path.check_override(cx, &system)?;
        return Ok(done(cx, &system, Some(how)));
    }
    let shown = format!(
        "{}/{}",
        system.boot.enabled.as_deref().unwrap_or("nothing"),
        system.boot.target.as_deref().unwrap_or("nothing")
    );
    cx.job.cursor.looks += 1;
    if cx.job.cursor.looks >= TRIES_MAX {
        let why = format!(
            "the BMC of server {} accepted a one-time boot from the virtual CD and reads back {shown}",
            cx.server.serial
        );
        return Err(StepError::permanent(FailureCode::BootOverrideNotKept, why));
    }
    let why = format!("the BMC accepted the override and reads back {shown}");
    Ok(StepOutcome::Wait { until: after(cx.now(), Duration::from_secs(2)), why })
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
