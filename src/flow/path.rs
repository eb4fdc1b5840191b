//! What a way of installing adds to the steps that all ways share.
//!
//! One implementation a folder under `paths`; nothing in `flow` knows which there are. Invariant: a path decides
//! what its media hold and when its installer is done or gone; what is requested of a BMC, and in which order, is
//! decided here, for all paths alike.

use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;

use super::{Context, Services, StepError};
use crate::domain::{
    BootSample, Confidence, Deadline, EjectReason, Evidence, FailureCode, Job, JobSpec, Server, Step, Verdict,
};
use shoal_redfish::System;

/// A path at work.
pub type Work<'a, T> = BoxFuture<'a, Result<T, StepError>>;

/// One way of installing a server.
pub trait Path: Sync {
    /// The steps up to the verdict, in their order.
    fn forward(&self) -> &'static [Step];

    /// Runs the step that the job's cursor is at, which is one that only this path has.
    fn ensure<'a>(&'a self, cx: &'a mut Context<'_>) -> Work<'a, StepOutcome>;

    /// Refuses a job for what needs no BMC to be seen.
    fn check<'a>(&'a self, services: &'a Services, server: &'a Server, spec: &'a JobSpec) -> Work<'a, ()>;

    /// Makes the job's media readable at their URLs, if they have been built; again whenever a controller takes the
    /// job up.
    fn publish<'a>(&'a self, services: &'a Services, server: &'a Server, job: &'a Job) -> Work<'a, ()>;

    /// The URL of the boot medium's own source, for a job whose BMC is given that.
    fn direct_url(&self, services: &Services, spec: &JobSpec) -> Result<String, StepError>;

    /// Refuses a boot override that this BMC has made a lasting one, where nothing would end it in time.
    fn check_override(&self, cx: &Context<'_>, system: &System) -> Result<(), StepError>;

    /// Before the first request that leads to a start of the host.
    fn before_start<'a>(&'a self, cx: &'a mut Context<'_>) -> Work<'a, ()>;

    /// The host was seen to have started; where `shown` is given, without a request, and this showed it.
    fn note_start(&self, cx: &mut Context<'_>, shown: Option<&BootSample>) -> Result<(), StepError>;

    /// So long after its start a host that is off may have been installed and gone off: that it is off is no sign any
    /// more that it never started.
    fn shortest_run(&self) -> Duration;

    /// Whether the host has reported to this job, which only what the job boots can do.
    fn has_reported<'a>(&'a self, cx: &'a Context<'_>) -> Work<'a, bool>;

    /// Whether the media of a host that was started may be ejected; `Err` is when to look again.
    fn may_eject<'a>(&'a self, cx: &'a mut Context<'_>) -> Work<'a, Result<EjectReason, StepOutcome>>;

    /// Whether a host that is on is to be reset, once the media are out after a success.
    fn wants_final_reset(&self, cx: &Context<'_>, verdict: &Verdict) -> bool;

    /// The next moment at which the job's wait for its host ends.
    fn deadline(&self, cx: &Context<'_>) -> Option<Deadline>;

    /// When the host was last asked to shut down, for its final reset; it is not asked again.
    fn shutdown_asked_at(&self, job: &Job) -> Option<Timestamp>;
}

/// What a step says when it has looked, acted at most once, and looked again.
#[derive(Debug)]
pub enum StepOutcome {
    /// It is as it should be.
    Done { message: String, detail: Value },
    /// There was nothing to do, because of this.
    Skipped { why: String },
    /// Not yet; look again at `until`.
    Wait { until: Timestamp, why: String },
    /// What an earlier step had brought about is gone: do that step again. The job fails with `code` if that happens
    /// again and again.
    Back { to: Step, why: String, code: FailureCode },
    /// The verdict, where the path itself reached one.
    Decided(Decision),
}

impl StepOutcome {
    pub fn done(message: impl Into<String>) -> StepOutcome {
        StepOutcome::Done { message: message.into(), detail: Value::Null }
    }
}

/// What became of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Succeeded { confidence: Confidence, evidence: Vec<Evidence> },
    Failed { code: FailureCode, reason: String },
}
