//! The program itself, on a machine made of files.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sha2::Digest;
use shoal_image::iso::IsoWriter;

const MIB: usize = 1 << 20;
const DISK: usize = 8 * MIB;

fn agent(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shoal-agent")).args(args).output().expect("the agent is built")
}

fn put(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder can be made");
    fs::write(path, bytes).expect("a file can be written");
}

/// A disk with boot code and one partition, for BIOS.
fn image() -> Vec<u8> {
    let mut image = vec![0x42; 4 * MIB];
    image[446..510].fill(0);
    image[450] = 0x83;
    image[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    image[458..462].copy_from_slice(&2048_u32.to_le_bytes());
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

/// A BIOS machine with one disk, and the image on the task medium.
fn machine(root: &Path, image: &[u8], sha256: &str) {
    put(root, "sys/block/sr0/size", b"8");
    put(root, "sys/block/sda/size", (DISK / 512).to_string().as_bytes());
    put(root, "sys/block/sda/device/serial", b"D1");
    put(root, "sys/class/dmi/id/product_serial", b"ABC123");
    put(root, "dev/sda", &vec![0; DISK]);
    let recipe = format!(
        r#"{{"task_target":"install-linux.target","job":{{"id":"j","signals":true}},"identity":{{"serials":["ABC123"]}},
        "target_disk":{{"serial":"D1"}},"image":{{"parts":["image.000"],"sha256":"{sha256}"}}}}"#
    );
    let mut writer = IsoWriter::new("SHOAL_TASK");
    writer.file("/recipe.json", recipe.into_bytes()).file("/image.000", image.to_vec());
    writer.file("/success", b"1".to_vec()).file("/failure", b"2".to_vec());
    put(root, "dev/sr0", &writer.write().expect("the files fit").image.to_vec());
}

#[test]
fn it_installs_and_shows_the_outcome_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let (root, image) = (folder.path(), image());
    let digest: [u8; 32] = sha2::Sha256::digest(&image).into();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    machine(root, &image, &digest);
    let output = agent(&["--root", root.to_str().unwrap()]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("target disk sda") && log.contains("installed"), "{log}");
    let disk = fs::read(root.join("dev/sda")).unwrap();
    assert!(disk[512..4 * MIB] == image[512..] && disk[510..512] == [0x55, 0xaa]);
    let sectors = u32::from_le_bytes(disk[458..462].try_into().unwrap()) as usize;
    assert_eq!(sectors * 512, DISK - MIB, "the partition has grown to the end");

    machine(root, &image, &"0".repeat(64));
    let output = agent(&["--root", root.to_str().unwrap()]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && log.contains("failed: image: the image has the SHA-256"),
        "{log}"
    );
    assert!(fs::read(root.join("dev/sda")).unwrap()[..MIB].iter().all(|byte| *byte == 0));
}

#[test]
fn its_options_are_known_or_refused() {
    let version = agent(&["--version"]);
    assert!(version.status.success() && version.stdout.starts_with(b"shoal-agent "));
    let help = String::from_utf8(agent(&["--help"]).stdout).unwrap();
    assert!(help.contains("--no-poweroff") && help.contains("--root DIR"));
    assert_eq!(agent(&["--frobnicate"]).status.code(), Some(2));
}
