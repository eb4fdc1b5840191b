//! Removes task ISOs whose jobs have been over for `TASK_ISO_RETENTION`.
//!
//! With a retention of zero the job's own end removes its task ISO, and this finds only what a crash
//! left. Invariant: a file is removed only if its name is that of a job that is over.

use std::path::PathBuf;
use std::time::Duration;

use crate::job::JobId;
use crate::store::Store;
use crate::world::{Clock, after};

const EVERY: Duration = Duration::from_secs(60);

pub struct Sweep {
    pub store: Store,
    pub clock: Clock,
    /// `TASK_ISO_DIR`.
    pub dir: PathBuf,
    pub retention: Duration,
}

impl Sweep {
    /// For ever.
    pub async fn run(self) {
        loop {
            self.once().await;
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn once(&self) {
        let dir = self.dir.clone();
        let listed = tokio::task::spawn_blocking(move || task_isos(&dir)).await;
        for (job, path) in listed.into_iter().flatten() {
            if self.is_due(job).await
                && let Err(error) = tokio::fs::remove_file(&path).await
            {
                tracing::warn!(%job, %error, "the task ISO of a job that is over cannot be removed");
            }
        }
    }

    async fn is_due(&self, job: JobId) -> bool {
        match self.store.job(job).await {
            Ok(Some(job)) => job.finished_at.is_some_and(|at| after(at, self.retention) <= self.clock.now()),
            _ => false,
        }
    }
}

/// The files that are named after a job.
fn task_isos(dir: &std::path::Path) -> Vec<(JobId, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let of_job = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let job = name.to_str()?.strip_suffix(".iso")?.parse().ok()?;
        Some((job, entry.path()))
    };
    entries.filter_map(of_job).collect()
}
