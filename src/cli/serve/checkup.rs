//! `shoal serve --check`: is the configuration one that a controller can run on?
//!
//! Every setting is read, and what the settings name is looked at: a line each. Invariant: nothing is made, migrated,
//! downloaded or kept open, also while a controller runs on the same configuration.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::fs::{Access, access};
use sha2::{Digest as _, Sha256};
use shoal_image::installer::recognise;
use shoal_image::task_medium::system_landmarks;

use super::listen::Certificate;
use crate::cli::iso::remote::inspect_url;
use crate::cli::output::line;
use crate::cli::{BoxError, CliError, Exit};
use crate::config::{Config, LogArgs, ServeArgs};
use crate::media::{InstallerSource, IsoFiles};
use crate::seal::{self, Sealer};
use crate::store::{DatabaseAddress, KnownKey, keys_of_database, keys_of_postgres};
use shoal_base::world::{World, real_transport};
use shoal_base::{hex, with_causes};

/// What was found, or why a controller cannot run with it.
type CheckupResult = Result<String, BoxError>;

pub async fn run(args: ServeArgs, log: LogArgs, world: World) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    let mut note = |check: &str, finding: CheckupResult| {
        let (word, text) = match finding {
            Ok(text) => ("ok", text),
            Err(error) => {
                exit = Exit::Failed;
                ("FAILED", with_causes(error.as_ref()))
            }
        };
        line(&format!("{word:<8}{check:<22}{text}"));
    };
    let config = match Config::load(args, log) {
        Ok(config) => config,
        Err(error) => {
            note("configuration", Err(error.into()));
            return Ok(exit);
        }
    };
    note("configuration", Ok("every setting is valid".to_owned()));
    let world = match config.extra_roots.as_slice() {
        [] => world,
        roots => World { transport: real_transport(roots), ..world },
    };
    if let Some(files) = &config.listen.tls {
        let loaded = Certificate::load(files).await;
        note("TLS", loaded.map(|_| files.cert.display().to_string()).map_err(BoxError::from));
    }
    note("listen address", address(config.listen.addr));
    if let Some(media) = config.listen.media {
        note("media address", address(media.addr));
    }
    note("database", database(&config).await);
    for (setting, path) in [
        ("TASK_ISO_DIR", &config.task_iso_dir),
        ("INSTALLER_CACHE_DIR", &config.installer.cache_dir),
        ("IMAGES_DIR", &config.images.dir),
    ] {
        note(setting, directory(path));
    }
    note("installer", installer(&config, &world).await);
    note("maintenance ISO", maintenance_iso(&config, &world).await);
    Ok(exit)
}

/// A port in use may be that of the controller that runs.
fn address(addr: SocketAddr) -> CheckupResult {
    match TcpListener::bind(addr) {
        Ok(_) => Ok(addr.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Ok(format!("{addr} is in use: by this controller, if it runs"))
        }
        Err(error) => Err(format!("{addr} cannot be listened on: {error}").into()),
    }
}

/// The database, and whether the master key is the one that it needs.
async fn database(config: &Config) -> CheckupResult {
    let path = match &config.database {
        DatabaseAddress::File(path) => path,
        DatabaseAddress::Postgres(address) => {
            let keys = seal::load_shared(&config.master_key)?;
            return match keys_of_postgres(address, &config.extra_roots).await? {
                None => Ok(format!("{address} is empty, and is made ready at the first start")),
                Some(known) => fitting(config, &keys, &known, &address.to_string()),
            };
        }
    };
    let shown = path.display();
    let is_new = std::fs::metadata(path).map_or(true, |file| file.len() == 0);
    if is_new {
        directory(super::token::directory(path))?;
        config.master_key.load()?;
        return Ok(format!("{shown} is made at the first start"));
    }
    let keys = seal::load_existing(&config.master_key, path)?;
    let known = match keys_of_database(path) {
        Ok(known) => known,
        Err(error) if with_causes(&error).contains("no such table: keys") => {
            return Ok(format!("{shown} is of a release before 0.2.0 and is migrated at the start"));
        }
        Err(error) => return Err(error.into()),
    };
    fitting(config, &keys, &known, &shown.to_string())
}

/// Whether these keys are all that the database needs.
fn fitting(config: &Config, keys: &Sealer, known: &[KnownKey], shown: &str) -> CheckupResult {
    let held: Vec<String> = keys.ids().map(|id| id.to_string()).collect();
    let missing = known.iter().find(|key| key.retired_at.is_none() && !held.contains(&key.id));
    match missing {
        None => Ok(format!("{shown}; the master key fits")),
        Some(key) => Err(format!(
            "{shown} needs the master key {}, and {} holds {}: restore the key",
            key.id,
            config.master_key.setting(),
            held.join(", ")
        )
        .into()),
    }
}

/// Whether files can be made there, or the directory itself.
fn directory(path: &Path) -> CheckupResult {
    let shown = path.display();
    let found = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let found = if found.as_os_str().is_empty() { Path::new(".") } else { found };
    if !found.is_dir() {
        return Err(format!("{} is not a directory", found.display()).into());
    }
    access(found, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("{} is not writable: {error}", found.display()))?;
    Ok(if found == path { shown.to_string() } else { format!("{shown} is made at the start") })
}

async fn installer(config: &Config, world: &World) -> CheckupResult {
    let sha256 = config.installer.sha256.clone();
    match config.installer.source.clone() {
        None => Ok("not set: every recipe has to name one".to_owned()),
        Some(InstallerSource::File(path)) => {
            tokio::task::spawn_blocking(move || installer_file(&path, sha256.as_deref())).await?
        }
        Some(InstallerSource::Url(url)) => {
            let found = inspect_url(world, url.clone()).await?.installer()?;
            let later = if sha256.is_some() { "; its SHA-256 is compared when it is fetched" } else { "" };
            Ok(format!("{found}{later}"))
        }
    }
}

fn installer_file(path: &Path, sha256: Option<&str>) -> CheckupResult {
    let shown = path.display();
    let open = || std::fs::File::open(path).map_err(|error| format!("{shown} cannot be read: {error}"));
    let found = recognise(&open()?)?;
    if let Some(expected) = sha256 {
        let actual = sha256_of(open()?)?;
        if actual != expected {
            let why = format!("{shown} has the SHA-256 {actual}, not {expected} (ESXI_INSTALLER_SHA256)");
            return Err(why.into());
        }
    }
    Ok(format!("{shown}: {}", found.volume_id))
}

fn sha256_of(mut file: std::fs::File) -> std::io::Result<String> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hash.finalize())),
            length => hash.update(&piece[..length]),
        }
    }
}

async fn maintenance_iso(config: &Config, world: &World) -> CheckupResult {
    match &config.maintenance_iso {
        None => Ok("not set: Linux and Windows jobs need one".to_owned()),
        Some(InstallerSource::File(path)) => {
            let iso = IsoFiles::default().open(path).await?;
            system_landmarks(iso.bytes().as_ref())?;
            Ok(path.display().to_string())
        }
        Some(source @ InstallerSource::Url(url)) => {
            inspect_url(world, url.clone()).await?;
            Ok(source.to_string())
        }
    }
}
