//! Claims due jobs and drives each in a task of its own; knows no step.
//!
//! One job a server (the store sees to it), at most `workers` jobs in parallel, a lease on each that is
//! renewed while it is driven. One turn of the loop:
//!
//! 1. pass new cancels on to the jobs that are driven here;
//! 2. claim due jobs for the free workers, and start each behind a new fence;
//! 3. renew all leases, at a third of their time;
//! 4. sleep until a job ends, jobs change in the store, a job is due, or a renewal is.
//!
//! How a job leaves the engine:
//!
//! | the worker | the lease | next |
//! |---|---|---|
//! | has done the job | ends with the job | nothing: a job that is over is never claimed |
//! | stopped for a shutdown | released | due to the next controller immediately |
//! | cannot write to the store, or panicked | expires | claimed again after the rest of the lease |
//! | was cut off by its fence (no renewal, or another owner) | expired or taken | the same; its request in flight is dropped |
//!
//! A crash is the third row for every job, but that the next start on the same database need not wait: its lock
//! proves that no other controller runs. No request leaves after its lease, so the next owner of a job may act
//! when it claims it; it looks first.
//!
//! Invariants: a job is driven only behind the [`fence`] of a live lease,
//! so that a worker that lost it, or cannot renew it, sends no further request; a shutdown leaves every job
//! where another controller, or this one, can take it up.

mod fence;
pub mod followed_media;
mod housekeeping;
mod retention;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use shoal_base::with_causes;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::{Cancel, EventStatus, FailureCode, Job, JobId, JobSpec, Level, NewEvent, Serial, Step};
use crate::flow::{DriveSignals, Ended, Services, StepError};
use crate::paths;
use crate::store::{Lease, StoreError};
use fence::{Fence, Moment};

pub use fence::LeaseTerms;
pub use housekeeping::Housekeeping;
pub use retention::Retention;

/// How many jobs run in parallel, and how leases are kept.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    pub workers: usize,
    pub lease: LeaseTerms,
    /// How long a shutdown waits for requests in flight.
    pub drain_timeout: Duration,
}

/// The engine of one controller.
pub struct Engine {
    services: Arc<Services>,
    settings: EngineSettings,
    /// Names this controller in leases.
    owner: String,
}

/// `None`: the fence closed.
type DriveResult = (Lease, Option<Result<Ended, StoreError>>);

/// The jobs that this engine drives now.
#[derive(Default)]
struct Driven {
    jobs: BTreeMap<JobId, JobHandle>,
    tasks: JoinSet<DriveResult>,
}

/// What is held of one driven job.
struct JobHandle {
    lease: Lease,
    fence: Fence,
    cancel: watch::Sender<Option<Cancel>>,
    task: AbortHandle,
}

impl JobHandle {
    /// Another controller holds the lease: this worker takes no further step.
    fn abort(&self) {
        self.fence.close();
        self.task.abort();
    }
}

impl Engine {
    pub fn new(services: Arc<Services>, settings: EngineSettings, owner: String) -> Engine {
        Engine { services, settings, owner }
    }

    /// Drives jobs until `shutdown`; then stops them in an orderly way.
    pub async fn run(&self, shutdown: CancellationToken) {
        let stop = CancellationToken::new();
        let mut driven = Driven::default();
        let changed = self.services.store.jobs_changed();
        let mut renew_at = Instant::now() + self.settings.lease.heartbeat();
        loop {
            let notified = changed.notified();
            tokio::pin!(notified);
            // Before the store is read: a change after that read ends the sleep, so none is missed.
            notified.as_mut().enable();
            self.pass_on_cancels(&driven).await;
            let idle = self.claim(&mut driven, &stop).await;
            if Instant::now() >= renew_at {
                self.renew(&mut driven).await;
                renew_at = Instant::now() + self.settings.lease.heartbeat();
            }
            tokio::select! {
                // A shutdown is not delayed by jobs that end.
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = driven.tasks.join_next_with_id(), if !driven.tasks.is_empty() => {
                    self.forget(&mut driven, ended).await;
                }
                () = &mut notified => {}
                () = tokio::time::sleep_until(renew_at.min(Instant::now() + idle)) => {}
            }
        }
        self.drain(driven, stop).await;
    }

