//! An image of 2 GiB written by the agent to a disk that is a file, and by `zstd -dc | dd`.
//!
//! Both end when everything is flushed. The agent also hashes the image and withholds its boot sector; what it reads
//! back afterwards is not counted, since the peer reads nothing back.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};
use shoal_base::hex;
use shoal_image::task_medium::{TaskFile, build_task_medium};
use tokio::time::Instant;

use crate::measure::{median, print, run, time, write};

const ROUNDS: usize = 5;
const MIB: u64 = 1 << 20;
const IMAGE: u64 = 2048 * MIB;
const DISK: u64 = IMAGE + 64 * MIB;
/// Of these, one in two MiB holds data and the other text, which a system's files do roughly.
const TEXT: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n";

/// What `cargo xtask bench` builds first, as it is in the maintenance system: with musl, or with glibc where there is none.
fn agent() -> PathBuf {
    let built = |libc: &str| {
        let path = format!("target/x86_64-unknown-linux-{libc}/release/shoal-agent");
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    };
    let (musl, glibc) = (built("musl"), built("gnu"));
    if musl.is_file() { musl } else { glibc }
}

pub fn measure() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let folder = folder.path();
    make_image(folder);
    make_machine(folder);
    let (mut ours, mut theirs, mut peak) = (vec![], vec![], 0);
    for _ in 0..ROUNDS {
        empty_disk(folder);
        let (took, kib) = write_by_agent(folder);
        ours.push(took);
        peak = peak.max(kib);
        empty_disk(folder);
        let command = "zstd -dcq image.zst | dd of=machine/dev/sda bs=4M conv=notrunc,fsync iflag=fullblock status=none";
        theirs.push(time(|| run("sh", &["-c", command], folder)));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    print("2 GiB of a zstd image to a disk", ours, "zstd -dc | dd", theirs, "at least 0.9");
    println!("peak memory of the agent: {:.1} MiB (aim: under 64)", f64::from(peak) / 1024.0);
}

/// A disk with one partition, as zstd makes it by default.
fn make_image(folder: &Path) {
    let mut file = File::create(folder.join("image")).expect("a file in a temporary folder");
    let mut head = vec![0; MIB as usize];
    head[..3].copy_from_slice(&[0xeb, 0x63, 0x90]);
    let sectors = u32::try_from(IMAGE / 512 - 2048).expect("fits");
    head[446 + 4] = 0x83;
    head[446 + 8..446 + 12].copy_from_slice(&2048_u32.to_le_bytes());
    head[446 + 12..446 + 16].copy_from_slice(&sectors.to_le_bytes());
    head[510..512].copy_from_slice(&[0x55, 0xaa]);
    file.write_all(&head).expect("there is room");
    let text: Vec<u8> = TEXT.iter().copied().cycle().take(MIB as usize).collect();
    let mut state = 1_u64;
    for mib in 1..IMAGE / MIB {
        if mib % 2 == 0 {
            file.write_all(&text).expect("there is room");
            continue;
        }
        let data: Vec<u8> = (0..MIB / 8)
            .flat_map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 8).to_le_bytes()
            })
            .collect();
        file.write_all(&data).expect("there is room");
    }
    run("zstd", &["-q", "-T0", "--rm", "image", "-o", "image.zst"], folder);
}

/// A BIOS machine with one empty disk, and the medium with recipe and image in its drive.
fn make_machine(folder: &Path) {
    let size = |name: &str| fs::metadata(folder.join(name)).expect("just made").len();
    let image = fs::read(folder.join("image.zst")).expect("just made");
    let sha256 = hex(&Sha256::digest(&image));
    let parts = TaskFile::parts("image", size("image.zst"));
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    let recipe = json!({
        "job": { "id": "bench" },
        "identity": { "serials": ["BENCH1"] },
        "task_target": "install-linux.target",
        "target_disk": { "serial": "D1" },
        "image": { "parts": names, "sha256": sha256 },
    });
    let files = [vec![TaskFile::alone("recipe.json", recipe.to_string())], parts].concat();
    let medium = build_task_medium("SHOAL_TASK", &files).expect("valid names");
    fs::create_dir_all(folder.join("machine/dev")).expect("a temporary folder");
    let drive = File::create(folder.join("machine/dev/sr0")).expect("a temporary folder");
    medium.image.write_to(&drive).expect("there is room");
    let place = &medium.places.files["image.000"];
    drive.write_all_at(&image, place.start).expect("there is room");
    let disk = "machine/sys/devices/pci0000:00/0000:00:1f.0/host0/target0:0:0/0:0:0:0/block/sda";
    write(folder, &format!("{disk}/size"), (DISK / 512).to_string().as_bytes());
    write(folder, &format!("{disk}/device/serial"), b"D1");
    fs::create_dir_all(folder.join("machine/sys/block")).expect("a temporary folder");
    std::os::unix::fs::symlink(folder.join(disk), folder.join("machine/sys/block/sda")).expect("new");
    write(folder, "machine/sys/block/sr0/size", (medium.image.size / 512).to_string().as_bytes());
    write(folder, "machine/sys/class/dmi/id/product_serial", b"BENCH1");
}

/// A new file each time: blocks that are there already are faster.
fn empty_disk(folder: &Path) {
    let path = folder.join("machine/dev/sda");
    let _absent = fs::remove_file(&path);
    File::create(&path).and_then(|file| file.set_len(DISK)).expect("sparse files can be made");
    run("sync", &[], folder);
}

/// The time from the choice of the disk until everything is flushed, by the agent's own log, and its peak memory in KiB.
fn write_by_agent(folder: &Path) -> (Duration, u32) {
    let mut child = Command::new(agent())
        .args(["--root", "machine"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cargo xtask bench builds the agent");
    let status = format!("/proc/{}/status", child.id());
    let mut log = child.stderr.take().expect("piped");
    let (mut text, mut peak, mut buffer) = (String::new(), 0, [0; 4096]);
    let (mut begun, mut flushed) = (None, None);
    while let Ok(length @ 1..) = log.read(&mut buffer) {
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        begun = begun.or_else(|| text.contains("target disk").then(Instant::now));
        flushed = flushed.or_else(|| text.contains("flushed").then(Instant::now));
        peak = peak.max(peak_kib(&status));
    }
    let is_done = child.wait().is_ok_and(|status| status.success());
    assert!(is_done, "the agent failed:\n{text}");
    (flushed.zip(begun).map(|(flushed, begun)| flushed - begun).expect("both are logged"), peak)
}

fn peak_kib(status: &str) -> u32 {
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
