//! Moves one job: runs the step that its cursor is at, writes down what came of it, waits.
//!
//! The only file of the flow with a loop and a sleep. It knows the phases and no step. A step is a function that looks
//! and then does what is missing, so it may run any number of times; its outcome moves the cursor:
//!
//! | outcome | saved in one transaction | then |
//! |---|---|---|
//! | done, skipped | the end event and the next step's cursor | the next step |
//! | wait | the facts, unless they show nothing new (below); an event only if the reason is a new one | the same step at `wake_at`; failed after `JOB_STUCK_TIMEOUT` |
//! | back | a retrying event and the earlier step's cursor | that step, at most [`REWINDS_MAX`] times a job |
//! | decided | verdict, status, reason, the cleanup's cursor | the cleanup |
//! | failed, transient | a retrying event, `wake_at` | the same step, until its retry budget is used up |
//! | failed for good | forward: the verdict; in the cleanup: one entry of what is left | the cleanup, or its next step |
//! | a store error | nothing | the drive ends; another claim resumes the job |
//!
//! After a crash the job resumes at the saved cursor: the step that was running runs again from its beginning, and
//! an intent without a receipt makes it look first. Time without a controller counts neither against the retry
//! budget nor as being stuck.
//!
//! The start of a step that follows immediately is saved with the end of the one before it. A look that shows the same as
//! the one before it is saved only where the last save is a poll interval old: after a crash it is as if it had not been made,
//! so that the time unobserved is longer by an interval at most. A stop saves it.
//!
//! Invariants: a step's start is saved before the step acts; its end is saved together with the
//! cursor that follows; a decided job's status, verdict and reason never change again.

use std::time::Duration;

use serde_json::{Value, json};
use shoal_base::with_causes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::error::{Failure, StepError};
use super::{Decision, Path, Services, StepOutcome, mount, plan, policy, steps, task_iso};
use crate::domain::{
    Cancel, Confidence, Cursor, EventStatus, Facts, FailureCode, Job, Level, NewEvent, Outcome, Phase,
    Server, Status, Step, Verdict,
};
use crate::store::{Lease, StoreError};
use shoal_base::world::elapsed;

/// Rewinds of one job before it is given up.
const REWINDS_MAX: u32 = 5;

const RESTORED: &str = "the controller was restored from a backup, and whether this job started its host since then is \
    not known: nothing more is done to the host; look at it and at its virtual drives, and submit the job again if it \
    was not installed";

/// What reaches a job from outside while it is driven.
pub struct DriveSignals {
    /// The controller shuts down: stop at the next point from which another can resume.
    pub stop: CancellationToken,
    /// An operator cancelled the job.
    pub cancel: watch::Receiver<Option<Cancel>>,
}

/// The last answer of a step that waits.
#[derive(Default)]
struct LastWait {
    reason: String,
    /// What it saw is not in the store.
    is_unsaved: bool,
}

/// Why a drive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Done,
    Stopped,
}

