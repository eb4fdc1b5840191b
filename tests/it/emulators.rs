//! Services that are no BMC: the sushy emulator as it is shipped, and static mock-ups. A correct outcome
//! of each: a success, or a failure that says why; never a false success, never a host that installs
//! again and again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use shoal::domain::{Confidence, Job, MediaLayout, Status, Step};
use shoal_sim::{Fault, SimConfig};

use crate::site::{Site, machine};

/// The emulator reports no serial number, so its record names the system.
async fn on_sushy(faults: Vec<Fault>, recipe: Value) -> (Site, Job) {
    let mut config = SimConfig { persona: "sushy".parse().unwrap(), ..machine(faults) };
    config.timings.install = Duration::from_secs(200);
    config.previous = Some("8.0.2-0.0.22380479".parse().unwrap());
    let mut site = Site::new(1, vec![config]).await;
    let mut server = site.store.servers().await.unwrap().remove(0);
    server.system_id = Some("vm".to_owned());
    site.store.update_server(&server, None).await.unwrap();
    site.start();
    let id = site.submit(0, recipe).await;
    let job = site.settle(id).await;
    (site, job)
}

/// Its override lasts, its images are copies, nothing of it shows a boot: the installer would start for
/// ever. It is not started.
#[tokio::test(start_paused = true)]
async fn the_stock_emulator_is_not_started_where_it_could_not_be_stopped() {
    let (site, job) = on_sushy(vec![], json!({})).await;
    let story = site.story(job.id).await;
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::BootOverride)), "{story}");
    let reason = job.reason.unwrap();
    assert!(reason.contains("lasting one") && reason.contains("completion_hook: poweroff"), "{reason}");
    let state = site.machines[0].state();
    assert_eq!((state.starts, state.installs), (0, 0), "{state:?}");
    assert!(state.media.values().all(|medium| !medium.inserted), "{state:?}");
    assert_eq!(state.boot_override.target, "Hdd", "disarmed by the only word it has for that");
}

/// With an installation that ends with the host off, one and the same machine is installed once.
#[tokio::test(start_paused = true)]
async fn the_stock_emulator_is_installed_where_the_installer_powers_off() {
    let own = "vmaccepteula\ninstall --firstdisk\nreboot\n%post --interpreter=busybox\npoweroff\n";
    for (recipe, confidence) in [
        (json!({ "completion_hook": "poweroff" }), Confidence::Probable),
        (json!({ "completion_hook": "own-poweroff", "ks_cfg": own }), Confidence::Probable),
    ] {
        let (site, job) = on_sushy(vec![], recipe).await;
        let story = site.story(job.id).await;
        assert_eq!(
            (job.status, job.facts.mounts.layout()),
            (Status::Succeeded, MediaLayout::SingleCd),
            "{story}"
        );
        assert_eq!(job.verdict.as_ref().unwrap().confidence, Some(confidence));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let state = site.machines[0].state();
        assert_eq!(
            (state.installs, state.interrupted_installs, state.guest),
            (1, 0, "installed"),
            "{state:?}"
        );
        assert!(state.media.values().all(|medium| !medium.inserted), "{state:?}");
    }
}

/// An override that is never spent, behind a service that shows nothing and copies its images: the host
/// installs again and again. That is seen by what is still armed, is no success, and ends there.
#[tokio::test(start_paused = true)]
async fn a_host_that_installs_again_unseen_is_no_success() {
    let faults = vec![
        Fault::Prefetch,
        Fault::NoBootProgress,
        Fault::NoLastResetTime,
        Fault::OverrideContinuous,
        Fault::NoEject,
    ];
    let mut config = machine(faults);
    config.timings.install = Duration::from_secs(200);
    let mut site = Site::new(1, vec![config]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    let story = site.story(id).await;
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::EsxiPollPower)), "{story}");
    assert!(job.reason.as_deref().unwrap().contains("still armed"), "{:?}", job.reason);
    let seen = site.machines[0].state();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.guest), (seen.installs, "installed"), "{state:?}");
    assert_eq!((state.interrupted_installs, state.boot_override.enabled), (0, "Disabled"), "{state:?}");
}

/// One that is kept armed, and shows it: the installer's start is seen in BootProgress, and the
/// override is cleared then, although the host's reads are not seen.
#[tokio::test(start_paused = true)]
async fn a_lasting_override_is_disarmed_once_the_loader_is_seen() {
    let mut config = machine(vec![Fault::Prefetch, Fault::OverrideTurnedContinuous, Fault::NoEject]);
    config.timings.install = Duration::from_secs(400);
    let mut site = Site::new(1, vec![config]).await;
    site.start();
    let id = site.submit(0, json!({})).await;
    let job = site.settle(id).await;
    let story = site.story(id).await;
    assert_eq!(job.status, Status::Succeeded, "{story}");
    assert!(story.contains("boot.override.disarm"), "{story}");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.interrupted_installs, state.guest), (1, 0, "installed"), "{state:?}");
}

