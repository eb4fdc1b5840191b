//! `shoal iso` as a script uses it: the real binary on real files.
//!
//! What the images hold is proved in `iso_tools.rs`. Invariant: exit codes and JSON are what a script
//! may rely on.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use shoal_image::iso::Volume;
use shoal_sim::standin_installer;

fn shoal(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shoal")).args(arguments).current_dir(dir).output().unwrap()
}

fn json(arguments: &[&str], dir: &Path) -> Value {
    let output = shoal(arguments, dir);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn an_installer_is_inspected_prepared_and_inspected_again() {
    let dir = tempfile::tempdir().unwrap();
    standin_installer().write_to(&std::fs::File::create(dir.path().join("vendor.iso")).unwrap()).unwrap();
    std::fs::write(dir.path().join("ks.cfg"), "vmaccepteula\nreboot\n").unwrap();
    let vendor = json(&["--output", "json", "iso", "inspect", "vendor.iso"], dir.path());
    assert_eq!(vendor["installer"]["boots_unattended"], false);
    let prepared = json(&["--output", "json", "iso", "prepare", "vendor.iso", "two.iso"], dir.path());
    assert_eq!(prepared["single_cd"], false);
    let two = json(&["iso", "inspect", "two.iso", "--output", "json"], dir.path());
    assert_eq!(two["installer"]["boots_unattended"], true);
    assert_eq!(two["size_bytes"], vendor["size_bytes"]);
    json(&["--output", "json", "iso", "prepare", "vendor.iso", "one.iso", "--ks", "ks.cfg"], dir.path());
    let one = json(&["--output", "json", "iso", "inspect", "one.iso"], dir.path());
    assert_eq!(one["installer"]["has_ks_cfg"], true);
    let built = json(&["--output", "json", "iso", "build", "--ks", "ks.cfg", "task.iso"], dir.path());
    assert_eq!(built["ks_bytes"], 20);
}

#[test]
fn every_error_has_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("zeros.iso"), vec![0; 100_000]).unwrap();
    let mut bridge = standin_installer().to_vec();
    let table = Volume::open(&bridge).unwrap().primary().path_tables.little[0] as usize;
    bridge[table + 1..table + 6].copy_from_slice(b"NSR02");
    std::fs::write(dir.path().join("bridge.iso"), bridge).unwrap();
    let check = |arguments: &[&str], code: i32, part: &str| {
        let output = shoal(arguments, dir.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(part), "{said}");
    };
    check(&["iso", "inspect", "zeros.iso"], 1, "no ISO 9660 image");
    check(&["iso", "inspect", "absent.iso"], 1, "cannot open absent.iso");
    check(&["iso", "prepare", "zeros.iso", "out.iso"], 1, "zeros.iso cannot be used");
    check(&["iso", "prepare", "bridge.iso", "out.iso"], 1, "write the image again without UDF");
    check(&["iso", "build", "out.iso"], 2, "--ks");
    assert!(!dir.path().join("out.iso").exists());
}
