//! The installer images that scenarios use, and whence the controller or the BMC gets them.
//!
//! Made once each by `lab/standin`, and kept. Invariant: nothing but the image is offered to anybody.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use xtask::source::ROOT;

use super::{free_port, home, script};
use crate::process::{Done, command, fail, run};

/// The name of the image that most scenarios use, in the lab's folder.
pub const STANDIN: &str = "standin.iso";

#[derive(Clone, Copy)]
pub enum Installer {
    /// From a file of the controller's machine.
    Standin,
    /// The same with a module of a gigabyte.
    Large,
    /// By HTTP, from a server that knows nothing of `ks=`.
    Direct,
}

/// An image that can be had as long as this lives.
pub struct Offered {
    pub url: String,
    server: Option<Child>,
}

impl Installer {
    pub fn offer(self) -> Done<Offered> {
        let image = self.ensure()?;
        match self {
            Installer::Standin | Installer::Large => Ok(Offered::file(image)),
            Installer::Direct => Offered::by_http(&image),
        }
    }

    /// Its image, made if it is not there.
    pub fn ensure(self) -> Done<PathBuf> {
        match self {
            Installer::Standin | Installer::Direct => made(STANDIN, "0"),
            Installer::Large => made("large.iso", "1000"),
        }
    }
}

fn made(name: &str, filler: &str) -> Done<PathBuf> {
    let path = home().join(name);
    if !is_newer_than(&path, &lab_sources()) {
        run(script("standin").arg(&path).env("STANDIN_FILLER", filler))?;
    }
    Ok(path)
}

/// What the lab's images are made by.
pub fn lab_sources() -> Vec<PathBuf> {
    let lab = Path::new(ROOT).join("lab");
    let guest = lab.join("guest").read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let makers = ["standin", "images.sh", "linux", "windows", "ntfs_folder.py"].map(|maker| lab.join(maker));
    guest.chain(makers).collect()
}

/// Whether the image is there, and was made after these files.
pub fn is_newer_than(image: &Path, sources: &[PathBuf]) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    changed(image) > sources.iter().filter_map(|source| changed(source)).max()
}

/// A server of a folder's files that knows nothing of `ks=`.
pub fn httpd(address: &str, folder: &Path) -> Done<Child> {
    let mut httpd = command("busybox", &["httpd", "-f", "-p", address, "-h"]);
    let server = httpd.arg(folder).stdin(Stdio::null()).spawn();
    server.or_else(|error| fail(format!("busybox httpd: {error}")))
}

impl Offered {
    fn file(path: PathBuf) -> Offered {
        Offered { url: path.to_string_lossy().into_owned(), server: None }
    }

    fn by_http(image: &Path) -> Done<Offered> {
        let folder = home().join("elsewhere");
        let offered = folder.join("installer.iso");
        let linked = std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::remove_file(&offered).or(Ok(())))
            .and_then(|()| std::fs::hard_link(image, &offered));
        linked.or_else(|error| fail(format!("{}: {error}", offered.display())))?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let server = httpd(&address, &folder)?;
        Ok(Offered { url: format!("http://{address}/installer.iso"), server: Some(server) })
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
