//! `POST /api/v1/servers/{serial}/release`, on simulated BMCs that a job has left as they should not be left.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use shoal::access::Role;
use shoal::api::Access;
use shoal::domain::{Cancel, Phase, Server, Step};
use shoal::release::{Releaser, release};
use shoal_base::Password;
use shoal_base::world::TlsPolicy;
use shoal_redfish::{Account, BmcPool, Limits};
use shoal_sim::{Fault, SimConfig, Timings};

use super::{Fixture, TOKEN, keep_token, tokens};
use crate::site::{Site, machine, record};

const RELEASE: &str = "/api/v1/servers/SIM0001/release";

fn releaser(site: &Site) -> Releaser {
    let pool = BmcPool::new(site.world.clone(), Limits { retries: 2, ..Limits::default() });
    Arc::new(move |server, ask| {
        let bmc = pool.bmc(&Account {
            address: server.bmc_address.clone(),
            username: server.bmc_username.clone(),
            password: Password::new(server.bmc_password.expose().to_owned()),
            secrets: Default::default(),
            tls: TlsPolicy::Insecure,
        });
        Box::pin(async move { release(&bmc, &server, &ask).await })
    })
}

/// The API on the site's own store.
fn api(site: &Site) -> Fixture {
    keep_token(&site.store, &site.world, "site", Role::Admin, TOKEN);
    Fixture::with(|parts| {
        parts.store = site.store.clone();
        parts.world = site.world.clone();
        parts.access = Access::Tokens(tokens(&site.store, &site.world));
        parts.release = releaser(site);
    })
}

/// A job that failed because its BMC was away for longer than the cleanup tries.
async fn trapped(faults: Vec<Fault>, power_on: bool, at: Step) -> Site {
    let mut site = Site::new(1, vec![SimConfig { power_on, ..machine(faults) }]).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    site.until(id, |job| job.cursor.step == at && (at != Step::Reset || job.cursor.intent.is_some())).await;
    site.store.request_cancel(id, Cancel { force: false }).await.unwrap();
    site.network.cut_off("bmc0.test", true);
    let job = site.settle(id).await;
    site.network.cut_off("bmc0.test", false);
    assert!(!job.facts.cleanup.left.is_empty(), "{}", site.story(id).await);
    site
}

fn item<'a>(body: &'a Value, name: &str) -> &'a str {
    let items = body["items"].as_array().unwrap();
    items.iter().find(|item| item["name"] == name).unwrap()["status"].as_str().unwrap()
}

fn left(site: &Site) -> (usize, &'static str) {
    let state = site.machines[0].state();
    (state.media.values().filter(|medium| medium.inserted).count(), state.boot_override.enabled)
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_on_is_released_by_force_alone() {
    let site = trapped(vec![Fault::GracefulIgnored], true, Step::Reset).await;
    assert_eq!(left(&site), (2, "Once"));
    let api = api(&site);
    let refused = api.call(Method::POST, RELEASE, None).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("the host is On") && refused.text.contains("force"), "{}", refused.text);
    assert_eq!(left(&site), (2, "Once"), "nothing was done");
    let done = api.call(Method::POST, RELEASE, Some(json!({ "force": true }))).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let body = done.json();
    assert_eq!(body["released"], true, "{body}");
    for name in ["CD1", "CD2", "boot_override"] {
        assert_eq!(item(&body, name), "done", "{body}");
    }
    assert_eq!(left(&site), (0, "Disabled"));
    let audit = api.call(Method::GET, "/api/v1/audit?action=server.release", None).await;
    assert_eq!(
        audit.json()["entries"].as_array().map(Vec::len),
        Some(1),
        "the refusal is none: {}",
        audit.text
    );
    let again = api.call(Method::POST, RELEASE, Some(json!({ "force": true }))).await.json();
    assert_eq!((item(&again, "CD1"), item(&again, "boot_override")), ("clean", "clean"), "{again}");
}

