//! The task stick as fsck.vfat, mtools, and partx and blkid see it.
//!
//! Invariant: tools are given only the offset of the partition.

use std::path::{Path, PathBuf};
use std::process::Command;

use shoal_image::fat::{TaskStick, build_task_stick};

use super::KICKSTART;
use super::tools::{Tools, run};

const PARTITION: u64 = 1 << 20;

fn write(tools: &Tools, stick: &TaskStick) -> PathBuf {
    tools.write("task.img", |file| stick.image.write_to(file))
}

/// A tool of mtools, at the image's partition.
fn mtools(tool: &str, args: &[&str], image: &Path) -> Vec<u8> {
    let at = format!("{}@@{PARTITION}", image.display());
    run(Command::new(tool).args(["-i", &at]).args(args), "mtools").stdout
}

#[test]
fn the_task_stick_is_sound_to_fsck() {
    for (size, nonce) in [(1, None), (2049, Some(b"nonce".as_slice())), (65_536, Some(b"nonce"))] {
        let tools = Tools::new();
        let stick = build_task_stick(&vec![b'#'; size], b"{}", nonce);
        let mut volume = stick.image.to_vec();
        volume.drain(..PARTITION as usize);
        let path = tools.path("volume.fat");
        std::fs::write(&path, volume).unwrap();
        // Where Debian has it, which is on no other user's path than root's.
        let report = run(Command::new("/usr/sbin/fsck.vfat").args(["-n", "-v"]).arg(&path), "dosfstools");
        let report = String::from_utf8_lossy(&report.stdout).into_owned();
        // It counts the label too.
        let files = 3 + usize::from(nonce.is_some());
        for line in ["16640 data clusters", "2 FATs, 16 bit entries", &format!(": {files} files, ")] {
            assert!(report.contains(line), "{line}: {report}");
        }
    }
}

#[test]
fn the_task_stick_is_read_by_mtools() {
    let tools = Tools::new();
    let path = write(&tools, &build_task_stick(KICKSTART, b"{}", Some(b"nonce")));
    let listing = String::from_utf8(mtools("mdir", &["-b", "::"], &path)).unwrap();
    assert_eq!(
        listing.split_whitespace().collect::<Vec<_>>(),
        ["::/RECIPE.JSO", "::/KS.CFG", "::/NONCE.TXT"]
    );
    for (name, content) in [("ks.cfg", KICKSTART), ("NONCE.TXT", b"nonce"), ("RECIPE.JSO", b"{}")] {
        assert_eq!(mtools("mtype", &[&format!("::/{name}")], &path), content);
    }
    let label = String::from_utf8(mtools("mlabel", &["-s", "::"], &path)).unwrap();
    assert!(label.contains("SHOAL_TASK"), "{label}");
}

/// The read trace is given the locations: a reader that follows the tables must arrive there.
#[test]
fn the_files_lie_where_the_read_trace_expects_them() {
    let tools = Tools::new();
    let stick = build_task_stick(&[7; 5000], b"{}", Some(b"nonce"));
    let path = write(&tools, &stick);
    for (name, place) in [("KS.CFG", &stick.kickstart), ("NONCE.TXT", stick.nonce.as_ref().unwrap())] {
        // `<2050-2052>`, the clusters of the file.
        let shown = String::from_utf8(mtools("mshowfat", &[&format!("::/{name}")], &path)).unwrap();
        let first = shown.split(['<', '-', '>']).nth(1).unwrap().trim().parse::<u64>().unwrap();
        let data = PARTITION + (1 + 2 * 256 + 32) * 512;
        assert_eq!(place.start, data + (first - 2) * 2048, "{shown}");
    }
}

#[test]
fn the_partition_and_its_volume_are_found_by_util_linux() {
    let tools = Tools::new();
    let stick = build_task_stick(KICKSTART, b"{}", None);
    let path = write(&tools, &stick);
    let mut partx = Command::new("/usr/bin/partx");
    partx.args(["--show", "--noheadings", "--output", "NR,START,SECTORS,TYPE"]).arg(&path);
    let table = String::from_utf8(run(&mut partx, "util-linux").stdout).unwrap();
    let sectors = ((stick.image.size - PARTITION) / 512).to_string();
    assert_eq!(table.split_whitespace().collect::<Vec<_>>(), ["1", "2048", &sectors, "0x6"]);
    let mut blkid = Command::new("/usr/sbin/blkid");
    blkid.args(["-p", "-o", "export", "-O", &PARTITION.to_string()]).arg(&path);
    let volume = String::from_utf8(run(&mut blkid, "util-linux").stdout).unwrap();
    for line in ["TYPE=vfat", "VERSION=FAT16", "LABEL=SHOAL_TASK"] {
        assert!(volume.lines().any(|said| said == line), "{line}: {volume}");
    }
}
