//! A whole site in one process: the real engine, flow, store, media server and Redfish client,
//! and simulated BMCs, over in-process routers under paused time.
//!
//! It holds no test. A controller can be crashed at any moment and started anew on what the store
//! kept; the network to any host can be cut.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use jiff::Timestamp;
use serde_json::{Value, json};
use shoal::api::{Access, Hooks, media_router};
use shoal::domain::{Job, JobId, NewEvent, Phase, Serial, Server, parse_recipe};
use shoal::engine::{Engine, EngineSettings, LeaseTerms, Retention, followed_media};
use shoal::flow::policy::{Delivery, Policy};
use shoal::flow::{Services, WorkflowConfig};
use shoal::media::{HostedImages, InstallerCache, InstallerSource, IsoFiles, Media, NewImage};
use shoal::registry::{Registries, RegistrySettings, WantedImage};
use shoal::seal::Sealer;
use shoal::store::{Inserted, NewJob, Sqlite, Store, StoreError};
use shoal_base::world::{Clock, Rng, Secrets, TlsPolicy, Transport, World};
use shoal_base::{Password, UrlPrefixes, UrlSecrets};
use shoal_image::iso::{ReadAt, SparseImage};
use shoal_recipe::{ImageLocation, ImageName};
use shoal_redfish::{BmcPool, Limits, Quirk};
use shoal_sim::{
    Fault, Network, Persona, SimBmc, SimConfig, Timings, standin_installer, standin_maintenance,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

// The path is said for the figures, which include this file by its own.
#[path = "site/controller.rs"]
mod controller;

pub use controller::Controller;
use controller::{follow_clock, while_running};

/// Where the controller's media are reached.
pub const CONTROLLER: &str = "controller.test";
pub const HOOK_KEY: [u8; 32] = [5; 32];
/// No job of these tests takes so long, in simulated time.
const WAIT_MAX: Duration = Duration::from_secs(12 * 3600);

/// The stand-in installer, made once for all sites of a test.
static INSTALLER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let plain = standin_installer();
    let mut bytes = vec![0; plain.size() as usize];
    plain.read_at(0, &mut bytes).unwrap();
    bytes
});

static MAINTENANCE: LazyLock<SparseImage> = LazyLock::new(|| standin_maintenance("quiet"));

/// Of the image that the Linux jobs install.
pub const IMAGE_SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

pub struct Site {
    pub world: World,
    pub network: Network,
    pub database: Sqlite,
    /// The same, as a controller has it.
    pub store: Store,
    pub machines: Vec<SimBmc>,
    pub policy: Policy,
    /// Quirks that the Redfish client does not believe.
    pub quirks_off: Vec<Quirk>,
    /// Jobs driven in parallel.
    pub workers: usize,
    /// Beside other controllers, the media of their jobs too.
    pub serves_media: bool,
    pub drain_timeout: Duration,
    pub setup: Box<dyn Fn(&mut WorkflowConfig)>,
    pub registries: RegistrySettings,
    pub retention: Retention,
    pub dir: tempfile::TempDir,
    controller: Option<Controller>,
    jobs_made: u64,
}

/// A lease of these controllers.
pub const LEASE: LeaseTerms = LeaseTerms { ttl: Duration::from_secs(60) };