/// Drives `job` until its cleanup is over, or until a shutdown stops it.
pub async fn drive(
    services: &Services,
    path: &'static dyn Path,
    lease: Lease,
    mut job: Job,
    mut orders: DriveSignals,
) -> Result<Ended, StoreError> {
    let Some(server) = services.store.server(&job.server).await? else {
        return Err(StoreError::UnknownServer { serial: job.server });
    };
    let _driven = services.media.drive(job.id);
    let bmc = Box::pin(services.remembered_bmc(&server)).await?;
    bmc.hide(services.url_secrets(job.spec.as_ref()));
    let mut kept = bmc.learned().version();
    // Before any step: a BMC may be reading them already, and a host whose media vanish fails its installation.
    if let Err(error) = Box::pin(resume_media(services, path, &server, &job)).await {
        tracing::warn!(job = %job.id, server = %job.server, error = %with_causes(&error), "the job's media could not be published again");
    }
    // Some BMCs allow few sessions: one that a crash left is deleted with the next login.
    if let Some(link) = &job.facts.session {
        Box::pin(bmc.session().inherit(link)).await;
    }
    if job.status != Status::Queued {
        Box::pin(record_resume(&mut Context {
            services,
            path,
            lease: &lease,
            server: &server,
            bmc: &bmc,
            job: &mut job,
            is_saved: false,
        }))
        .await?;
    }
    // It was claimed as due, or by a new run of the controller: what it was to wait for may be set by a wrong clock.
    job.cursor.wake_at = job.cursor.wake_at.min(services.world.clock.now());
    let mut last_wait = LastWait::default();
    while job.cursor.phase != Phase::Done {
        let is_due = wait(services, &mut job, &mut orders).await;
        let (lease, server, bmc) = (&lease, &server, &bmc);
        let mut cx = Context { services, path, lease, server, bmc, job: &mut job, is_saved: false };
        if !is_due {
            if last_wait.is_unsaved {
                cx.save(vec![]).await?;
            }
            return Ok(Ended::Stopped);
        }
        services.media.learn(cx.job.id).await?;
        let step = cx.job.cursor.step;
        // In memory of its own, which is free while the job waits: most of the time.
        Box::pin(advance(&mut cx, &mut last_wait)).await?;
        // What a step waits for, or fails by, is looked at anew; the step that follows may use what was just read.
        if cx.job.cursor.step == step {
            bmc.look_anew();
        }
        services.media.save_picture(cx.job.id, false).await;
        services.keep_memory(server, bmc, &mut kept).await?;
    }
    services.media.save_picture(job.id, true).await;
    finish(services, &job);
    Box::pin(bmc.close()).await;
    Ok(Ended::Done)
}

async fn resume_media(
    services: &Services,
    path: &dyn Path,
    server: &Server,
    job: &Job,
) -> Result<(), StepError> {
    if !job.is_active() {
        return Ok(());
    }
    path.publish(services, server, job).await
}

/// Records that this job was driven before, by a worker that ended without finishing it. The
/// retry budget starts anew: no controller has tried meanwhile.
async fn record_resume(cx: &mut Context<'_>) -> Result<(), StoreError> {
    let now = cx.now();
    mount::take_up(&mut cx.job.facts.mounts, now);
    cx.job.cursor.driven_since = Some(now);
    cx.job.cursor.failing_since = None;
    let step = cx.job.cursor.step;
    let open = cx.job.cursor.intent.as_ref().filter(|intent| intent.receipt_at.is_none());
    let message = match open.map(|intent| intent.act) {
        Some(act) => {
            format!("the job is taken up again at {step}; whether its {act} was done is looked at first")
        }
        None => format!("the job is taken up again at {step}"),
    };
    let detail = json!({ "lease": cx.lease.generation });
    let event = cx.event("job.take_up", Level::Info, EventStatus::Progress, message, detail);
    cx.save(vec![event]).await
}

/// Until the job is due, or something from outside makes it so. False: stop.
async fn wait(services: &Services, job: &mut Job, orders: &mut DriveSignals) -> bool {
    let pause = elapsed(services.world.clock.now(), job.cursor.wake_at);
    tokio::select! {
        biased;
        () = orders.stop.cancelled() => return false,
        Ok(_) = orders.cancel.wait_for(|cancel| cancel.is_some() && *cancel != job.cancel) => {}
        () = tokio::time::sleep(pause) => {}
    }
    job.cancel = *orders.cancel.borrow_and_update();
    true
}

