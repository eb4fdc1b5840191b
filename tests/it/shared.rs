//! Several controllers of one database: what each does for the jobs of the others.
//!
//! Leases and fences are in `fence`. In memory, with a handle for each controller.

use std::time::Duration;

use serde_json::json;
use shoal::doctor::{CheckStatus, ProbePlace, Subject, Whose, check};
use shoal::domain::{Confidence, JobId, MediaMode, Status, Step};
use shoal_redfish::{Account, BmcPool, Limits};
use shoal_sim::Fault;

use crate::site::{CONTROLLER, Controller, Site, machine};

impl Site {
    /// A controller that drives no job, with a handle of its own on the store.
    fn bystander(&mut self) -> Controller {
        let workers = std::mem::take(&mut self.workers);
        let controller = self.beside("bystander");
        self.workers = workers;
        controller
    }

    fn beside(&self, name: &str) -> Controller {
        self.controller(name, self.store.second_handle(), self.world.transport.clone())
    }

    async fn proven(&self, id: JobId) {
        let (job, story) = (self.settle(id).await, self.story(id).await);
        assert_eq!(job.status, Status::Succeeded, "{story}");
        let confidence = job.verdict.as_ref().and_then(|verdict| verdict.confidence);
        assert_eq!(confidence, Some(Confidence::Proven), "{story}");
        assert!(!story.contains("Warning media"), "{story}");
        // It is started once to install and once from its disk.
        let state = self.machines[0].state();
        assert_eq!(
            (state.installs, state.interrupted_installs, state.starts),
            (1, 0, 2),
            "{state:?}\n{story}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_media_of_a_job_are_served_by_a_controller_that_does_not_drive_it() {
    let mut site = Site::new(5, vec![machine(vec![])]).await;
    let id = site.submit(0, json!({"completion_hook": "poweroff"})).await;
    let _driver = site.beside("driver");
    let server = site.bystander();
    site.serve_media_of(&server);
    site.proven(id).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(server.media.followed(), [], "media are gone with their job");
}

/// As with `ROLES=worker` and `ROLES=media`.
#[tokio::test(start_paused = true)]
async fn a_driver_that_serves_no_media_learns_what_was_read_of_them() {
    let mut site = Site::new(8, vec![machine(vec![])]).await;
    let id = site.submit(0, json!({"completion_hook": "poweroff"})).await;
    site.serves_media = false;
    let _driver = site.beside("driver");
    site.serves_media = true;
    let server = site.bystander();
    site.serve_media_of(&server);
    site.proven(id).await;
}

#[tokio::test(start_paused = true)]
async fn a_balancer_may_send_every_read_to_another_controller() {
    let mut site = Site::new(6, vec![machine(vec![])]).await;
    let id = site.submit(0, json!({"completion_hook": "poweroff"})).await;
    let driver = site.beside("driver");
    let (second, third) = (site.bystander(), site.bystander());
    site.serve_media_by_turns(&[&driver, &second, &third]);
    site.proven(id).await;
}

#[tokio::test(start_paused = true)]
async fn media_stay_while_their_jobs_move_to_another_controller() {
    let mut site = Site::new(7, vec![machine(vec![])]).await;
    let id = site.submit(0, json!({"completion_hook": "poweroff"})).await;
    let first = site.beside("first");
    let bystander = site.bystander();
    site.serve_media_of(&bystander);
    site.until(id, |job| job.cursor.step == Step::EsxiPollPower).await;
    let _second = site.beside("second");
    first.die().await;
    site.proven(id).await;
}

/// The doctor runs at one controller, and the address that BMCs are given leads to others by turns.
#[tokio::test(start_paused = true)]
async fn a_test_image_is_served_by_any_controller_and_its_reads_are_known_to_the_doctor() {
    let faults = vec![Fault::Prefetch];
    let mut site = Site::new(9, vec![machine(faults)]).await;
    let (doctor, second, third) = (site.bystander(), site.bystander(), site.bystander());
    site.serve_media_by_turns(&[&second, &third]);
    let server = site.store.servers().await.unwrap().remove(0);
    let limits = Limits { timeout: Duration::from_secs(30), ..Limits::default() };
    let bmc = BmcPool::new(site.world.clone(), limits).bmc(&Account {
        address: server.bmc_address.clone(),
        username: server.bmc_username.clone(),
        password: server.bmc_password.clone(),
        secrets: Default::default(),
        tls: server.tls.clone(),
    });
    let subject = Subject {
        bmc: &bmc,
        address: &server.bmc_address,
        tls: &server.tls,
        whose: Whose::Server(&server),
        layout: None,
        media_base: None,
        maintenance: None,
    };
    let base = format!("http://{CONTROLLER}").parse().unwrap();
    let place = ProbePlace { probes: doctor.media.probes(), base: Ok(base), may_touch: None };
    let report = check(&site.world, &subject, Some(place)).await;
    let probe = report.facts.probe.as_ref().unwrap();
    assert!(probe.restored && probe.requests > 0 && probe.errors == 0, "{probe:?}");
    let line = report.checks.iter().find(|check| check.name == "probe").unwrap();
    assert_eq!(line.status, CheckStatus::Ok, "{line:?}");
    assert!(line.found.contains("whole"), "{line:?}");
}

/// A BMC that copies its media at insert fetches each from one of them, or in parts from all.
#[tokio::test(start_paused = true)]
async fn a_driver_learns_of_copies_that_others_served() {
    let mut site = Site::new(10, vec![machine(vec![Fault::Prefetch])]).await;
    let id = site.submit(0, json!({"completion_hook": "poweroff"})).await;
    site.serves_media = false;
    let driver = site.beside("driver");
    site.serves_media = true;
    let (second, third) = (site.bystander(), site.bystander());
    site.serve_media_by_turns(&[&second, &third]);
    site.until(id, |job| job.cursor.step == Step::EsxiPollPower).await;
    let known = driver.media.trace(id);
    assert_eq!([known.installer.mode, known.kickstart.mode], [MediaMode::Prefetched; 2]);
    let (job, story) = (site.settle(id).await, site.story(id).await);
    assert_eq!(job.status, Status::Succeeded, "{story}");
    assert!(!story.contains("Warning media"), "{story}");
}
