//! `esxi.await_bmc`: until the BMC answers again and shows the host on.
//!
//! Some BMCs go away for a while when their host restarts; that is no failure.

use serde_json::json;

use super::watch;
use crate::domain::{FailureCode, Power, Step};
use crate::flow::power::POWER_GRACE;
use crate::flow::{Context, StepError, StepOutcome};

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    watch::notice_silence(cx).await?;
    if let Err(answer) = watch::look(cx).await? {
        return Ok(answer);
    }
    let facts = &cx.job.facts;
    if facts.esxi().watch.effect_at.is_some() {
        let detail = json!({ "polls": facts.esxi().watch.polls });
        return Ok(StepOutcome::Done { message: "the BMC answers and the host is on".to_owned(), detail });
    }
    let off = matches!(facts.esxi().watch.power, Some((Power::Off, _)));
    let overdue = facts.reset.started_at.is_some_and(|at| cx.age(at) > POWER_GRACE);
    if off && overdue {
        let why = "the BMC accepted the start and the host is still off".to_owned();
        return Ok(StepOutcome::Back { to: Step::Reset, code: FailureCode::HostNotStarted, why });
    }
    Ok(watch::wait(cx, None, "waiting for the host to be on".to_owned()))
}