    /// Claims what is due and starts it; gives how long nothing more will be due.
    async fn claim(&self, driven: &mut Driven, stop: &CancellationToken) -> Duration {
        const UNKNOWN: Duration = Duration::from_secs(5);
        // The lease counts from before the request, so that the fence closes before the lease does, however long
        // the store takes.
        let asked = Moment::now(&self.services.world.clock);
        let now = asked.wall();
        let room = self.settings.workers.saturating_sub(driven.jobs.len());
        if room == 0 {
            return UNKNOWN;
        }
        match self.services.store.claim(&self.owner, now, self.settings.lease.ttl, room).await {
            Ok(claimed) => {
                for (lease, job) in claimed {
                    let fence = Fence::new(self.services.world.clock.clone(), self.settings.lease, asked);
                    self.start(driven, stop, lease, fence, job);
                }
            }
            Err(error) => {
                tracing::error!(error = %with_causes(&error), "due jobs could not be claimed");
                return UNKNOWN;
            }
        }
        let next = self.services.store.next_wake(now).await;
        if let Ok(wake) = &next {
            self.services.world.clock.set_idle(wake.is_none() && driven.jobs.is_empty());
        }
        match next {
            Ok(Some(wake)) => shoal_base::world::elapsed(now, wake).clamp(Duration::from_millis(1), UNKNOWN),
            _ => UNKNOWN,
        }
    }

    fn start(&self, driven: &mut Driven, stop: &CancellationToken, lease: Lease, fence: Fence, job: Job) {
        let (id, services) = (job.id, self.services.clone());
        let (cancel, orders) = watch::channel(job.cancel);
        let orders = DriveSignals { stop: stop.clone(), cancel: orders };
        tracing::info!(job = %id, server = %job.server, step = job.cursor.step.name(), "job taken up");
        // In memory of its own: a guard holds what it is given twice.
        let work = fence.guard(Box::pin(async move { paths::drive(&services, lease, job, orders).await }));
        let task = driven.tasks.spawn(async move { (lease, work.await) });
        if let Some(earlier) = driven.jobs.insert(id, JobHandle { lease, fence, cancel, task }) {
            // Our own earlier lease had expired; the worker that still runs under it must stop as well.
            earlier.abort();
        }
    }

    /// Cancels are in the store, by whichever controller they came. Only a change wakes a job.
    async fn pass_on_cancels(&self, driven: &Driven) {
        if driven.jobs.is_empty() {
            return;
        }
        match self.services.store.pending_cancels().await {
            Ok(cancels) => {
                for (id, cancel) in cancels {
                    if let Some(handle) = driven.jobs.get(&id) {
                        handle.cancel.send_if_modified(|known| known.replace(cancel) != Some(cancel));
                    }
                }
            }
            Err(error) => tracing::error!(error = %with_causes(&error), "cancel requests could not be read"),
        }
    }

    /// Renews all leases; a job whose lease is gone belongs to another controller.
    async fn renew(&self, driven: &mut Driven) {
        let leases: Vec<Lease> = driven.jobs.values().map(|handle| handle.lease).collect();
        let asked = Moment::now(&self.services.world.clock);
        match self.services.store.renew(&self.owner, &leases, asked.wall(), self.settings.lease.ttl).await {
            Ok(held) => driven.jobs.retain(|id, handle| {
                let keeps = held.contains(&handle.lease);
                if keeps {
                    handle.fence.extend(asked);
                } else {
                    tracing::warn!(job = %id, "the lease on a job was lost: it is left alone");
                    handle.abort();
                }
                keeps
            }),
            Err(error) => {
                tracing::error!(error = %with_causes(&error), "leases could not be renewed: jobs stop before theirs run out");
            }
        }
    }

