//! Static binaries: the same bytes wherever they are built.
//!
//! With musl, whose resolver is its own: a static glibc loads the machine's name service modules, with another glibc
//! behind them, and dies of that. Invariant: no binary holds a path of the machine that built it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{failed, root};
use crate::agent::available;
use crate::process::{Done, capture, command, fail, run};

/// What a release is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    Amd64,
    Arm64,
}

/// A profile of its own, so that neither the folder nor the settings are those of `cargo build --release`.
pub const PROFILE: &str = "dist";
/// Where the headers of another platform's musl are unpacked.
const HEADERS: &str = "target/musl-arm64";

impl Platform {
    pub const ALL: [Platform; 2] = [Platform::Amd64, Platform::Arm64];

    pub const fn target(self) -> &'static str {
        match self {
            Platform::Amd64 => "x86_64-unknown-linux-musl",
            Platform::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Debian's name, and that of container images.
    pub const fn debian(self) -> &'static str {
        match self {
            Platform::Amd64 => "amd64",
            Platform::Arm64 => "arm64",
        }
    }

    /// The compiler of the C parts (SQLite, ring), and its flags.
    fn c_compiler(self) -> Done<(&'static str, String)> {
        match self {
            Platform::Amd64 => Ok(("musl-gcc", String::new())),
            Platform::Arm64 => Ok(("aarch64-linux-gnu-gcc", foreign_headers()?)),
        }
    }

    fn built(self, name: &str) -> Done<PathBuf> {
        Ok(root()?.join("target").join(self.target()).join(PROFILE).join(name))
    }
}

/// The controller for a platform.
pub fn build(platform: Platform) -> Done<PathBuf> {
    made(platform, "shoal")
}

/// The agent, which runs on the hosts that are installed: x86-64, whatever the controller runs on.
pub fn agent() -> Done<PathBuf> {
    made(Platform::Amd64, "shoal-agent")
}

fn made(platform: Platform, name: &str) -> Done<PathBuf> {
    let mut cargo = cargo(platform)?;
    // Both in one run for the platform that has both: cargo would otherwise settle features twice.
    match platform {
        Platform::Amd64 => cargo.args(["--package", "shoal", "--package", "shoal-agent"]),
        Platform::Arm64 => cargo.args(["--package", "shoal"]),
    };
    run(cargo.args(["--bin", "shoal"]).args((platform == Platform::Amd64).then_some("--bin=shoal-agent")))?;
    let binary = platform.built(name)?;
    anonymous(&binary)?;
    Ok(binary)
}

fn cargo(platform: Platform) -> Done<Command> {
    let target = platform.target();
    available(target)?;
    let mut cargo = command("cargo", &["build", "--locked", "--profile", PROFILE, "--target", target]);
    let (compiler, flags) = platform.c_compiler()?;
    let (crates, own) = (registry()?, root()?);
    let maps =
        format!("-ffile-prefix-map={}=/crates -ffile-prefix-map={}=/shoal", crates.display(), own.display());
    let name = target.replace('-', "_");
    cargo.env(format!("CC_{name}"), compiler).env(format!("CFLAGS_{name}"), format!("{flags}{maps}"));
    cargo.env("RUSTFLAGS", rust_flags(&own, &crates)?);
    Ok(cargo)
}

/// The linker is Rust's own, so that Debian's has no part in the bytes.
fn rust_flags(own: &Path, crates: &Path) -> Done<String> {
    let mut flags = format!("-C linker=rust-lld --remap-path-prefix={}=/shoal", own.display());
    let entries = fs::read_dir(crates).or_else(|error| failed("read", crates, &error))?;
    let mut indexes: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    indexes.sort();
    for index in indexes {
        flags.push_str(&format!(" --remap-path-prefix={}=/crates", index.display()));
    }
    Ok(flags)
}

/// Where cargo has unpacked the crates, a folder for each index.
fn registry() -> Done<PathBuf> {
    run(&mut command("cargo", &["fetch", "--quiet", "--locked"]))?;
    let own = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    match std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(own) {
        Some(home) => Ok(home.join("registry/src")),
        None => fail("neither CARGO_HOME nor HOME is set"),
    }
}

/// Debian has the cross compiler with glibc's headers only, and types differ: those of musl come from the other
/// platform's own package, unpacked and not installed.
fn foreign_headers() -> Done<String> {
    let place = root()?.join(HEADERS);
    let headers = place.join("usr/include/aarch64-linux-musl");
    if !headers.is_dir() {
        let release = capture(&mut command("sh", &["-c", ". /etc/os-release && echo $VERSION_CODENAME"]))?;
        let what = ["--quiet", "--variant=extract", "--architectures=arm64", "--include=musl-dev"];
        run(command("mmdebstrap", &what).arg(release.trim()).arg(&place))?;
    }
    let own = capture(&mut command("aarch64-linux-gnu-gcc", &["-print-file-name=include"]))?;
    // Outlined atomics ask glibc what the processor can do.
    Ok(format!("-nostdinc -isystem {} -isystem {} -mno-outline-atomics ", headers.display(), own.trim()))
}

/// Whether a binary holds no path that shows who built it.
fn anonymous(binary: &Path) -> Done {
    let bytes = fs::read(binary).or_else(|error| failed("read", binary, &error))?;
    for folder in [root()?, registry()?] {
        let text = folder.to_string_lossy();
        if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
            return fail(format!("{} holds the path {text}", binary.display()));
        }
    }
    Ok(())
}
