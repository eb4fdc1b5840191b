//! One running controller: its parts put together, started, and stopped.
//!
//! It reads no arguments and handles no signals, so that another command can run one inside itself.
//!
//! What must come before what, and why:
//!
//! | first | then | because |
//! |---|---|---|
//! | the database, with the lock of a file | anything that writes | a second controller of a file must stop before it touches a file of the first |
//! | the master key | the store | sealed columns cannot be read without it |
//! | the listeners are bound | services and engine | a taken port ends the start while nothing has happened; media URLs need the port |
//! | everything is built | the listeners serve | no request meets half a controller |
//! | the listeners serve | the engine drives | a BMC fetches as soon as it is asked to insert |
//!
//! A stop goes the other way: the engine first, and the listeners last, since a BMC may be fetching. A crash at any
//! moment leaves the same as a stop without the waiting: locks go with the process, jobs resume from the store.
//!
//! Invariant: what [`start`] has returned is listening and drives jobs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::join_all;
use metrics_exporter_prometheus::{BuildError, PrometheusHandle};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::chores::{chores, meet_clock};
use super::database::OpenError;
use super::listen::{self, Bound, ListenError, OnRefused, Serving};
use super::media_base::MediaBases;
use super::token::{self, AdminToken, TokenFileError};
use super::{check, database, disks, inspect, installer_version, release, self_test};
use crate::api::{
    self, Access, ApiParts, Hooks, KickstartCheck, Limits, MetricsAccess, Rates, SelfTests, Tokens,
};
use crate::config::{Config, ListenSettings, RateSettings};
use crate::engine::{Engine, EngineSettings, LeaseTerms, followed_media};
use crate::flow::{OwnPin, Services, WorkflowConfig};
use crate::media::{
    CacheError, HostedImages, ImageError, InstallerCache, InstallerSource, IsoFiles, Media, MediaFirst,
};
use crate::oidc::{CodeFlow, Oidc};
use crate::registry::Registries;
use crate::seal::Sealer;
use crate::store::{OwnSecret, Store, StoreError};
use crate::ui::{self, UiParts};
use shoal_base::world::{World, real_transport};
use shoal_base::{UrlSecrets, hex, with_causes};
use shoal_redfish::BmcPool;

/// What a stop may take beyond the time for requests in flight.
const STOP_MARGIN: Duration = Duration::from_secs(2);

