//! The next deadline of a job, as operators see it while they wait.

use std::time::Duration;

use serde_json::json;
use shoal::domain::{Cancel, Deadline, DeadlineKind, Job, Step};
use shoal_base::world::after;
use shoal_sim::{Fault, SimConfig, Timings};

use crate::site::{Site, machine};

async fn site(faults: Vec<Fault>) -> Site {
    let timings =
        Timings { post: Duration::from_secs(60), install: Duration::from_secs(300), ..Timings::default() };
    let mut site = Site::new(1, vec![SimConfig { timings, ..machine(faults) }]).await;
    site.write_standin_maintenance();
    site.start();
    site
}

fn kind(job: &Job) -> Option<DeadlineKind> {
    job.facts.deadline.map(|deadline| deadline.kind)
}

#[tokio::test(start_paused = true)]
async fn an_esxi_job_names_its_next_deadline_and_then_until_when_its_media_stay() {
    let mut site = site(vec![Fault::GuestHangs]).await;
    let id = site.submit(0, json!({})).await;
    let job = site.until(id, |job| job.cursor.step == Step::Reset).await;
    assert_eq!(kind(&job), None);
    let job = site.until(id, |job| kind(job) == Some(DeadlineKind::InstallerRead)).await;
    let started_at = job.facts.reset.started_at.unwrap();
    let boot =
        Deadline { kind: DeadlineKind::InstallerRead, at: after(started_at, site.policy.boot_timeout) };
    assert_eq!(job.facts.deadline, Some(boot));
    let end = after(started_at, site.policy.install_timeout);
    let job = site.until(id, |job| kind(job) == Some(DeadlineKind::InstallationEnd)).await;
    assert!(job.facts.esxi().progress.ks_read);
    assert_eq!(job.facts.deadline.unwrap().at, end);
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    let job = site.until(id, |job| kind(job) == Some(DeadlineKind::MediaEject)).await;
    assert_eq!(job.facts.deadline.unwrap().at, end);
    let job = site.settle(id).await;
    assert_eq!(kind(&job), None);
    assert!(job.finished_at.unwrap() >= end);
}

#[tokio::test(start_paused = true)]
async fn a_linux_job_waits_for_its_recipe_to_be_read_and_then_for_its_result() {
    let mut site = site(vec![]).await;
    let id = site.submit_linux(0, json!({})).await;
    let job = site.until(id, |job| kind(job) == Some(DeadlineKind::RecipeRead)).await;
    let started_at = job.facts.reset.started_at.unwrap();
    assert_eq!(job.facts.deadline.unwrap().at, after(started_at, site.policy.maintenance_boot_timeout));
    let job = site.until(id, |job| kind(job) == Some(DeadlineKind::Result)).await;
    assert_eq!(job.facts.deadline.unwrap().at, after(started_at, site.policy.maintenance_timeout));
    let job = site.settle(id).await;
    assert_eq!(kind(&job), None);
    let mounted = site.story(id).await;
    assert!(
        mounted.contains("maintenance ISO mounted in slot") && !mounted.contains("installer mounted"),
        "{mounted}"
    );
}
