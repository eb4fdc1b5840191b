//! `validate-recipe`: the recipe was checked when it was submitted; this step records what of.
//!
//! A recipe that fails the check never gets here: its job is recorded as failed at once.

use serde_json::json;

use super::StepOutcome;
use crate::workflow::{Context, StepError};

pub(super) fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    let kickstart = &cx.spec()?.kickstart;
    let detail = json!({ "ks_cfg": { "size": kickstart.size(), "sha256": kickstart.sha256() } });
    Ok(StepOutcome::Done { message: "the recipe is valid".to_owned(), detail })
}
