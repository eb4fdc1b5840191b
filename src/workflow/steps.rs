//! The steps, one file each, in the order of the path.
//!
//! Every step is one function `ensure`: look; if it is already so, done; act once; look again. A
//! first run, a retry and a resume after a crash are the same code. Invariant: a step neither loops
//! nor sleeps; it answers, and the driver owns time.

mod await_bmc;
mod boot;
mod final_reset;
mod mount;
mod prepare;
mod reset;
pub(super) mod resolve;
mod unmount;
mod validate;
mod watch;

use jiff::Timestamp;
use serde_json::Value;

use super::detect::Judgement;
use super::{Context, StepError};
use crate::job::{Facts, MountFacts, Step};
use crate::media::Medium;

pub(super) use prepare::publish;

/// What a step says when it has looked, acted at most once, and looked again.
#[derive(Debug)]
pub enum StepOutcome {
    /// It is as it should be.
    Done { message: String, detail: Value },
    /// There was nothing to do, because of this.
    Skipped { why: String },
    /// Not yet; look again at `until`.
    Wait { until: Timestamp, why: String },
    /// What an earlier step had brought about is gone: do that step again.
    Back { to: Step, why: String },
    /// The watch is over: `Succeeded` or `Failed`.
    Decided(Judgement),
}

impl StepOutcome {
    fn done(message: impl Into<String>) -> StepOutcome {
        StepOutcome::Done { message: message.into(), detail: Value::Null }
    }
}

/// What the job knows of one medium in its drive.
fn mount_of(facts: &Facts, medium: Medium) -> &MountFacts {
    match medium {
        Medium::Installer => &facts.cd1,
        Medium::Task => &facts.cd2,
    }
}

fn mount_mut(facts: &mut Facts, medium: Medium) -> &mut MountFacts {
    match medium {
        Medium::Installer => &mut facts.cd1,
        Medium::Task => &mut facts.cd2,
    }
}

/// Runs the step that the job's cursor is at.
pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    match cx.job.cursor.step {
        Step::ValidateRecipe => validate::ensure(cx),
        Step::ResolveServer => resolve::ensure(cx).await,
        Step::BuildTaskIso => prepare::ensure(cx).await,
        Step::MountMaintenance => mount::ensure(cx, Medium::Installer).await,
        Step::MountTask => mount::ensure(cx, Medium::Task).await,
        Step::BootOverride => boot::ensure(cx).await,
        Step::Reset => reset::ensure(cx).await,
        Step::EsxiAwaitBmc => await_bmc::ensure(cx).await,
        Step::EsxiPollPower => watch::ensure(cx).await,
        Step::CleanupUnmountTask => unmount::ensure(cx, Medium::Task).await,
        Step::CleanupUnmountMaintenance => unmount::ensure(cx, Medium::Installer).await,
        Step::CleanupReset => final_reset::ensure(cx).await,
    }
}
