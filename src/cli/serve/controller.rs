//! One running controller: its parts put together, started, and stopped.
//!
//! It reads no arguments and handles no signals, so that another command can run one inside itself.
//! Invariant: what [`start`] has returned is listening and drives jobs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use metrics_exporter_prometheus::{BuildError, PrometheusHandle};
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::listen::{self, Bound, ListenError, OnRefused, Server};
use super::media_base::MediaBases;
use super::token::{self, AdminToken, TokenFileError};
use super::{check, disks, installer_version, release};
use crate::api::{self, Access, ApiParts, Hooks, KickstartCheck, Limits, MetricsAccess, Rates, Tokens};
use crate::config::{Config, RateSettings};
use crate::doctor::Checker;
use crate::engine::{Engine, EngineSettings, LeaseTerms};
use crate::flow::{Services, WorkflowConfig};
use crate::media::{CacheError, InstallerCache, InstallerSource, Media};
use crate::oidc::Oidc;
use crate::release::Releaser;
use crate::seal::{self, KeyError};
use crate::store::{LockedDatabase, OwnSecret, Store, StoreError};
use shoal_base::UrlSecrets;
use shoal_base::world::{World, real_transport};
use shoal_redfish::BmcPool;

/// How often old samples of metrics are put away.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How often the database and its files are checked.
const DATABASE_CHECK_EVERY: Duration = Duration::from_secs(20);
/// What a stop may take beyond the time for requests in flight.
const STOP_MARGIN: Duration = Duration::from_secs(2);

/// Why a controller does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Token(#[from] TokenFileError),
    #[error(transparent)]
    Cache(#[from] CacheError),
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
    shutdown: CancellationToken,
    /// Cancelled when a part has ended that never should.
    broken: CancellationToken,
    servers: Vec<Server>,
    engine: JoinHandle<()>,
    housekeeping: JoinHandle<()>,
    chores: JoinHandle<()>,
}

/// Starts a controller. The metrics recorder is the process's, so a process has one controller.
pub async fn start(config: Config, world: World) -> Result<Controller, ServeError> {
    let world = match config.extra_roots.as_slice() {
        [] => world,
        roots => World { transport: real_transport(roots), ..world },
    };
    make_dir("DB_URL", token::directory(&config.database))?;
    let locked = LockedDatabase::lock(&config.database)?;
    let keys = seal::load_or_create(&config.master_key, &config.database, locked.is_new(), &world.rng)?;
    let store = Store::open_locked(locked, keys)?;
    make_private_dir("TASK_ISO_DIR", &config.task_iso_dir)?;
    if let Err(error) = rlimit::increase_nofile_limit(OPEN_FILES) {
        tracing::warn!(%error, "the limit of open files cannot be raised: connections may be refused");
    }
    let admin = token::admin_token(&config.auth, &config.database, &store, &world).await?;
    let bound = listen::bind(&config.listen).await?;
    let metrics = api::install_recorder(world.clock.now())?;

    let parts = Parts {
        instance_id: world.rng.hex(16),
        hook_key: *store.own_secret(OwnSecret::Hook).await?,
        media: Media::bound(
            world.clock.clone(),
            *store.own_secret(OwnSecret::Media).await?,
            store.clone(),
            config.media_bind_peer,
        ),
        shutdown: CancellationToken::new(),
        broken: CancellationToken::new(),
        config,
        world,
        store,
        metrics,
    };
    let services = Arc::new(parts.services(&bound)?);
    let engine = parts.engine(services.clone());
    let (url, is_loopback) = (bound.url(), bound.is_loopback());
    let doors = Doors {
        check: check::checker(services.clone()),
        release: release::releaser(services.clone()),
        kickstart: KickstartCheck {
            mode: parts.config.kickstart_lint,
            installer_version: installer_version::lookup(services.clone()),
            disks: disks::reader(services),
        },
    };
    let servers = parts.serve(&engine, doors, &admin, bound);
    if url.scheme() == "http" && !is_loopback {
        tracing::warn!(%url, "without TLS the API's token travels in clear: see TLS_CERT_FILE and MEDIA_ADDR");
    }
    tracing::info!(%url, database = %parts.config.database.display(), "the controller listens");
    let housekeeping = engine.housekeeping();
    let (until, housekeeping_until) = (parts.shutdown.clone(), parts.shutdown.clone());
    Ok(Controller {
        url,
        admin,
        drain_timeout: parts.config.drain_timeout,
        chores: parts.chores(),
        housekeeping: parts
            .supervise("housekeeping", async move { housekeeping.run(housekeeping_until).await }),
        engine: parts.supervise("engine", async move { engine.run(until).await }),
        servers,
        shutdown: parts.shutdown,
        broken: parts.broken,
    })
}

