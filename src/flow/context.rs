//! What a step has in its hands: the job, its server, the BMC, and the pen that writes both down.
//!
//! It makes no decision. Invariant: every write carries the job's lease, so that a worker which
//! lost it can write nothing, and an act whose intent could not be written is not done.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::failure_code::code_of;
use super::{Path, Services, StepError, StepOutcome, policy};
use crate::domain::{
    Act, EventStatus, FailureCode, Intent, Job, JobSpec, Level, NewEvent, Phase, Server, SystemFacts,
};
use crate::store::{Lease, StoreError};
use shoal_base::UrlSecrets;
use shoal_base::world::{after, elapsed};
use shoal_redfish::{Bmc, ErrorClass, ReadAge, RedfishError, Slot, System};

/// Requests for a shutdown without an answer after which it counts as requested.
const SHUTDOWN_TRIES: u32 = 3;

/// A step at work on one job.
pub struct Context<'a> {
    pub services: &'a Services,
    pub path: &'static dyn Path,
    pub lease: &'a Lease,
    pub server: &'a Server,
    pub bmc: &'a Bmc,
    pub job: &'a mut Job,
    /// The job was saved since the step was called.
    pub is_saved: bool,
}

impl Context<'_> {
    pub fn now(&self) -> Timestamp {
        self.services.world.clock.now()
    }

    /// The job as it is meant. Only a refused recipe has none, and its job is never driven.
    pub fn spec(&self) -> Result<&JobSpec, StepError> {
        self.job.spec.as_ref().ok_or_else(|| StepError::internal("the job's recipe was refused"))
    }

    /// `@odata.id` of the job's system, once it has been found.
    pub fn system_link(&self) -> Result<String, StepError> {
        let system = self.job.facts.system.as_ref();
        let link = system.map(|system| system.link.clone());
        link.ok_or_else(|| StepError::internal("the job's system was never found on its BMC"))
    }

    /// Whether another try may succeed where the BMC answered with `error`. What has worked in this job may
    /// work again; and a cleanup is tried until its retry budget is used up, whatever the BMC answers.
    pub fn may_pass(&self, error: &RedfishError) -> bool {
        let has_worked = self.job.facts.system.is_some();
        let is_cleanup = self.job.cursor.phase == Phase::Cleanup;
        is_cleanup || error.class() == ErrorClass::Retry || (has_worked && error.may_pass_once_seen())
    }

    /// A failed request to the BMC, while doing what `message` says.
    pub fn bmc_error(&self, message: impl Into<String>, error: RedfishError) -> StepError {
        match self.may_pass(&error) {
            true => StepError::transient_from(code_of(&error), message, error),
            false => StepError::permanent_from(code_of(&error), message, error),
        }
    }

    /// One look at a slot, or what was just seen of it. Where its link leads nowhere, the collection is read again: a BMC that has
    /// restarted may show the same slot under another link.
    pub async fn observe_slot(&self, link: &str, age: ReadAge) -> Result<Slot, RedfishError> {
        let error = match self.bmc.observe_slot_of(link, age).await {
            Err(error) if error.is_not_found() => error,
            seen => return seen,
        };
        let Some(system) = &self.job.facts.system else { return Err(error) };
        let system = self.bmc.observe_system(&system.link).await?;
        let slots = self.bmc.observe_slots(&system).await?;
        let id = link.trim_end_matches('/').rsplit('/').next();
        let is_meant = |slot: &Slot| slot.link == link || Some(slot.id.as_str()) == id;
        slots.into_iter().find(is_meant).ok_or(error)
    }

    /// One look at the job's system, or what was just seen of it.
    pub async fn observe_system(&self) -> Result<System, StepError> {
        self.observe_system_of(ReadAge::JustRead).await
    }

    /// The same, from a reading that may be so old.
    pub async fn observe_system_of(&self, age: ReadAge) -> Result<System, StepError> {
        let link = self.system_link()?;
        let doing = || format!("looking at the system {link} of server {}", self.server.serial);
        let seen = self.bmc.observe_system_of(&link, age).await;
        seen.map_err(|error| StepError::bmc(doing(), error))
    }

    /// What a watched job waits for while its BMC gives no answer.
    pub fn unobserved(&self, error: &RedfishError) -> String {
        format!("the BMC {} cannot be observed: {error}", self.server.bmc_address)
    }

    /// Whether the next start of the host boots from the virtual CD with the installer.
    pub async fn boots_from_cd(&self, system: &System) -> Result<bool, StepError> {
        let doing = || format!("looking what server {} boots from", self.server.serial);
        let cd = self.job.facts.mounts.boot.slot.as_deref();
        self.bmc.observe_boot_from_cd(system, cd).await.map_err(|error| StepError::bmc(doing(), error))
    }

    /// How long ago that was, as far as this controller has driven the step: clocks are set between two of them.
    pub fn age(&self, at: Timestamp) -> Duration {
        elapsed(self.watched_since(at), self.now())
    }

    fn watched_since(&self, at: Timestamp) -> Timestamp {
        self.job.cursor.driven_since.map_or(at, |since| at.max(since))
    }

    /// The last act on the way to a fresh start, as old as this controller has seen it. A shutdown without an answer may
    /// never have reached the host: it does not count before it was requested [`SHUTDOWN_TRIES`] times, so that no host
    /// is forced off that was not asked first. One that did arrive is harmlessly requested again.
    pub(super) fn last_power_act(&self) -> Option<Intent> {
        let cursor = &self.job.cursor;
        let is_lost = |intent: &Intent| {
            let is_earlier = cursor.driven_since.is_some_and(|since| intent.at < since);
            let may_be_lost = is_earlier || intent.tries < SHUTDOWN_TRIES;
            intent.act == Act::GracefulShutdown && intent.receipt_at.is_none() && may_be_lost
        };
        let last = cursor.intent.clone().filter(|intent| !is_lost(intent))?;
        Some(Intent { at: self.watched_since(last.at), ..last })
    }

    /// Until the next look at what the last act leads to: the longer it takes, the longer the pause.
    pub(super) fn look_again(&self, why: impl Into<String>) -> StepOutcome {
        let cursor = &self.job.cursor;
        let since = cursor.intent.as_ref().map(|intent| intent.at).max(cursor.driven_since);
        let waiting = since.map_or(Duration::ZERO, |since| elapsed(since, self.now()));
        let pause = self.services.world.rng.jitter(policy::look_delay(waiting)).max(policy::LOOK_DELAY_MIN);
        StepOutcome::Wait { until: after(self.now(), pause), why: why.into() }
    }

    /// Writes down what is about to be done. Only when this has returned may it be done.
    pub async fn save_intent(&mut self, act: Act) -> Result<(), StepError> {
        let unanswered = self.job.cursor.intent.as_ref();
        let unanswered = unanswered.filter(|intent| intent.act == act && intent.receipt_at.is_none());
        let tries = 1 + unanswered.map_or(0, |intent| intent.tries);
        self.job.cursor.intent = Some(Intent { act, at: self.now(), receipt_at: None, tries });
        Ok(self.save(vec![]).await?)
    }

    /// Writes down that the BMC accepted the act, with an event that says so.
    pub async fn save_receipt(
        &mut self,
        op: &str,
        message: impl Into<String>,
        detail: Value,
    ) -> Result<(), StepError> {
        let now = self.now();
        if let Some(intent) = &mut self.job.cursor.intent {
            intent.receipt_at = Some(now);
        }
        self.report(op, message, detail).await
    }

    /// Writes an event from within the step, and all facts with it.
    pub async fn report(
        &mut self,
        op: &str,
        message: impl Into<String>,
        detail: Value,
    ) -> Result<(), StepError> {
        let event = self.event(op, Level::Info, EventStatus::Progress, message, detail);
        Ok(self.save(vec![event]).await?)
    }

    /// The same for what an operator should notice.
    pub async fn warn(
        &mut self,
        op: &str,
        message: impl Into<String>,
        detail: Value,
    ) -> Result<(), StepError> {
        let event = self.event(op, Level::Warning, EventStatus::Progress, message, detail);
        Ok(self.save(vec![event]).await?)
    }

    /// An event of this step.
    pub(super) fn event(
        &self,
        op: &str,
        level: Level,
        status: EventStatus,
        message: impl Into<String>,
        detail: Value,
    ) -> NewEvent {
        let cursor = &self.job.cursor;
        NewEvent {
            time: self.now(),
            level,
            step: cursor.step,
            op: op.to_owned(),
            status,
            attempt: cursor.attempt.max(1),
            duration_ms: None,
            message: message.into(),
            detail,
        }
    }

    /// Claims the host for the job: no other job can hold it while this one is active.
    pub async fn take_host(&mut self, system: SystemFacts) -> Result<(), StepError> {
        let before = self.job.facts.system.replace(system);
        self.job.last_update = self.now();
        self.is_saved = true;
        let Some(holder) = self.services.store.take_host(self.lease, self.job).await? else { return Ok(()) };
        self.job.facts.system = before;
        let serial = &self.server.serial;
        let why = format!("server {serial} cannot be installed now: {holder}");
        Err(StepError::permanent(FailureCode::HostBusy, why))
    }

    /// Saves the job as it stands, with `events`, in one transaction.
    pub(super) async fn save(&mut self, mut events: Vec<NewEvent>) -> Result<(), StoreError> {
        hide_secrets(&self.services.url_secrets(self.job.spec.as_ref()), self.job, &mut events);
        self.job.last_update = self.now();
        let path = self.path;
        self.job.facts.deadline = path.deadline(self);
        self.job.facts.session = self.bmc.session().link().or(self.job.facts.session.take());
        self.is_saved = true;
        self.services.store.save(self.lease, self.job, events).await
    }
}

/// What a BMC said may be in any text of a job, and may quote the URLs that it was given.
fn hide_secrets(secrets: &UrlSecrets, job: &mut Job, events: &mut [NewEvent]) {
    for event in events {
        event.message = secrets.hide(&event.message);
        secrets.hide_in(&mut event.detail);
    }
    let evidence = job.verdict.iter_mut().flat_map(|verdict| &mut verdict.evidence);
    let texts = evidence.map(|evidence| &mut evidence.detail);
    for text in texts.chain(&mut job.reason).chain(&mut job.facts.cleanup.left) {
        *text = secrets.hide(text);
    }
}
