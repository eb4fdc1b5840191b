//! A BMC in process: a table of resources behind an axum router, and a closure that goes first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::super::*;
use shoal_base::world::{
    Clock, HttpRequest, HttpResponse, Rng, Transport, TransportError, TransportErrorKind,
};

pub(super) const SYSTEM: &str = "/redfish/v1/Systems/1";
pub(super) const CD1: &str = "/redfish/v1/Systems/1/VirtualMedia/CD1";
pub(super) const IMAGE: &str = "http://10.0.0.1:8080/media/tasks/0123456789abcdef0123456789abcdef/task.iso";

/// A request as the BMC gets it.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Asked {
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What the BMC does with it.
pub(super) enum FakeAnswer {
    Http(HttpResponse),
    Fails(TransportErrorKind),
    /// Takes so long before it answers.
    After(Duration, HttpResponse),
}

pub(super) fn answer(status: u16, body: Value) -> Option<FakeAnswer> {
    Some(FakeAnswer::Http(response(status, &[], body.to_string())))
}

pub(super) fn answer_with(status: u16, headers: &[(&str, &str)], body: Value) -> Option<FakeAnswer> {
    Some(FakeAnswer::Http(response(status, headers, body.to_string())))
}

pub(super) fn raw(status: u16, body: impl Into<Body>) -> Option<FakeAnswer> {
    Some(FakeAnswer::Http(response(status, &[], body)))
}

pub(super) fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> HttpResponse {
    let builder = http::Response::builder().status(status);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(body.into()).unwrap()
}

/// A refusal with one typed message.
pub(super) fn refusal(message_id: &str, args: &[&str]) -> Value {
    let message =
        json!({"MessageId": message_id, "Message": "No.", "MessageArgs": args, "Severity": "Warning"});
    json!({"error": {"code": "Base.1.8.GeneralError", "@Message.ExtendedInfo": [message]}})
}

/// All that was asked, in order.
#[derive(Clone, Default)]
pub(super) struct RequestLog(Arc<Mutex<Vec<Asked>>>);

impl RequestLog {
    pub(super) fn all(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.all().iter().map(Asked::line).collect()
    }

    /// How often this was asked.
    pub(super) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|asked| *asked == line).count()
    }

    /// Bodies of requests with this line.
    pub(super) fn bodies(&self, line: &str) -> Vec<Value> {
        self.all().into_iter().filter(|asked| asked.line() == line).map(|asked| asked.body).collect()
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// A BMC with one system and two CD slots, whose `script` answers first; what it leaves is answered
/// from the table, and a write with 204.
pub(super) fn bmc(script: impl FnMut(&Asked) -> Option<FakeAnswer> + Send + 'static) -> (Bmc, RequestLog) {
    let (pool, log) = pool(script);
    (pool.bmc(&account("calvin")), log)
}

/// As [`bmc`], for a test that wants several accounts.
pub(super) fn pool(
    script: impl FnMut(&Asked) -> Option<FakeAnswer> + Send + 'static,
) -> (BmcPool, RequestLog) {
    pool_within(Limits { retries: 2, ..Limits::default() }, script)
}

pub(super) fn pool_within(
    limits: Limits,
    script: impl FnMut(&Asked) -> Option<FakeAnswer> + Send + 'static,
) -> (BmcPool, RequestLog) {
    let log = RequestLog::default();
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    let world = World {
        clock: Clock::virtual_from(start),
        rng: Rng::from_seed(1),
        transport: transport(script, log.clone()),
    };
    (BmcPool::new(world, limits), log)
}

pub(super) fn account(password: &str) -> Account {
    Account {
        address: Url::parse("https://bmc-1.test").unwrap(),
        username: "root".into(),
        password: Password::new(password.into()),
        secrets: Default::default(),
        tls: TlsPolicy::Insecure,
    }
}

fn transport(
    script: impl FnMut(&Asked) -> Option<FakeAnswer> + Send + 'static,
    log: RequestLog,
) -> Transport {
    let script = Arc::new(Mutex::new(script));
    let table = Arc::new(table());
    BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
        let (script, table, log) = (script.clone(), table.clone(), log.clone());
        async move {
            assert_eq!(request.uri().authority().unwrap(), "bmc-1.test", "a request left the BMC's origin");
            let asked = asked(request);
            log.0.lock().unwrap().push(asked.clone());
            let scripted = (script.lock().unwrap())(&asked);
            match scripted {
                Some(FakeAnswer::Fails(kind)) => Err(TransportError::new(kind)),
                Some(FakeAnswer::Http(response)) => Ok(response),
                Some(FakeAnswer::After(wait, response)) => {
                    tokio::time::sleep(wait).await;
                    Ok(response)
                }
                None => Ok(from_table(&table, &asked).await),
            }
        }
    }))
}