/// One turn: a cancel is heeded, or the step runs and its answer is written down.
async fn advance(cx: &mut Context<'_>, last_wait: &mut LastWait) -> Result<(), StoreError> {
    // In the cleanup a cancel changes nothing but, with force, when media may be ejected.
    if cx.job.cursor.phase == Phase::Forward && cx.job.cancel.is_some() {
        return decide_cancelled(cx).await;
    }
    if cx.job.cursor.entered_at.is_none() {
        let started = enter(cx);
        cx.save(vec![started]).await?;
    }
    if cx.job.facts.restored_at.is_some() && plan::leads_to_a_start(cx.path.forward(), cx.job.cursor.step) {
        return give_up(cx, FailureCode::RestoredFromBackup, RESTORED.to_owned()).await;
    }
    tracing::debug!(
        job = %cx.job.id, server = %cx.job.server, step = cx.job.cursor.step.name(),
        attempt = cx.job.cursor.attempt, "step"
    );
    let before = cx.job.known();
    match steps::ensure(cx).await {
        Ok(answer) => {
            cx.job.cursor.failing_since = None;
            take(cx, answer, &before, last_wait).await
        }
        Err(StepError::Store(error)) => Err(error),
        Err(StepError::Failed(failure)) => fail(cx, failure).await,
    }
}

/// The start of the step that the cursor is at, to be saved before that does anything.
fn enter(cx: &mut Context<'_>) -> NewEvent {
    let now = cx.now();
    cx.job.cursor.entered_at = Some(now);
    cx.job.cursor.driven_since = Some(now);
    cx.job.cursor.attempt = 1;
    if cx.job.status == Status::Queued {
        cx.job.status = Status::Provisioning;
    }
    let step = cx.job.cursor.step;
    cx.event(step.name(), Level::Info, EventStatus::Started, format!("{step} begins"), Value::Null)
}

/// Saves the end of a step, and the start of the one that the cursor is at by now, if there is one.
async fn save_end(cx: &mut Context<'_>, ended: NewEvent) -> Result<(), StoreError> {
    let mut events = vec![ended];
    if cx.job.cursor.phase != Phase::Done {
        events.push(enter(cx));
    }
    cx.save(events).await
}

async fn take(
    cx: &mut Context<'_>,
    answer: StepOutcome,
    before: &(Cursor, Facts),
    last_wait: &mut LastWait,
) -> Result<(), StoreError> {
    match answer {
        StepOutcome::Done { message, detail } => end_step(cx, EventStatus::Succeeded, message, detail).await,
        StepOutcome::Skipped { why } => end_step(cx, EventStatus::Skipped, why, Value::Null).await,
        StepOutcome::Back { to, code, why } => go_back(cx, to, code, why).await,
        StepOutcome::Decided(decision) => decide(cx, decision).await,
        StepOutcome::Wait { until, why } if is_stuck(cx) => {
            let message = format!("the job made no progress within JOB_STUCK_TIMEOUT ({why})");
            cx.job.cursor.wake_at = until;
            give_up(cx, FailureCode::JobStuck, message).await
        }
        StepOutcome::Wait { until, why } => {
            cx.job.cursor.wake_at = until;
            let is_another = last_wait.reason != why;
            last_wait.is_unsaved = !is_another && may_go_unsaved(cx, before);
            if last_wait.is_unsaved {
                return Ok(());
            }
            let op = cx.job.cursor.step.name();
            let event = cx.event(op, Level::Info, EventStatus::Progress, why.clone(), Value::Null);
            last_wait.reason = why;
            cx.save(is_another.then_some(event).into_iter().collect()).await
        }
    }
}

/// Whether a turn has shown nothing that a controller which takes the job up would miss. What the step has saved may have
/// been taken back by now.
fn may_go_unsaved(cx: &Context<'_>, before: &(Cursor, Facts)) -> bool {
    let is_recent = elapsed(cx.job.last_update, cx.now()) < cx.services.policy.poll_interval;
    let is_session_saved = cx.bmc.session().link().is_none_or(|link| cx.job.facts.session == Some(link));
    !cx.is_saved && is_recent && is_session_saved && cx.job.known() == *before
}

fn is_stuck(cx: &Context<'_>) -> bool {
    let since = cx.job.cursor.driven_since;
    since.is_some_and(|at| elapsed(at, cx.now()) > cx.services.policy.stuck_timeout)
}

