//! Which step follows. Pure.
//!
//! Invariant: the cleanup follows from every outcome of every path, and it is the same list for all of them; what
//! a cleanup step finds needless it skips.

use crate::domain::{Phase, Step};

const CLEANUP: [Step; 3] = [Step::CleanupUnmountTask, Step::CleanupUnmountMaintenance, Step::CleanupReset];

/// The first step of the cleanup.
pub const CLEANUP_START: Step = CLEANUP[0];

/// Whether the way on from `step` leads to a start of the host into the installer. `forward` is the path up to the
/// verdict.
pub fn leads_to_a_start(forward: &[Step], step: Step) -> bool {
    let place = |wanted: Step| forward.iter().position(|other| *other == wanted);
    place(step).is_some_and(|at| Some(at) <= place(Step::Reset))
}

/// The step after `step`; `None` at the end of the phase.
pub fn next(forward: &'static [Step], phase: Phase, step: Step) -> Option<Step> {
    let path = match phase {
        Phase::Forward => forward,
        Phase::Cleanup => &CLEANUP,
        Phase::Done => return None,
    };
    let at = path.iter().position(|other| *other == step)?;
    path.get(at + 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &[Step] = &[Step::ValidateRecipe, Step::BootOverride, Step::Reset, Step::EsxiPollPower];

    #[test]
    fn each_step_is_followed_by_the_next_of_its_phase() {
        assert_eq!(next(PATH, Phase::Forward, Step::ValidateRecipe), Some(Step::BootOverride));
        assert_eq!(next(PATH, Phase::Forward, Step::EsxiPollPower), None);
        assert_eq!(next(PATH, Phase::Cleanup, CLEANUP_START), Some(CLEANUP[1]));
        assert_eq!(next(PATH, Phase::Cleanup, CLEANUP[2]), None);
        assert_eq!(next(PATH, Phase::Done, CLEANUP[0]), None);
    }

    #[test]
    fn every_step_to_the_reset_leads_to_a_start_and_none_after_it() {
        let leading: Vec<bool> = PATH.iter().map(|step| leads_to_a_start(PATH, *step)).collect();
        assert_eq!(leading, [true, true, true, false]);
        assert!(CLEANUP.iter().all(|step| !leads_to_a_start(PATH, *step)));
    }
}
