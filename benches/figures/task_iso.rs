//! A task ISO: built in process, and by a `genisoimage` process.

use std::fs::File;
use std::hint::black_box;

use shoal_image::iso::build_task_iso;

use crate::measure::{by_turns, print, run, write};

const ROUNDS: u32 = 50;

pub fn measure() {
    let kickstart = kickstart();
    let recipe = br#"{"task_target":"install-esxi.target","server_serial":"ABCDEF123456"}"#;
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "tree/KS.CFG", &kickstart);
    write(folder.path(), "tree/RECIPE.JSN", recipe);
    let peer = || run("genisoimage", &["-quiet", "-J", "-o", "peer.iso", "tree"], folder.path());

    let build = || drop(black_box(build_task_iso(black_box(&kickstart), recipe, None)));
    let (ours, theirs) = by_turns(ROUNDS, build, peer);
    print("task ISO, built", ours, "genisoimage process", theirs, "under 0.5 ms");

    let path = folder.path().join("ours.iso");
    let build_and_write = || {
        let file = File::create(&path).expect("a file in a temporary folder");
        build_task_iso(&kickstart, recipe, None).image.write_to(&file).expect("the disk has room");
    };
    let (ours, theirs) = by_turns(ROUNDS, build_and_write, peer);
    print("task ISO, built and written", ours, "genisoimage process", theirs, "no slower");
}

/// As long as a thorough one: 4 KiB.
pub fn kickstart() -> Vec<u8> {
    let mut text = b"vmaccepteula\nrootpw VMware1!\ninstall --firstdisk --overwritevmfs\nreboot\n".to_vec();
    while text.len() < 4096 {
        text.extend_from_slice(
            b"# network --bootproto=static --device=vmnic0 --hostname=esx01.example.org\n",
        );
    }
    text
}
