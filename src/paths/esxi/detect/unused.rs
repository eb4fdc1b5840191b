//! An override that the controller itself has cleared, and that the host may never have used. Pure.
//!
//! Invariant: what such a host shows later is worth `assumed` at most, unless the installer or the installed
//! system itself proves more.

use super::{Judgement, WatchContext};
use crate::domain::{Confidence, WatchFacts};

/// Where we have disarmed an override that the host may never have used, what restarts or goes off later may be
/// the system on its disk. The word of the installer or of the installed system stands.
pub(super) fn capped(judged: Judgement, watch: &WatchFacts, context: &WatchContext<'_>) -> Judgement {
    let may_be_the_old_system = watch.disarmed_unused && context.installer.first_read_at.is_none();
    match judged {
        Judgement::Succeeded { confidence: Confidence::Probable, evidence } if may_be_the_old_system => {
            Judgement::Succeeded { confidence: Confidence::Assumed, evidence }
        }
        judged => judged,
    }
}

/// Whether something has shown that the host used the one-time boot: it reads the installer since our reset, or
/// a source of the BMC showed its start.
pub fn shows_a_used_override(watch: &WatchFacts, context: &WatchContext<'_>) -> bool {
    context.installer.first_read_at.is_some() || watch.sources.values().any(|seen| seen.showed_start)
}
