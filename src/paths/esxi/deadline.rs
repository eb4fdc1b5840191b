//! The next deadline of an ESXi job, for operators who wait.

use super::{detect, watch};
use crate::domain::{Deadline, DeadlineKind, Phase, Step};
use crate::flow::{Context, holds_media};

pub(super) fn next(cx: &Context<'_>) -> Option<Deadline> {
    let is_watched = matches!(cx.job.cursor.step, Step::EsxiAwaitBmc | Step::EsxiPollPower);
    if cx.job.cursor.phase == Phase::Forward && is_watched {
        return watch::with_context(cx, detect::next_deadline).ok();
    }
    let ends = |cx: &Context<'_>| {
        watch::with_context(cx, |facts, context| {
            detect::install_deadline(facts, context.policy, context.started_at)
        })
    };
    let at = holds_media(cx.job).then(|| ends(cx).ok()).flatten()?;
    Some(Deadline { kind: DeadlineKind::MediaEject, at })
}
