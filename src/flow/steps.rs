//! Which function runs a step.
//!
//! Every step is one function `ensure`: look; if it is already so, done; act once; look again. A
//! first run, a retry and a resume after a crash are the same code. Invariant: a step neither loops
//! nor sleeps; it answers, and the driver owns time.

use super::{Context, StepError, StepOutcome};
use super::{boot, final_reset, mount, reset, resolve, unmount};
use crate::domain::{Medium, Step};

/// Runs the step that the job's cursor is at.
pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    match cx.job.cursor.step {
        Step::ResolveServer => resolve::ensure(cx).await,
        Step::MountMaintenance => mount::ensure(cx, Medium::Boot).await,
        Step::MountTask => mount::ensure(cx, Medium::Task).await,
        Step::BootOverride => boot::ensure(cx).await,
        Step::Reset => reset::ensure(cx).await,
        Step::CleanupUnmountTask => unmount::ensure(cx, Medium::Task).await,
        Step::CleanupUnmountMaintenance => unmount::ensure(cx, Medium::Boot).await,
        Step::CleanupReset => final_reset::ensure(cx).await,
        Step::ValidateRecipe
        | Step::BuildTaskIso
        | Step::EsxiAwaitBmc
        | Step::EsxiPollPower
        | Step::AwaitWebhook => {
            let path = cx.path;
            path.ensure(cx).await
        }
    }
}
