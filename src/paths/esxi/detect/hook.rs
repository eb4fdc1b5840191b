//! An installer that powers its host off at its end. Pure.
//!
//! Invariant: such an end is `proven` only by a read of the nonce at a time at which an installer's `%post`
//! can have read it, with the host off a moment later.

use std::time::Duration;

use jiff::Timestamp;

use super::{Judgement, WatchContext, kickstart_read, succeeded};
use crate::domain::{CompletionHook, Confidence, Evidence, EvidenceKind, WatchFacts};
use shoal_base::world::elapsed;

/// From the nonce's read to the host's power-off the hook takes at most so long.
const HOOK_TAKES_MAX: Duration = Duration::from_secs(60);

/// The hook that Shoal adds reads the nonce and powers the host off a moment later. A read much
/// earlier is a copy of the medium (by a `%pre`, say), and a power-off much later is not the hook's.
pub(super) fn judge_hook(watch: &WatchFacts, context: &WatchContext<'_>, off_since: Timestamp) -> Judgement {
    let (confidence, detail) = match (context.hook, context.nonce_read_at()) {
        (CompletionHook::Poweroff, Some(read_at)) if read_at <= off_since => {
            worth_of_nonce(watch, context, read_at)
        }
        (CompletionHook::Poweroff, _) => {
            (Confidence::Probable, "the host powered itself off, as the installer's %post does")
        }
        _ => (Confidence::Probable, "the host powered itself off, as its kickstart said it would"),
    };
    let off = Evidence { kind: EvidenceKind::InstallerHook, at: off_since, detail: detail.to_owned() };
    succeeded(confidence, off, [kickstart_read(context)])
}

fn worth_of_nonce(
    watch: &WatchFacts,
    context: &WatchContext<'_>,
    read_at: Timestamp,
) -> (Confidence, &'static str) {
    let is_late = context.ks_read_at().is_some_and(|ks| elapsed(ks, read_at) >= context.policy.proof_floor);
    if !is_late {
        let detail = "the host powered itself off; its nonce was read sooner after the kickstart than ESXI_PROOF_FLOOR, \
                      too soon for the installer's %post";
        return (Confidence::Probable, detail);
    }
    if Duration::from_millis(watch.since_nonce_ms) > HOOK_TAKES_MAX {
        let detail = "the host went off more than a minute after the nonce was read: later than the installer's %post \
                      powers it off";
        return (Confidence::Probable, detail);
    }
    (Confidence::Proven, "the installer's %post read its nonce and powered the host off")
}
