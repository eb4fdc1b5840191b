//! Debian packages that chores need: found, installed as root, or named.
//!
//! Elsewhere than on Debian nothing is installed and the names are printed. Invariant: a package
//! that is there is left as it is.

use std::process::Command;

use crate::process::{Done, capture, command, fail, has};

/// Other people's readers and writers of images, which the tests compare ours with, and the database of several
/// controllers with a pooler before it.
pub const FOR_TESTS: &[&str] = &[
    "xorriso",
    "genisoimage",
    "python3-pycdlib",
    "dosfstools",
    "mtools",
    "cpio",
    "kmod",
    "postgresql",
    "pgbouncer",
];

/// Virtual machines, a Redfish service before them, what the stand-in installer, the maintenance ISO and the disk
/// images of Linux and Windows are made of.
pub const FOR_LAB: &[&str] = &[
    "busybox-static",
    "cpio",
    "curl",
    "e2fsprogs",
    "eject",
    "fdisk",
    "genisoimage",
    "grub-common",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "iproute2",
    "isolinux",
    "kmod",
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-system",
    "mmdebstrap",
    "mtools",
    "musl-tools",
    "ntfs-3g",
    "openssl",
    "ovmf",
    "python3-libvirt",
    "python3-venv",
    "qemu-block-extra",
    "qemu-system-x86",
    "seabios",
    "syslinux",
    "syslinux-common",
    "util-linux",
    "xorriso",
    "xz-utils",
    "zstd",
];

/// A compiler for libFuzzer, writers of images and what the stand-in installer is made of, and two packages
/// that hold images.
pub const FOR_FUZZ: &[&str] = &[
    "busybox-static",
    "cpio",
    "eject",
    "g++",
    "genisoimage",
    "grub-common",
    "grub-efi-amd64-bin",
    "ipxe",
    "isolinux",
    "kmod",
    "memtest86+",
    "mtools",
    "syslinux",
    "syslinux-common",
    "xorriso",
    "xz-utils",
];

/// The peers that figures are measured against, and wrk, which loads two of them.
pub const FOR_BENCH: &[&str] = &["genisoimage", "nginx-light", "valgrind", "wrk", "xorriso", "zstd"];

/// The database of several controllers, and the proxies before it and before their media.
pub const FOR_CONTROLLERS: &[&str] = &["haproxy", "postgresql", "procps", "python3", "xorriso"];

/// Compilers of C for static binaries, the headers of another platform, and what builds container images.
pub const FOR_RELEASE: &[&str] = &["buildah", "gcc-aarch64-linux-gnu", "mmdebstrap", "musl-tools"];

/// Installs what is missing of `packages`, which `purpose` needs.
pub fn ensure(purpose: &str, packages: &[&str]) -> Done {
    if !has("dpkg-query") {
        eprintln!("{purpose}: this is no Debian; have these packages or their like: {}", packages.join(" "));
        return Ok(());
    }
    let missing: Vec<&str> = packages.iter().copied().filter(|name| version(name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if capture(&mut command("id", &["-u"]))?.trim() != "0" {
        return fail(format!(
            "{purpose}: these packages are missing, and only root can install them:\n  \
             sudo apt-get install --no-install-recommends {names}"
        ));
    }
    eprintln!("{purpose}: installs {names}");
    capture(&mut apt(&["update"]))?;
    let mut install = apt(&["install", "--yes", "--no-install-recommends"]);
    install.args(&missing).args(companion(&missing)?);
    capture(&mut install).map(drop)
}

/// `qemu-utils` of a newer release forbids the QEMU of this one: it has to follow.
fn companion(missing: &[&str]) -> Done<Vec<String>> {
    let wanted = missing.contains(&"qemu-system-x86");
    let (true, Some(installed)) = (wanted, version("qemu-utils")) else { return Ok(Vec::new()) };
    let policy = capture(&mut command("apt-cache", &["policy", "qemu-system-x86"]))?;
    match policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: ")) {
        Some(candidate) if candidate != installed => {
            eprintln!("qemu-utils {installed} becomes {candidate}, as qemu-system-x86 needs it");
            Ok(vec!["--allow-downgrades".to_owned(), format!("qemu-utils={candidate}")])
        }
        _ => Ok(Vec::new()),
    }
}

/// The version of a package, if it is installed.
fn version(package: &str) -> Option<String> {
    let query = ["-W", "-f", "${db:Status-Status} ${Version}", package];
    let answer = capture(&mut command("dpkg-query", &query)).ok()?;
    answer.strip_prefix("installed ").map(str::to_owned)
}

/// apt without questions, progress bars, or giving up on another apt at work.
fn apt(arguments: &[&str]) -> Command {
    let mut apt = command("apt-get", &["-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"]);
    apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    apt
}
