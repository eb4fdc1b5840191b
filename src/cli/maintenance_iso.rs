//! `shoal maintenance-iso build`: the system that boots on a server to write its disk, from Debian's packages.
//!
//! Nothing is installed and no privilege is needed: packages are downloaded and unpacked in a directory beside the
//! image, which is gone afterwards. Invariants: the same packages and the same agent give the same bytes, and the
//! image appears under its name when it is complete.

mod agent;
mod boot;
mod initramfs;
mod kernel;
mod packages;
mod program;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use shoal_base::with_causes;
use shoal_image::iso::{Volume, WriteError};
use tokio::signal::unix::{SignalKind, signal};

use super::new_file::{FileError, NewFile};
use super::{CliError, Exit, Output, output};
use packages::Package;

/// Room for the packages, what is in them, and the image.
const WORK_BYTES: u64 = 700 << 20;
/// So that it is transferred in a minute by a BMC that reads one megabyte a second.
const IMAGE_BYTES_MAX: u64 = 50 << 20;
const IMAGE_MODE: u32 = 0o644;

/// Build the maintenance ISO, which installs Linux and Windows.
#[derive(Debug, Args)]
pub struct MaintenanceIsoArgs {
    #[command(subcommand)]
    command: MaintenanceIsoCommand,
}

#[derive(Debug, Subcommand)]
enum MaintenanceIsoCommand {
    /// Build it from Debian's packages, on Debian (amd64); about 80 MB are downloaded.
    Build {
        #[arg(value_name = "OUT.iso")]
        out: PathBuf,
        /// The static `shoal-agent` [default: the file of that name beside this program].
        #[arg(long, value_name = "FILE")]
        agent: Option<PathBuf>,
        /// Keep the packages in this directory, and download only those that are not in it.
        #[arg(long, value_name = "DIR")]
        packages: Option<PathBuf>,
    },
}

pub async fn run(args: MaintenanceIsoArgs, output: Output) -> Result<Exit, CliError> {
    let MaintenanceIsoCommand::Build { out, agent, packages } = args.command;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let built = tokio::select! {
        built = build(&out, agent.as_deref(), packages.as_deref()) => built?,
        _ = terminate.recv() => return Err(BuildError::Interrupted.into()),
        _ = interrupt.recv() => return Err(BuildError::Interrupted.into()),
    };
    output.print(&built, BuiltIso::text);
    Ok(Exit::Done)
}

/// A maintenance ISO that has been written.
#[derive(Debug, Serialize)]
struct BuiltIso {
    path: String,
    size_bytes: u64,
    sha256: String,
    kernel: String,
    agent_sha256: String,
    packages: Vec<Package>,
}

impl BuiltIso {
    fn text(&self) -> String {
        let BuiltIso { path, size_bytes, sha256, kernel, .. } = self;
        format!("{path}: {size_bytes} bytes, kernel {kernel}\nsha256 {sha256}")
    }
}