impl Site {
    /// Machines as configured, all in the inventory, and no controller yet.
    pub async fn new(seed: u64, machines: Vec<SimConfig>) -> Site {
        let network = Network::default();
        let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
        let world = World { clock, rng: Rng::from_seed(seed), transport: network.transport() };
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("esxi.iso"), INSTALLER.as_slice()).unwrap();
        std::fs::create_dir(dir.path().join("task-isos")).unwrap();
        let database = Sqlite::in_memory(Sealer::new([7; 32])).unwrap();
        let mut site = Site {
            world,
            network,
            store: database.clone().into(),
            database,
            machines: Vec::new(),
            // The stand-in installs in ten seconds.
            policy: Policy {
                boot_timeout: Duration::from_secs(900),
                proof_floor: Duration::from_secs(1),
                ..Policy::default()
            },
            quirks_off: Vec::new(),
            workers: 1000,
            serves_media: true,
            drain_timeout: Duration::from_secs(20),
            setup: Box::new(|_| {}),
            registries: RegistrySettings::default(),
            retention: Retention::default(),
            dir,
            controller: None,
            jobs_made: 0,
        };
        for config in machines {
            site.add(config).await;
        }
        site
    }

    pub async fn add(&mut self, config: SimConfig) {
        let authority = format!("bmc{}.test", self.machines.len());
        let server = record(&config, &authority);
        let machine = SimBmc::start(self.world.clone(), config);
        self.network.add_bmc(&authority, &machine);
        self.machines.push(machine);
        self.store.insert_server(&server).await.unwrap();
    }

    pub fn serial(&self, machine: usize) -> Serial {
        self.machines[machine].state().serial.parse().unwrap()
    }

    pub fn task_iso_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("task-isos")
    }

    /// Names of the files in TASK_ISO_DIR.
    pub fn task_isos(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.task_iso_dir()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Starts a controller on what the store holds.
    pub fn start(&mut self) {
        self.start_over(self.world.transport.clone());
    }

    /// The same with a network of its own, which a test may break.
    pub fn start_over(&mut self, transport: Transport) {
        self.start_on(self.store.clone(), transport);
    }

    /// The same with a hand of its own on the store too.
    pub fn start_on(&mut self, store: Store, transport: Transport) {
        assert!(self.controller.is_none(), "one controller at a time");
        let controller = self.controller("controller", store, transport);
        self.serve_media_of(&controller);
        self.controller = Some(controller);
    }

    /// Starts a controller of that name with its own hand on the store and its own way to the
    /// network, beside any other; it does not serve its media yet.
    pub fn controller(&self, name: &str, store: Store, transport: Transport) -> Controller {
        // A process reads the machine's clock at its start; machines go by their own.
        let clock = self.world.clock.restarted();
        let mut rng = self.world.rng.clone();
        if store.is_shared() {
            clock.follow(self.world.clock.now());
            rng = rng.child(&format!("{name} {}", self.world.rng.u64()));
        }
        let world = World { transport, clock: clock.clone(), rng };
        let media = Media::new(world.clock.clone(), [9; 32], store.clone());
        let hooks = Hooks { store: store.clone(), clock: world.clock.clone(), key: HOOK_KEY };
        let limits = Limits {
            timeout: Duration::from_secs(30),
            insert_timeout: Duration::from_secs(900),
            retries: 2,
            per_bmc: 1,
            quirks_off: self.quirks_off.clone(),
        };
        let mut services = Services {
            bmcs: BmcPool::new(world.clone(), limits),
            installers: InstallerCache::new(self.dir.path().join("cache"), 1 << 30, world.transport.clone())
                .unwrap(),
            store,
            media: media.clone(),
            hook_key: HOOK_KEY,
            iso_files: IsoFiles::default(),
            images: Arc::new(self.images()),
            registries: Registries::new(world.transport.clone(), self.registries.clone()),
            policy: self.policy.clone(),
            setup: self.setup(),
            world,
        };
        if services.store.is_shared() {
            services.setup.task_iso_dir = self.own_task_iso_dir(name);
        }
        let settings =
            EngineSettings { workers: self.workers, lease: LEASE, drain_timeout: self.drain_timeout };
        let services = Arc::new(services);
        let follows = self.serves_media && services.store.is_shared();
        if follows {
            followed_media::follow(&services);
        }
        let engine = Engine::new(services.clone(), settings, name.to_owned());
        let shutdown = CancellationToken::new();
        let until = shutdown.clone();
        let housekeeping = engine.housekeeping(self.retention.clone());
        let (process, database_clock) = (clock.clone(), self.world.clock.clone());
        let run = async move {
            let followed = async {
                if follows {
                    followed_media::run(services.clone(), until.clone()).await;
                }
            };
            let clock = until.run_until_cancelled(follow_clock(&services, database_clock));
            tokio::join!(engine.run(until.clone()), housekeeping.run(until.clone()), followed, clock);
        };
        let run = tokio::spawn(while_running(process, run));
        Controller { media, clock, hooks, run, shutdown }
    }

    /// Each machine has a directory of its own.
    fn own_task_iso_dir(&self, name: &str) -> std::path::PathBuf {
        let directory = self.dir.path().join(format!("task-isos-of-{name}"));
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// BMCs are given media by https, which some want.
    pub fn give_media_by_https(&mut self) {
        let base: url::Url = format!("https://{CONTROLLER}").parse().unwrap();
        self.setup = Box::new(move |setup| {
            let base = base.clone();
            setup.media_base = Arc::new(move |_| {
                let base = base.clone();
                Box::pin(async move { Ok(base) })
            });
        });
    }

    /// The address that BMCs were given leads to this controller from now on.
    pub fn serve_media_of(&self, controller: &Controller) {
        let (media, hooks) = (&controller.media, controller.hooks.clone());
        self.network.add(CONTROLLER, media_router(media, hooks, Access::Closed, "test".to_owned()));
    }

    /// The address leads to each of these controllers by turns, as a balancer without affinity does.
    pub fn serve_media_by_turns(&self, controllers: &[&Controller]) {
        let routers: Vec<Router> = controllers
            .iter()
            .map(|one| media_router(&one.media, one.hooks.clone(), Access::Closed, "test".to_owned()))
            .collect();
        let turn = Arc::new(AtomicUsize::new(0));
        let balancer = Router::new().fallback(move |request: Request| {
            let next = turn.fetch_add(1, Ordering::SeqCst) % routers.len();
            routers[next].clone().oneshot(request)
        });
        self.network.add(CONTROLLER, balancer);
    }

    /// What is hosted, as a controller that starts now finds it.
    pub fn images(&self) -> HostedImages {
        HostedImages::new(self.dir.path().join("images"), 1 << 30, self.world.clone()).unwrap()
    }

    /// Adds an image to those that are hosted; returns its SHA-256.
    pub async fn add_image(&self, bytes: &[u8], name: &str) -> String {
        let images = Arc::new(self.images());
        let mut incoming = images.begin(None).await.unwrap();
        incoming.append(bytes.to_vec().into()).await.unwrap();
        let new = NewImage { name: ImageName::parse(name), ..NewImage::default() };
        incoming.finish(new).await.unwrap().image.sha256
    }

    fn setup(&self) -> WorkflowConfig {
        let mut setup = WorkflowConfig {
            installer: Some(InstallerSource::File(self.dir.path().join("esxi.iso"))),
            installer_sha256: None,
            delivery: Delivery::Auto,
            installer_allow: UrlPrefixes::default(),
            maintenance_iso: Some(InstallerSource::File(self.dir.path().join("maintenance.iso"))),
            own_pin: Arc::new(|| None),
            task_iso_dir: self.task_iso_dir(),
            task_iso_retention: Duration::ZERO,
            media_base: Arc::new(|_| Box::pin(async { Ok(format!("http://{CONTROLLER}").parse().unwrap()) })),
            secrets: Secrets::default(),
            url_secrets: UrlSecrets::default(),
        };
        (self.setup)(&mut setup);
        setup
    }

    /// As `kill -9`: whatever was going on is gone immediately, and no media are served.
    pub async fn crash(&mut self) {
        self.controller.take().expect("a controller runs").die().await;
        self.clear_away();
    }

    /// Removes what the death of a controller leaves that was started separately.
    pub fn clear_away(&mut self) {
        self.serve_no_media();
        self.set_database(self.database.reopen().unwrap());
    }

    /// What the next controller starts on.
    pub fn set_database(&mut self, database: Sqlite) {
        self.store = database.clone().into();
        self.database = database;
    }

    pub async fn shut_down(&mut self) {
        self.controller.take().expect("a controller runs").shut_down().await;
        self.serve_no_media();
    }

    pub fn serve_no_media(&self) {
        self.network.remove(CONTROLLER);
    }

    /// Puts a maintenance ISO where the controllers look for theirs.
    pub fn write_maintenance_iso(&self, image: &SparseImage) {
        let file = std::fs::File::create(self.dir.path().join("maintenance.iso")).unwrap();
        image.write_to(&file).unwrap();
    }

    /// The stand-in.
    pub fn write_standin_maintenance(&self) {
        self.write_maintenance_iso(&MAINTENANCE);
    }

    /// Submits a Linux job, changed by `with`.
    pub async fn submit_linux(&mut self, machine: usize, with: Value) -> JobId {
        self.try_submit_linux(machine, with).await.unwrap()
    }

    /// The same, where the server may have an active job.
    pub async fn try_submit_linux(&mut self, machine: usize, with: Value) -> Result<JobId, StoreError> {
        let serial = self.serial(machine);
        let recipe = json!({
            "task_target": "install-linux.target",
            "server_serial": serial,
            "target_disk": { "serial": "DISK0001" },
            "image": { "url": "https://images.test/linux.raw.zst", "sha256": IMAGE_SHA256 },
        });
        self.submit_recipe(serial, recipe, with).await
    }

    /// Submits the contract's recipe, changed by `with`.
    pub async fn submit(&mut self, machine: usize, with: Value) -> JobId {
        self.try_submit(machine, with).await.unwrap()
    }

    /// The same, where the server may have an active job.
    pub async fn try_submit(&mut self, machine: usize, with: Value) -> Result<JobId, StoreError> {
        self.submit_to(self.serial(machine), with).await
    }

    /// The same of any record.
    pub async fn submit_to(&mut self, serial: Serial, with: Value) -> Result<JobId, StoreError> {
        let recipe = json!({
            "task_target": "install-esxi.target",
            "server_serial": serial,
            "ks_cfg": "vmaccepteula\ninstall --firstdisk --overwritevmfs\nreboot\n",
        });
        self.submit_recipe(serial, recipe, with).await
    }

    async fn submit_recipe(
        &mut self,
        serial: Serial,
        mut recipe: Value,
        with: Value,
    ) -> Result<JobId, StoreError> {
        for (key, value) in with.as_object().into_iter().flatten() {
            recipe[key] = value.clone();
        }
        let mut spec = parse_recipe(recipe.as_object().unwrap(), &serial).unwrap();
        if let Some(spec) = spec.maintenance_mut()
            && let ImageLocation::Oci(reference) = &spec.recipe.image.location
        {
            let registries = Registries::new(self.world.transport.clone(), self.registries.clone());
            let is_archive = spec.recipe.partition_layout.is_some();
            let wanted = WantedImage { platform: "linux/amd64", is_archive };
            spec.registry_image = Some(registries.resolve(reference, wanted).await.unwrap());
        }
        self.jobs_made += 1;
        let now = self.world.clock.now();
        let mut random = [0; 10];
        self.world.rng.child(&format!("job {}", self.jobs_made)).fill(&mut random);
        let new = NewJob {
            id: JobId::new(now.as_millisecond().unsigned_abs(), random),
            server: serial,
            task_target: recipe["task_target"].as_str().unwrap().to_owned(),
            spec,
            recipe,
            retry_of: None,
            created_at: now,
            events: Vec::new(),
        };
        match self.store.insert_job(new, None).await? {
            Inserted::New(job) => Ok(job.id),
            Inserted::Repeated { .. } => unreachable!("no idempotency key was given"),
        }
    }

    pub async fn job(&self, id: JobId) -> Job {
        self.store.job(id).await.unwrap().expect("the job was submitted")
    }

    /// Until the job's cleanup is over.
    pub async fn settle(&self, id: JobId) -> Job {
        self.until(id, |job| job.cursor.phase == Phase::Done).await
    }

    /// Until the job is as `wanted`.
    pub async fn until(&self, id: JobId, wanted: impl Fn(&Job) -> bool) -> Job {
        let deadline = tokio::time::Instant::now() + WAIT_MAX;
        let mut events = self.store.latest_event();
        loop {
            let job = self.job(id).await;
            if wanted(&job) {
                return job;
            }
            assert!(tokio::time::Instant::now() < deadline, "stuck: {job:#?}\n{}", self.story(id).await);
            let _ = tokio::time::timeout(Duration::from_secs(10), events.changed()).await;
        }
    }

    pub async fn events(&self, id: JobId) -> Vec<NewEvent> {
        let filter = shoal::store::EventFilter { job: Some(id), after: 0, limit: 1000, ..Default::default() };
        self.store.events(&filter).await.unwrap().into_iter().map(|event| event.event).collect()
    }

    /// The job's events, a line each, for a failing test.
    pub async fn story(&self, id: JobId) -> String {
        let events = self.events(id).await;
        let start = events.first().map_or(Timestamp::UNIX_EPOCH, |event| event.time);
        let line = |event: &NewEvent| {
            let secs = event.time.duration_since(start).as_secs_f64();
            format!(
                "{secs:9.3} {:?} {} {:?} {} {}\n",
                event.level, event.op, event.status, event.message, event.detail
            )
        };
        events.iter().map(line).collect()
    }
}

/// The inventory's record of a machine whose BMC is behind that authority.
pub fn record(config: &SimConfig, authority: &str) -> Server {
    Server {
        serial: config.serial.parse().unwrap(),
        bmc_address: format!("https://{authority}").parse().unwrap(),
        bmc_username: config.username.clone(),
        bmc_password: Password::new(config.password.clone()),
        tls: TlsPolicy::Insecure,
        system_id: None,
        system_uuid: None,
        management_address: None,
        protected: false,
        labels: Default::default(),
        variables: Default::default(),
    }
}

/// Whether a BMC of this make takes images by https alone.
pub fn https_only(persona: &Persona) -> bool {
    !persona.media.protocols.contains(&"HTTP")
}

/// A machine as it comes, off.
pub fn machine(faults: Vec<Fault>) -> SimConfig {
    SimConfig {
        serial: "SIM0001".to_owned(),
        username: "admin".to_owned(),
        password: "a password of this test".to_owned(),
        timings: Timings::default(),
        power_on: false,
        previous: None,
        persona: Persona::default(),
        faults,
    }
}
