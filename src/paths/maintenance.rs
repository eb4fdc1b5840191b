//! Linux and Windows by a maintenance system: CD1 boots it, CD2 holds its recipe, and it reports the result.
//!
//! The steps of its own: `validate-recipe`, `build-task-iso` ([`prepare`]) and `await-webhook` ([`watch`]), where
//! [`judge`] decides. What runs inside is `crates/shoal-agent`, or an operator's own system that knows only the shared
//! secret of the webhook. Invariant: a success is decided from a report, from a read of the task medium, or from the
//! host's power, and what each is worth is said in the verdict.

mod deadline;
mod judge;
mod own_image;
mod prepare;
mod release;
mod watch;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::domain::{
    BootSample, Deadline, EjectReason, Job, JobSpec, MaintenanceSpec, Server, Step, Verdict,
};
use crate::flow::publish::source_url;
use crate::flow::{Context, Path, Services, StepError, StepOutcome, Work};
use shoal_base::hex;
use shoal_redfish::System;

/// The path of `install-linux.target` and `install-windows.target`.
pub struct MaintenancePath;

const STEPS: &[Step] = &[
    Step::ValidateRecipe,
    Step::ResolveServer,
    Step::BuildTaskIso,
    Step::MountMaintenance,
    Step::MountTask,
    Step::BootOverride,
    Step::Reset,
    Step::AwaitWebhook,
];

/// A small image is written in seconds; before that come the self test and the start of the maintenance system.
const SHORTEST_RUN: Duration = Duration::from_secs(70);

impl Path for MaintenancePath {
    fn shortest_run(&self) -> Duration {
        SHORTEST_RUN
    }

    fn has_reported<'a>(&'a self, cx: &'a Context<'_>) -> Work<'a, bool> {
        Box::pin(async move {
            let reports = cx.services.store.load_task_reports(cx.job.id).await?;
            Ok(reports.result.is_some() || reports.progress.is_some())
        })
    }

    fn forward(&self) -> &'static [Step] {
        STEPS
    }

    fn ensure<'a>(&'a self, cx: &'a mut Context<'_>) -> Work<'a, StepOutcome> {
        Box::pin(async move {
            match cx.job.cursor.step {
                Step::ValidateRecipe => validate(cx),
                Step::BuildTaskIso => prepare::ensure(cx).await,
                Step::AwaitWebhook => watch::ensure(cx).await,
                step => Err(StepError::internal(format!("{step} is not a step of this job"))),
            }
        })
    }

    fn check<'a>(&'a self, services: &'a Services, _: &'a Server, _: &'a JobSpec) -> Work<'a, ()> {
        Box::pin(async move { prepare::source(services).map(|_| ()) })
    }

    fn publish<'a>(&'a self, services: &'a Services, server: &'a Server, job: &'a Job) -> Work<'a, ()> {
        Box::pin(prepare::publish(services, server, job))
    }

    fn direct_url(&self, services: &Services, _: &JobSpec) -> Result<String, StepError> {
        source_url(prepare::source(services)?)
    }

    /// The host goes off at the end, and the override is cleared before it is started again.
    fn check_override(&self, _: &Context<'_>, _: &System) -> Result<(), StepError> {
        Ok(())
    }

    fn before_start<'a>(&'a self, _: &'a mut Context<'_>) -> Work<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn note_start(&self, cx: &mut Context<'_>, _: Option<&BootSample>) -> Result<(), StepError> {
        let now = cx.now();
        cx.job.facts.maintenance_mut().on_at.get_or_insert(now);
        Ok(())
    }

    fn may_eject<'a>(&'a self, cx: &'a mut Context<'_>) -> Work<'a, Result<EjectReason, StepOutcome>> {
        Box::pin(release::may_eject(cx))
    }

    /// A host that is still on runs the maintenance system, not what was installed.
    fn wants_final_reset(&self, _: &Context<'_>, _: &Verdict) -> bool {
        true
    }

    fn deadline(&self, cx: &Context<'_>) -> Option<Deadline> {
        deadline::next(cx)
    }

    fn shutdown_asked_at(&self, job: &Job) -> Option<Timestamp> {
        let facts = job.facts.maintenance();
        facts.shutdown_at.filter(|_| facts.shutdown_accepted)
    }
}

/// What the recipe of a Linux or Windows job asks for.
fn asked(spec: &JobSpec) -> Result<&MaintenanceSpec, StepError> {
    spec.maintenance().ok_or_else(|| StepError::internal("the job is of another path"))
}

/// The recipe was checked when it was submitted; this step records what the job is to install with.
fn validate(cx: &Context<'_>) -> Result<StepOutcome, StepError> {
    let recipe = &asked(cx.spec()?)?.recipe;
    let digest = |text: &Option<String>| {
        text.as_ref().map(|text| json!({ "size": text.len(), "sha256": hex(&Sha256::digest(text)) }))
    };
    let detail = json!({
        "user_data": digest(&recipe.user_data),
        "network_config": digest(&recipe.network_config),
        "unattend_xml": digest(&recipe.unattend_xml),
        "target_disk": recipe.target_disk.to_json(),
        "overwrite": recipe.overwrite,
    });
    Ok(StepOutcome::Done { message: "the recipe is valid".to_owned(), detail })
}
