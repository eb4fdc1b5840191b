//! Media of jobs that another controller drives.
//!
//! Where several controllers share a database, each may be asked for any job's media: a path follows from the key and the
//! job. What a job's media hold follows from its record, so a controller that is asked for them publishes them itself,
//! and looks at the record again while it is asked. Invariants: the media of a job that this controller drives are
//! published by its driver alone; a job's record is looked at only for a request whose path is right.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use shoal_base::with_causes;
use strum::VariantArray as _;
use tokio::time::Instant;

use super::Media;
use crate::domain::{JobId, Medium};
use crate::store::StoreError;

/// How old what is known of another controller's job may be while its media are read here.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a request waits for a look: what is published here is served also while the database is away.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Publishes the media of a job as its record has them, or retires them where it is over.
pub type Follow = Box<dyn Fn(JobId) -> BoxFuture<'static, ()> + Send + Sync>;

#[derive(Default)]
pub struct Following {
    /// None where this controller has the database alone.
    follow: OnceLock<Follow>,
    jobs: Mutex<FollowedJobs>,
}

#[derive(Default)]
struct FollowedJobs {
    /// By workers here; more than one while an earlier one ends.
    driven: BTreeMap<JobId, u32>,
    looked_at: BTreeMap<JobId, Instant>,
}

/// This controller drives the job for as long as this lives.
pub struct DrivenMedia {
    media: Media,
    job: JobId,
}

impl Following {
    fn jobs(&self) -> MutexGuard<'_, FollowedJobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What looks at the record, for one of the requests that find it due.
    fn due_look(&self, job: JobId) -> Option<&Follow> {
        let follow = self.follow.get()?;
        let mut jobs = self.jobs();
        if !jobs.is_due(job) {
            return None;
        }
        jobs.looked_at.insert(job, Instant::now());
        Some(follow)
    }

    pub fn forget(&self, job: JobId) {
        self.jobs().looked_at.remove(&job);
    }
}

impl FollowedJobs {
    /// Whether the record has to be looked at before a request is answered.
    fn is_due(&self, job: JobId) -> bool {
        let is_fresh = self.looked_at.get(&job).is_some_and(|at| at.elapsed() < LOOK_EVERY);
        !self.driven.contains_key(&job) && !is_fresh
    }
}

impl Media {
    /// From now on the media of jobs that other controllers drive are served too.
    pub fn follow(&self, follow: Follow) {
        let _set_before = self.0.following.follow.set(follow);
    }

    /// To be held by the worker that drives the job.
    pub fn drive(&self, job: JobId) -> DrivenMedia {
        *self.0.following.jobs().driven.entry(job).or_default() += 1;
        DrivenMedia { media: self.clone(), job }
    }

    /// Whether another controller may have gone on with the job since its record was looked at here.
    pub(super) fn is_behind(&self, job: JobId) -> bool {
        self.0.following.follow.get().is_some() && self.0.following.jobs().is_due(job)
    }

    /// Publishes what another controller's job has by now, unless that was done a moment ago. The path that was asked
    /// for is one of the job's.
    pub(super) async fn catch_up(&self, job: JobId) {
        let Some(follow) = self.0.following.due_look(job) else { return };
        let look = async {
            follow(job).await;
            self.learn(job).await
        };
        let fault = match tokio::time::timeout(LOOK_MAX, look).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => with_causes(&error),
            Err(_) => format!("not within {} s", LOOK_MAX.as_secs()),
        };
        tracing::warn!(%job, fault, "what other controllers know of the job's media cannot be read");
    }

    /// Takes up what other controllers have seen of the reads of a job's media.
    pub async fn learn(&self, job: JobId) -> Result<(), StoreError> {
        let Some(job_media) = self.find(job).filter(|_| self.0.store.is_shared()) else { return Ok(()) };
        let mut saved = self.0.store.load_traces(job).await?;
        for &medium in Medium::VARIANTS {
            if let Some(saved) = saved.remove(medium.name()) {
                job_media.learn(medium, saved);
            }
        }
        Ok(())
    }

    /// Saves the picture of a job's reads, where there is more to see than in the saved one; `all` of it, where no
    /// further read is expected. It is worth no failure.
    pub async fn save_picture(&self, job: JobId, all: bool) {
        let Some(job_media) = self.find(job) else { return };
        if let Err(error) = job_media.save_picture(all).await {
            tracing::warn!(%job, error = %with_causes(&error), "the picture of the reads of a job's media could not be saved");
        }
    }

    /// Whether nothing of the job is published here, and no worker here is about to.
    pub fn is_unknown(&self, job: JobId) -> bool {
        self.find(job).is_none() && !self.0.following.jobs().driven.contains_key(&job)
    }

    /// The jobs whose media are served here and driven elsewhere.
    pub fn followed(&self) -> Vec<JobId> {
        let published: Vec<JobId> = self.jobs().of_jobs.keys().copied().collect();
        let jobs = self.0.following.jobs();
        published.into_iter().filter(|job| !jobs.driven.contains_key(job)).collect()
    }
}

impl Drop for DrivenMedia {
    fn drop(&mut self) {
        let mut jobs = self.media.0.following.jobs();
        if let Some(workers) = jobs.driven.get_mut(&self.job) {
            *workers -= 1;
            if *workers == 0 {
                jobs.driven.remove(&self.job);
            }
        }
    }
}
