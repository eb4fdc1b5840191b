//! ESXi's own installer from the vendor's ISO on CD1, unattended by the kickstart on CD2.
//!
//! The steps of its own: `validate-recipe`, `build-task-iso` ([`prepare`]), and after the reset `esxi.await_bmc` and
//! `esxi.poll_power` ([`watch`]), where the judge ([`detect`]) decides. Nothing on the host reports to the controller: the
//! installer's progress is derived from what the BMC shows and what is read of the media. Invariant: an installation is done by
//! evidence and never because the host is on, and no medium leaves a host whose installer may be running.

mod address;
mod await_bmc;
mod deadline;
pub mod detect;
mod hook;
pub mod kickstart;
mod prepare;
pub mod probe;
mod release;
mod task_iso;
mod watch;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::domain::{
    BootSample, CompletionHook, Deadline, EjectReason, EsxiSpec, EvidenceKind, FailureCode, Job, JobSpec,
    MediaMode, Server, Step, Verdict,
};
use crate::flow::policy::FinalReset;
use crate::flow::{Context, Path, Services, StepError, StepOutcome, Work};
use shoal_redfish::System;

/// The path of `install-esxi.target`.
pub struct EsxiPath;

const STEPS: &[Step] = &[
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

/// An installation takes longer than the self test alone.
const SHORTEST_RUN: Duration = Duration::from_secs(180);

impl Path for EsxiPath {
    fn shortest_run(&self) -> Duration {
        SHORTEST_RUN
    }

    fn has_reported<'a>(&'a self, cx: &'a Context<'_>) -> Work<'a, bool> {
        Box::pin(async move { Ok(cx.services.store.load_hook_report(cx.job.id).await?.is_some()) })
    }

    fn forward(&self) -> &'static [Step] {
        STEPS
    }

    fn ensure<'a>(&'a self, cx: &'a mut Context<'_>) -> Work<'a, StepOutcome> {
        Box::pin(async move {
            match cx.job.cursor.step {
                Step::ValidateRecipe => validate(cx),
                Step::BuildTaskIso => Box::pin(prepare::ensure(cx)).await,
                Step::EsxiAwaitBmc => await_bmc::ensure(cx).await,
                Step::EsxiPollPower => watch::ensure(cx).await,
                step => Err(StepError::internal(format!("{step} is not a step of an ESXi job"))),
            }
        })
    }

    fn check<'a>(&'a self, services: &'a Services, server: &'a Server, spec: &'a JobSpec) -> Work<'a, ()> {
        Box::pin(address::check(services, server, spec))
    }

    fn publish<'a>(&'a self, services: &'a Services, server: &'a Server, job: &'a Job) -> Work<'a, ()> {
        Box::pin(prepare::publish(services, server, job))
    }

    fn direct_url(&self, services: &Services, spec: &JobSpec) -> Result<String, StepError> {
        prepare::direct_url(services, spec)
    }

    fn check_override(&self, cx: &Context<'_>, system: &System) -> Result<(), StepError> {
        check_override(cx, system)
    }

    fn before_start<'a>(&'a self, cx: &'a mut Context<'_>) -> Work<'a, ()> {
        Box::pin(async move {
            address::note_before(cx).await;
            Ok(())
        })
    }

    fn note_start(&self, cx: &mut Context<'_>, shown: Option<&BootSample>) -> Result<(), StepError> {
        let now = cx.now();
        cx.job.facts.esxi_mut().watch.effect_at.get_or_insert(now);
        match shown {
            Some(seen) => watch::fold(cx, |facts, context| detect::observe_sources(facts, context, seen)),
            None => Ok(()),
        }
    }

    fn may_eject<'a>(&'a self, cx: &'a mut Context<'_>) -> Work<'a, Result<EjectReason, StepOutcome>> {
        Box::pin(release::may_eject(cx))
    }

    fn wants_final_reset(&self, cx: &Context<'_>, verdict: &Verdict) -> bool {
        let is_seen_loop = cx.job.facts.esxi().watch.loop_ended_at.is_some() && !watch::is_copied(cx);
        wants_reset(cx.services.policy.final_reset, verdict, is_seen_loop)
    }

    fn deadline(&self, cx: &Context<'_>) -> Option<Deadline> {
        deadline::next(cx)
    }

    fn shutdown_asked_at(&self, _: &Job) -> Option<Timestamp> {
        None
    }
}

/// What the recipe of an ESXi job asks for.
fn asked(spec: &JobSpec) -> Result<&EsxiSpec, StepError> {
    spec.esxi().ok_or_else(|| StepError::internal("the job is of another path"))
}

/// The recipe was checked when it was submitted, and a job whose recipe was refused is never driven; this step
/// records what the job is to install with.
fn validate(cx: &Context<'_>) -> Result<StepOutcome, StepError> {
    let kickstart = &asked(cx.spec()?)?.kickstart;
    let detail = json!({ "ks_cfg": { "size": kickstart.size(), "sha256": kickstart.sha256() } });
    Ok(StepOutcome::Done { message: "the recipe is valid".to_owned(), detail })
}

/// A BMC that makes a lasting override of a one-time boot starts the installer again at its end, unless
/// the start is seen and the override cleared in time. Where neither the reads of the media nor the BMC's
/// own properties show it, and the installation does not end with the host off, that is impossible.
fn check_override(cx: &Context<'_>, system: &System) -> Result<(), StepError> {
    let lasts = system.boot.enabled.as_deref() == Some("Continuous");
    let is_copied = cx.services.media.trace(cx.job.id).kickstart.mode == MediaMode::Prefetched;
    let ends_off =
        matches!(asked(cx.spec()?)?.completion_hook, CompletionHook::Poweroff | CompletionHook::OwnPoweroff);
    if !lasts || !is_copied || ends_off || watch::shows_loader(system) {
        return Ok(());
    }
    let why = format!(
        "the BMC of server {} turns a one-time boot into a lasting one, downloads images whole and shows nothing of \
         the host's boots: the installer would start again and again, unseen; ask for completion_hook: poweroff, \
         with which the installation ends with the host off",
        cx.server.serial
    );
    Err(StepError::permanent(FailureCode::BootOverrideLasting, why))
}

/// Whether a host that is on is to be reset. What was seen to boot the installed system needs none; a host
/// whose boots led to its installer, until that was taken away, may stand before a loader's error.
fn wants_reset(setting: FinalReset, verdict: &Verdict, is_loop: bool) -> bool {
    match setting {
        FinalReset::Always => true,
        FinalReset::Never => false,
        FinalReset::Auto if is_loop => true,
        FinalReset::Auto => !verdict.evidence.iter().any(|evidence| {
            matches!(
                evidence.kind,
                EvidenceKind::SecondBoot | EvidenceKind::InstallerHook | EvidenceKind::OsApi
            )
        }),
    }
}
