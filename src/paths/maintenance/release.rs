//! When the media of a host that was started may be ejected: its maintenance system is over or never began, or an operator
//! has said so.

use super::{judge, watch};
use crate::domain::{EjectReason, Power};
use crate::flow::power::POWER_GRACE;
use crate::flow::{Context, StepError, StepOutcome, is_forced};

/// `Err` is when to look again.
pub(super) async fn may_eject(cx: &mut Context<'_>) -> Result<Result<EjectReason, StepOutcome>, StepError> {
    watch::listen(cx).await?;
    let looked = watch::look(cx).await?;
    let facts = cx.job.facts.maintenance();
    // A BMC may show a host off for a while after it was started.
    let may_be_stale =
        facts.on_at.is_none() && cx.job.facts.reset.started_at.is_some_and(|at| cx.age(at) < POWER_GRACE);
    let is_off = looked.is_ok() && !may_be_stale && matches!(facts.power, Some((Power::Off, _)));
    let (is_over, last_moment) = watch::with_seen(cx, |seen| {
        let last_moment = judge::last_moment(seen.started_at, seen.facts, seen.deadlines);
        let is_reported = judge::result(seen).is_some_and(|result| !judge::runs_again(seen, &result));
        (is_reported || judge::never_began(seen), last_moment)
    })?;
    let reason = match is_off || is_over {
        true => Some(EjectReason::Safe),
        false if cx.now() >= last_moment => Some(EjectReason::TimedOut),
        false => is_forced(cx).then_some(EjectReason::Forced),
    };
    let why = "the maintenance system may still be installing: its media stay until it reports, goes off or times out";
    Ok(reason.ok_or_else(|| watch::wait(cx, why, looked.err())))
}
