//! The word of those who know: the installer at its end, or the installed system itself. Pure.
//!
//! Invariant: what was said before the host started, or before the kickstart's last read, counts for
//! nothing.

use std::time::Duration;

use super::{Scene, is_live, second_boot};
use crate::job::{ApiSample, Confidence, Evidence, EvidenceKind, WatchFacts};
use crate::world::elapsed;

/// From its report an installer takes at least so long to its next run's first write: through its
/// shutdown, the firmware's self test and the loader.
pub const NEXT_RUN_MIN: Duration = Duration::from_secs(20);

/// The word of the installer or of the installed system itself, the one that is worth more, unless the
/// kickstart was read again since.
pub(super) fn proof(watch: &WatchFacts, scene: &Scene<'_>) -> Option<Evidence> {
    let reported = watch.hook.filter(|report| report.succeeded).map(|report| Evidence {
        kind: EvidenceKind::InstallerHook,
        at: report.at,
        detail: "the installer's %post called the job's webhook".to_owned(),
    });
    let stands = |evidence: &Evidence| {
        evidence.at > scene.started_at && scene.ks_read_at().is_none_or(|read| evidence.at >= read)
    };
    let reported = reported.filter(stands);
    let proven = reported.clone().filter(|report| worth(watch, scene, report) == Confidence::Proven);
    proven.or_else(|| os_api(watch, scene).filter(stands)).or(reported)
}

/// The installed system at the management address: of the installer's build, and not what answered
/// there before. Every installation makes a certificate of its own, so one that has not changed
/// belongs to another host, or to a host that was not installed.
fn os_api(watch: &WatchFacts, scene: &Scene<'_>) -> Option<Evidence> {
    let management = scene.management?;
    let ApiSample { at, host: Some(host) } = watch.api.as_ref()? else { return None };
    let before = management.before.host.as_ref();
    let is_unchanged = before.is_some_and(|before| before.certificate == host.certificate);
    let is_new = before.is_some() || scene.ks_read_at().is_some();
    // A host that has not booted again runs its installer: somebody else answers.
    let is_contradicted = is_live(watch) && second_boot(watch, scene).is_none();
    (host.build == management.build && !is_unchanged && is_new && !is_contradicted).then(|| Evidence {
        kind: EvidenceKind::OsApi,
        at: *at,
        detail: format!(
            "ESXi {} build {} answered at the management address with a certificate of its own",
            host.version, host.build
        ),
    })
}

/// A report stands for the disk's state only while no further run can have begun; where nobody would see
/// one, because the BMC has copied its media, these must have been out in time.
pub(super) fn worth(watch: &WatchFacts, scene: &Scene<'_>, proof: &Evidence) -> Confidence {
    let is_report = proof.kind == EvidenceKind::InstallerHook;
    let is_out = watch.loop_ended_at.is_some_and(|out_at| {
        let by_the_guest = watch.loop_ejects == 0;
        by_the_guest || elapsed(proof.at, out_at) <= NEXT_RUN_MIN
    });
    if is_report && !scene.trace_tells() && !is_out { Confidence::Probable } else { Confidence::Proven }
}