/// What a mock-up does with a write.
#[derive(Clone, Copy, PartialEq)]
enum Writes {
    /// 204, and nothing changes.
    Nothing,
    /// A PATCH is merged into the resource, as DMTF's mock-up server does; an action does nothing.
    Merged,
}

const CD1: &str = "/redfish/v1/Systems/1/VirtualMedia/CD1";

fn tree(power: &str, with_actions: bool) -> BTreeMap<String, Value> {
    let link = |path: &str| json!({ "@odata.id": path });
    let mut slot = json!({
        "@odata.id": CD1, "Id": "CD1", "Name": "CD1", "MediaTypes": ["CD", "DVD"], "Inserted": false, "Image": null,
        "ConnectedVia": "NotConnected",
    });
    if with_actions {
        slot["Actions"] = json!({
            "#VirtualMedia.InsertMedia": { "target": format!("{CD1}/Actions/VirtualMedia.InsertMedia") },
            "#VirtualMedia.EjectMedia": { "target": format!("{CD1}/Actions/VirtualMedia.EjectMedia") },
        });
    }
    BTreeMap::from([
        (
            "/redfish/v1".to_owned(),
            json!({
                "RedfishVersion": "1.15.0", "Systems": link("/redfish/v1/Systems"),
                "SessionService": link("/redfish/v1/SessionService"),
                "Links": { "Sessions": link("/redfish/v1/SessionService/Sessions") },
            }),
        ),
        ("/redfish/v1/Systems".to_owned(), json!({ "Members": [link("/redfish/v1/Systems/1")] })),
        (
            "/redfish/v1/Systems/1".to_owned(),
            json!({
                "@odata.id": "/redfish/v1/Systems/1", "Id": "1", "Name": "Mock-up", "SerialNumber": "SIM0001",
                "PowerState": power,
                "Boot": {
                    "BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None",
                    "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Cd", "Hdd"],
                },
                "Actions": { "#ComputerSystem.Reset": {
                    "target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
                    "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "GracefulShutdown", "ForceRestart"],
                } },
                "VirtualMedia": link("/redfish/v1/Systems/1/VirtualMedia"),
            }),
        ),
        ("/redfish/v1/Systems/1/VirtualMedia".to_owned(), json!({ "Members": [link(CD1)] })),
        (CD1.to_owned(), slot),
    ])
}

/// Its session POST is answered without a token, so requests carry Basic credentials, which it ignores.
fn mockup(tree: BTreeMap<String, Value>, writes: Writes) -> Router {
    let tree = Arc::new(Mutex::new(tree));
    Router::new().fallback(move |request: Request| {
        let tree = tree.clone();
        async move { answer(&tree, request, writes).await }
    })
}

async fn answer(tree: &Mutex<BTreeMap<String, Value>>, request: Request, writes: Writes) -> Response {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let method = request.method().clone();
    let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.unwrap();
    let mut tree = tree.lock().unwrap();
    match method {
        Method::GET => match tree.get(&path) {
            Some(resource) => axum::Json(resource.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Method::PATCH if writes == Writes::Merged => {
            let Some(resource) = tree.get_mut(&path) else { return StatusCode::NOT_FOUND.into_response() };
            merge(resource, serde_json::from_slice(&body).unwrap());
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

fn merge(into: &mut Value, from: Value) {
    match from {
        Value::Object(members) if into.is_object() => {
            for (name, value) in members {
                merge(&mut into[name], value);
            }
        }
        other => *into = other,
    }
}

async fn on_mockup(power: &str, with_actions: bool, writes: Writes) -> (Job, String) {
    let mut site = Site::new(1, vec![machine(vec![])]).await;
    site.network.add("bmc0.test", mockup(tree(power, with_actions), writes));
    site.start();
    let id = site.submit(0, json!({ "allow_powered_on": true })).await;
    let job = site.settle(id).await;
    let story = site.story(id).await;
    assert_eq!(site.machines[0].state().starts, 0, "the mock-up is asked, and not the machine behind it");
    (job, story)
}

/// 204 to everything: what was asked for is looked at, and is not there.
#[tokio::test(start_paused = true)]
async fn a_mock_up_that_does_nothing_fails_where_that_is_seen_first() {
    let (job, story) = on_mockup("On", true, Writes::Nothing).await;
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::MountMaintenance)), "{story}");
    let reason = job.reason.unwrap();
    assert!(
        reason.contains("never showed it inserted") && reason.contains("never requested the image"),
        "{reason}"
    );
}

/// It shows what was written into it, so media and override seem to be there; no reset ever happens.
#[tokio::test(start_paused = true)]
async fn a_mock_up_that_merges_writes_fails_at_the_reset() {
    for power in ["On", "Off"] {
        let (job, story) = on_mockup(power, false, Writes::Merged).await;
        assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::Reset)), "{power} {story}");
        let reason = job.reason.unwrap();
        assert!(reason.contains("look at"), "{power}: {reason}");
        assert!(job.verdict.unwrap().confidence.is_none());
    }
}
