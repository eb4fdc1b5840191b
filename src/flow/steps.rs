//! Which function runs a step.
//!
//! Every step is one function `ensure`: look; if it is already so, done; act once; look again. A
//! first run, a retry and a resume after a crash are the same code. Invariant: a step neither loops
//! nor sleeps; it answers, and the driver owns time.

use super::{Context, StepError, StepOutcome};
use super::{boot, final_reset, mount, reset, resolve, unmount};
use crate::domain::{Medium, Step};

/// Runs the step that the job's cursor is at. Each is in memory of its own: they differ in what they take.
pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    match cx.job.cursor.step {
        Step::ResolveServer => Box::pin(resolve::ensure(cx)).await,
        Step::MountMaintenance => Box::pin(mount::ensure(cx, Medium::Boot)).await,
        Step::MountTask => Box::pin(mount::ensure(cx, Medium::Task)).await,
        Step::BootOverride => Box::pin(boot::ensure(cx)).await,
        Step::Reset => Box::pin(reset::ensure(cx)).await,
        Step::CleanupUnmountTask => Box::pin(unmount::ensure(cx, Medium::Task)).await,
        Step::CleanupUnmountMaintenance => Box::pin(unmount::ensure(cx, Medium::Boot)).await,
        Step::CleanupReset => Box::pin(final_reset::ensure(cx)).await,
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
