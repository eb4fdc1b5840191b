//! The word of those who know: the installer at its end, or the installed system itself. Pure.
//!
//! Invariant: what was said before the host started, or before the kickstart's last read, counts for
//! nothing.

use std::time::Duration;

use super::WatchContext;
use super::address::{self, os_api};
use crate::domain::{ApiHost, Confidence, Evidence, EvidenceKind, WatchFacts};
use shoal_base::world::elapsed;

/// From its report an installer takes at least so long to its next run's first write: through its
/// shutdown, the firmware's self test and the loader.
pub const NEXT_RUN_MIN: Duration = Duration::from_secs(20);

/// The word of the installer or of the installed system itself, the one that is worth more, unless the
/// kickstart was read again since.
pub(super) fn proof(watch: &WatchFacts, context: &WatchContext<'_>) -> Option<Evidence> {
    let reported = watch.hook.filter(|report| report.succeeded).map(|report| Evidence {
        kind: EvidenceKind::InstallerHook,
        at: report.at,
        detail: "the installer's %post called the job's webhook".to_owned(),
    });
    let stands = |evidence: &Evidence| stands(context, evidence);
    let reported = reported.filter(stands);
    let proven = reported.clone().filter(|report| worth(watch, context, report) == Confidence::Proven);
    let answered = os_api(watch, context).filter(stands);
    let undoubted = answered.clone().filter(|answer| address::doubt(watch, context, answer.at).is_none());
    proven.or(undoubted).or(reported).or(answered)
}

/// Said after the host started, and after the kickstart's last read.
fn stands(context: &WatchContext<'_>, evidence: &Evidence) -> bool {
    evidence.at > context.started_at && context.ks_read_at().is_none_or(|read| evidence.at >= read)
}

/// The installed system as it answered, if its answer is proof that it is this host's.
pub fn installed_host<'a>(watch: &'a WatchFacts, context: &WatchContext<'_>) -> Option<&'a ApiHost> {
    let answer = os_api(watch, context).filter(|answer| stands(context, answer))?;
    let is_proven = worth(watch, context, &answer) == Confidence::Proven;
    watch.api.as_ref()?.host.as_ref().filter(|_| is_proven)
}

/// A report stands for the disk's state only while no further run can have begun; where one would not be
/// seen, because the BMC has copied its media, these must have been out in time.
pub(super) fn worth(watch: &WatchFacts, context: &WatchContext<'_>, proof: &Evidence) -> Confidence {
    if proof.kind == EvidenceKind::OsApi {
        return address::worth(watch, context, proof.at);
    }
    let is_out = watch.loop_ended_at.is_some_and(|out_at| {
        let by_the_guest = watch.loop_ejects == 0;
        by_the_guest || elapsed(proof.at, out_at) <= NEXT_RUN_MIN
    });
    if !context.trace_shows_reads() && !is_out { Confidence::Probable } else { Confidence::Proven }
}

/// Evidence that settles what the host's disk holds, whatever else is to come.
pub(super) fn settles(watch: &WatchFacts, context: &WatchContext<'_>) -> Option<Evidence> {
    let is_settled = |proof: &Evidence| {
        proof.kind != EvidenceKind::OsApi || worth(watch, context, proof) == Confidence::Proven
    };
    proof(watch, context).filter(is_settled)
}
