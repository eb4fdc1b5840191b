//! `cargo xtask dist`: what a release is made of, in `target/shipped`.
//!
//! For each platform an archive, a Debian package and a container image, each with the static binary; one list of what is
//! in them (CycloneDX), and the hashes of all that. It signs and uploads nothing. Invariants: everything is built
//! from the lock file; the same sources give the same bytes, wherever and whenever they are built; every crate that the lock
//! file brings into the binary stands in the list.

mod again;
mod archive;
mod bill;
mod binaries;
mod deb;
mod image;
mod tree;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};

use xtask::source::ROOT;

use self::binaries::Platform;
use crate::debian;
use crate::process::{Done, capture, command, fail};

/// From the project's root.
pub const OUT: &str = "target/shipped";
/// Names the time that every file of a release has, in seconds since 1970.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Makes the release for these platforms (all, if none is named).
pub fn release(words: &[&str]) -> Done {
    if words == ["--check-reproducible"] {
        return again::compare();
    }
    let platforms = platforms(words)?;
    debian::ensure("a release", debian::FOR_RELEASE)?;
    unit::check()?;
    let agent = binaries::agent()?;
    // Pages and scripts for shells come from the binary that runs here, whatever the platform.
    let tree = tree::stage(&binaries::build(Platform::Amd64)?, &agent)?;
    let built = |platform: Platform| Ok((platform, binaries::build(platform)?));
    let binaries = platforms.into_iter().map(built).collect::<Done<Vec<_>>>()?;
    // An earlier release stays until the next one is built.
    let release = Release { epoch: epoch()?, version: version()?, out: root()?.join(OUT) };
    empty(&release.out)?;
    for (platform, binary) in binaries {
        archive::make(&release, platform, &binary, &tree)?;
        deb::make(&release, platform)?;
        image::make(&release, platform, &binary)?;
    }
    let parts = bill::of_materials(&release.out.join("shoal.cdx.json"))?;
    hashes(&release.out)?;
    println!(
        "{OUT}: the release, with a list of the {parts} crates in it; `cargo xtask outside release` tests it"
    );
    Ok(())
}

/// What everything in one release has in common.
struct Release {
    epoch: String,
    version: String,
    out: PathBuf,
}

fn platforms(words: &[&str]) -> Done<Vec<Platform>> {
    if words.is_empty() {
        return Ok(Platform::ALL.to_vec());
    }
    let known = |word: &&str| match Platform::ALL.iter().find(|platform| platform.debian() == *word) {
        Some(platform) => Ok(*platform),
        None => fail(format!("dist: there is no {word}, only amd64, arm64 and --check-reproducible")),
    };
    words.iter().map(known).collect()
}

/// Without links, so that it is what compilers write into programs.
fn root() -> Done<PathBuf> {
    fs::canonicalize(ROOT).or_else(|error| failed("find", Path::new(ROOT), &error))
}

/// That of the last commit, unless it is given.
fn epoch() -> Done<String> {
    match std::env::var(EPOCH) {
        Ok(given) => Ok(given),
        Err(_) => Ok(capture(&mut command("git", &["log", "-1", "--format=%ct"]))?.trim().to_owned()),
    }
}

fn version() -> Done<String> {
    let id = capture(&mut command("cargo", &["pkgid", "--locked", "--package", "shoal"]))?;
    let version = id.trim().rsplit(['#', '@']).next().unwrap_or_default();
    Ok(version.to_owned())
}

fn failed<T>(doing: &str, path: &Path, error: &std::io::Error) -> Done<T> {
    fail(format!("cannot {doing} {}: {error}", path.display()))
}

/// An empty folder in this place.
fn empty(folder: &Path) -> Done {
    if folder.exists() {
        fs::remove_dir_all(folder).or_else(|error| failed("empty", folder, &error))?;
    }
    fs::create_dir_all(folder).or_else(|error| failed("make", folder, &error))
}

fn copy(from: &Path, to: &Path) -> Done {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).or_else(|error| failed("make", folder, &error))?;
    }
    fs::copy(from, to).map(drop).or_else(|error| failed("copy", from, &error))
}

/// A folder with all that is in it.
fn copy_all(from: &Path, to: &Path) -> Done {
    for name in names(from)? {
        let (from, to) = (from.join(&name), to.join(&name));
        match from.is_dir() {
            true => copy_all(&from, &to)?,
            false => copy(&from, &to)?,
        }
    }
    Ok(())
}

fn read(path: &Path) -> Done<String> {
    fs::read_to_string(path).or_else(|error| failed("read", path, &error))
}

fn write(path: &Path, text: &str) -> Done {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).or_else(|error| failed("make", folder, &error))?;
    }
    fs::write(path, text).or_else(|error| failed("write", path, &error))
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Done<Vec<String>> {
    let entries = fs::read_dir(folder).or_else(|error| failed("read", folder, &error))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn hashes(out: &Path) -> Done {
    let text = capture(command("sha256sum", &[]).args(names(out)?).current_dir(out))?;
    write(&out.join("SHA256SUMS"), &text)
}
