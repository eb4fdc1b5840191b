//! The HTTP API in process: every route, every refusal, over an in-memory store and paused time.
//!
//! No engine runs here, so jobs stay queued unless a test plays its part. What a real process adds
//! is in `serve`.

mod access;
mod audit;
mod batches;
mod beside;
mod downloads;
mod errors;
mod events;
mod health;
mod images;
mod import;
mod inspect;
mod inventory;
mod jobs;
mod kickstart;
mod limits;
mod matrix;
mod registry;
mod release;
mod render;
mod servers;
mod task_reports;
mod tokens;
mod unreadable;
mod webhook;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use shoal::access::{NewToken, Role, TokenOrigin, TokenRecord};
use shoal::api::{Access, ApiParts, Hooks, KickstartCheck, Limits, MetricsAccess, Rates, Tokens};
use shoal::domain::{Cursor, Job, LintMode, NewEvent, Phase, Serial, Status, Step};
use shoal::engine::DryRunReport;
use shoal::media::{HostedImages, Media};
use shoal::registry::{Registries, RegistrySettings};
use shoal::seal::Sealer;
use shoal::store::{Lease, Store};
use shoal_base::world::{Clock, HttpResponse, Rng, TransportError, TransportErrorKind, World};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

const TOKEN: &str = "test-token";
/// Makes the tokens of installers' hooks.
const HOOK_KEY: [u8; 32] = [5; 32];
const KICKSTART: &str = "vmaccepteula\ninstall --firstdisk --overwritevmfs\nreboot\n";

/// The API over a fresh store, and what a test needs to look behind it.
pub struct Fixture {
    pub router: Router,
    pub store: Store,
    pub world: World,
    pub shutdown: CancellationToken,
    pub dir: tempfile::TempDir,
}

/// One answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// The problem, checked to be one of this status.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        for key in ["type", "title", "detail"] {
            assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {problem}");
        }
        assert!(problem["errors"].is_array(), "{problem}");
        problem
    }

    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        self.json()
    }
}

/// Has a controller work on this store, as another one does.
pub fn share(parts: &mut ApiParts, store: Store) {
    change_tokens(parts, |tokens| tokens.store = store.clone());
    parts.store = store;
}

/// Makes some part of how tokens are checked otherwise.
pub fn change_tokens(parts: &mut ApiParts, change: impl FnOnce(&mut Tokens)) {
    let Access::Tokens(tokens) = &parts.access else { unreachable!("the fixture requires tokens") };
    let mut tokens = (**tokens).clone();
    change(&mut tokens);
    parts.access = Access::Tokens(Arc::new(tokens));
}

impl Fixture {
    pub fn new() -> Fixture {
        Fixture::with(|_| {})
    }

    /// Another controller on the same database.
    pub fn beside(&self, change: impl FnOnce(&mut ApiParts)) -> Fixture {
        let store = self.store.second_handle();
        let beside = Fixture::with(|parts| {
            share(parts, store.clone());
            change(parts);
        });
        Fixture { store, ..beside }
    }

