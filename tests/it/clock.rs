//! A machine whose clock is set ahead in the middle of a job, by minutes, hours or days, once or again and again:
//! an installation goes on, and no deadline comes nearer by it. (A clock that is set back is `world::Clock`'s matter.)

use std::time::Duration;

use serde_json::json;
use shoal::domain::{Cancel, Job, JobId, Phase, Status, Step};
use shoal_sim::{SimConfig, Timings};

use crate::site::{Site, machine};

const HOUR: Duration = Duration::from_secs(3600);

/// A host that is installed, which takes nearly all of its time.
async fn installing() -> (Site, JobId) {
    let timings = Timings { install: Duration::from_secs(80 * 60), ..Timings::default() };
    let mut site = Site::new(1, vec![SimConfig { timings, ..machine(vec![]) }]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.facts.esxi().progress.ks_read).await;
    (site, id)
}

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
async fn a_clock_is_set_ahead_during_the_installation(offsets: std::ops::Range<u64>) {
    for offset in offsets {
        let timings = Timings { install: Duration::from_secs(3000), ..Timings::default() };
        let mut site = Site::new(1, vec![SimConfig { timings, ..machine(vec![]) }]).await;
        site.policy.poll_interval = Duration::from_secs(1);
        site.start();
        let id = site.submit(0, json!({})).await;
        site.until(id, |job| job.facts.esxi().progress.ks_read).await;
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

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_ahead_during_the_installation_ends_no_timeout() {
    a_clock_is_set_ahead_during_the_installation(0..4).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_ahead_a_second_later_ends_no_timeout() {
    a_clock_is_set_ahead_during_the_installation(4..8).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_ahead_two_seconds_later_ends_no_timeout() {
    a_clock_is_set_ahead_during_the_installation(8..12).await;
}

/// The clock is set ahead by an hour four times.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_ahead_again_and_again_cuts_no_installation_short() {
    for offset in 0..12 {
        let (site, id) = installing().await;
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(300 + offset)).await;
            site.world.clock.set_ahead(HOUR);
        }
        let job = site.settle(id).await;
        let (state, story) = (site.machines[0].state(), site.story(id).await);
        assert_eq!(job.status, Status::Succeeded, "{offset} {:?}\n{story}", job.reason);
        assert_eq!((state.installs, state.interrupted_installs), (1, 0), "{story}");
        assert!(!story.contains("taken up again"), "no lease runs out either\n{story}");
        assert_eq!(job.facts.esxi().watch.unobserved_ms, 0, "and no time is lost");
    }
}

/// A controller that starts again goes by the machine's clock, and nothing says how much of what lies between has passed.
#[tokio::test(start_paused = true)]
async fn restarts_after_the_clock_was_set_cost_no_installation_its_time() {
    let (mut site, id) = installing().await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(300)).await;
        site.world.clock.set_ahead(2 * HOUR);
        site.crash().await;
        site.start();
    }
    let job = site.settle(id).await;
    let story = site.story(id).await;
    assert_eq!((job.status, site.machines[0].state().installs), (Status::Succeeded, 1), "{story}");
    assert!(job.facts.esxi().watch.away_ms >= 8 * 3_600_000, "{story}");
    assert!(job.finished_at.unwrap() > site.world.clock.now() + 7 * HOUR, "times are the machine's again");
}

/// The job is cancelled while the host installs, and its media stay. The next controller cannot reach the BMC at first.
#[tokio::test(start_paused = true)]
async fn a_restart_after_the_clock_was_set_ejects_nothing_from_a_host_that_installs() {
    let (mut site, id) = installing().await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    site.until(id, |job| job.cursor.phase == Phase::Cleanup).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    site.crash().await;
    site.world.clock.set_ahead(2 * HOUR);
    site.network.cut_off("bmc0.test", true);
    site.start();
    tokio::time::sleep(Duration::from_secs(60)).await;
    site.network.cut_off("bmc0.test", false);
    site.settle(id).await;
    let (state, story) = (site.machines[0].state(), site.story(id).await);
    assert_eq!((state.installs, state.interrupted_installs), (1, 0), "{story}");
    assert!(state.media.values().all(|medium| !medium.inserted), "{story}");
}
