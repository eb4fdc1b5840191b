//! The maintenance ISO and the disk images, made once each and kept.
//!
//! Invariant: an image that is older than what makes it is made anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use super::ADDRESS;
use crate::agent;
use crate::lab::installer::{httpd, is_newer_than, lab_sources};
use crate::lab::{free_port_at, home, script};
use crate::process::{Done, capture, command, fail, run};
use crate::program;
use xtask::source::ROOT;

/// What is written to disks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DiskImage {
    /// Debian, for both firmwares.
    Linux,
    /// The same system's root file system.
    Archive,
    /// The same, for a disk that no machine has.
    TooLarge,
    /// An EFI system partition and an NTFS volume with a Windows folder.
    Windows,
}

/// Bytes of the image that no disk has room for.
const TOO_LARGE: u64 = 3 << 30;

impl DiskImage {
    pub fn name(self) -> &'static str {
        match self {
            DiskImage::Linux => "linux.raw.zst",
            DiskImage::Archive => "linux.tar.zst",
            DiskImage::TooLarge => "large.raw.zst",
            DiskImage::Windows => "windows.raw.zst",
        }
    }

    pub fn target(self) -> &'static str {
        if self.is_windows() { "install-windows.target" } else { "install-linux.target" }
    }

    pub fn is_windows(self) -> bool {
        self == DiskImage::Windows
    }

    pub fn path(self) -> PathBuf {
        folder().join(self.name())
    }

    /// Of the file, by a program that is not ours.
    pub fn sha256(self) -> Done<String> {
        let said = capture(command("sha256sum", &[]).arg(self.path()))?;
        Ok(said.split(' ').next().unwrap_or_default().to_owned())
    }

    pub fn ensure(self) -> Done {
        fs::create_dir_all(folder()).or_else(|error| fail(format!("{}: {error}", folder().display())))?;
        if self == DiskImage::TooLarge {
            DiskImage::Linux.ensure()?;
        }
        let (path, sources) = (self.path(), lab_sources());
        if is_newer_than(&path, &sources) {
            return Ok(());
        }
        match self {
            DiskImage::Linux | DiskImage::Archive => run(script("linux").arg(&path)),
            DiskImage::Windows => run(script("windows").arg(&path)),
            DiskImage::TooLarge => enlarged(&DiskImage::Linux.path(), &path),
        }
    }
}

/// The same image with its table stretched over a larger disk.
fn enlarged(from: &Path, to: &Path) -> Done {
    let script = "zstd -dqf \"$1\" -o \"$2.raw\" && truncate -s \"$3\" \"$2.raw\" && \
                  sfdisk -q --relocate gpt-bak-std \"$2.raw\" && echo ', +' | sfdisk -q -N 3 \"$2.raw\" && \
                  zstd -qf --rm \"$2.raw\" -o \"$2\"";
    let mut shell = command("bash", &["-euc", script, "-"]);
    run(shell.arg(from).arg(to).arg(TOO_LARGE.to_string()))
}

fn folder() -> PathBuf {
    home().join("disk-images")
}

/// Which maintenance ISO machines boot.
#[derive(Clone, Copy)]
pub enum MaintenanceIso {
    /// As `shoal maintenance-iso build` makes it.
    Plain,
    /// Its kernel does not use the firmware's services, so no boot entry can be written.
    WithoutVariables,
}

/// An option of the kernel, and one of the same length that turns the firmware's services off.
const OPTIONS: (&[u8; 20], &[u8; 20]) = (b"console=ttyS1,115200", b"efi=noruntime       ");

impl MaintenanceIso {
    pub fn ensure(self) -> Done<PathBuf> {
        let plain = home().join("maintenance.iso");
        let agent = agent::build()?;
        let root = Path::new(ROOT);
        let mut sources = vec![root.join(&agent), root.join("src/cli/maintenance_iso.rs")];
        let parts = root.join("src/cli/maintenance_iso").read_dir().into_iter().flatten().flatten();
        sources.extend(parts.map(|entry| entry.path()));
        if !is_newer_than(&plain, &sources) {
            build_twice(&plain, &agent)?;
        }
        let MaintenanceIso::WithoutVariables = self else { return Ok(plain) };
        let changed = home().join("maintenance-without-variables.iso");
        let written = fs::read(&plain).and_then(|mut bytes| {
            let places = bytes.windows(OPTIONS.0.len()).enumerate().filter(|(_, window)| window == OPTIONS.0);
            let places: Vec<usize> = places.map(|(at, _)| at).collect();
            for at in places {
                bytes[at..at + OPTIONS.1.len()].copy_from_slice(OPTIONS.1);
            }
            fs::write(&changed, bytes)
        });
        written.map(|()| changed).or_else(|error| fail(format!("{}: {error}", plain.display())))
    }
}

/// The same packages and the same agent must give the same bytes.
fn build_twice(to: &Path, agent: &Path) -> Done {
    let again = to.with_extension("again");
    for path in [&again, to] {
        let mut build = command(program::PATH, &["maintenance-iso", "build"]);
        build.arg(path).arg("--agent").arg(agent).arg("--packages").arg(home().join("packages"));
        run(&mut build)?;
    }
    run(command("cmp", &[]).arg(&again).arg(to))?;
    fs::remove_file(&again).or_else(|error| fail(format!("{}: {error}", again.display())))
}

/// Disk images that hosts can fetch as long as this lives.
pub struct OfferedImages {
    /// With a slash at its end.
    pub url: String,
    server: Child,
}

impl OfferedImages {
    pub fn start(images: impl Iterator<Item = DiskImage>) -> Done<OfferedImages> {
        for image in images {
            image.ensure()?;
        }
        let address = format!("{ADDRESS}:{}", free_port_at(ADDRESS)?);
        Ok(OfferedImages { server: httpd(&address, &folder())?, url: format!("http://{address}/") })
    }
}

impl Drop for OfferedImages {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
