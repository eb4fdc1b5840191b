//! One act that must not be repeated blindly: intent, request, receipt.
//!
//! The intent is in the store before the request leaves, and the receipt goes there with the event that reports the
//! act. A controller that takes the job up with an intent and no receipt looks first whether the act was done. Invariant: an
//! act that certainly had no effect takes its intent back, so that what is seen later is not held to be its effect.

use std::future::Future;

use serde_json::{Value, json};

use super::{Context, StepError};
use crate::domain::{Act, Facts, FailureCode};
use shoal_redfish::{Effect, PowerState, RedfishError, ResetType, System};

/// Times that a BMC may be asked to force its host off, and show it on still.
const FORCES_MAX: u32 = 10;

/// What is reported of an act that the BMC has accepted.
pub(super) struct ActReport {
    pub op: &'static str,
    pub message: String,
    pub detail: Value,
}

/// `request` is not begun before the intent is saved; `accepted` notes what the BMC's answer means for the job, in the
/// same transaction as the receipt.
pub(super) async fn perform<T>(
    cx: &mut Context<'_>,
    act: Act,
    request: impl Future<Output = Result<T, RedfishError>>,
    accepted: impl FnOnce(&mut Facts, &T) -> ActReport,
) -> Result<Result<T, RedfishError>, StepError> {
    let earlier = cx.job.cursor.intent.clone();
    cx.save_intent(act).await?;
    let answer = request.await;
    match &answer {
        Ok(answer) => {
            let ActReport { op, message, detail } = accepted(&mut cx.job.facts, answer);
            cx.save_receipt(op, message, detail).await?;
        }
        Err(error) if had_no_effect(cx, act, error).await => cx.job.cursor.intent = earlier,
        Err(_) => {}
    }
    Ok(answer)
}

/// The request for a change of the host's power.
pub async fn reset(
    cx: &mut Context<'_>,
    system: &System,
    act: Act,
    kind: ResetType,
) -> Result<Result<(), RedfishError>, StepError> {
    count_force(cx, act)?;
    let bmc = cx.bmc;
    let accepted = |_: &mut Facts, (): &()| ActReport {
        op: "reset.request",
        message: format!("asked the BMC for {kind:?}"),
        detail: json!({ "reset_type": format!("{kind:?}") }),
    };
    perform(cx, act, bmc.request_reset(system, kind), accepted).await
}

/// Whether the act did not happen: it was refused, or the BMC reports that it failed. A report about a start is
/// not believed against the host's power: the intent stays then, so that what is seen of the host decides and
/// nothing is forced off.
async fn had_no_effect(cx: &Context<'_>, act: Act, error: &RedfishError) -> bool {
    match (error.is_reported_failure(), act) {
        (false, _) => error.effect() == Effect::None,
        (true, Act::Restart) => false,
        (true, Act::PowerOn) => {
            cx.observe_system().await.is_ok_and(|system| system.power == Some(PowerState::Off))
        }
        (true, _) => true,
    }
}

/// A BMC that accepts each power-off and shows the host on needs an operator at the machine.
fn count_force(cx: &mut Context<'_>, act: Act) -> Result<(), StepError> {
    if act != Act::ForceOff {
        return Ok(());
    }
    let forced = &mut cx.job.facts.reset.forced_off;
    if *forced >= FORCES_MAX {
        let why = format!(
            "the BMC of server {} was asked {FORCES_MAX} times to force the host off and still shows it on: look at \
             its power and console",
            cx.server.serial
        );
        return Err(StepError::permanent(FailureCode::PowerOffIgnored, why));
    }
    *forced += 1;
    Ok(())
}