/// Why a controller does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Token(#[from] TokenFileError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Images(#[from] ImageError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot make the directory {} ({setting})", .path.display())]
    Directory {
        setting: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot record metrics")]
    Metrics(#[from] BuildError),
    #[error("a part of the controller broke; the log says which")]
    Broken,
}

/// A controller that runs.
pub struct Controller {
    url: Url,
    admin: AdminToken,
    drain_timeout: Duration,
    store: Store,
    shutdown: CancellationToken,
    /// Cancelled when a part has ended that never should.
    broken: CancellationToken,
    servers: Vec<Serving>,
    engine: JoinHandle<()>,
    /// The other tasks.
    others: Vec<JoinHandle<()>>,
    chores: JoinHandle<()>,
}

/// Starts a controller, in the order in which the parts need one another: the database, then what everything is
/// reached through, then services, engine and routes. Nothing is served before everything stands. The metrics
/// recorder is the process's, so a process has one controller.
pub async fn start(config: Config, world: World) -> Result<Controller, ServeError> {
    // Certificates of private authorities count for every outbound connection.
    let world = match config.extra_roots.as_slice() {
        [] => world,
        roots => World { transport: real_transport(roots), ..world },
    };
    let store = database::open(&config, &world).await?;
    meet_clock(&store, &world.clock).await?;
    make_private_dir("TASK_ISO_DIR", &config.task_iso_dir)?;
    if let Some(directory) = &config.retention.audit_dir {
        make_private_dir("AUDIT_EXPORT_DIR", directory)?;
    }
    if let Err(error) = rlimit::increase_nofile_limit(OPEN_FILES) {
        tracing::warn!(%error, "the limit of open files cannot be raised: connections may be refused");
    }
    let admin = token::admin_token(&config.auth, database::token_dir(&config), &store, &world).await?;
    let bound = listen::bind(&config.listen).await?;
    let process = Process {
        metrics: api::install_recorder(world.clock.now())?,
        instance_id: instance_id(&store).await?,
        owner: world.rng.hex(16),
        shutdown: CancellationToken::new(),
        broken: CancellationToken::new(),
        self_tests: SelfTests::default(),
    };

    let services = Arc::new(services(&config, world, store, &bound, &process.instance_id).await?);
    if services.store.is_shared() && config.roles.media {
        followed_media::follow(&services);
    }
    let engine = engine(&config, services.clone(), &process);
    let access = access(&config, &services, &admin);
    let (media, hooks) = (&services.media, hooks(&services));
    let media_router = api::media_router(media, hooks, access.clone(), process.instance_id.clone());
    let api_router = api::router(api_parts(&config, &services, &engine, access.clone(), &bound, &process));
    let pages = ui::router(ui_parts(&config, &services, api_router.clone(), access, &bound, &process).await?);
    let api_router = if config.roles.api { api_router.merge(pages) } else { api_router };

    let (url, is_loopback) = (bound.url(), bound.is_loopback());
    let api_service = match config.roles.media {
        true => api::media_first(media, url.scheme() == "https", api_router),
        false => MediaFirst::without_media(api_router),
    };
    let media_service = api::media_first(media, false, media_router);
    // From here on requests are answered; the engine starts below, with the tasks of the controller.
    let servers = bound.serve(api_service, media_service, &on_refused(&services), &process.broken);
    if url.scheme() == "http" && !is_loopback {
        tracing::warn!(%url, "without TLS the API's token travels in clear: see TLS_CERT_FILE and MEDIA_ADDR");
    }
    tracing::info!(%url, database = %config.database, "the controller listens");
    let (engine, others) = tasks(&config, &services, engine, &process).await?;
    Ok(Controller {
        url,
        admin,
        drain_timeout: config.drain_timeout,
        store: services.store.clone(),
        chores: chores(process.metrics.clone(), services.store.clone(), services.world.clock.clone()),
        engine,
        others,
        servers,
        shutdown: process.shutdown,
        broken: process.broken,
    })
}

/// The tasks of the controller, each until the shutdown: the engine, and the others.
async fn tasks(
    config: &Config,
    services: &Arc<Services>,
    engine: Engine,
    process: &Process,
) -> Result<(JoinHandle<()>, Vec<JoinHandle<()>>), StoreError> {
    let until = || process.shutdown.clone();
    let (housekeeping, stop) = (engine.housekeeping(config.retention.clone()), until());
    let (given, results) = (config.media_base_url.clone(), process.self_tests.clone());
    let mut others = vec![
        process.supervise("housekeeping", async move { housekeeping.run(stop).await }),
        process.supervise("self-tests", self_test::run(services.clone(), given, results, until())),
    ];
    if services.store.is_shared() && config.roles.media {
        let follower = followed_media::run(services.clone(), until());
        others.push(process.supervise("media of other controllers", follower));
    }
    if !config.roles.worker {
        return Ok((process.supervise("engine", std::future::ready(())), others));
    }
    services.store.set_notifying(config.notify.is_some()).await?;
    if let Some(settings) = config.notify.clone() {
        let notifier = api::Notifier::new(services.store.clone(), services.world.clone(), settings);
        let stop = until();
        others.push(process.supervise("notifications", async move { notifier.run(stop).await }));
    }
    let stop = until();
    Ok((process.supervise("engine", async move { engine.run(stop).await }), others))
}

/// What shows that a request has come to a controller of this database: it follows from a secret of the database, so
/// that each of several controllers behind one address has the same.
async fn instance_id(store: &Store) -> Result<String, StoreError> {
    let secret = store.own_secret(OwnSecret::Media).await?;
    let hash = Sha256::new().chain_update("shoal instance id").chain_update(secret.as_slice()).finalize();
    Ok(hex(&hash[..16]))
}

/// Kickstarts hold passwords: only the controller's own user may read or write this directory.
fn make_private_dir(setting: &'static str, path: &Path) -> Result<(), ServeError> {
    use std::os::unix::fs::PermissionsExt as _;
    let private = std::fs::Permissions::from_mode(0o700);
    let failed = |source| ServeError::Directory { setting, path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(failed)?;
    std::fs::set_permissions(path, private).map_err(failed)
}

/// Connections, BMCs and the database need more than the 1,024 that many systems begin with.
const OPEN_FILES: u64 = 65_536;

/// What all parts of this run of the controller share.
struct Process {
    metrics: PrometheusHandle,
    /// Of the database, and so of every controller on it.
    instance_id: String,
    /// Names this process in leases.
    owner: String,
    shutdown: CancellationToken,
    broken: CancellationToken,
    self_tests: SelfTests,
}

impl Process {
    /// Runs a part in a task of its own. The controller is broken once the part has panicked.
    fn supervise(
        &self,
        name: &'static str,
        part: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let broken = self.broken.clone();
        tokio::spawn(async move {
            if let Err(error) = tokio::spawn(part).await {
                tracing::error!(%error, part = name, "a part of the controller panicked");
                broken.cancel();
            }
        })
    }
}

async fn services(
    config: &Config,
    world: World,
    store: Store,
    bound: &Bound,
    instance_id: &str,
) -> Result<Services, ServeError> {
    let Config { installer, policy, redfish, .. } = config;
    let transport = world.transport.clone();
    let hook_key = *store.own_secret(OwnSecret::Hook).await?;
    let media_key = *store.own_secret(OwnSecret::Media).await?;
    let bases = MediaBases {
        given: config.media_base_url.clone(),
        maintenance: remote(&config.maintenance_iso).cloned(),
        listening: bound.media_url(),
        instance_id: instance_id.to_owned(),
        transport: transport.clone(),
    };
    Ok(Services {
        media: Media::with(world.clock.clone(), media_key, store.clone(), config.media),
        hook_key,
        bmcs: BmcPool::new(world.clone(), redfish.clone()),
        registries: Registries::new(transport.clone(), config.registries.clone()),
        installers: InstallerCache::new(installer.cache_dir.clone(), installer.cache_bytes_max, transport)?,
        iso_files: IsoFiles::default(),
        images: Arc::new(HostedImages::new(
            config.images.dir.clone(),
            config.images.bytes_max,
            world.clone(),
        )?),
        policy: policy.clone(),
        setup: WorkflowConfig {
            installer: installer.source.clone(),
            installer_sha256: installer.sha256.clone(),
            delivery: installer.delivery,
            installer_allow: installer.allow.clone(),
            maintenance_iso: config.maintenance_iso.clone(),
            own_pin: own_pin(&config.listen),
            task_iso_dir: config.task_iso_dir.clone(),
            task_iso_retention: config.task_iso_retention,
            media_base: bases.into_fn(),
            secrets: config.bmc_secrets.clone(),
            url_secrets: url_secrets(config),
        },
        world,
        store,
    })
}

/// Of the URLs that BMCs are given as they stand in the settings.
fn url_secrets(config: &Config) -> UrlSecrets {
    UrlSecrets::of(remote(&config.installer.source).into_iter().chain(remote(&config.maintenance_iso)))
}

/// Looks at the file that the certificate is in whenever it is called: that may be replaced at any time.
fn own_pin(settings: &ListenSettings) -> OwnPin {
    let file = settings.tls.as_ref().map(|files| files.cert.clone());
    Arc::new(move || {
        let leaf = CertificateDer::from_pem_file(file.as_ref()?).ok()?;
        Some(Sha256::digest(&leaf).into())
    })
}

/// The URL of a source that has one.
fn remote(source: &Option<InstallerSource>) -> Option<&Url> {
    match source {
        Some(InstallerSource::Url(url)) => Some(url),
        _ => None,
    }
}

fn engine(config: &Config, services: Arc<Services>, process: &Process) -> Engine {
    let settings = EngineSettings {
        workers: config.workers,
        lease: LeaseTerms { ttl: config.lease_ttl },
        drain_timeout: config.drain_timeout,
    };
    Engine::new(services, settings, process.owner.clone())
}

fn access(config: &Config, services: &Services, admin: &AdminToken) -> Access {
    if admin.open {
        return Access::Open;
    }
    let RateSettings { failures_per_minute, writes_per_minute } = config.rates;
    Access::Tokens(Arc::new(Tokens {
        store: services.store.clone(),
        clock: services.world.clock.clone(),
        limits: Arc::new(Limits::new(Rates { failures_per_minute, writes_per_minute })),
        oidc: config.oidc.clone().map(|settings| Arc::new(Oidc::new(settings, &services.world))),
        revocations: Default::default(),
    }))
}

fn hooks(services: &Services) -> Hooks {
    Hooks { store: services.store.clone(), clock: services.world.clock.clone(), key: services.hook_key }
}

async fn ui_parts(
    config: &Config,
    services: &Services,
    api: Router,
    access: Access,
    bound: &Bound,
    process: &Process,
) -> Result<UiParts, ServeError> {
    // Sessions are sealed with keys that follow from the secret behind the tokens: they end where that ends.
    let secret = services.store.own_secret(OwnSecret::Tokens).await?;
    let oidc = match &access {
        Access::Tokens(tokens) => tokens.oidc.clone(),
        Access::Open | Access::Closed => None,
    };
    let code_flow = config
        .sign_in
        .clone()
        .zip(oidc)
        .map(|(settings, oidc)| Arc::new(CodeFlow::new(settings, oidc, &services.world)));
    Ok(UiParts {
        world: services.world.clone(),
        api,
        access,
        sealer: Sealer::new(*secret),
        tls: bound.url().scheme() == "https",
        is_loopback: bound.is_loopback(),
        public_url: config.public_url.clone(),
        code_flow,
        shutdown: process.shutdown.clone(),
    })
}

fn api_parts(
    config: &Config,
    services: &Arc<Services>,
    engine: &Engine,
    access: Access,
    bound: &Bound,
    process: &Process,
) -> ApiParts {
    ApiParts {
        world: services.world.clone(),
        store: services.store.clone(),
        media: services.media.clone(),
        dry_run: engine.dry_runner(),
        check: check::checker(services.clone()),
        release: release::releaser(services.clone()),
        inspect: inspect::inspector(services.clone()),
        kickstart_check: KickstartCheck {
            mode: config.kickstart_lint,
            installer_version: installer_version::lookup(services.clone()),
            disks: disks::reader(services.clone()),
        },
        access,
        tls: bound.url().scheme() == "https",
        secrets: config.bmc_secrets.clone(),
        hooks: hooks(services),
        webhook_secrets: config.webhook_secrets.clone(),
        installer_allow: config.installer.allow.clone(),
        images_allow: config.images_allow.clone(),
        images: services.images.clone(),
        auto_media_bytes_max: config.images.auto_media_bytes_max,
        registries: services.registries.clone(),
        writable_dirs: vec![
            ("TASK_ISO_DIR", config.task_iso_dir.clone()),
            ("INSTALLER_CACHE_DIR", config.installer.cache_dir.clone()),
            ("IMAGES_DIR", config.images.dir.clone()),
        ],
        metrics: MetricsAccess { handle: process.metrics.clone(), open: bound.is_loopback() },
        serves_api: config.roles.api,
        serves_media: config.roles.media,
        instance_id: process.instance_id.clone(),
        shutdown: process.shutdown.clone(),
        self_tests: process.self_tests.clone(),
    }
}

/// Counts the connections of BMCs that come to nothing.
fn on_refused(services: &Services) -> OnRefused {
    let media = services.media.clone();
    Arc::new(move |peer, why| media.note_refused(peer, why))
}

impl Controller {
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The admin token; `None` where the API is open on loopback, or an admin has created other tokens and removed
    /// this one.
    pub fn token(&self) -> Option<&SecretString> {
        self.admin.token.as_ref()
    }

    /// What the operator who started it needs to know.
    pub fn greeting(&self) -> String {
        let url = self.url.as_str().trim_end_matches('/');
        match (&self.admin.token, &self.admin.file) {
            _ if self.admin.open => {
                format!("listening on {url}, without authentication, for this machine only")
            }
            (None, _) => format!("listening on {url}, for the tokens that admins have made"),
            (_, Some(file)) => format!("listening on {url}, admin token in {}", file.display()),
            (_, None) => format!("listening on {url}, admin token as in SHOAL_BOOTSTRAP_TOKEN"),
        }
    }

    /// Until a part has ended that never should.
    pub async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Lets requests in flight end, and leaves the jobs to the next start. The listeners are the last
    /// to go: a BMC may be fetching what it was just asked to insert.
    pub async fn stop(self) {
        tracing::info!("the controller stops");
        let deadline = Instant::now() + self.drain_timeout;
        self.shutdown.cancel();
        self.chores.abort();
        let parts = join_all(self.others.into_iter().chain([self.engine]));
        if tokio::time::timeout_at(deadline + STOP_MARGIN, parts).await.is_err() {
            tracing::warn!("the engine has not ended in time; jobs go on at the next start");
        }
        let rest = deadline.saturating_duration_since(Instant::now());
        join_all(self.servers.into_iter().map(|server| server.stop(rest))).await;
        if let Err(error) = self.store.leave().await {
            tracing::warn!(error = %with_causes(&error), "the other controllers will notice the stop late");
        }
    }
}
