//! Keeps the media of other controllers' jobs ready, so that a BMC that is led here by an address that several share waits
//! for no download.
//!
//! What a BMC reads is looked at again by `media` while it is read. Invariant: it writes nothing but pictures of the reads, and
//! drives nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shoal_base::with_causes;
use tokio_util::sync::CancellationToken;

use crate::domain::JobId;
use crate::flow::Services;
use crate::paths;
use crate::store::StoreError;

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Serves the media of jobs that other controllers drive, from now on; without it a request for them is answered 404.
pub fn follow(services: &Arc<Services>) {
    let shared = Arc::downgrade(services);
    services.media.follow(Box::new(move |job| {
        let services = shared.upgrade();
        Box::pin(async move {
            if let Some(services) = services {
                paths::follow(&services, job).await;
            }
        })
    }));
}

/// Until `shutdown`.
pub async fn run(services: Arc<Services>, shutdown: CancellationToken) {
    let rounds = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(error) = look(&services).await {
                tracing::warn!(error = %with_causes(&error), "the jobs of other controllers cannot be read");
            }
        }
    };
    let _stopped = shutdown.run_until_cancelled(rounds).await;
}

/// Publishes what is not published here yet, and retires what is over.
async fn look(services: &Services) -> Result<(), StoreError> {
    let active: BTreeSet<JobId> = services.store.active_jobs().await?.into_iter().collect();
    for job in services.media.followed() {
        let is_over = !active.contains(&job);
        services.media.save_picture(job, is_over).await;
        if is_over {
            services.media.retire(job);
        }
    }
    for job in active {
        if services.media.is_unknown(job) {
            paths::follow(services, job).await;
        }
    }
    Ok(())
}
