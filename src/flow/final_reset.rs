//! `cleanup.reset`: leave the host running what was installed.
//!
//! After a success only, and only where `ESXI_FINAL_RESET` requires it or the host is off. After
//! a failure the console stays as it is for inspection. Invariant: no host is started whose BMC shows the
//! boot override armed and the installer inserted: it would install again.

use super::failure_code::code_of;
use super::power::{Move, POWER_GRACE, next_move};
use super::reset::stuck;
use super::{Context, StepError, StepOutcome, act, unmount};
use crate::domain::{Act, EvidenceKind, Intent, Outcome};
use shoal_redfish::{PowerState, ResetType, System};

/// Tries after which a BMC that reports that its resets fail is given up.
const TRIES_MAX: u32 = 10;

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    let Some(verdict) = cx.job.verdict.clone().filter(|verdict| verdict.outcome == Outcome::Succeeded) else {
        return Ok(StepOutcome::Skipped { why: "host left as is for inspection".to_owned() });
    };
    if !cx.job.facts.cleanup.left.is_empty() {
        let why = "the override or a medium of this job may still be there: a reset would start its installer again";
        return Ok(StepOutcome::Skipped { why: why.to_owned() });
    }
    if cx.job.facts.restored_at.is_some() {
        let why = "the controller was restored from a backup, and what the host does since then is not known";
        return Ok(StepOutcome::Skipped { why: why.to_owned() });
    }
    let intent = cx.job.cursor.intent.clone();
    let wants_reset = cx.path.wants_final_reset(cx, &verdict);
    let power_known_on = verdict.evidence.iter().any(|evidence| evidence.kind == EvidenceKind::PowerStable);
    if intent.is_none() && power_known_on && !wants_reset {
        return Ok(StepOutcome::Skipped { why: "not needed: the installed system is running".to_owned() });
    }
    let system = cx.observe_system().await?;
    let power = system.power.unwrap_or(PowerState::Other);
    if let Some(intent) = &intent {
        let done = match intent.act {
            Act::PowerOn => power == PowerState::On,
            Act::Restart => intent.receipt_at.is_some(),
            _ => false,
        };
        if done {
            return Ok(StepOutcome::done("the host was started from its disk"));
        }
        if intent.act == Act::PowerOn && cx.age(intent.at) < POWER_GRACE {
            return Ok(cx.look_again("looking for a sign that the host started"));
        }
    } else if power == PowerState::On && !wants_reset {
        return Ok(StepOutcome::Skipped { why: "not needed: the installed system is running".to_owned() });
    }
    let graceful_timeout = cx.services.policy.graceful_timeout;
    let last = cx.last_power_act().or_else(|| asked_before(cx, &system));
    match next_move(power, &system.reset_types, last.as_ref(), graceful_timeout, cx.now()) {
        Move::Request { act, reset: kind } => {
            unmount::ensure_unloaded(cx, &system).await?;
            let doing = format!("asking the BMC of server {} for {kind:?}", cx.server.serial);
            let is_last = cx.job.cursor.attempt >= TRIES_MAX;
            match act::reset(cx, &system, act, kind).await? {
                Ok(()) => Ok(cx.look_again("looking what the host does")),
                Err(error) if error.is_reported_failure() && is_last => {
                    Err(StepError::exhausted(code_of(&error), doing, error))
                }
                Err(error) => Err(StepError::bmc(doing, error)),
            }
        }
        Move::Wait(why) => Ok(cx.look_again(why)),
        Move::Stuck(why) => Err(stuck(cx, why)),
    }
}

/// The shutdown that a step before the verdict asked for.
fn asked_before(cx: &Context<'_>, system: &System) -> Option<Intent> {
    let types = &system.reset_types;
    let offers = types.is_empty() || types.contains(&ResetType::GracefulShutdown);
    let asked_at = cx.path.shutdown_asked_at(cx.job).filter(|_| offers)?;
    let at = cx.job.cursor.taken_up_at().map_or(asked_at, |taken_up| asked_at.max(taken_up));
    Some(Intent { act: Act::GracefulShutdown, at, receipt_at: Some(at), tries: 1 })
}
