//! The smallest image that passes for the vendor's installer.
//!
//! A hundred thousand machines read it whole. Invariant: every kind of file that the stand-in of the
//! simulator has is there, more than one block of it, and one file is read after another.

use std::path::Path;
use std::sync::LazyLock;

use shoal_image::iso::{BootPlatform, IsoWriter};

/// What it claims to be.
pub const RELEASE: &str = "8.0.3-0.0.24022510";

const MODULES: [(&str, usize); 4] =
    [("/K.B00", 100 << 10), ("/VMX.V00", 70 << 10), ("/S.V00", 130 << 10), ("/TOOLS.T00", 40 << 10)];

/// One file for all worlds of this process.
static FILE: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
    let file = tempfile::NamedTempFile::new().unwrap();
    writer().write().unwrap().image.write_to(file.as_file()).unwrap();
    file
});

pub fn path() -> &'static Path {
    FILE.path()
}

fn writer() -> IsoWriter {
    let mut writer = IsoWriter::new("ESXI-8.0U3-SWEEP");
    writer.application_id = "ESXIMAGE".to_owned();
    writer.joliet = false;
    let modules: Vec<String> = MODULES.iter().map(|(path, _)| path.to_lowercase()).collect();
    let boot_cfg = format!(
        "bootstate=0\ntitle=Loading ESXi installer\ntimeout=5\nprefix=\nkernel=/b.b00\n\
         kernelopt=runweasel cdromBoot\nmodules={}\nbuild={RELEASE}\nupdated=0\n",
        modules.join(" --- ")
    );
    writer.file("/BOOT.CFG", boot_cfg.clone());
    writer.file("/EFI/BOOT/BOOT.CFG", boot_cfg);
    writer.file("/ISOLINUX.BIN", vec![1; 4 << 10]);
    writer.file("/EFIBOOT.IMG", vec![2; 16 << 10]);
    writer.file("/B.B00", vec![3; 90 << 10]);
    for (path, bytes) in MODULES {
        writer.file(path, vec![4; bytes]);
    }
    writer.boot(BootPlatform::Bios, "/ISOLINUX.BIN", 4);
    writer.boot(BootPlatform::Uefi, "/EFIBOOT.IMG", 32);
    writer
}
