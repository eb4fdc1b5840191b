//! What has become of an installation by a maintenance system: facts in, a judgement out. Pure.
//!
//! | result | host | judgement |
//! |---|---|---|
//! | any, and a run began after it | any | failed; the media stay while that run may write |
//! | a failure | any | failed, in the reporter's words |
//! | a success, by the job's token or a read of the task medium | went off within [`OWN_OFF`] | succeeded, proven |
//! | a success, by the shared secret | went off | succeeded, probable |
//! | a success | still on after that | ask it to shut down, once; then succeeded, probable |
//! | by the shared secret, where an agent that has the job's token is known to run | any | none |
//! | none | went off before it read the recipe | failed |
//! | none | went off, and such an agent is known to have run | failed: as after a power cut |
//! | none | went off otherwise | succeeded, probable |
//! | none | on | wait, until a deadline has passed |
//!
//! An agent makes itself known by a read of the task medium when it starts, or by a report of progress with the job's
//! token. It never goes off without its result while that can still be delivered; a system of which nothing is known may
//! have no other way to report.
//!
//! The success of a maintenance system that powers its host off is on disk: it reports only once it has unmounted
//! everything. One that only reports may still hold file systems, so it is shut down in good order first.
//!
//! Invariant: no deadline and no grace counts time in which neither BMC nor report could be seen.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::FailureCode as Code;
use crate::domain::{
    Confidence, Deadline, DeadlineKind, Evidence, EvidenceKind, FailureCode, MaintenanceFacts, MediaMode,
    MediumReport, MediumTrace, Power, Reporter, TaskResult,
};
use crate::flow::Decision;
use shoal_base::world::{after, elapsed};
use shoal_recipe::FailedStep;

/// A maintenance system that powers its host off has done so by then.
pub const OWN_OFF: Duration = Duration::from_secs(180);
/// A reporter that knows only the shared secret may still be at its last act.
const SECRET_GRACE: Duration = Duration::from_secs(15);
/// What a system reports of its own end comes no later after its result.
const LAST_WORDS: Duration = Duration::from_secs(60);
/// A report that was sent before the power went may still be on its way.
const LATE_REPORT: Duration = Duration::from_secs(30);

