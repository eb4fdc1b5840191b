//! Which steps a job goes through, in which order. Pure.
//!
//! Invariant: the cleanup follows from every outcome, and it is the same list for all of them; what
//! a cleanup step finds needless it skips.

use crate::job::{Phase, Step, TaskTarget};

const ESXI: [Step; 9] = [
    Step::ValidateRecipe,
    Step::ResolveServer,
    Step::BuildTaskIso,
    Step::MountMaintenance,
    Step::MountTask,
    Step::BootOverride,
    Step::Reset,
    Step::EsxiAwaitBmc,
    Step::EsxiPollPower,
];

const CLEANUP: [Step; 3] = [Step::CleanupUnmountTask, Step::CleanupUnmountMaintenance, Step::CleanupReset];

/// The steps up to the verdict.
pub fn forward(target: TaskTarget) -> &'static [Step] {
    match target {
        TaskTarget::InstallEsxi => &ESXI,
    }
}

/// The first step of the cleanup.
pub const CLEANUP_START: Step = CLEANUP[0];

/// Whether the way on from `step` leads to a start of the host into the installer.
pub fn leads_to_a_start(target: TaskTarget, step: Step) -> bool {
    let path = forward(target);
    let place = |wanted: Step| path.iter().position(|other| *other == wanted);
    place(step).is_some_and(|at| Some(at) <= place(Step::Reset))
}

/// The step after `step`; `None` at the end of the phase.
pub fn next(target: TaskTarget, phase: Phase, step: Step) -> Option<Step> {
    let path = match phase {
        Phase::Forward => forward(target),
        Phase::Cleanup => &CLEANUP,
        Phase::Done => return None,
    };
    let at = path.iter().position(|other| *other == step)?;
    path.get(at + 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_contracts() {
        let mut names = vec![];
        let mut step = Some(Step::ValidateRecipe);
        while let Some(at) = step {
            names.push(at.name());
            step = next(TaskTarget::InstallEsxi, Phase::Forward, at);
        }
        assert_eq!(
            names.join(" "),
            "validate-recipe resolve-server build-task-iso mount.maintenance mount.task boot.override reset \
             esxi.await_bmc esxi.poll_power"
        );
        assert_eq!(next(TaskTarget::InstallEsxi, Phase::Cleanup, CLEANUP_START), Some(CLEANUP[1]));
        assert_eq!(next(TaskTarget::InstallEsxi, Phase::Cleanup, CLEANUP[2]), None);
    }

    #[test]
    fn every_step_to_the_reset_leads_to_a_start_and_none_after_it() {
        let leading = ESXI.map(|step| leads_to_a_start(TaskTarget::InstallEsxi, step));
        assert_eq!(leading, [true, true, true, true, true, true, true, false, false]);
        assert!(CLEANUP.iter().all(|step| !leads_to_a_start(TaskTarget::InstallEsxi, *step)));
    }
}
