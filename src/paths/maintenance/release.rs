//! When the media of a host that was started may be ejected: its maintenance system is over or never began, or an operator
//! has said so.

use super::{judge, watch};
use crate::domain::{EjectReason, Power};
use crate::flow::{Context, StepError, StepOutcome, is_forced};

/// `Err` is when to look again.
pub(super) async fn may_eject(cx: &mut Context<'_>) -> Result<Result<EjectReason, StepOutcome>, StepError> {
    watch::listen(cx).await?;
    let seen = watch::look(cx).await?;
    let is_off = seen && matches!(cx.job.facts.maintenance().power, Some((Power::Off, _)));
    let (is_over, last_moment) = watch::with_seen(cx, |seen| {
        let last_moment = judge::last_moment(seen.started_at, seen.facts, seen.deadlines);
        (judge::result(seen).is_some() || judge::never_began(seen), last_moment)
    })?;
    let reason = match is_off || is_over {
        true => Some(EjectReason::Safe),
        false if cx.now() >= last_moment => Some(EjectReason::TimedOut),
        false => is_forced(cx).then_some(EjectReason::Forced),
    };
    let why = "the maintenance system may still be installing: its media stay until it reports, goes off or times out";
    Ok(reason.ok_or_else(|| watch::wait(cx, why)))
}