fn make_dir(setting: &'static str, path: &Path) -> Result<(), ServeError> {
    let failed = |source| ServeError::Directory { setting, path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(failed)
}

/// Kickstarts hold passwords: nobody else may look into this directory, nor put anything there.
fn make_private_dir(setting: &'static str, path: &Path) -> Result<(), ServeError> {
    use std::os::unix::fs::PermissionsExt as _;
    make_dir(setting, path)?;
    let private = std::fs::Permissions::from_mode(0o700);
    let failed = |source| ServeError::Directory { setting, path: path.to_owned(), source };
    std::fs::set_permissions(path, private).map_err(failed)
}

/// Connections, BMCs and the database need more than the 1,024 that many systems begin with.
const OPEN_FILES: u64 = 65_536;

/// What the engine and the API share.
struct Parts {
    config: Config,
    world: World,
    store: Store,
    media: Media,
    /// Makes the tokens of installers' hooks.
    hook_key: [u8; 32],
    metrics: PrometheusHandle,
    instance_id: String,
    shutdown: CancellationToken,
    broken: CancellationToken,
}

/// What the API may have done that needs more than the store.
struct Doors {
    check: Checker,
    release: Releaser,
    kickstart: KickstartCheck,
}

impl Parts {
    fn services(&self, bound: &Bound) -> Result<Services, ServeError> {
        let Config { installer, policy, redfish, .. } = &self.config;
        let transport = self.world.transport.clone();
        let bases = MediaBases {
            given: self.config.media_base_url.clone(),
            maintenance: self.config.maintenance_iso_url.clone(),
            listening: bound.media_url(),
            instance_id: self.instance_id.clone(),
            transport: transport.clone(),
        };
        Ok(Services {
            world: self.world.clone(),
            store: self.store.clone(),
            media: self.media.clone(),
            hook_key: self.hook_key,
            bmcs: BmcPool::new(self.world.clone(), redfish.clone()),
            installers: InstallerCache::new(
                installer.cache_dir.clone(),
                installer.cache_bytes_max,
                transport,
            )?,
            policy: policy.clone(),
            setup: WorkflowConfig {
                installer: installer.source.clone(),
                installer_sha256: installer.sha256.clone(),
                delivery: installer.delivery,
                installer_allow: installer.allow.clone(),
                task_iso_dir: self.config.task_iso_dir.clone(),
                task_iso_retention: self.config.task_iso_retention,
                media_base: bases.into_fn(),
                secrets: self.config.bmc_secrets.clone(),
                url_secrets: self.url_secrets(),
            },
        })
    }

    /// Of the URLs that BMCs are given as they stand in the settings.
    fn url_secrets(&self) -> UrlSecrets {
        let installer = match &self.config.installer.source {
            Some(InstallerSource::Url(url)) => Some(url),
            _ => None,
        };
        UrlSecrets::of(installer.into_iter().chain(&self.config.maintenance_iso_url))
    }

    fn engine(&self, services: Arc<Services>) -> Engine {
        let settings = EngineSettings {
            workers: self.config.workers,
            lease: LeaseTerms { ttl: self.config.lease_ttl },
            drain_timeout: self.config.drain_timeout,
        };
        Engine::new(services, settings, self.instance_id.clone())
    }

    fn serve(&self, engine: &Engine, doors: Doors, admin: &AdminToken, bound: Bound) -> Vec<Server> {
        let access = match admin.open {
            true => Access::Open,
            false => Access::Tokens(Arc::new(self.tokens())),
        };
        let media_router =
            api::media_router(&self.media, self.hooks(), access.clone(), self.instance_id.clone());
        let api_router = api::router(ApiParts {
            world: self.world.clone(),
            store: self.store.clone(),
            media: self.media.clone(),
            dry_run: engine.dry_runner(),
            check: doors.check,
            release: doors.release,
            kickstart_check: doors.kickstart,
            access,
            tls: bound.url().scheme() == "https",
            secrets: self.config.bmc_secrets.clone(),
            hooks: self.hooks(),
            webhook_secrets: self.config.webhook_secrets.clone(),
            installer_allow: self.config.installer.allow.clone(),
            writable_dirs: vec![
                ("TASK_ISO_DIR", self.config.task_iso_dir.clone()),
                ("INSTALLER_CACHE_DIR", self.config.installer.cache_dir.clone()),
            ],
            metrics: MetricsAccess { handle: self.metrics.clone(), open: bound.is_loopback() },
            instance_id: self.instance_id.clone(),
            shutdown: self.shutdown.clone(),
        });
        let media = self.media.clone();
        let refused: OnRefused = Arc::new(move |peer, why| media.note_refused(peer, why));
        bound.serve(api_router, media_router, &refused, &self.broken)
    }

    fn tokens(&self) -> Tokens {
        let RateSettings { failures_per_minute, writes_per_minute } = self.config.rates;
        Tokens {
            store: self.store.clone(),
            clock: self.world.clock.clone(),
            limits: Arc::new(Limits::new(Rates { failures_per_minute, writes_per_minute })),
            oidc: self.config.oidc.clone().map(|settings| Arc::new(Oidc::new(settings, &self.world))),
            revocations: Default::default(),
        }
    }

    fn hooks(&self) -> Hooks {
        Hooks { store: self.store.clone(), clock: self.world.clock.clone(), key: self.hook_key }
    }

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

    /// What is done now and then, beside the engine.
    fn chores(&self) -> JoinHandle<()> {
        let (metrics, store) = (self.metrics.clone(), self.store.clone());
        tokio::spawn(async move {
            let upkeep = async {
                loop {
                    tokio::time::sleep(UPKEEP_EVERY).await;
                    metrics.run_upkeep();
                }
            };
            tokio::join!(upkeep, watch_database(&store));
        })
    }
}

/// Says when the database cannot be relied on, also while nothing is written.
async fn watch_database(store: &Store) {
    loop {
        tokio::time::sleep(DATABASE_CHECK_EVERY).await;
        if let Err(error) = store.check().await {
            tracing::error!(%error, "the database cannot be relied on: no job is accepted or driven");
        }
    }
}

impl Controller {
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The admin token; `None` where everybody on this machine is let in, or an admin has put others in
    /// its place.
    pub fn token(&self) -> Option<&SecretString> {
        self.admin.token.as_ref()
    }

    /// What the operator who started it needs to know.
    pub fn greeting(&self) -> String {
        let url = self.url.as_str().trim_end_matches('/');
        match (&self.admin.token, &self.admin.file) {
            _ if self.admin.open => format!("listening on {url}, for everybody on this machine"),
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
        let parts = join_all([self.engine, self.housekeeping]);
        if tokio::time::timeout_at(deadline + STOP_MARGIN, parts).await.is_err() {
            tracing::warn!("the engine has not ended in time; jobs go on at the next start");
        }
        let rest = deadline.saturating_duration_since(Instant::now());
        join_all(self.servers.into_iter().map(|server| server.stop(rest))).await;
    }
}
