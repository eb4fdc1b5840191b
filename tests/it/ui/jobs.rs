//! The page of a job: an installation that has run, what it shows of it, and the acts on a job.

use serde_json::json;
use shoal::access::Role;
use shoal::domain::Status;

use super::Site;
use crate::api::{keep_token, share};
use crate::site;

/// A site whose API shows the store of an installation that has run.
async fn after_an_installation() -> (Site, String) {
    let mut installed = site::Site::new(1, vec![site::machine(Vec::new())]).await;
    installed.start();
    let id = installed.submit(0, json!({ "completion_hook": "poweroff" })).await;
    let job = installed.settle(id).await;
    assert_eq!(job.status, Status::Succeeded);
    let store = installed.store.clone();
    keep_token(&store, &installed.world, "first", Role::Admin, "first-admin");
    let site = Site::with(|parts| share(parts, store), |_| {});
    (site, id.to_string())
}

#[tokio::test(start_paused = true)]
async fn an_installation_is_shown_with_its_steps_its_reads_and_what_its_verdict_is_worth() {
    let (site, job) = after_an_installation().await;
    let mut viewer = site.signed_in("viewer").await;
    let page = viewer.get(&format!("/jobs/{job}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    for part in [
        "succeeded, proven",
        "Proven: the installer or the installed system itself reported.",
        "Report from the installer",
        "Watch the installation",
        "Eject CD1",
        "role=\"img\" aria-label=\"Timeline of",
        "role=\"img\" aria-label=\"CD1, the installer:",
        "the kickstart was read",
        "class=\"read-once\"",
        "class=\"extent\"",
    ] {
        page.shows(part);
    }
    page.hides("/retry");
    page.hides("data-live-after");
    page.hides("install --firstdisk");
    let reads = viewer.router.clone();
    drop(reads);
    let mut operator = site.signed_in("operator").await;
    let page = operator.get(&format!("/jobs/{job}/retry")).await;
    page.shows("what it installed is lost");
    page.shows("name=\"sure\"");
    let action = format!("/jobs/{job}/retry");
    let refused = operator.submit(&page, &action, &[]).await;
    assert_eq!(refused.status, 409, "a success is installed again only with the box ticked");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_cancelled_by_a_page_that_names_the_host_and_a_form_sent_twice_acts_once() {
    let site = Site::new();
    site.fixture.add_server("A1").await;
    let job = site.fixture.add_job("A1").await;
    let mut operator = site.signed_in("operator").await;
    let page = operator.get(&format!("/jobs/{job}")).await;
    page.shows("data-live-after");
    page.shows(&format!("href=\"/jobs/{job}/cancel\""));
    let cancel = format!("/jobs/{job}/cancel");
    let page = operator.get(&cancel).await;
    page.shows("<strong>A1</strong>");
    page.shows("https://10.0.0.5");
    let done = operator.submit(&page, &cancel, &[]).await;
    operator.follow(&done).await.shows("Cancel requested");
    site.fixture.end_job(Status::Cancelled, Vec::new()).await;
    assert_eq!(operator.submit(&page, &cancel, &[]).await.status, 409);

    let retry = format!("/jobs/{job}/retry");
    let page = operator.get(&retry).await;
    page.shows("The disks that the recipe of this job chooses are erased.");
    page.shows("<code>install --firstdisk --overwritevmfs</code>");
    let (first, second) =
        (operator.submit(&page, &retry, &[]).await, operator.submit(&page, &retry, &[]).await);
    assert_eq!(first.status, 303);
    assert_eq!(first.location(), second.location());
    operator.follow(&first).await.shows("A new job was created");
    let jobs = site.fixture.get("/api/v1/jobs").await.ok(200);
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_forced_end_needs_its_box_ticked_and_the_bmc_is_read_on_request() {
    let site = Site::new();
    site.fixture.add_server("A1").await;
    let job = site.fixture.add_job("A1").await;
    let mut operator = site.signed_in("operator").await;
    let force = format!("/jobs/{job}/force");
    let page = operator.get(&force).await;
    page.shows("An installation that is running is destroyed.");
    assert_eq!(operator.submit(&page, &force, &[]).await.status, 400);
    assert_eq!(operator.submit(&page, &force, &[("sure", "yes")]).await.status, 303);
    let audit = site.fixture.get("/api/v1/audit?action=job.cancel").await.ok(200);
    assert_eq!(audit["entries"][0]["detail"]["force"], true);
    let page = operator.get(&format!("/jobs/{job}")).await;
    let read = operator.submit(&page, &format!("/jobs/{job}/bmc"), &[]).await;
    read.shows("Boot override");
    read.shows("Nothing was changed.");
    for other in ["/jobs/nothing", "/jobs/0123456789abcdef0123456789abcdef", "/jobs/..%2F..%2Ftokens"] {
        assert_eq!(operator.get(other).await.status, 404, "{other}");
    }
}
