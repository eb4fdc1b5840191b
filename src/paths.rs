//! The ways of installing a server, one folder each; `flow` holds what they share.

pub mod esxi;
pub mod maintenance;

use shoal_base::with_causes;

use crate::domain::{Job, JobId, JobSpec, Serial, TaskTarget};
use crate::flow::{self, DriveSignals, Ended, Path, Resolved, Services, StepError};
use crate::store::{Lease, StoreError};

/// The path that a recipe asks for.
pub fn of(target: TaskTarget) -> &'static dyn Path {
    match target {
        TaskTarget::InstallEsxi => &esxi::EsxiPath,
        TaskTarget::InstallLinux | TaskTarget::InstallWindows => &maintenance::MaintenancePath,
    }
}

/// Drives `job` until its cleanup is over, or until `signals` says stop.
pub fn drive(
    services: &Services,
    lease: Lease,
    job: Job,
    signals: DriveSignals,
) -> impl Future<Output = Result<Ended, StoreError>> {
    let target = job.spec.as_ref().map_or(TaskTarget::InstallEsxi, JobSpec::target);
    flow::drive(services, of(target), lease, job, signals)
}

/// Publishes the media of a job that another controller drives, as its record has them, or retires them where it is over.
pub async fn follow(services: &Services, id: JobId) {
    let published = async {
        let job = services.store.job(id).await?;
        let Some(job) = job.filter(Job::is_active) else {
            services.media.retire(id);
            return Ok(());
        };
        let Some(server) = services.store.server(&job.server).await? else { return Ok(()) };
        let target = job.spec.as_ref().map_or(TaskTarget::InstallEsxi, JobSpec::target);
        of(target).publish(services, &server, &job).await
    };
    let published: Result<(), StepError> = published.await;
    if let Err(error) = published {
        tracing::warn!(job = %id, error = %with_causes(&error), "the media of a job that another controller drives cannot be published here");
    }
}

/// All checks of a job up to `resolve-server`; nothing is changed, neither here nor on a BMC.
pub async fn dry_run(services: &Services, serial: &Serial, spec: &JobSpec) -> Result<Resolved, StepError> {
    flow::dry_run(services, of(spec.target()), serial, spec).await
}