/// The step is over: its end is written together with the cursor that follows.
async fn end_step(
    cx: &mut Context<'_>,
    status: EventStatus,
    message: String,
    detail: Value,
) -> Result<(), StoreError> {
    let event = ended(cx, Level::Info, status, message, detail);
    let phase = cx.job.cursor.phase;
    match plan::next(cx.path.forward(), phase, cx.job.cursor.step) {
        Some(step) => cx.job.cursor = Cursor::enter(phase, step, cx.now()),
        None => close(cx),
    }
    save_end(cx, event).await
}

/// The end event of a step, with its duration, which is measured too.
fn ended(cx: &Context<'_>, level: Level, status: EventStatus, message: String, detail: Value) -> NewEvent {
    let step = cx.job.cursor.step;
    let mut event = cx.event(step.name(), level, status, message, detail);
    let took = cx.job.cursor.entered_at.map_or(Duration::ZERO, |at| elapsed(at, event.time));
    event.duration_ms = u64::try_from(took.as_millis()).ok();
    metrics::histogram!("shoal_provisioner_provisioning_phase_duration_seconds", "phase" => step.name())
        .record(took.as_secs_f64());
    tracing::info!(
        job = %cx.job.id, server = %cx.job.server, step = step.name(), attempt = event.attempt,
        status = status.name(), outcome = event.message, "step ended"
    );
    event
}

/// The cleanup is over.
fn close(cx: &mut Context<'_>) {
    cx.job.cursor.phase = Phase::Done;
    cx.job.cursor.intent = None;
    cx.job.finished_at = Some(cx.now());
}

async fn go_back(cx: &mut Context<'_>, to: Step, code: FailureCode, why: String) -> Result<(), StoreError> {
    if cx.job.facts.reset.rewinds >= REWINDS_MAX {
        return give_up(cx, code, format!("{why}, for the {REWINDS_MAX}th time")).await;
    }
    cx.job.facts.reset.rewinds += 1;
    let message = format!("{why}: back to {to}");
    let event = ended(cx, Level::Warning, EventStatus::Retrying, message, json!({ "back_to": to.name() }));
    cx.job.cursor = Cursor::enter(Phase::Forward, to, cx.now());
    save_end(cx, event).await
}

/// A failed try: another after a pause, while the retry budget lasts and a retry can help.
async fn fail(cx: &mut Context<'_>, failure: Failure) -> Result<(), StoreError> {
    let now = cx.now();
    let since = *cx.job.cursor.failing_since.get_or_insert(now);
    let step = cx.job.cursor.step;
    let sentence = failure.sentence();
    let may_pass = failure.retry || failure.redfish_error().is_some_and(|error| cx.may_pass(error));
    if !may_pass || elapsed(since, now) >= policy::retry_budget(step) {
        return give_up(cx, failure.code, sentence).await;
    }
    // The BMC's Retry-After is a lower bound of the pause.
    let asked = failure.retry_after().unwrap_or_default().min(policy::RETRY_AFTER_MAX);
    let pause = cx.services.world.rng.jitter(policy::retry_delay(elapsed(since, now))).max(asked);
    let event = cx.event(step.name(), Level::Warning, EventStatus::Retrying, sentence, Value::Null);
    cx.job.cursor.attempt += 1;
    cx.job.cursor.wake_at = shoal_base::world::after(now, pause);
    cx.save(vec![event]).await
}

/// The step has failed for good. Forward, that is the verdict; in the cleanup it is one more thing
/// that is left to an operator.
async fn give_up(cx: &mut Context<'_>, code: FailureCode, sentence: String) -> Result<(), StoreError> {
    let step = cx.job.cursor.step;
    let detail = json!({ "failure_code": code });
    let event = ended(cx, Level::Error, EventStatus::Failed, sentence.clone(), detail);
    if cx.job.cursor.phase == Phase::Forward {
        let verdict = Verdict { outcome: Outcome::Failed, confidence: None, evidence: vec![] };
        return conclude(cx, verdict, Some((step, code)), Some(sentence), event).await;
    }
    cx.job.facts.cleanup.left.push(format!("{step}: {sentence}"));
    match plan::next(cx.path.forward(), Phase::Cleanup, step) {
        Some(next) => cx.job.cursor = Cursor::enter(Phase::Cleanup, next, cx.now()),
        None => close(cx),
    }
    save_end(cx, event).await
}

