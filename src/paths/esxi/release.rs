//! When the media of a host that was started may be ejected: its installer cannot be running, or an operator has
//! said so.

use super::{detect, watch};
use crate::domain::EjectReason;
use crate::flow::{Context, StepError, StepOutcome, is_forced};
use shoal_base::world::elapsed;

/// `Err` is when to look again.
pub(super) async fn may_eject(cx: &mut Context<'_>) -> Result<Result<EjectReason, StepOutcome>, StepError> {
    let reason = match watch::look(cx).await? {
        Ok(_) => observed(cx)?,
        Err(_) => forced(cx).or_else(|| timed_out_unobserved(cx)),
    };
    let why = "the installer may still be running: its media stay until it cannot be";
    Ok(reason.ok_or_else(|| watch::wait(cx, None, why.to_owned())))
}

fn observed(cx: &Context<'_>) -> Result<Option<EjectReason>, StepError> {
    let gone = watch::with_context(cx, detect::installer_is_gone)?;
    let deadline = watch::with_context(cx, |facts, context| {
        detect::install_deadline(facts, context.policy, context.started_at)
    })?;
    Ok(match gone {
        true => Some(EjectReason::Safe),
        false if cx.now() >= deadline => Some(EjectReason::TimedOut),
        false => forced(cx),
    })
}

/// Nothing was seen of the host for as long as an installation may take, so none is running any more. A host that
/// installs in a loop reads its media again and again: that puts the end off by no more than another such time.
fn timed_out_unobserved(cx: &Context<'_>) -> Option<EjectReason> {
    let (facts, trace) = (&cx.job.facts, cx.services.media.trace(cx.job.id));
    let timeout = cx.services.policy.install_timeout;
    // How much time passed without a controller is not known.
    let taken_up_at = cx.job.cursor.taken_up_at();
    let observed = facts.reset.started_at.max(facts.esxi().watch.observed_at).max(taken_up_at)?;
    let last = Some(observed).max(trace.installer.last_read_at).max(trace.kickstart.last_read_at)?;
    let is_over = elapsed(last, cx.now()) >= timeout || elapsed(observed, cx.now()) >= 2 * timeout;
    is_over.then_some(EjectReason::TimedOut)
}

fn forced(cx: &Context<'_>) -> Option<EjectReason> {
    is_forced(cx).then_some(EjectReason::Forced)
}
