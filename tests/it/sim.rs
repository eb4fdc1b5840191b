//! The simulator as a Redfish client sees it, in process and in paused time.
//!
//! The client here is a few lines of raw HTTP, not this project's: it must not hide a mistake that
//! both sides share.

mod faults;
mod management;
mod post;
mod shown;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::response::IntoResponse;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use shoal_base::world::{Clock, Rng, World};
use shoal_image::iso::{BootPlatform, IsoWriter, ReadAt, SparseImage, build_task_iso};
use shoal_sim::{Fault, Network, Persona, SimBmc, SimConfig, Timings};
use tower::ServiceExt;

const KS: &str = "vmaccepteula\ninstall --firstdisk --overwritevmfs\nreboot\n";
const SYSTEM: &str = "/redfish/v1/Systems/1";
const CD1: &str = "/redfish/v1/Managers/BMC/VirtualMedia/CD1";
const CD2: &str = "/redfish/v1/Managers/BMC/VirtualMedia/CD2";
const INSERT: &str = "Actions/VirtualMedia.InsertMedia";
const EJECT: &str = "Actions/VirtualMedia.EjectMedia";

/// One simulated server, a media server, and a client.
struct Bench {
    network: Network,
    bmc: SimBmc,
    /// What the media server was asked: path and Range.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Bench {
    fn new(faults: &[&str]) -> Bench {
        let faults: Vec<Fault> = faults.iter().map(|fault| fault.parse().unwrap()).collect();
        Bench::with(|config| {
            config.power_on = faults.contains(&Fault::GracefulIgnored);
            config.faults = faults;
        })
    }