/// Why there is no image. The first line of each is the cause, the rest the remedy.
#[derive(Debug, thiserror::Error)]
enum BuildError {
    #[error(
        "the maintenance ISO is built from Debian's packages, and this is {found}: run the command on Debian (amd64)"
    )]
    NotDebian { found: String },
    #[error("{program} is not installed: run `apt-get install {package}`")]
    NoProgram { program: &'static str, package: &'static str },
    #[error("{program} failed: {message}")]
    Program { program: &'static str, message: String },
    #[error(
        "apt knows no package {name}: run `apt-get update`, as root, and check that its sources are Debian's"
    )]
    NoPackage { name: &'static str },
    #[error(
        "the packages cannot be downloaded: {message}\ncheck that this machine reaches its Debian mirror, or copy the \
         packages into a directory and use --packages"
    )]
    NoNetwork { message: String },
    #[error("{name} is not what apt's lists say (SHA-256): run `apt-get update`, as root, and try again")]
    WrongPackage { name: String },
    #[error("package {package} has no {path}: this release of Debian is not supported")]
    NoFile { package: &'static str, path: String },
    #[error("the kernel {kernel} has no driver {name}: linux-image-amd64 is needed, not the cloud kernel")]
    NoDriver { kernel: String, name: &'static str },
    #[error("{} has {free} MB free, and the build needs {needed} MB: free some, or write the image elsewhere", path.display())]
    NoSpace { path: PathBuf, free: u64, needed: u64 },
    #[error(transparent)]
    Agent(#[from] agent::AgentError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the image cannot be laid out")]
    Layout(#[from] WriteError),
    #[error("the EFI boot image cannot be made")]
    EfiImage(#[source] std::io::Error),
    #[error("the image would have {bytes} bytes, which is more than 50 MB")]
    TooLarge { bytes: u64 },
    #[error("the image was not read back as written: {what}")]
    Unverified { what: String },
    #[error("interrupted; nothing was written")]
    Interrupted,
}

async fn build(out: &Path, agent: Option<&Path>, package_dir: Option<&Path>) -> Result<BuiltIso, BuildError> {
    let agent = agent::load(agent)?;
    check_system(Path::new("/etc/os-release"))?;
    // Before anything is downloaded: whether the image can be written at all.
    let file = NewFile::create(out, IMAGE_MODE)?;
    let work = WorkDir::create(out)?;
    check_space(&work.path)?;
    let names = packages::resolve(&work.path).await?;
    let found = packages::fetch(&names, package_dir.unwrap_or(&work.path), &work.path).await?;
    let tree = work.path.join("tree");
    packages::unpack(&found, &tree).await?;
    step("building the initramfs");
    let kernel = kernel::Kernel::open(&tree)?;
    let initramfs = initramfs::build(&kernel, &tree, &work.path, &agent.bytes).await?;
    let listed: String = found.iter().map(Package::line).collect();
    let image = boot::BootImage { kernel: kernel.image()?, initramfs, packages: listed };
    let iso = tokio::task::block_in_place(|| image.lay_out(&tree))?;
    if iso.size > IMAGE_BYTES_MAX {
        return Err(BuildError::TooLarge { bytes: iso.size });
    }
    iso.write_to(&file.file).map_err(FileError::of("write", out))?;
    verify(&file.file)?;
    Ok(BuiltIso {
        path: out.display().to_string(),
        size_bytes: iso.size,
        sha256: file.finish()?,
        kernel: kernel.version,
        agent_sha256: agent.sha256,
        packages: found,
    })
}

/// One line of progress.
fn step(text: &str) {
    output::to_stderr(text);
}

/// The packages are those of this machine's apt, and they must be Debian's for amd64.
fn check_system(os_release: &Path) -> Result<(), BuildError> {
    let text = fs::read_to_string(os_release).unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    if cfg!(not(target_arch = "x86_64")) {
        return Err(BuildError::NotDebian { found: std::any::type_name::<()>().to_owned() });
    }
    match value("ID").as_deref() {
        Some("debian") => Ok(()),
        other => {
            let found = value("PRETTY_NAME").or(other.map(str::to_owned));
            Err(BuildError::NotDebian { found: found.unwrap_or_else(|| "another system".to_owned()) })
        }
    }
}

fn check_space(dir: &Path) -> Result<(), BuildError> {
    let Ok(system) = rustix::fs::statvfs(dir) else { return Ok(()) };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    match free >= WORK_BYTES {
        true => Ok(()),
        false => {
            let path = dir.parent().unwrap_or(dir).to_owned();
            Err(BuildError::NoSpace { path, free: free >> 20, needed: WORK_BYTES >> 20 })
        }
    }
}

/// What a controller and a firmware need of the image.
fn verify(image: &fs::File) -> Result<(), BuildError> {
    let unverified = |what: String| BuildError::Unverified { what };
    let volume = Volume::open(image).map_err(|error| unverified(with_causes(&error)))?;
    let entries = volume.boot.iter().flat_map(|catalog| &catalog.entries);
    let platforms: Vec<_> = entries.filter(|entry| entry.bootable).map(|entry| entry.platform).collect();
    for platform in boot::PLATFORMS {
        if !platforms.contains(&platform) {
            return Err(unverified(format!("it has no boot entry for {platform:?}")));
        }
    }
    let task = shoal_image::task_medium::TaskFile::shared("recipe.json", "{}");
    let overlaid = shoal_image::task_medium::overlay_task_files(image, &[task]);
    overlaid.map(drop).map_err(|error| unverified(with_causes(&error)))
}

/// A directory beside the image, which is gone with its value.
struct WorkDir {
    path: PathBuf,
}

impl WorkDir {
    fn create(out: &Path) -> Result<WorkDir, FileError> {
        let mut name = out.as_os_str().to_owned();
        name.push(".building");
        let path = PathBuf::from(name);
        // One that an interrupted command left.
        let _absent = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(FileError::of("create", &path))?;
        // Programs are run in other directories.
        let path = path.canonicalize().map_err(FileError::of("open", &path))?;
        Ok(WorkDir { path })
    }
}

impl Drop for WorkDir {
    /// A program that was just killed may still write a file.
    fn drop(&mut self) {
        for _ in 0..10 {
            if fs::remove_dir_all(&self.path).is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_is_a_source_of_packages() {
        let dir = tempfile::tempdir().unwrap();
        let check = |text: &str| {
            let path = dir.path().join("os-release");
            fs::write(&path, text).unwrap();
            check_system(&path).map_err(|error| error.to_string())
        };
        assert_eq!(check("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n"), Ok(()));
        let error = check("ID=ubuntu\nID_LIKE=debian\nPRETTY_NAME=\"Ubuntu 24.04\"\n").unwrap_err();
        assert!(error.contains("this is Ubuntu 24.04: run the command on Debian"), "{error}");
        assert!(check_system(&dir.path().join("absent")).is_err());
    }

    #[test]
    fn a_work_directory_replaces_one_that_was_left_and_is_gone_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out.iso");
        fs::create_dir_all(dir.path().join("out.iso.building/tree")).unwrap();
        let work = WorkDir::create(&out).unwrap();
        assert_eq!(fs::read_dir(&work.path).unwrap().count(), 0);
        fs::write(work.path.join("file"), "x").unwrap();
        drop(work);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