    /// With some part of the API made otherwise.
    pub fn with(change: impl FnOnce(&mut ApiParts)) -> Fixture {
        let offline =
            service_fn(async |_| Err::<HttpResponse, _>(TransportError::new(TransportErrorKind::Connect)));
        let world = World {
            clock: Clock::virtual_from("2026-11-22T12:00:00Z".parse().unwrap()),
            rng: Rng::from_seed(7),
            transport: BoxCloneSyncService::new(offline),
        };
        let store = Store::in_memory(Sealer::new([7; 32])).unwrap();
        keep_token(&store, &world, "test", Role::Admin, TOKEN);
        let shutdown = CancellationToken::new();
        let dir = tempfile::tempdir().unwrap();
        let mut parts = ApiParts {
            world: world.clone(),
            store: store.clone(),
            media: Media::new(world.clock.clone(), [7; 32], store.clone()),
            dry_run: Arc::new(|_, _| {
                let report = DryRunReport {
                    ok: true,
                    failed_step: None,
                    failure_code: None,
                    reason: None,
                    events: Vec::new(),
                };
                Box::pin(async { report })
            }),
            check: Arc::new(|server, _| {
                let facts = shoal::doctor::CheckFacts {
                    expected_serial: Some(server.serial.to_string()),
                    ..Default::default()
                };
                let report = shoal::doctor::judge(server.bmc_address.as_str(), facts);
                Box::pin(async { report })
            }),
            inspect: Arc::new(|server| {
                let hardware =
                    shoal_redfish::Hardware { model: Some(server.serial.to_string()), ..Default::default() };
                Box::pin(async { Ok(hardware) })
            }),
            release: Arc::new(|server, _| {
                let serial = server.serial.to_string();
                let report = shoal::release::ReleaseReport { serial, released: true, items: Vec::new() };
                Box::pin(async { Ok(report) })
            }),
            access: Access::Tokens(tokens(&store, &world)),
            secrets: Default::default(),
            tls: false,
            hooks: Hooks { store: store.clone(), clock: world.clock.clone(), key: HOOK_KEY },
            webhook_secrets: Vec::new(),
            installer_allow: "https://images.example/esxi/".parse().unwrap(),
            images_allow: "https://images.example/linux/".parse().unwrap(),
            images: Arc::new(HostedImages::new(dir.path().join("images"), 1 << 20, world.clone()).unwrap()),
            auto_media_bytes_max: 100_000,
            registries: Registries::new(world.transport.clone(), RegistrySettings::default()),
            kickstart_check: KickstartCheck {
                mode: LintMode::Off,
                installer_version: Arc::new(|_| Box::pin(async { None })),
                disks: Arc::new(|_| Box::pin(async { Err("the BMC does not answer".to_owned()) })),
            },
            writable_dirs: Vec::new(),
            self_tests: Default::default(),
            metrics: MetricsAccess { handle: PrometheusBuilder::new().build_recorder().handle(), open: true },
            serves_api: true,
            serves_media: true,
            instance_id: "abcdef".to_owned(),
            shutdown: shutdown.clone(),
        };
        change(&mut parts);
        Fixture { router: shoal::api::router(parts), store, world, shutdown, dir }
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, text }
    }

    /// Sends a request with the admin token.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call_with(method, path, body, &[]).await
    }

    pub async fn call_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.send(request(method, path, body, headers)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Adds a server with that serial number.
    pub async fn add_server(&self, serial: &str) {
        self.post("/api/v1/servers", server_json(serial)).await.ok(201);
    }

    /// Asks for a job and moves time on, so that the next job is a newer one.
    pub async fn add_job(&self, serial: &str) -> String {
        let job = self.post("/api/v1/jobs", recipe(serial)).await.ok(202);
        tokio::time::advance(Duration::from_millis(10)).await;
        job["job_id"].as_str().unwrap().to_owned()
    }

    pub async fn claim(&self) -> (Lease, shoal::domain::Job) {
        let claimed = self.store.claim("test", self.world.clock.now(), Duration::from_secs(60), 1).await;
        claimed.unwrap().pop().expect("a job is due")
    }

    /// Plays the engine's part: the next due job goes to the end with that status.
    pub async fn end_job(&self, status: Status, events: Vec<NewEvent>) {
        let (lease, job) = self.claim().await;
        let now = self.world.clock.now();
        let mut update = Job { last_update: now, ..job.clone() };
        update.status = status;
        update.cursor = Cursor { phase: Phase::Done, ..Cursor::enter(Phase::Done, Step::CleanupReset, now) };
        update.finished_at = Some(now);
        self.store.save(&lease, &update, events).await.unwrap();
    }
}

/// What tokens are judged by, with limits that no other test comes near.
pub fn tokens(store: &Store, world: &World) -> Arc<Tokens> {
    let much = NonZeroU32::new(1_000_000).unwrap();
    let limits = Limits::new(Rates { failures_per_minute: much, writes_per_minute: much });
    let (store, clock) = (store.clone(), world.clock.clone());
    Arc::new(Tokens { store, clock, limits: Arc::new(limits), oidc: None, revocations: Default::default() })
}

/// Makes the store know a token with that text.
pub fn keep_token(store: &Store, world: &World, name: &str, role: Role, text: &str) -> TokenRecord {
    let new = NewToken {
        id: shoal::api::new_token_id(&world.rng),
        name: name.to_owned(),
        role,
        origin: TokenOrigin::Created,
        expires_at: None,
        created_at: world.clock.now(),
        created_by: "test".to_owned(),
    };
    // A store in memory works inline.
    store.insert_token(new, text).now_or_never().expect("nothing waits").unwrap()
}

pub fn request(method: Method, path: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    request = request.header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match body {
        Some(body) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap(),
        None => request.body(Body::empty()).unwrap(),
    }
}

pub fn server_json(serial: &str) -> Value {
    json!({
        "serial": serial,
        "bmc_address": "https://10.0.0.5",
        "bmc_username": "root",
        "bmc_password": "hunter2-calvin",
    })
}

pub fn recipe(serial: &str) -> Value {
    json!({"task_target": "install-esxi.target", "server_serial": serial, "ks_cfg": KICKSTART})
}

pub fn serial(text: &str) -> Serial {
    text.parse().unwrap()
}
