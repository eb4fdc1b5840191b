//! The images that a corpus begins with: by other people's writers, and by other people.
//!
//! Small ones laid out like the vendor's by xorriso and genisoimage in every way that people use them; this
//! project's sources as one of many files; iPXE's and memtest86+'s images as Debian ships them; and the lab's
//! stand-in installer. Invariant: none is kept in the repository.

use std::fs;
use std::path::Path;

use xtask::source::ROOT;

use super::make as make_folder;
use crate::lab;
use crate::process::{Done, capture, command, fail};

/// Made by others, from the packages of the same names.
const SHIPPED: [&str; 3] = [
    "/usr/lib/ipxe/ipxe.iso",
    "/usr/lib/memtest86+/memtest86+x64.iso",
    "/usr/lib/memtest86+/memtest86+ia32.iso",
];
const WRITERS: [(&str, &[&str]); 2] = [("xorriso", &["-as", "mkisofs"]), ("genisoimage", &[])];
const WAYS: [(&str, &[&str]); 5] = [
    ("plain", &[]),
    ("joliet", &["-J"]),
    ("rock-ridge", &["-R"]),
    ("both", &["-J", "-R"]),
    ("relaxed", &["-iso-level", "3", "-J", "-R"]),
];
const LABELS: [&str; 5] = ["-quiet", "-V", "ESXI-8.0U3-24022510", "-A", "ESXIMAGE"];
const BOOT: [&str; 14] = [
    "-no-pad",
    "-b",
    "ISOLINUX.BIN",
    "-c",
    "BOOT.CAT",
    "-no-emul-boot",
    "-boot-load-size",
    "1",
    "-eltorito-alt-boot",
    "-e",
    "EFIBOOT.IMG",
    "-no-emul-boot",
    "-graft-points",
    "-o",
];
const BOOT_CFG: &[u8] =
    b"bootstate=0\ntitle=Loading ESXi installer\nkernel=/b.b00\nkernelopt=runweasel cdromBoot\n\
    modules=/k.b00 --- /long_name.v00\nbuild=8.0.3-0.0.24022510\n";

/// Fills `made` below this folder.
pub fn make(folder: &Path) -> Done {
    let (tree, made) = (folder.join("tree"), folder.join("made"));
    make_tree(&tree)?;
    make_folder(&made)?;
    for (writer, prefix) in WRITERS {
        for (name, flags) in WAYS {
            let flags = [no_rock_ridge(writer, flags), flags].concat();
            let out = made.join(format!("{writer}-{name}.iso"));
            let mut make = command(writer, prefix);
            capture(make.args(flags).args(LABELS).args(BOOT).arg(out).arg(format!("/={}", tree.display())))?;
        }
        let sources = Path::new(ROOT).join("src");
        let mut make = command(writer, prefix);
        make.args(["-J", "-R"]).args(LABELS).args(BOOT).arg(made.join(format!("{writer}-sources.iso")));
        capture(make.arg(format!("/={}", tree.display())).arg(format!("/SOURCES={}", sources.display())))?;
    }
    let standin = lab::ensure_standin()?;
    for image in SHIPPED.map(Path::new).into_iter().chain([standin.as_path()]) {
        let name = image.file_name().unwrap_or(image.as_os_str());
        fs::copy(image, made.join(name)).or_else(|error| fail(format!("{}: {error}", image.display())))?;
    }
    Ok(())
}

/// xorriso writes Rock Ridge unless an option disables it.
fn no_rock_ridge(writer: &str, flags: &[&str]) -> &'static [&'static str] {
    if writer == "xorriso" && !flags.contains(&"-R") { &["--norock"] } else { &[] }
}

fn make_tree(tree: &Path) -> Done {
    make_folder(&tree.join("EFI/BOOT"))?;
    let files: [(&str, &[u8]); 7] = [
        ("BOOT.CFG", BOOT_CFG),
        ("EFI/BOOT/BOOT.CFG", BOOT_CFG),
        ("B.B00", b"kernel"),
        ("K.B00", b"module"),
        ("LONG_NAM.V00", b"module"),
        ("ISOLINUX.BIN", &[0x15; 100]),
        ("EFIBOOT.IMG", &[0xFA; 100]),
    ];
    for (name, content) in files {
        let written = fs::write(tree.join(name), content);
        written.or_else(|error| fail(format!("{name} cannot be written: {error}")))?;
    }
    Ok(())
}
