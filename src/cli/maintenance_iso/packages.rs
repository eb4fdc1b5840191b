//! The Debian packages of the maintenance system: named by this machine's apt, downloaded, unpacked.
//!
//! Invariants: nothing is installed, and a package is used only if it has the SHA-256 of apt's signed lists.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::program::{APT_CACHE, APT_GET, DPKG_DEB};
use super::{BuildError, step};
use crate::cli::new_file::{FileError, sha256_of};

/// Depends on the kernel itself, by version.
const KERNEL: &str = "linux-image-amd64";
/// What has a fixed name: a shell, boot loaders, programs for file systems, and the library of C for these.
const NAMED: [&str; 11] = [
    "busybox-static",
    "dosfstools",
    "e2fsprogs",
    "grub-efi-amd64-signed",
    "isolinux",
    "libc6",
    "ntfs-3g",
    "shim-signed",
    "syslinux-common",
    "tar",
    "xfsprogs",
];
/// Packages whose names have a version in them: the package that depends on each, and how its name begins.
const VERSIONED: [(&str, &str); 11] = [
    (KERNEL, "linux-image-"),
    ("ntfs-3g", "libntfs-3g"),
    ("tar", "libacl1"),
    ("tar", "libselinux1"),
    ("libselinux1", "libpcre2-8"),
    ("e2fsprogs", "libblkid1"),
    ("e2fsprogs", "libcom-err2"),
    ("e2fsprogs", "libext2fs2"),
    ("e2fsprogs", "libuuid1"),
    ("xfsprogs", "libinih1"),
    ("xfsprogs", "liburcu8"),
];
/// As root, apt would download as another user, who may not write here.
const AS_CALLER: [&str; 2] = ["-o", "APT::Sandbox::User=root"];

/// A package as apt's lists describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Name, version and architecture.
    pub file: String,
    pub sha256: String,
    #[serde(skip)]
    size: u64,
    #[serde(skip)]
    path: PathBuf,
}

impl Package {
    /// For the list on the image.
    pub fn line(&self) -> String {
        format!("{} {}\n", self.sha256, self.file)
    }
}

/// The names of the packages that are needed.
pub async fn resolve(dir: &Path) -> Result<Vec<String>, BuildError> {
    let mut names: Vec<String> = NAMED.map(str::to_owned).into();
    for (package, prefix) in VERSIONED {
        names.push(dependency(dir, package, prefix).await?);
    }
    names.sort();
    Ok(names)
}

/// The package with that prefix on which `package` depends.
async fn dependency(dir: &Path, package: &'static str, prefix: &str) -> Result<String, BuildError> {
    let unknown = |_| BuildError::NoPackage { name: package };
    let text = APT_CACHE.run(&["depends", "--important", package], dir).await;
    let text = match text {
        Err(BuildError::Program { .. }) => text.map_err(unknown)?,
        other => other?,
    };
    let names = text.lines().filter_map(|line| line.trim().rsplit_once("Depends: "));
    let found = names.map(|(_, name)| name.trim()).find(|name| name.starts_with(prefix));
    found.map(str::to_owned).ok_or(BuildError::NoPackage { name: package })
}

/// The packages as files in `dir`, downloaded if they are not there. `work` is empty.
pub async fn fetch(names: &[String], dir: &Path, work: &Path) -> Result<Vec<Package>, BuildError> {
    fs::create_dir_all(dir).map_err(FileError::of("create", dir))?;
    let names = names.iter().map(String::as_str);
    let args: Vec<&str> = AS_CALLER.into_iter().chain(["download", "--print-uris"]).chain(names).collect();
    let text = APT_GET.run(&args, work).await?;
    let mut packages: Vec<Package> = text.lines().filter_map(|line| described(line, dir)).collect();
    packages.sort_by(|a, b| a.file.cmp(&b.file));
    let missing: Vec<&Package> = packages.iter().filter(|package| !is_there(package)).collect();
    if !missing.is_empty() {
        let bytes: u64 = missing.iter().map(|package| package.size).sum();
        step(&format!("downloading {} packages, {} MB", missing.len(), bytes.div_ceil(1_000_000)));
        let names = missing.iter().filter_map(|package| package.file.split('_').next());
        let args: Vec<&str> = AS_CALLER.into_iter().chain(["-qq", "download"]).chain(names).collect();
        match APT_GET.run(&args, dir).await {
            Err(BuildError::Program { message, .. }) => return Err(BuildError::NoNetwork { message }),
            other => other?,
        };
    }
    match packages.iter().find(|package| !is_there(package)) {
        Some(package) => Err(BuildError::WrongPackage { name: package.file.clone() }),
        None => Ok(packages),
    }
}

/// A line of `apt-get download --print-uris`: address, name of the file, bytes, hash.
fn described(line: &str, dir: &Path) -> Option<Package> {
    let mut words = line.strip_prefix("'")?.split_once("' ")?.1.split(' ');
    let file = words.next()?.to_owned();
    let size = words.next()?.parse().ok()?;
    let sha256 = words.next()?.strip_prefix("SHA256:")?.to_owned();
    Some(Package { path: dir.join(&file), file, sha256, size })
}

fn is_there(package: &Package) -> bool {
    tokio::task::block_in_place(|| sha256_of(&package.path)).is_ok_and(|sha256| sha256 == package.sha256)
}

/// Everything that is in the packages, in one tree.
pub async fn unpack(packages: &[Package], tree: &Path) -> Result<(), BuildError> {
    step(&format!("unpacking {} packages", packages.len()));
    fs::create_dir(tree).map_err(FileError::of("create", tree))?;
    for package in packages {
        let path = package.path.canonicalize().map_err(FileError::of("open", &package.path))?;
        DPKG_DEB.run(&["-x", &path.to_string_lossy(), "."], tree).await?;
    }
    Ok(())
}

/// A file of a package, below `/` or below `/usr`: Debian 13 has moved the first to the second.
pub fn file_of(tree: &Path, package: &'static str, path: &str) -> Result<PathBuf, BuildError> {
    let places = [tree.join(path), tree.join("usr").join(path)];
    let found = places.into_iter().find(|path| path.exists());
    found.ok_or_else(|| BuildError::NoFile { package, path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_lines_are_read_and_messages_are_not() {
        let file = "busybox-static_1%3a1.35.0-4+b4_amd64.deb";
        let line = format!(
            "'http://mirror.example/busybox-static_1.35.0-4%2bb4_amd64.deb' {file} 928188 SHA256:3d3f"
        );
        let package = described(&line, Path::new("/packages")).unwrap();
        assert_eq!((package.size, package.sha256.as_str()), (928_188, "3d3f"));
        assert_eq!(package.path, Path::new("/packages").join(file));
        for other in ["", "Reading package lists...", "'http://x/y.deb' y.deb 12 MD5Sum:00", "'http://x"] {
            assert_eq!(described(other, Path::new("/packages")), None, "{other}");
        }
    }

    #[test]
    fn a_file_is_found_in_either_place() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        fs::write(dir.path().join("usr/bin/busybox"), "").unwrap();
        assert!(file_of(dir.path(), "busybox-static", "bin/busybox").is_ok());
        let error = file_of(dir.path(), "isolinux", "usr/lib/x").unwrap_err().to_string();
        assert!(error.contains("package isolinux has no usr/lib/x"), "{error}");
    }
}
