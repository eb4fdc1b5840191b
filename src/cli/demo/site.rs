//! What the demo runs on: a directory, a stand-in installer, a controller, simulated servers.
//!
//! Invariant: nothing leaves the machine, and nothing stays on it: the directory goes with the site.

use std::fs::{DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::screen::DemoScreen;
use super::{DemoArgs, DemoTarget, INSTALL, STABLE_WINDOW, Truth};
use crate::cli::CliError;
use crate::cli::client::{Client, ClientError};
use crate::cli::image::upload;
use crate::cli::serve::{self, Controller};
use crate::cli::sim::{
    Existing, Line, Listener, Tls, machine, media_transport, register, serve as serve_bmc,
};
use crate::config::{ClientArgs, Config, temp_dir};
use shoal_base::hex;
use shoal_base::world::World;
use shoal_sim::{Persona, SimBmc, SimState, Timings, standin_installer, standin_maintenance};

/// The kickstart of every server: that of the documentation.
const KICKSTART: &str = "vmaccepteula\ninstall --firstdisk --overwritevmfs\nreboot\n";

/// The same for a host that has to be off at the end.
const KICKSTART_OFF: &str =
    "vmaccepteula\ninstall --firstdisk --overwritevmfs\nreboot\n%post --interpreter=busybox\npoweroff\n";

/// Of the image for Linux. A simulated host reads and hashes it, and starts nothing of it.
const IMAGE_BYTES: usize = 4 << 20;
const IMAGE_NAME: &str = "debian.raw";

/// For hosts of which nothing but the power is seen. In production 10 minutes.
const MIN_INSTALL_TIME: Duration = Duration::from_secs(15);

/// From its kickstart's read to its `%post` such an install takes at least so long. In production a minute.
const PROOF_FLOOR: Duration = Duration::from_secs(1);

/// Of what a persona does late, which real BMCs do for minutes.
const LATENESS_MAX: Duration = Duration::from_secs(2);

const SUBMITTED_IN_PARALLEL: usize = 8;
/// A host that was reset at the very end still has to boot.
const BOOT_WAIT_MAX: Duration = Duration::from_secs(15);

pub struct Site {
    pub client: Client,
    pub controller: Controller,
    pub servers: Vec<(Line, SimBmc)>,
    pub directory: Directory,
    system: DemoSystem,
    _listening: JoinSet<io::Result<()>>,
}

/// A directory of our own, removed when it is dropped.
pub struct Directory(PathBuf);

impl Directory {
    fn make(world: &World) -> Result<Directory, CliError> {
        let path = temp_dir().join(format!("shoal-demo-{}", world.rng.hex(4)));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| format!("cannot make the directory {}: {error}", path.display()))?;
        Ok(Directory(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn join(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the demo's directory stays");
        }
    }
}

impl Site {
    pub async fn open(args: &DemoArgs, world: &World, screen: &DemoScreen) -> Result<Site, CliError> {
        let directory = Directory::make(world)?;
        let (label, what, path, image) = match args.target {
            DemoTarget::Esxi => ("installer", "VMware's", directory.join("esxi.iso"), standin_installer()),
            DemoTarget::Linux => {
                let image = standin_maintenance("quiet");
                ("maintenance ISO", "Shoal's own", directory.join("maintenance.iso"), image)
            }
        };
        let written = File::create(&path).and_then(|file| image.write_to(&file));
        written.map_err(|error| format!("cannot write {path}: {error}"))?;
        screen.say(label, &format!("a stand-in laid out like {what}, {} bytes: {path}", image.size));

        let tls = args.persona.as_ref().map(|_| Tls::self_signed()).transpose()?;
        let persona = args.persona.clone().unwrap_or_default();
        let settings = settings(&directory, args.target, &path, &persona, tls.as_ref())?;
        let controller = serve::start(settings, world.clone()).await?;
        screen.say(
            "controller",
            &format!("listens on {}, database in {}", controller.url(), directory.path().display()),
        );
        let mut credentials = ClientArgs::new(controller.url().clone(), controller.token().cloned());
        if let Some(tls) = &tls {
            credentials.controller_tls = tls.policy().clone();
        }
        let client = Client::new(&credentials, world)?;

        let system = DemoSystem::open(args.target, &persona, &directory, &client, screen).await?;

        let mut listening = JoinSet::new();
        let servers = start_servers(args, &persona, tls.as_ref(), world, &mut listening)?;
        if let [(first, _), ..] = servers.as_slice() {
            let more = if servers.len() > 1 { " and the following ports" } else { "" };
            let persona = persona.name;
            screen.say(
                "servers",
                &format!(
                    "{} simulated, persona {persona}: {} at {}{more}",
                    servers.len(),
                    first.serial,
                    first.bmc_address
                ),
            );
        }
        Ok(Site { client, controller, servers, directory, system, _listening: listening })
    }

    /// Adds every server to the controller's inventory.
    pub async fn register(&self, screen: &DemoScreen) -> Result<(), CliError> {
        let lines: Vec<Line> = self.servers.iter().map(|(line, _)| line.clone()).collect();
        // The controller is this demo's own, and new.
        register(&self.client, &lines, Existing { replace: false, same_passwords: false }).await?;
        screen.say("POST", &format!("/api/v1/servers: {} in the inventory", self.servers.len()));
        Ok(())
    }

    /// Submits every installation; returns the ids of the jobs.
    pub async fn submit(&self, screen: &DemoScreen) -> Result<Vec<String>, CliError> {
        let submit = async |(line, _): &(Line, SimBmc)| {
            let job = self.client.post(&["jobs"], &[], self.system.recipe(&line.serial)).await?;
            Ok::<_, ClientError>(job["job_id"].as_str().unwrap_or_default().to_owned())
        };
        let mut submitted = stream::iter(&self.servers).map(submit).buffered(SUBMITTED_IN_PARALLEL);
        let mut jobs = vec![];
        while let Some(job) = submitted.next().await {
            jobs.push(job?);
        }
        let first = jobs.first().map_or("", String::as_str);
        let more = if jobs.len() > 1 { format!(" and {} more", jobs.len() - 1) } else { String::new() };
        screen.say("POST", &format!("/api/v1/jobs: job {first}{more}"));
        Ok(jobs)
    }

    /// What the simulated machine of a job says of itself, once it has booted.
    pub async fn truth(&self, job: &Value) -> Truth {
        let serial = job["server_serial"].as_str().unwrap_or_default();
        let Some((_, bmc)) = self.servers.iter().find(|(line, _)| line.serial == serial) else {
            return Truth { text: "there is no such machine".to_owned(), as_installed: false };
        };
        let give_up = Instant::now() + BOOT_WAIT_MAX;
        while job["status"] == "succeeded" && bmc.state().guest != "installed" && Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Truth::of(&bmc.state(), &self.system)
    }

    /// What a person may look at, and where.
    pub fn addresses(&self) -> Vec<(String, String)> {
        let token = self.directory.path().join("admin.token").display().to_string();
        let servers = self
            .servers
            .iter()
            .map(|(server, _)| (server.serial.clone(), format!("{}/sim/v1/state", server.bmc_address)));
        let own =
            [("controller".to_owned(), self.controller.url().to_string()), ("admin token".to_owned(), token)];
        own.into_iter().chain(servers).collect()
    }

    pub async fn close(self) {
        self.controller.stop().await;
    }
}

/// What every server gets.
enum DemoSystem {
    /// Where a one-time boot would stay armed, the installer has to end with the host off.
    Esxi {
        is_off_at_end: bool,
    },
    Linux {
        image_sha256: String,
    },
}

impl DemoSystem {
    async fn open(
        target: DemoTarget,
        persona: &Persona,
        directory: &Directory,
        client: &Client,
        screen: &DemoScreen,
    ) -> Result<DemoSystem, CliError> {
        if target == DemoTarget::Esxi {
            return Ok(DemoSystem::Esxi { is_off_at_end: persona.boot.lasts });
        }
        let path = directory.path().join(IMAGE_NAME);
        let written = std::fs::write(&path, vec![0x5a; IMAGE_BYTES]);
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        let image = upload(client, &path, &[("name", IMAGE_NAME.to_owned())]).await?;
        let image_sha256 = image["sha256"].as_str().unwrap_or_default().to_owned();
        screen.say("POST", &format!("/api/v1/images: {IMAGE_NAME}, {IMAGE_BYTES} bytes"));
        Ok(DemoSystem::Linux { image_sha256 })
    }

    fn kickstart(is_off_at_end: bool) -> &'static str {
        if is_off_at_end { KICKSTART_OFF } else { KICKSTART }
    }

    /// The recipe of one server.
    fn recipe(&self, serial: &str) -> Value {
        match self {
            DemoSystem::Esxi { is_off_at_end } => {
                let hook = if *is_off_at_end { "own-poweroff" } else { "none" };
                json!({ "task_target": "install-esxi.target", "server_serial": serial,
                    "ks_cfg": DemoSystem::kickstart(*is_off_at_end), "completion_hook": hook })
            }
            DemoSystem::Linux { .. } => {
                json!({ "task_target": "install-linux.target", "server_serial": serial,
                "target_disk": { "min_size": "1GB" }, "image": { "name": IMAGE_NAME },
                "user_data": "#cloud-config\nhostname: demo\n" })
            }
        }
    }

    /// Whether the machine has what the recipe asks for.
    fn is_on(&self, state: &SimState) -> bool {
        match self {
            DemoSystem::Esxi { is_off_at_end } => {
                let kickstart = DemoSystem::kickstart(*is_off_at_end);
                state.installed_ks_sha256.as_deref() == Some(&hex(&Sha256::digest(kickstart)))
            }
            DemoSystem::Linux { image_sha256 } => {
                state.installed_image_sha256.as_deref() == Some(image_sha256)
            }
        }
    }
}

impl Truth {
    fn of(state: &SimState, system: &DemoSystem) -> Truth {
        let times = match state.installs {
            0 => "never installed".to_owned(),
            1 => "installed once".to_owned(),
            more => format!("installed {more} times"),
        };
        let is_right = system.is_on(state);
        let is_empty = state.media.values().all(|slot| !slot.inserted);
        let once = state.installs == 1 && state.interrupted_installs == 0;
        let media = if is_empty { "drives empty" } else { "media inserted" };
        let by = match (is_right, system) {
            (false, _) => "",
            (true, DemoSystem::Esxi { .. }) => ", by this very kickstart",
            (true, DemoSystem::Linux { .. }) => ", from this very image",
        };
        Truth {
            text: format!("{} ({times}{by}, {media})", state.guest),
            as_installed: state.guest == "installed" && is_right && is_empty && once,
        }
    }
}

/// A controller on loopback with a database of its own, in a hurry.
fn settings(
    directory: &Directory,
    target: DemoTarget,
    iso: &str,
    persona: &Persona,
    tls: Option<&Tls>,
) -> Result<Config, CliError> {
    let secs = |wait: Duration| format!("{}s", wait.as_secs());
    let mut given = vec![
        ("CONTROLLER_HTTP_ADDR", "127.0.0.1:0".to_owned()),
        ("DB_URL", directory.join("shoal.db")),
        ("MASTER_KEY_FILE", directory.join("master.key")),
        ("TASK_ISO_DIR", directory.join("task-isos")),
        ("INSTALLER_CACHE_DIR", directory.join("installers")),
        ("IMAGES_DIR", directory.join("images")),
        ("ESXI_STABLE_WINDOW", secs(STABLE_WINDOW)),
        ("ESXI_MIN_INSTALL_TIME", secs(MIN_INSTALL_TIME)),
        ("ESXI_PROOF_FLOOR", secs(PROOF_FLOOR)),
        ("ESXI_POLL_INTERVAL", "1s".to_owned()),
        ("ESXI_BOOT_TIMEOUT", "2m".to_owned()),
        ("ESXI_KS_TIMEOUT", "2m".to_owned()),
        ("ESXI_INSTALL_TIMEOUT", "10m".to_owned()),
        ("DRAIN_TIMEOUT", "2s".to_owned()),
    ];
    given.push(match target {
        DemoTarget::Esxi => ("ESXI_INSTALLER_URL", iso.to_owned()),
        DemoTarget::Linux => ("MAINTENANCE_ISO_URL", iso.to_owned()),
    });
    if let Some(tls) = tls {
        for (setting, file, pem) in
            [("TLS_CERT_FILE", "cert.pem", tls.pem()[0]), ("TLS_KEY_FILE", "key.pem", tls.pem()[1])]
        {
            let path = directory.join(file);
            std::fs::write(&path, pem).map_err(|error| format!("cannot write {path}: {error}"))?;
            given.push((setting, path));
        }
        // A listener of its own for who takes images by plain HTTP alone.
        if !persona.media.protocols.contains(&"HTTPS") {
            given.push(("MEDIA_ADDR", "127.0.0.1:0".to_owned()));
        }
    }
    Ok(Config::with(&given)?)
}

fn start_servers(
    args: &DemoArgs,
    persona: &Persona,
    tls: Option<&Tls>,
    world: &World,
    listening: &mut JoinSet<io::Result<()>>,
) -> Result<Vec<(Line, SimBmc)>, CliError> {
    let timings = Timings { install: INSTALL, lateness_max: LATENESS_MAX, ..Timings::default() };
    let world = World { transport: media_transport(), ..world.clone() };
    let start = |number| {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let machine = machine("SIM", number, persona.clone(), timings, &world.rng);
        let line = Line::new(&machine, &listener, tls);
        let bmc = SimBmc::start(world.clone(), machine);
        listening.spawn(serve_bmc(listener, tls.cloned(), bmc.clone()));
        Ok((line, bmc))
    };
    (0..args.servers).map(start).collect()
}