async fn decide(cx: &mut Context<'_>, decision: Decision) -> Result<(), StoreError> {
    match decision {
        Decision::Succeeded { confidence, evidence } => {
            let verdict = Verdict { outcome: Outcome::Succeeded, confidence: Some(confidence), evidence };
            let detail = json!({ "confidence": verdict.confidence, "evidence": verdict.evidence });
            let message = format!("the installation succeeded, {}", confidence.name());
            let event = ended(cx, Level::Info, EventStatus::Succeeded, message, detail);
            conclude(cx, verdict, None, None, event).await
        }
        Decision::Failed { code, reason } => give_up(cx, code, reason).await,
    }
}

async fn decide_cancelled(cx: &mut Context<'_>) -> Result<(), StoreError> {
    let verdict = Verdict { outcome: Outcome::Cancelled, confidence: None, evidence: vec![] };
    let step = cx.job.cursor.step;
    let reason = format!("cancelled by an operator during {step}");
    let event = ended(cx, Level::Warning, EventStatus::Failed, reason.clone(), json!(cx.job.cancel));
    conclude(cx, verdict, None, Some(reason), event).await
}

/// Writes the verdict, once, and turns to the cleanup.
async fn conclude(
    cx: &mut Context<'_>,
    verdict: Verdict,
    failure: Option<(Step, FailureCode)>,
    reason: Option<String>,
    event: NewEvent,
) -> Result<(), StoreError> {
    cx.job.status = match verdict.outcome {
        Outcome::Succeeded => Status::Succeeded,
        Outcome::Failed => Status::Failed,
        Outcome::Cancelled => Status::Cancelled,
    };
    metrics::counter!(
        "shoal_provisioner_jobs_total",
        "task_target" => cx.job.task_target.clone(),
        "outcome" => cx.job.status.name(),
        "confidence" => verdict.confidence.map_or("none", Confidence::name)
    )
    .increment(1);
    cx.job.verdict = Some(verdict);
    cx.job.failed_step = failure.map(|(step, _)| step);
    cx.job.failure_code = failure.map(|(_, code)| code);
    cx.job.reason = reason;
    cx.job.cursor = Cursor::enter(Phase::Cleanup, plan::CLEANUP_START, cx.now());
    save_end(cx, event).await?;
    if let Some((step, code)) = failure {
        let labels = [("failed_step", step.name()), ("code", code.name())];
        metrics::counter!("shoal_provisioner_job_failures_total", &labels).increment(1);
    }
    log_outcome(cx.job);
    Ok(())
}

/// A failure is a warning: operators filter the log by level.
fn log_outcome(job: &Job) {
    let (id, server, outcome) = (&job.id, &job.server, job.status.name());
    let failed_step = job.failed_step.map(Step::name);
    let code = job.failure_code.map(FailureCode::name);
    let reason = job.reason.as_deref();
    let confidence = job.verdict.as_ref().and_then(|verdict| verdict.confidence).map(Confidence::name);
    match job.status {
        Status::Failed => {
            tracing::warn!(job = %id, server = %server, outcome, failed_step, code, reason, "job failed");
        }
        _ => tracing::info!(job = %id, server = %server, outcome, confidence, reason, "job decided"),
    }
}

/// Removes what the job published and wrote: its kickstart holds passwords.
fn finish(services: &Services, job: &Job) {
    let (outcome, left) = (job.status.name(), job.facts.cleanup.left.join("; "));
    match left.is_empty() {
        true => tracing::info!(job = %job.id, server = %job.server, outcome, cleanup = "done", "job over"),
        false => {
            tracing::warn!(job = %job.id, server = %job.server, outcome, cleanup = "partial", left, "job over")
        }
    }
    services.media.retire(job.id);
    task_iso::remove(services, job);
}
