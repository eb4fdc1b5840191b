//! A machine whose clock is set ahead in the middle of a job, by minutes, hours or days: an installation goes on,
//! and no patience ends by it, since all leases have run out and the jobs are taken up anew. (A clock that is set back is `world::Clock`'s matter: nobody sees it go back.)

use std::time::Duration;

use serde_json::json;
use shoal::job::{Job, Status, Step};
use shoal::sim::{SimConfig, Timings};

use crate::site::{Site, machine};

const HOUR: Duration = Duration::from_secs(3600);

async fn jumped(step: Step, by: Duration) -> (Site, Job) {
    let timings = Timings { install: Duration::from_secs(600), ..Timings::default() };
    let mut site = Site::new(1, vec![SimConfig { timings, ..machine(vec![]) }]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.step >= step).await;
    site.world.clock.set_ahead(by);
    let job = site.settle(id).await;
    (site, job)
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_ahead_in_any_step_ends_no_job() {
    for by in [HOUR / 6, 3 * HOUR, 40 * HOUR] {
        for step in Step::ALL.into_iter().filter(|step| *step != Step::ValidateRecipe) {
            let (site, job) = jumped(step, by).await;
            let story = site.story(job.id).await;
            assert_eq!(job.status, Status::Succeeded, "{step} {by:?} {:?}\n{story}", job.reason);
            let state = site.machines[0].state();
            assert_eq!(
                (state.starts, state.installs, state.interrupted_installs),
                (1, 1, 0),
                "{step}\n{story}"
            );
            assert!(state.media.values().all(|medium| !medium.inserted), "{step} {state:?}");
        }
    }
}

/// Whether the engine's next look at its leases or the job's next look at its BMC comes first.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_ahead_during_the_installation_ends_no_patience() {
    for offset in 0..12 {
        let timings = Timings { install: Duration::from_secs(3000), ..Timings::default() };
        let mut site = Site::new(1, vec![SimConfig { timings, ..machine(vec![]) }]).await;
        site.policy.poll_interval = Duration::from_secs(1);
        site.start();
        let id = site.submit(0, json!({})).await;
        site.until(id, |job| job.facts.progress.ks_read).await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(300_000 + offset * 250)).await;
            site.world.clock.set_ahead(5 * HOUR);
        }
        let job = site.settle(id).await;
        let story = site.story(id).await;
        assert_eq!(job.status, Status::Succeeded, "{offset} {:?}\n{story}", job.reason);
        assert_eq!(site.machines[0].state().installs, 1, "{story}");
    }
}