    /// Takes an ended task off the list. A task that was replaced by a later one of the same job has no say in it.
    async fn forget(&self, driven: &mut Driven, ended: Result<(tokio::task::Id, DriveResult), JoinError>) {
        let (lease, result) = match ended {
            Ok((_, ended)) => ended,
            Err(error) => {
                if !error.is_cancelled() {
                    tracing::error!(%error, "a job's task broke: the job is taken up again when its lease ends");
                }
                driven.jobs.retain(|_, handle| handle.task.id() != error.id());
                return;
            }
        };
        let id = lease.job;
        if driven.jobs.get(&id).is_none_or(|handle| handle.lease != lease) {
            return;
        }
        driven.jobs.remove(&id);
        match result {
            Some(Ok(Ended::Done)) => {}
            Some(Ok(Ended::Stopped)) => self.release(&lease).await,
            Some(Err(error)) => {
                tracing::error!(job = %id, error = %with_causes(&error), "the job's records could not be written")
            }
            None => {
                tracing::warn!(job = %id, "the lease on a job could not be renewed in time: it is left alone")
            }
        }
    }

    async fn release(&self, lease: &Lease) {
        if let Err(error) = self.services.store.release(lease).await {
            tracing::warn!(job = %lease.job, error = %with_causes(&error), "a lease could not be released; it will run out");
        }
    }

    /// Lets requests in flight end, under leases that are still renewed, then stops what still runs.
    async fn drain(&self, mut driven: Driven, stop: CancellationToken) {
        stop.cancel();
        let deadline = Instant::now() + self.settings.drain_timeout;
        let mut renew_at = Instant::now();
        while !driven.tasks.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = driven.tasks.join_next_with_id() => self.forget(&mut driven, ended).await,
                () = tokio::time::sleep_until(deadline) => {
                    tracing::warn!(
                        jobs = driven.jobs.len(),
                        "requests are still in flight: stopping all the same"
                    );
                    driven.tasks.shutdown().await;
                }
                () = tokio::time::sleep_until(renew_at) => {
                    self.renew(&mut driven).await;
                    renew_at = Instant::now() + self.settings.lease.heartbeat();
                }
            }
        }
        // Those that were cut off: their intents are saved, so the next owner need not wait for the lease.
        for handle in driven.jobs.values() {
            self.release(&handle.lease).await;
        }
        self.services.bmcs.close_all().await;
    }

    /// What this controller does beside its jobs.
    pub fn housekeeping(&self, retention: Retention) -> Housekeeping {
        Housekeeping::new(self.services.clone(), retention)
    }

    /// Runs the checks of a job up to `resolve-server`, changing nothing.
    pub fn dry_runner(&self) -> DryRunner {
        let services = self.services.clone();
        Arc::new(move |serial, spec| {
            let services = services.clone();
            async move { dry_run(&services, &serial, &spec).await }.boxed()
        })
    }
}

/// Checks a job for a server without making one.
pub type DryRunner = Arc<dyn Fn(Serial, JobSpec) -> BoxFuture<'static, DryRunReport> + Send + Sync>;

/// What a dry run found.
#[derive(Clone, Debug)]
pub struct DryRunReport {
    pub ok: bool,
    pub failed_step: Option<Step>,
    pub failure_code: Option<FailureCode>,
    pub reason: Option<String>,
    pub events: Vec<NewEvent>,
}

async fn dry_run(services: &Services, serial: &Serial, spec: &JobSpec) -> DryRunReport {
    let (ok, failure_code, message, detail) = match paths::dry_run(services, serial, spec).await {
        Ok(resolved) => (true, None, resolved.message(), resolved.detail()),
        Err(StepError::Failed(failure)) => {
            let code = failure.code;
            (false, Some(code), failure.sentence(), json!({ "failure_code": code }))
        }
        Err(StepError::Store(error)) => (false, None, with_causes(&error), serde_json::Value::Null),
    };
    let event = NewEvent {
        time: services.world.clock.now(),
        level: if ok { Level::Info } else { Level::Error },
        step: Step::ResolveServer,
        op: Step::ResolveServer.name().to_owned(),
        status: if ok { EventStatus::Succeeded } else { EventStatus::Failed },
        attempt: 1,
        duration_ms: None,
        message: message.clone(),
        detail,
    };
    DryRunReport {
        ok,
        failed_step: (!ok).then_some(Step::ResolveServer),
        failure_code,
        reason: (!ok).then_some(message),
        events: vec![event],
    }
}
