//! `boot.override`: the next start, and only that one, boots from `Cd`.
//!
//! The boot mode (UEFI or Legacy) is left as it is. Invariant: the step is done only when the
//! BMC reads the override back.

use std::time::Duration;

use serde_json::json;

use super::Answer;
use crate::redfish::System;
use crate::workflow::look::boots_from_cd;
use crate::workflow::{Context, StepError};
use crate::world::after;

const TARGET: &str = "Cd";
/// Times that the override is set before the BMC is given up.
const TRIES_MAX: u32 = 4;

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<Answer, StepError> {
    let system = cx.observe_system().await?;
    if boots_from_cd(&system) {
        cx.job.facts.override_armed = true;
        return Ok(done(&system));
    }
    let allowed = &system.boot.allowed_targets;
    if !allowed.is_empty() && !allowed.iter().any(|target| target == TARGET) {
        return Err(StepError::permanent(format!(
            "the BMC of server {} cannot boot once from {TARGET}; it offers {}",
            cx.server.serial,
            allowed.join(", ")
        )));
    }
    cx.job.facts.override_armed = true;
    cx.tell("boot.override.set", "asking for a one-time boot from Cd", json!({ "target": TARGET })).await?;
    let doing = || format!("setting the one-time boot of server {}", cx.server.serial);
    cx.bmc.request_boot_once(&system, TARGET).await.map_err(|error| StepError::bmc(doing(), error))?;
    let system = cx.observe_system().await?;
    if boots_from_cd(&system) {
        return Ok(done(&system));
    }
    let shown = format!(
        "{}/{}",
        system.boot.enabled.as_deref().unwrap_or("nothing"),
        system.boot.target.as_deref().unwrap_or("nothing")
    );
    if cx.job.cursor.attempt >= TRIES_MAX {
        return Err(StepError::permanent(format!(
            "the BMC of server {} accepted a one-time boot from {TARGET} and reads back {shown}",
            cx.server.serial
        )));
    }
    cx.job.cursor.attempt += 1;
    let why = format!("the BMC accepted the override and reads back {shown}");
    Ok(Answer::Wait { until: after(cx.now(), Duration::from_secs(2)), why })
}

fn done(system: &System) -> Answer {
    let detail = json!({
        "enabled": system.boot.enabled,
        "target": system.boot.target,
        "mode": system.boot.mode,
    });
    Answer::Done { message: format!("the next start boots from {TARGET}"), detail }
}