#[tokio::test(start_paused = true)]
async fn own_media_of_a_host_that_is_off_need_no_force() {
    let site = trapped(vec![Fault::InsertTask(Duration::from_secs(30))], false, Step::MountTask).await;
    assert!(left(&site).0 > 0);
    let done = api(&site).call(Method::POST, RELEASE, None).await;
    assert_eq!((done.status.as_u16(), &done.json()["released"]), (200, &json!(true)), "{}", done.text);
    assert_eq!(left(&site), (0, "Disabled"));
}

#[tokio::test(start_paused = true)]
async fn an_image_of_others_needs_force() {
    let site = Site::new(1, vec![machine(vec![Fault::MediaLeft])]).await;
    let api = api(&site);
    let refused = api.call(Method::POST, RELEASE, None).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("CD1 holds an image that is not this controller's"), "{}", refused.text);
    assert_eq!(left(&site).0, 1);
    let done = api.call(Method::POST, RELEASE, Some(json!({ "force": true }))).await;
    assert_eq!(done.json()["released"], true, "{}", done.text);
    assert_eq!(left(&site).0, 0);
}

/// Each thing is tried, and what is left is named.
#[tokio::test(start_paused = true)]
async fn a_refused_clear_leaves_no_medium() {
    let faults = vec![Fault::GracefulIgnored, Fault::ClearRefused(86_400)];
    let site = trapped(faults, true, Step::Reset).await;
    let done = api(&site).call(Method::POST, RELEASE, Some(json!({ "force": true }))).await;
    let body = done.json();
    assert_eq!((done.status.as_u16(), &body["released"]), (200, &json!(false)), "{body}");
    assert_eq!((item(&body, "CD1"), item(&body, "boot_override")), ("done", "left"), "{body}");
    assert_eq!(left(&site), (0, "Once"));
}

#[tokio::test(start_paused = true)]
async fn a_server_with_a_job_or_another_machine_is_left_alone() {
    let mut site = Site::new(1, vec![machine(vec![Fault::WrongSerial, Fault::MediaLeft])]).await;
    let api = api(&site);
    let body = api.call(Method::POST, RELEASE, Some(json!({ "force": true }))).await.json();
    assert_eq!((&body["released"], item(&body, "identity")), (&json!(false), "left"), "{body}");
    let id = site.submit(0, json!({})).await;
    assert_eq!(site.job(id).await.cursor.phase, Phase::Forward);
    let busy = api.call(Method::POST, RELEASE, Some(json!({ "force": true }))).await;
    assert_eq!(busy.status, 409, "{}", busy.text);
    assert!(busy.text.contains(&id.to_string()), "{}", busy.text);
    assert_eq!(left(&site).0, 1, "nothing was ejected");
}

/// The job is of another record of the same host.
#[tokio::test(start_paused = true)]
async fn a_host_with_a_job_of_another_record_is_left_alone_even_by_force() {
    let timings = Timings { install: Duration::from_secs(300), ..Timings::default() };
    let mut site = Site::new(1, vec![SimConfig { timings, ..machine(vec![Fault::NoSerial]) }]).await;
    let id = Some(machine(vec![]).persona.system.to_owned());
    let first = Server { system_id: id.clone(), ..record(&machine(vec![]), "bmc0.test") };
    site.store.update_server(&first, None).await.unwrap();
    site.store.insert_server(&Server { serial: "RACK7-12".parse().unwrap(), ..first }).await.unwrap();
    let api = api(&site);
    site.start();
    let job = site.submit(0, json!({})).await;
    site.until(job, |job| job.cursor.step == Step::EsxiPollPower).await;
    let release = "/api/v1/servers/RACK7-12/release";
    let refused = api.call(Method::POST, release, Some(json!({ "force": true }))).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains(&job.to_string()) && refused.text.contains("SIM0001"), "{}", refused.text);
    assert!(left(&site).0 > 0, "nothing was ejected");
}
