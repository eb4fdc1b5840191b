//! The next deadline of a Linux or Windows job, for operators who wait.

use super::{judge, watch};
use crate::domain::{Deadline, DeadlineKind, Phase, Step};
use crate::flow::{Context, holds_media};

pub(super) fn next(cx: &Context<'_>) -> Option<Deadline> {
    if cx.job.cursor.phase == Phase::Forward && cx.job.cursor.step == Step::AwaitWebhook {
        return watch::with_seen(cx, judge::next_deadline).ok();
    }
    let ends = |cx: &Context<'_>| {
        watch::with_seen(cx, |seen| judge::last_moment(seen.started_at, seen.facts, seen.deadlines))
    };
    let at = holds_media(cx.job).then(|| ends(cx).ok()).flatten()?;
    Some(Deadline { kind: DeadlineKind::MediaEject, at })
}