/// What the judgement rests on.
pub struct Seen<'a> {
    pub facts: &'a MaintenanceFacts,
    pub started_at: Timestamp,
    /// Reads of CD1; empty where its BMC fetches it elsewhere.
    pub boot: &'a MediumTrace,
    /// Reads of the medium with the recipe.
    pub task: &'a MediumTrace,
    pub deadlines: Deadlines,
    pub now: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// `MAINTENANCE_TIMEOUT`.
    pub whole: Duration,
    /// `MAINTENANCE_BOOT_TIMEOUT`.
    pub boot: Duration,
    /// `RESET_GRACEFUL_TIMEOUT`.
    pub graceful: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskJudgement {
    Wait(&'static str),
    /// The result is a success, and the host is to be shut down in good order.
    ShutDown,
    /// The host was asked to start and never did.
    NeverStarted,
    Decided(Decision),
}

pub fn judge(seen: &Seen<'_>) -> TaskJudgement {
    match result(seen) {
        Some(result) if runs_again(seen, &result) => failed(
            Code::MaintenanceRanAgain,
            "the maintenance system reported its result and then began again: the host booted from the virtual CD once more, \
             and its disk may be incomplete; put the disk first in the boot order, and look at the console",
        ),
        Some(result) if result.succeeded => succeeded(seen, &result),
        Some(result) => failed(code_of_result(&result), result_sentence(&result)),
        None => unreported(seen),
    }
}

/// The result that counts: the reported one, else the one that the reads of the task medium show. The shared secret is not
/// that of an agent that has the job's token, so what is reported with it is another system's, or an earlier job's.
pub fn result(seen: &Seen<'_>) -> Option<TaskResult> {
    let reported = seen.facts.result.as_ref();
    let counts = |result: &&TaskResult| result.by != Reporter::SharedSecret || !is_agent(seen);
    reported.filter(counts).cloned().or_else(|| signal(seen.task))
}

/// Whether what runs has a token and signals of its own to report with.
fn is_agent(seen: &Seen<'_>) -> bool {
    let has_read = seen.task.mode == MediaMode::Streamed && seen.task.started_read_at.is_some();
    let progress = seen.facts.progress.as_ref();
    has_read || progress.is_some_and(|progress| progress.by == Reporter::Token)
}

/// Of the two signals one was read, after the recipe and by the host itself.
fn signal(task: &MediumTrace) -> Option<TaskResult> {
    let recipe_read_at = task.ks_read_at.filter(|_| task.mode == MediaMode::Streamed)?;
    let (report, at) = task.reported()?;
    let succeeded = report == MediumReport::Success;
    let detail = (!succeeded).then(|| {
        "it read the failure signal of its task medium; its report did not arrive: look at the host's console".to_owned()
    });
    (at >= recipe_read_at).then(|| TaskResult {
        at,
        succeeded,
        by: Reporter::Media,
        failed_step: None,
        detail,
        warnings: vec![],
        log: None,
        delivery_id: None,
    })
}

/// A run that began after the result: its writes would be cut short, and what it leaves is not what was reported.
pub fn runs_again(seen: &Seen<'_>, result: &TaskResult) -> bool {
    let is_read_again = seen.task.ks_read_again_at.is_some_and(|at| at > result.at);
    let progress = seen.facts.progress.as_ref().filter(|progress| !result.by.outranks(progress.by));
    let spoke_at = progress.map(|progress| progress.at);
    is_read_again || spoke_at.is_some_and(|at| at > after(result.at, LAST_WORDS))
}

fn succeeded(seen: &Seen<'_>, result: &TaskResult) -> TaskJudgement {
    let facts = seen.facts;
    let is_own = result.by != Reporter::SharedSecret;
    let off_at = off_since(seen);
    match (off_at, facts.shutdown_at) {
        (Some(off_at), None) => {
            let confidence = if is_own { Confidence::Proven } else { Confidence::Probable };
            success(confidence, vec![evidence(result), went_off(off_at)])
        }
        (Some(_), Some(_)) => success(Confidence::Probable, vec![evidence(result)]),
        (None, None) => {
            let grace = if is_own { OWN_OFF } else { SECRET_GRACE };
            match observed(result.at, seen) < grace {
                true => TaskJudgement::Wait("the result is a success: waiting for the host to go off"),
                false => TaskJudgement::ShutDown,
            }
        }
        (None, Some(asked_at)) if observed(asked_at, seen) < seen.deadlines.graceful => {
            match facts.shutdown_accepted {
                true => TaskJudgement::Wait("the host was asked to shut down"),
                false => TaskJudgement::ShutDown,
            }
        }
        (None, Some(_)) => success(Confidence::Probable, vec![evidence(result)]),
    }
}

fn unreported(seen: &Seen<'_>) -> TaskJudgement {
    let (facts, reads_show) = (seen.facts, shows_host(seen.task));
    if let Some(off_at) = off_since(seen) {
        if observed(off_at, seen) < LATE_REPORT {
            return TaskJudgement::Wait("the host is off: waiting for a report that is on its way");
        }
        let (is_read, has_spoken) = (seen.task.ks_read_at.is_some(), facts.progress.is_some());
        if reads_show && !is_read && !has_spoken {
            let reason = "the host went off before it read its recipe: look at its console";
            return failed(Code::HostOffBeforeRecipe, reason);
        }
        if is_agent(seen) {
            return failed(
                Code::HostOffWithoutResult,
                "the host went off without a result, as after a power cut: the system on its disk may be incomplete; \
                 look at its console",
            );
        }
        return success(Confidence::Probable, vec![went_off(off_at)]);
    }
    let is_off = matches!(facts.power, Some((Power::Off, _)));
    let nothing_read = seen.boot.first_read_at.is_none() && seen.task.first_read_at.is_none();
    let watched = watched(seen);
    if facts.on_at.is_none() && is_off && nothing_read && !has_begun(seen) && watched > OWN_OFF {
        return TaskJudgement::NeverStarted;
    }
    if watched > seen.deadlines.whole {
        let reason = "no result within MAINTENANCE_TIMEOUT: look at the host's console";
        return failed(Code::MaintenanceTimedOut, reason);
    }
    match watched > seen.deadlines.boot && !has_begun(seen) {
        true => not_booted(seen),
        false => TaskJudgement::Wait("waiting for the result of the maintenance system"),
    }
}

/// The recipe was not read in time, as far as reads can show that.
fn not_booted(seen: &Seen<'_>) -> TaskJudgement {
    if shows_host(seen.boot) && seen.boot.first_read_at.is_none() {
        return failed(
            Code::MaintenanceNotBooted,
            "the host never read the maintenance ISO within MAINTENANCE_BOOT_TIMEOUT: it has not booted from the virtual \
             CD; check its boot mode (UEFI or BIOS) and look at its console",
        );
    }
    match shows_host(seen.task) {
        true => failed(
            Code::TaskRecipeNotRead,
            "the maintenance system never read its recipe within MAINTENANCE_BOOT_TIMEOUT: it has not started, or has not \
             found the task medium; look at the host's console",
        ),
        false => TaskJudgement::Wait("waiting for the result of the maintenance system"),
    }
}

/// Nothing was seen of the system by the time at which this counts as a failure, and a read would have been seen.
pub fn never_began(seen: &Seen<'_>) -> bool {
    watched(seen) > seen.deadlines.boot && shows_host(seen.task) && !has_begun(seen)
}

/// The system read its recipe, or reported without: one that knows the shared secret alone need not read it.
fn has_begun(seen: &Seen<'_>) -> bool {
    seen.task.ks_read_at.is_some() || seen.facts.progress.is_some()
}

/// Since the start, but for the time in which neither BMC nor report could be seen.
fn watched(seen: &Seen<'_>) -> Duration {
    elapsed(seen.started_at, seen.now).saturating_sub(Duration::from_millis(seen.facts.unobserved_ms))
}

/// Since then, or since the last time that neither BMC nor report could be seen.
fn observed(since: Timestamp, seen: &Seen<'_>) -> Duration {
    elapsed(since.max(seen.facts.resumed_at.unwrap_or(since)), seen.now)
}

/// Reads of this medium, were there any, would be the host's.
fn shows_host(trace: &MediumTrace) -> bool {
    trace.total > 0 && trace.mode != MediaMode::Prefetched
}

/// Since when a host that had been seen on is off.
fn off_since(seen: &Seen<'_>) -> Option<Timestamp> {
    let ran = seen.facts.on_at.is_some() || has_begun(seen);
    match seen.facts.power {
        Some((Power::Off, since)) if ran => Some(since),
        _ => None,
    }
}

fn evidence(result: &TaskResult) -> Evidence {
    let (kind, detail) = match result.by {
        Reporter::Token => (EvidenceKind::TaskReport, "the maintenance system reported its success"),
        Reporter::SharedSecret => {
            (EvidenceKind::TaskReport, "a success was reported for this server with the shared secret")
        }
        Reporter::Media => {
            (EvidenceKind::MediaSignal, "the maintenance system read the success signal of its medium")
        }
    };
    Evidence { kind, at: result.at, detail: detail.to_owned() }
}

fn went_off(at: Timestamp) -> Evidence {
    Evidence { kind: EvidenceKind::PowerOff, at, detail: "the host went off unrequested".to_owned() }
}

fn success(confidence: Confidence, evidence: Vec<Evidence>) -> TaskJudgement {
    TaskJudgement::Decided(Decision::Succeeded { confidence, evidence })
}

fn failed(code: FailureCode, reason: impl Into<String>) -> TaskJudgement {
    TaskJudgement::Decided(Decision::Failed { code, reason: reason.into() })
}

/// By the step that the agent names; other systems name what they like.
fn code_of_result(result: &TaskResult) -> FailureCode {
    let name = result.failed_step.as_deref();
    match FailedStep::ALL.into_iter().find(|step| Some(step.name()) == name) {
        Some(FailedStep::Dispatcher) => Code::AgentDispatcherFailed,
        Some(FailedStep::Network) => Code::AgentNetworkFailed,
        Some(FailedStep::Disk) => Code::AgentDiskFailed,
        Some(FailedStep::Image) => Code::AgentImageFailed,
        Some(FailedStep::Write) => Code::AgentWriteFailed,
        Some(FailedStep::Verify) => Code::AgentVerifyFailed,
        Some(FailedStep::BootEntry) => Code::AgentBootEntryFailed,
        Some(FailedStep::Seed) => Code::AgentSeedFailed,
        None => Code::MaintenanceReportedFailure,
    }
}

fn result_sentence(result: &TaskResult) -> String {
    let step = result.failed_step.as_deref().unwrap_or("unknown");
    match &result.detail {
        Some(detail) => format!("the maintenance system failed at {step}: {detail}"),
        None => format!("the maintenance system failed at {step}"),
    }
}

/// The next moment at which the wait for the maintenance system ends.
pub fn next_deadline(seen: &Seen<'_>) -> Deadline {
    let by =
        |timeout: Duration| after(seen.started_at, timeout + Duration::from_millis(seen.facts.unobserved_ms));
    match shows_host(seen.task) && !has_begun(seen) {
        true => {
            Deadline { kind: DeadlineKind::RecipeRead, at: by(seen.deadlines.boot.min(seen.deadlines.whole)) }
        }
        false => Deadline { kind: DeadlineKind::Result, at: by(seen.deadlines.whole) },
    }
}

/// When a host that may still be installing cannot be any more.
pub fn last_moment(started_at: Timestamp, facts: &MaintenanceFacts, deadlines: Deadlines) -> Timestamp {
    after(started_at, deadlines.whole + Duration::from_millis(facts.unobserved_ms))
}

#[cfg(test)]
mod tests;