fn asked(request: HttpRequest) -> Asked {
    let (head, body) = request.into_parts();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    Asked { method: head.method, path: head.uri.path().to_owned(), headers: head.headers, body }
}

/// The same through an axum router, as the simulator is served.
async fn from_table(table: &Arc<BTreeMap<&'static str, Value>>, asked: &Asked) -> HttpResponse {
    let table = table.clone();
    let router = Router::new().fallback(move |request: Request| async move {
        match (request.method().as_str(), table.get(request.uri().path())) {
            ("GET", Some(resource)) => response(200, &[], resource.to_string()),
            ("GET", None) => response(404, &[], refusal("Base.1.8.ResourceMissingAtURI", &[]).to_string()),
            ("POST", _) if request.uri().path() == SESSIONS => {
                response(201, &[("x-auth-token", "t0ken"), ("location", SESSION)], "{}")
            }
            _ => response(204, &[], Body::empty()),
        }
    });
    let request =
        http::Request::builder().method(&asked.method).uri(&asked.path).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    HttpResponse::from_parts(head, Body::from(body.collect().await.unwrap().to_bytes()))
}

pub(super) const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";
pub(super) const SESSION: &str = "/redfish/v1/SessionService/Sessions/7";

fn table() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("/redfish/v1/", root()),
        ("/redfish/v1/Systems", collection(&[SYSTEM])),
        (SYSTEM, system()),
        ("/redfish/v1/Systems/1/VirtualMedia", collection(&["/redfish/v1/Systems/1/VirtualMedia/CD2", CD1])),
        (CD1, slot("CD1")),
        ("/redfish/v1/Systems/1/VirtualMedia/CD2", slot("CD2")),
        ("/redfish/v1/Managers/1", json!({"VirtualMedia": link("/redfish/v1/Managers/1/VirtualMedia")})),
        ("/redfish/v1/Managers/1/VirtualMedia", collection(&["/redfish/v1/Managers/1/VirtualMedia/2"])),
        ("/redfish/v1/Managers/1/VirtualMedia/2", slot("CD1")),
    ])
}

pub(super) fn root() -> Value {
    json!({
        "Vendor": "Contoso",
        "RedfishVersion": "1.15.0",
        "Systems": link("/redfish/v1/Systems"),
        "Managers": link("/redfish/v1/Managers"),
        "Links": {"Sessions": link(SESSIONS)},
    })
}

pub(super) fn system() -> Value {
    json!({
        "@odata.id": SYSTEM,
        "@odata.etag": "W/\"1\"",
        "Id": "1",
        "SerialNumber": "ABC123",
        "PowerState": "Off",
        "Boot": {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"},
        "Actions": {"#ComputerSystem.Reset": {
            "target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
            "ResetType@Redfish.AllowableValues": ["On", "ForceOff"],
        }},
        "Links": {"ManagedBy": [link("/redfish/v1/Managers/1")]},
        "VirtualMedia": link("/redfish/v1/Systems/1/VirtualMedia"),
    })
}

pub(super) fn slot(id: &str) -> Value {
    let action = |name: &str| json!({"target": format!("/redfish/v1/Actions/{id}.{name}")});
    json!({
        "Id": id,
        "MediaTypes": ["CD", "DVD"],
        "Inserted": false,
        "Image": null,
        "Actions": {
            "#VirtualMedia.InsertMedia": action("InsertMedia"),
            "#VirtualMedia.EjectMedia": action("EjectMedia"),
        },
    })
}

pub(super) fn collection(members: &[&str]) -> Value {
    json!({"Members": members.iter().map(|member| link(member)).collect::<Vec<_>>()})
}

pub(super) fn link(path: &str) -> Value {
    json!({"@odata.id": path})
}

/// The one system, read.
pub(super) async fn read_system(bmc: &Bmc) -> System {
    bmc.observe_systems().await.unwrap().remove(0)
}

/// The first slot, read; what that took is not in the log.
pub(super) async fn read_slot(bmc: &Bmc, log: &RequestLog) -> Slot {
    let system = read_system(bmc).await;
    let slot = bmc.observe_slots(&system).await.unwrap().remove(0);
    log.clear();
    slot
}
