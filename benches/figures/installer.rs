//! A 600 MB installer opened, recognised and patched as an overlay, and remastered by xorriso.

use std::fs::File;
use std::hint::black_box;
use std::path::Path;

use shoal_image::installer::{KickstartOn, overlay, recognise};

use crate::measure::{by_turns, print, run, write};

const ROUNDS: u32 = 5;
const MODULES: usize = 150;
const MODULE_BYTES: u64 = 4 << 20;

pub fn measure() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let path = folder.path().join("vendor.iso");
    make_installer(folder.path());
    let patch = || {
        let file = File::open(&path).expect("just made");
        let installer = recognise(&file).expect("laid out as an installer is");
        drop(black_box(
            overlay(&file, &installer, KickstartOn::Cd).expect("its boot options can be changed"),
        ));
    };
    let remaster = || {
        let map = ["-map", "BOOT.NEW", "/BOOT.CFG", "-map", "BOOT.NEW", "/EFI/BOOT/BOOT.CFG"];
        let mut arguments = vec!["-rockridge", "off", "-indev", "vendor.iso", "-outdev", "remastered.iso"];
        arguments.extend(["-boot_image", "any", "keep"].iter().chain(&map));
        run("rm", &["-f", "remastered.iso"], folder.path());
        run("xorriso", &arguments, folder.path());
    };
    let (ours, theirs) = by_turns(ROUNDS, patch, remaster);
    print(
        "installer of 600 MB, opened and patched",
        ours,
        "xorriso remaster",
        theirs,
        "under 20 ms, no copy",
    );
}

/// `vendor.iso`: both boot files, a kernel, and modules as large as a vendor's are together.
pub fn make_installer(folder: &Path) {
    let modules: Vec<String> = (0..MODULES).map(|number| format!("/M{number:03}.V00")).collect();
    let config = |kernelopt: &str| {
        let modules = modules.join(" --- ");
        format!(
            "bootstate=0\ntitle=Loading ESXi installer\ntimeout=5\nprefix=\nkernel=/B.B00\n\
             kernelopt={kernelopt}\nmodules={modules}\nbuild=8.0.3-0.0.24022510\nupdated=0\n"
        )
    };
    write(folder, "tree/BOOT.CFG", config("runweasel cdromBoot").as_bytes());
    write(folder, "tree/EFI/BOOT/BOOT.CFG", config("runweasel cdromBoot").as_bytes());
    write(folder, "BOOT.NEW", config("runweasel ks=cdrom:/KS.CFG").as_bytes());
    write(folder, "tree/B.B00", b"kernel");
    for module in &modules {
        let path = folder.join("tree").join(&module[1..]);
        let file = File::create(path).expect("a file in a temporary folder");
        file.set_len(MODULE_BYTES).expect("sparse files can be made");
    }
    let flags = ["-as", "mkisofs", "-quiet", "-iso-level", "1", "-V", "ESXI-8.0.3-24022510"];
    let arguments: Vec<&str> = flags.into_iter().chain(["-o", "vendor.iso", "tree"]).collect();
    run("xorriso", &arguments, folder);
}
