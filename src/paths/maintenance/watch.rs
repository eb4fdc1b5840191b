//! `await-webhook`: until the maintenance system has reported and its host is off, or a deadline has passed.
//!
//! Each turn: take in what was reported; look at the System; let [`judge`] decide. A BMC that does not answer costs a
//! wait and no deadline. Invariant: the only request to the BMC is one for a graceful shutdown, after a success, once.

use serde_json::json;

use super::judge::{self, Deadlines, Seen, TaskJudgement};
use crate::domain::{Act, FailureCode, Power, Reporter, Step};
use crate::flow::look::sample;
use crate::flow::{Context, StepError, StepOutcome, act, policy};
use shoal_base::world::{after, elapsed};
use shoal_redfish::{PowerState, RedfishError, ResetType};

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    listen(cx).await?;
    let looked = look(cx).await?;
    let judgement = match with_seen(cx, judge::judge)? {
        TaskJudgement::Wait(why) => TaskJudgement::Wait(why),
        // A host reads its signal and goes off once its report is taken: one that came since is the better word.
        _ => {
            listen(cx).await?;
            with_seen(cx, judge::judge)?
        }
    };
    match judgement {
        TaskJudgement::Wait(why) => Ok(wait(cx, why, looked.err())),
        TaskJudgement::NeverStarted => {
            let why = "the BMC accepted the start and the host is still off".to_owned();
            Ok(StepOutcome::Back { to: Step::Reset, code: FailureCode::HostNotStarted, why })
        }
        TaskJudgement::ShutDown => shut_down(cx).await,
        TaskJudgement::Decided(decision) => Ok(StepOutcome::Decided(decision)),
    }
}

/// Takes in what was reported to this or another controller, with an event for whatever is new.
pub(super) async fn listen(cx: &mut Context<'_>) -> Result<(), StepError> {
    let reports = cx.services.store.load_task_reports(cx.job.id).await?;
    if let Some(progress) = reports.progress
        && cx.job.facts.maintenance().progress.as_ref() != Some(&progress)
    {
        let step = progress.step.clone().unwrap_or_else(|| "at work".to_owned());
        let detail = json!({ "step": progress.step, "bytes": progress.bytes, "total": progress.total });
        cx.job.facts.maintenance_mut().progress = Some(progress);
        cx.report("task.progress", format!("the maintenance system reports: {step}"), detail).await?;
    }
    let fault = cx.services.media.image_fault(cx.job.id);
    if fault.is_some() && cx.job.facts.maintenance().image_fault != fault {
        let message =
            format!("the image could not be served to the host: {}", fault.as_deref().unwrap_or_default());
        cx.job.facts.maintenance_mut().image_fault = fault;
        cx.warn("image.serve", message, json!(null)).await?;
    }
    if let Some(result) = reports.result
        && cx.job.facts.maintenance().result.as_ref() != Some(&result)
    {
        let detail = json!(result);
        let outcome = if result.succeeded { "success" } else { "failure" };
        let message = match result.by {
            Reporter::SharedSecret => {
                format!("a {outcome} was reported for this server with the shared secret")
            }
            _ => format!("the maintenance system reported a {outcome}"),
        };
        let warnings = result.warnings.clone();
        cx.job.facts.maintenance_mut().result = Some(result);
        cx.report("task.result", message, detail).await?;
        for warning in warnings {
            cx.warn("task.warning", warning, json!(null)).await?;
        }
    }
    Ok(())
}

/// One look at the BMC, folded into the facts.
pub(super) async fn look(cx: &mut Context<'_>) -> Result<Result<(), RedfishError>, StepError> {
    let (link, now) = (cx.system_link()?, cx.now());
    let polls = cx.job.facts.maintenance().polls.saturating_add(1);
    cx.job.facts.maintenance_mut().polls = polls;
    note_silence(cx);
    let system = match cx.bmc.observe_system(&link).await {
        Ok(system) => system,
        Err(error) => return Ok(Err(error)),
    };
    let power = sample(&system, now).power;
    let facts = cx.job.facts.maintenance_mut();
    if power == Power::On {
        facts.on_at.get_or_insert(now);
    }
    if facts.power.is_none_or(|(before, _)| before != power) {
        facts.power = Some((power, now));
    }
    Ok(Ok(()))
}

/// Time in which this controller did not look is no time in which a report could have been taken.
fn note_silence(cx: &mut Context<'_>) {
    let (now, interval) = (cx.now(), cx.services.policy.poll_interval);
    let Some(started_at) = cx.job.facts.reset.started_at else { return };
    let facts = cx.job.facts.maintenance_mut();
    let silence = elapsed(facts.observed_at.unwrap_or(started_at), now);
    if silence > 3 * interval {
        let silent_ms = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        facts.unobserved_ms = facts.unobserved_ms.saturating_add(silent_ms);
        facts.resumed_at = Some(now);
    }
    facts.observed_at = Some(now);
}

/// Runs `judge` on what is known of this job.
pub(super) fn with_seen<T>(cx: &Context<'_>, judge: impl FnOnce(&Seen<'_>) -> T) -> Result<T, StepError> {
    let facts = &cx.job.facts;
    let started_at =
        facts.reset.started_at.ok_or_else(|| StepError::internal("the host was never started"))?;
    let traces = cx.services.media.trace(cx.job.id);
    let policy = &cx.services.policy;
    Ok(judge(&Seen {
        facts: facts.maintenance(),
        started_at,
        boot: &traces.installer,
        task: &traces.kickstart,
        deadlines: Deadlines {
            whole: policy.maintenance_timeout,
            boot: policy.maintenance_boot_timeout,
            graceful: policy.graceful_timeout,
        },
        now: cx.now(),
    }))
}

/// Asks the host to shut down, until the BMC accepts that. One that cannot be asked is left to the final reset.
async fn shut_down(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    let system = cx.observe_system().await?;
    let now = cx.now();
    cx.job.facts.maintenance_mut().shutdown_at.get_or_insert(now);
    let offers = system.reset_types.is_empty() || system.reset_types.contains(&ResetType::GracefulShutdown);
    if offers && system.power == Some(PowerState::On) {
        let asked = act::reset(cx, &system, Act::GracefulShutdown, ResetType::GracefulShutdown).await?;
        cx.job.facts.maintenance_mut().shutdown_accepted |= asked.is_ok();
        if let Err(error) = asked {
            cx.warn(
                "reset.request",
                format!("the host could not be asked to shut down: {error}"),
                json!(null),
            )
            .await?;
        }
    }
    Ok(wait(cx, "the host was asked to shut down", None))
}

/// The next look, by the BMC's poll interval.
/// Until the next look; `unread` is what went wrong with this one.
pub(super) fn wait(cx: &Context<'_>, why: &str, unread: Option<RedfishError>) -> StepOutcome {
    let delay = policy::poll_delay(cx.job.facts.maintenance().polls, cx.services.policy.poll_interval);
    let why = match unread {
        Some(error) => format!("{why}; {}", cx.unobserved(&error)),
        None => why.to_owned(),
    };
    StepOutcome::Wait { until: after(cx.now(), delay), why }
}
