//! A system on the disk that reads the CDs of its drives, the kickstart included: it is no installer.

use std::time::Duration;

use serde_json::json;
use shoal::domain::{Confidence, Job, Status};
use shoal_sim::{Fault, SimConfig};

use crate::site::{Site, machine};

fn curious(sources: &str, mut faults: Vec<Fault>) -> SimConfig {
    faults.push(Fault::OldSystemReadsMedia);
    let mut config = SimConfig { power_on: true, ..machine(faults) };
    config.persona.sources = sources.parse().unwrap();
    config
}

const SOURCES: [&str; 3] = ["none", "last-reset-time", "boot-progress"];

/// Its reads, before and after the reset, are taken for no start of the host.
#[tokio::test(start_paused = true)]
async fn a_host_whose_old_system_reads_the_kickstart_is_installed_all_the_same() {
    for sources in SOURCES {
        let mut site = Site::new(1, vec![curious(sources, vec![])]).await;
        site.start();
        let id = site.submit(0, json!({})).await;
        let job = site.settle(id).await;
        let (state, story) = (site.machines[0].state(), site.story(id).await);
        let starts = job.facts.reset.starts;
        assert_eq!((job.status, state.installs, starts), (Status::Succeeded, 1, 1), "{sources}\n{story}");
        assert!(!story.contains("reset.adopt"), "{story}");
    }
}

/// The host ignores the one-time boot; then an operator restarts its old system.
async fn restarted(config: SimConfig) -> (Site, Job) {
    let mut site = Site::new(1, vec![config]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.facts.reset.started_at.is_some()).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(200)).await;
        site.machines[0].press_reset();
    }
    let job = site.settle(id).await;
    assert_eq!(site.machines[0].state().installs, 0);
    (site, job)
}

#[tokio::test(start_paused = true)]
async fn an_old_system_that_reads_the_kickstart_and_restarts_has_not_been_installed() {
    for sources in SOURCES {
        let (site, job) = restarted(curious(sources, vec![Fault::OverrideIgnored])).await;
        let story = site.story(job.id).await;
        assert_eq!(job.status, Status::Failed, "{sources}\n{story}");
        assert!(job.reason.unwrap().contains("the kickstart was not read"), "{story}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_system_on_a_bmc_that_copies_its_media_is_never_proven() {
    for sources in SOURCES {
        let faults = vec![Fault::OverrideIgnored, Fault::Prefetch];
        let (site, job) = restarted(curious(sources, faults)).await;
        let confidence = job.verdict.as_ref().unwrap().confidence;
        assert_ne!(confidence, Some(Confidence::Proven), "{sources}\n{}", site.story(job.id).await);
    }
}