    fn with(change: impl FnOnce(&mut SimConfig)) -> Bench {
        let network = Network::default();
        let world = World {
            clock: Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap()),
            rng: Rng::from_seed(1),
            transport: network.transport(),
        };
        let mut config = SimConfig {
            serial: "SIM0001".into(),
            username: "admin".into(),
            password: "correct horse".into(),
            timings: Timings::default(),
            power_on: false,
            previous: None,
            persona: Persona::default(),
            faults: vec![],
        };
        change(&mut config);
        let bmc = SimBmc::start(world, config);
        network.add_bmc("bmc.test", &bmc);
        let asked = Arc::new(Mutex::new(vec![]));
        let task = bytes_of(&build_task_iso(KS.as_bytes(), b"{}", None).image);
        network.add("media.test", media(task, asked.clone()));
        Bench { network, bmc, asked }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request = http::Request::builder().method(method).uri(format!("http://bmc.test{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let response = self.network.transport().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// With Basic credentials.
    async fn act(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.send(method, path, &[("authorization", "Basic YWRtaW46Y29ycmVjdCBob3JzZQ==")], body).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.act(Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    async fn insert(&self, slot: &str, image: &str) -> Answer {
        self.act(Method::POST, &format!("{slot}/{INSERT}"), Some(json!({ "Image": image }))).await
    }

    async fn eject(&self, slot: &str) -> Answer {
        self.act(Method::POST, &format!("{slot}/{EJECT}"), Some(json!({}))).await
    }

    async fn reset(&self, kind: &str) -> Answer {
        let path = format!("{SYSTEM}/Actions/ComputerSystem.Reset");
        self.act(Method::POST, &path, Some(json!({ "ResetType": kind }))).await
    }

    async fn boot_once(&self, target: &str) -> Answer {
        let boot = json!({ "BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": target });
        self.act(Method::PATCH, SYSTEM, Some(json!({ "Boot": boot }))).await
    }

    /// Everything of an install up to the reset.
    async fn begin_install(&self) {
        assert_eq!(self.insert(CD1, "http://media.test/esxi.iso").await.status, 204);
        assert_eq!(self.insert(CD2, "http://media.test/task.iso").await.status, 204);
        assert_eq!(self.boot_once("Cd").await.status, 200);
        assert_eq!(self.reset("On").await.status, 204);
    }

    /// Waits, in virtual time, until the guest is there.
    async fn wait_for(&self, guest: &str) {
        for _ in 0..6000 {
            if self.bmc.state().guest == guest {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never `{guest}`: {:?}", self.bmc.state());
    }
}

/// Serves `/esxi.iso` and `/task.iso` by Range.
fn media(task: Bytes, asked: Arc<Mutex<Vec<(String, String)>>>) -> Router {
    let installer = installer();
    Router::new().fallback(move |request: axum::extract::Request| {
        let range = request.headers().get(header::RANGE).map(|range| range.to_str().unwrap().to_owned());
        let path = request.uri().path().to_owned();
        asked.lock().unwrap().push((path.clone(), range.clone().unwrap_or_default()));
        let image = match path.as_str() {
            "/esxi.iso" => Some(installer.clone()),
            "/task.iso" => Some(task.clone()),
            _ => None,
        };
        async move {
            let Some(image) = image else { return StatusCode::NOT_FOUND.into_response() };
            let Some(range) = range else { return image.into_response() };
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            let (first, end) = (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap() + 1);
            let part = image.slice(first..end.min(image.len()));
            let range = format!("bytes {first}-{}/{}", first + part.len() - 1, image.len());
            (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, range)], part).into_response()
        }
    })
}

fn installer() -> Bytes {
    let cfg = "title=ESXi\nkernel=/B.B00\nkernelopt=runweasel ks=cdrom:/KS.CFG\nmodules=/K.B00\nbuild=8.0.1-0.0.21495797\n";
    let mut iso = IsoWriter::new("ESXI-8.0");
    iso.file("/BOOT.CFG", cfg).file("/EFI/BOOT/BOOT.CFG", cfg);
    iso.file("/B.B00", vec![1; 300_000]).file("/K.B00", vec![2; 300_000]);
    iso.file("/ISOLINUX.BIN", vec![3; 2048]).file("/EFIBOOT.IMG", vec![4; 2048]);
    iso.boot(BootPlatform::Bios, "/ISOLINUX.BIN", 4).boot(BootPlatform::Uefi, "/EFIBOOT.IMG", 1);
    bytes_of(&iso.write().unwrap().image)
}

fn bytes_of(image: &SparseImage) -> Bytes {
    let mut bytes = vec![0; image.size() as usize];
    image.read_at(0, &mut bytes).unwrap();
    bytes.into()
}

#[tokio::test(start_paused = true)]
async fn a_server_is_installed_through_redfish_alone() {
    let bench = Bench::new(&[]);
    assert_eq!(bench.get(SYSTEM).await["SerialNumber"], "SIM0001");
    bench.begin_install().await;
    bench.wait_for("installing").await;
    let first_boot = bench.get(SYSTEM).await["LastResetTime"].clone();
    bench.wait_for("installed").await;
    let state = bench.bmc.state();
    assert_eq!((state.installs_begun, state.installs, state.interrupted_installs), (1, 1, 0));
    assert_eq!((state.starts, state.boots), (1, 2));
    assert_eq!(state.installed_ks_sha256.as_deref(), Some(sha256(KS).as_str()));
    assert!(!state.media["CD1"].inserted && state.media["CD2"].image.is_none(), "the guest has ejected");
    let system = bench.get(SYSTEM).await;
    assert_eq!(system["PowerState"], "On");
    assert_eq!(system["BootProgress"]["LastState"], "OSRunning");
    assert_eq!(system["Boot"]["BootSourceOverrideEnabled"], "Disabled");
    assert_ne!(system["LastResetTime"], first_boot);
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    shoal_base::hex(&sha2::Sha256::digest(text))
}

#[tokio::test(start_paused = true)]
async fn reads_are_ranges_of_64_kib_and_the_second_boot_reads_descriptors_again() {
    let bench = Bench::new(&["no-eject"]);
    bench.begin_install().await;
    bench.wait_for("installing").await;
    let first = std::mem::take(&mut *bench.asked.lock().unwrap());
    assert!(
        first.iter().any(|(path, range)| path == "/esxi.iso" && range == "bytes=65536-131071"),
        "{first:?}"
    );
    assert!(first.iter().any(|(path, _)| path == "/task.iso"));
    bench.wait_for("installed").await;
    let second = bench.asked.lock().unwrap().clone();
    let descriptors =
        |wanted: &str| second.iter().any(|(path, range)| path == wanted && range == "bytes=0-65535");
    assert!(descriptors("/esxi.iso") && descriptors("/task.iso"), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_media_server_that_comes_back_within_thirty_seconds_does_not_hurt() {
    let bench = Bench::new(&[]);
    bench.network.cut_off("media.test", true);
    bench.begin_install().await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    bench.network.cut_off("media.test", false);
    bench.wait_for("installed").await;

    let bench = Bench::new(&[]);
    bench.network.cut_off("media.test", true);
    bench.begin_install().await;
    tokio::time::sleep(Duration::from_secs(70)).await;
    bench.network.cut_off("media.test", false);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(bench.bmc.state().guest, "firmware", "neither CD was readable at the boot");
}

#[tokio::test(start_paused = true)]
async fn credentials_are_wanted_for_all_but_the_root() {
    let bench = Bench::new(&[]);
    for path in ["/redfish", "/redfish/v1", "/redfish/v1/", "/redfish/v1/odata", "/redfish/v1/$metadata"] {
        assert_eq!(bench.send(Method::GET, path, &[], None).await.status, 200, "{path}");
    }
    let refused = bench.send(Method::GET, SYSTEM, &[], None).await;
    assert_eq!(refused.status, 401);
    assert!(refused.headers.contains_key(header::WWW_AUTHENTICATE));
    let wrong = bench.send(Method::GET, SYSTEM, &[("authorization", "Basic YWRtaW46eA==")], None).await;
    assert_eq!(wrong.status, 401);
    assert_eq!(bench.send(Method::GET, "/redfish/v1/Nothing", &[], None).await.status, 401);
    assert_eq!(bench.act(Method::GET, "/redfish/v1/Nothing", None).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_session_lives_until_it_is_deleted_or_idle_too_long() {
    let bench = Bench::new(&["session-timeout=30"]);
    let sessions = "/redfish/v1/SessionService/Sessions";
    let login = json!({ "UserName": "admin", "Password": "correct horse" });
    let made = bench.send(Method::POST, sessions, &[], Some(login.clone())).await;
    assert_eq!(made.status, 201);
    let token = made.headers["x-auth-token"].to_str().unwrap();
    let location = made.headers[header::LOCATION].to_str().unwrap();
    let with_token = [("x-auth-token", token)];
    assert_eq!(bench.send(Method::GET, SYSTEM, &with_token, None).await.status, 200);
    assert_eq!(bench.send(Method::DELETE, location, &with_token, None).await.status, 204);
    assert_eq!(bench.send(Method::GET, SYSTEM, &with_token, None).await.status, 401);

    let made = bench.send(Method::POST, sessions, &[], Some(login)).await;
    let with_token = [("x-auth-token", made.headers["x-auth-token"].to_str().unwrap())];
    for (idle, status) in [(29, 200), (29, 200), (31, 401)] {
        tokio::time::sleep(Duration::from_secs(idle)).await;
        assert_eq!(bench.send(Method::GET, SYSTEM, &with_token, None).await.status, status);
    }
    let wrong = json!({ "UserName": "admin", "Password": "x" });
    assert_eq!(bench.send(Method::POST, sessions, &[], Some(wrong)).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn etags_guard_reads_and_writes() {
    let bench = Bench::new(&[]);
    let auth = ("authorization", "Basic YWRtaW46Y29ycmVjdCBob3JzZQ==");
    let etag = bench.act(Method::GET, SYSTEM, None).await.headers[header::ETAG].to_str().unwrap().to_owned();
    assert!(etag.starts_with('"'), "strong: {etag}");
    assert_eq!(bench.send(Method::GET, SYSTEM, &[auth, ("if-none-match", &etag)], None).await.status, 304);
    let boot = json!({ "Boot": { "BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Cd" } });
    let patch = |tag: String| {
        let boot = boot.clone();
        let bench = &bench;
        async move { bench.send(Method::PATCH, SYSTEM, &[auth, ("if-match", &tag)], Some(boot)).await.status }
    };
    assert_eq!(patch(format!("W/{etag}")).await, 412);
    assert_eq!(patch(etag.clone()).await, 200);
    assert_eq!(patch(etag).await, 412, "the resource is another one now");
    assert_eq!(patch("*".into()).await, 200);
}

#[tokio::test(start_paused = true)]
async fn wrong_requests_are_refused_by_name() {
    let bench = Bench::new(&[]);
    let id = |answer: &Answer| {
        answer.body["error"]["@Message.ExtendedInfo"][0]["MessageId"].as_str().unwrap().to_owned()
    };
    let insert = format!("{CD1}/{INSERT}");
    let cases = [
        (
            Method::PATCH,
            SYSTEM,
            json!({ "Boot": { "BootSourceOverrideTarget": "Tape" } }),
            400,
            "PropertyValueNotInList",
        ),
        (Method::PATCH, SYSTEM, json!({ "Colour": "red" }), 400, "PropertyUnknown"),
        (Method::PATCH, SYSTEM, json!({ "PowerState": "On" }), 400, "PropertyNotWritable"),
        (Method::PATCH, SYSTEM, json!({ "@odata.id": "/x" }), 400, "NoOperation"),
        (Method::POST, &insert, json!({}), 400, "ActionParameterMissing"),
        (Method::POST, &insert, json!({ "Image": 5 }), 400, "ActionParameterValueTypeError"),
        (Method::POST, &insert, json!({ "Image": "not a url" }), 400, "ActionParameterValueFormatError"),
        (
            Method::POST,
            &insert,
            json!({ "Image": "http://a/b.iso", "Colour": 1 }),
            400,
            "ActionParameterUnknown",
        ),
        (Method::DELETE, SYSTEM, Value::Null, 405, "OperationNotAllowed"),
        (Method::GET, &insert, Value::Null, 405, "OperationNotAllowed"),
    ];
    for (method, path, body, status, message) in cases {
        let answer = bench.act(method, path, Some(body.clone())).await;
        assert_eq!((answer.status, id(&answer).ends_with(message)), (status, true), "{body} {}", answer.body);
    }
    assert_eq!(bench.insert(CD1, "http://media.test/a.iso").await.status, 204);
    assert_eq!(bench.insert(CD1, "http://media.test/b.iso").await.status, 409, "occupied");
    assert_eq!(bench.reset("Sideways").await.status, 400);
    assert_eq!(bench.reset("GracefulRestart").await.status, 409, "off");
    let delete = bench.act(Method::DELETE, SYSTEM, None).await;
    assert_eq!(delete.headers[header::ALLOW], "GET, HEAD, PATCH");
}

#[tokio::test(start_paused = true)]
async fn an_eject_needs_neither_body_nor_content_type() {
    let bench = Bench::new(&[]);
    bench.insert(CD1, "http://media.test/a.iso").await;
    assert_eq!(bench.act(Method::POST, &format!("{CD1}/{EJECT}"), None).await.status, 204);
    let slot = bench.get(CD1).await;
    assert_eq!((&slot["Inserted"], &slot["Image"]), (&json!(false), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn an_insert_can_be_a_task_that_ends_well_or_not() {
    for (fault, inserted, end) in [("insert-task=5", true, 204), ("insert-task-fails", false, 400)] {
        let bench = Bench::new(&[fault]);
        let answer = bench.insert(CD1, "http://media.test/esxi.iso").await;
        assert_eq!(answer.status, 202);
        let monitor = answer.headers[header::LOCATION].to_str().unwrap().to_owned();
        assert_eq!(bench.act(Method::GET, &monitor, None).await.status, 202);
        assert_eq!(bench.insert(CD1, "http://media.test/esxi.iso").await.status, 409, "busy");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(bench.act(Method::GET, &monitor, None).await.status, end, "{fault}");
        assert_eq!(bench.bmc.state().media["CD1"].inserted, inserted);
        let task = bench.get(answer.body["@odata.id"].as_str().unwrap()).await;
        assert_eq!(task["TaskState"], if inserted { "Completed" } else { "Exception" });
    }
}

#[tokio::test(start_paused = true)]
async fn a_prefetching_bmc_reads_the_image_at_insert_and_never_again() {
    let bench = Bench::new(&["prefetch"]);
    assert_eq!(bench.insert(CD2, "http://media.test/none.iso").await.status, 400);
    assert!(!bench.bmc.state().media["CD2"].inserted);
    bench.begin_install().await;
    assert_eq!(bench.asked.lock().unwrap().len(), 3);
    bench.wait_for("installed").await;
    assert_eq!(bench.asked.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_insert_goes_on_when_its_client_has_gone_away() {
    let bench = Bench::new(&["prefetch"]);
    let slow = Router::new().fallback(async || {
        tokio::time::sleep(Duration::from_secs(5)).await;
        installer()
    });
    bench.network.add("slow.test", slow);
    let given_up =
        tokio::time::timeout(Duration::from_secs(1), bench.insert(CD1, "http://slow.test/esxi.iso")).await;
    assert!(given_up.is_err() && !bench.bmc.state().media["CD1"].inserted);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(bench.bmc.state().media["CD1"].inserted);
}

#[tokio::test(start_paused = true)]
async fn a_bmc_can_be_down_after_a_reset() {
    let bench = Bench::new(&["bmc-down-after-reset=20"]);
    bench.reset("On").await;
    let request = || http::Request::get("http://bmc.test/redfish/v1/").body(Bytes::new()).unwrap();
    assert!(bench.network.transport().oneshot(request()).await.is_err());
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert!(bench.network.transport().oneshot(request()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_running_system_obeys_acpi_unless_it_ignores_it() {
    let bench = Bench::new(&["graceful-ignored"]);
    assert_eq!(bench.bmc.state().guest, "other_system", "from the first moment");
    assert_eq!(bench.reset("GracefulShutdown").await.status, 204);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(bench.get(SYSTEM).await["PowerState"], "On");
    bench.reset("ForceOff").await;
    assert_eq!(bench.get(SYSTEM).await["PowerState"], "Off");
    assert_eq!(
        bench.bmc.state().resets.into_iter().collect::<Vec<_>>(),
        [("ForceOff", 1), ("GracefulShutdown", 1)]
    );
}

#[tokio::test(start_paused = true)]
async fn faults_of_a_moment_pass() {
    let bench = Bench::new(&["insert-500-once", "on-409-once", "stale-inserted=5", "eject-empty-400"]);
    assert_eq!(bench.insert(CD1, "http://media.test/a.iso").await.status, 500);
    assert!(!bench.bmc.state().media["CD1"].inserted);
    assert_eq!(bench.insert(CD1, "http://media.test/a.iso").await.status, 204);
    assert_eq!(bench.reset("On").await.status, 409);
    assert_eq!(bench.reset("On").await.status, 204);
    assert_eq!(bench.eject(CD1).await.status, 204);
    assert_eq!(bench.get(CD1).await["Inserted"], true, "stale");
    assert!(!bench.bmc.state().media["CD1"].inserted, "the truth");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(bench.get(CD1).await["Inserted"], false);
    assert_eq!(bench.eject(CD1).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn the_state_has_the_names_of_the_contract() {
    let bench = Bench::new(&[]);
    bench.insert(CD1, "http://media.test/esxi.iso").await;
    let state = bench.send(Method::GET, "/sim/v1/state", &[], None).await;
    assert_eq!(state.status, 200);
    let expected = json!({
        "serial": "SIM0001",
        "power": "Off",
        "guest": "off",
        "console": null,
        "installs_begun": 0,
        "installs": 0,
        "interrupted_installs": 0,
        "installed_ks_sha256": null,
        "build": null,
        "starts": 0,
        "boots": 0,
        "resets": {},
        "media": {
            "CD1": { "inserted": true, "image": "http://media.test/esxi.iso" },
            "CD2": { "inserted": false, "image": null },
        },
        "boot_override": { "enabled": "Disabled", "target": "None" },
        "redfish_requests": 1,
        "redfish_polls": 0,
        "redfish_in_parallel": 1,
        "sessions": 0,
    });
    assert_eq!(state.body, expected);
}
