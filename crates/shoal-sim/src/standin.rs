//! Small stand-ins: for the vendor's installer ISO, laid out like VMware's, and for a maintenance ISO.
//!
//! Nothing in it runs: the simulated guest acts on its boot files, and a real host would not boot
//! it. It is no lab installer either (`lab/` builds one that does boot). Invariant: the same bytes
//! every time, and nothing of VMware's.
//!
//! The layout is that of VMware's own images: plain ISO 9660 names in upper case, neither Joliet nor
//! Rock Ridge, application id `ESXIMAGE`, boot files in the root and for UEFI in `EFI/BOOT`.

use shoal_base::world::Rng;
use shoal_image::iso::{BootPlatform, IsoWriter, SparseImage};

/// Version and build that the stand-in claims.
pub const VERSION: &str = "8.0.3";
pub const BUILD: &str = "24022510";

/// What a boot loader would load: name as in BOOT.CFG, size in KiB.
const PAYLOAD: [(&str, usize); 24] = [
    ("b.b00", 160),
    ("jumpstrt.gz", 1),
    ("useropts.gz", 1),
    ("features.gz", 1),
    ("k.b00", 320),
    ("uc_intel.b00", 96),
    ("uc_amd.b00", 32),
    ("procfs.b00", 8),
    ("vmx.v00", 128),
    ("vim.v00", 128),
    ("tpm.v00", 8),
    ("sb.v00", 160),
    ("s.v00", 256),
    ("bnxtnet.v00", 24),
    ("i40en.v00", 24),
    ("ixgben.v00", 24),
    ("nvme_pci.v00", 16),
    ("vmkusb.v00", 32),
    ("tools.t00", 192),
    ("weaselin.v00", 96),
    ("esxupdt.v00", 48),
    ("imgdb.tgz", 32),
    ("basemisc.tgz", 32),
    ("resvibs.tgz", 1),
];

/// The image: about 2 MiB.
pub fn standin_installer() -> SparseImage {
    let written = standin_writer().write().expect("the stand-in's names are valid and its files small");
    written.image
}

/// The image before it is written, for tests that want it a little different.
pub fn standin_writer() -> IsoWriter {
    let mut writer = IsoWriter::new(&format!("ESXI-8.0U3-{BUILD}-STANDIN"));
    writer.application_id = "ESXIMAGE".to_owned();
    writer.joliet = false;
    writer.file("/BOOT.CFG", boot_cfg());
    writer.file("/EFI/BOOT/BOOT.CFG", boot_cfg());
    writer.file("/ISOLINUX.CFG", "DEFAULT MBOOT.C32\nAPPEND -c BOOT.CFG\n");
    for (path, kib) in [
        ("/ISOLINUX.BIN", 24),
        ("/MBOOT.C32", 96),
        ("/EFIBOOT.IMG", 256),
        ("/EFI/BOOT/BOOTX64.EFI", 96),
        ("/EFI/BOOT/CRYPTO64.EFI", 64),
    ] {
        writer.file(path, noise(path, kib));
    }
    for (name, kib) in PAYLOAD {
        writer.file(&format!("/{}", name.to_ascii_uppercase()), noise(name, kib));
    }
    writer.boot(BootPlatform::Bios, "/ISOLINUX.BIN", 4);
    writer.boot(BootPlatform::Uefi, "/EFIBOOT.IMG", 512);
    writer
}

/// A maintenance ISO whose kernel gets these arguments: about 6 MiB.
pub fn standin_maintenance(arguments: &str) -> SparseImage {
    let written = standin_maintenance_writer(arguments).write();
    written.expect("the stand-in's names are valid and its files small").image
}

/// The image before it is written, for a test that changes it.
pub fn standin_maintenance_writer(arguments: &str) -> IsoWriter {
    let mut writer = IsoWriter::new("MAINTENANCE");
    writer.rock_ridge = true;
    writer.file(
        "/isolinux/isolinux.cfg",
        format!("default m\nlabel m\nkernel /boot/vmlinuz\ninitrd /boot/initrd.img\nappend {arguments}\n"),
    );
    writer.file(
        "/boot/grub/grub.cfg",
        format!("linux /boot/vmlinuz {arguments}\ninitrd /boot/initrd.img\nboot\n"),
    );
    for (path, kib) in [
        ("/isolinux/isolinux.bin", 24),
        ("/boot/grub/efi.img", 256),
        ("/EFI/BOOT/BOOTX64.EFI", 96),
        ("/boot/vmlinuz", 1024),
        ("/boot/initrd.img", 4096),
    ] {
        writer.file(path, noise(path, kib));
    }
    writer.boot(BootPlatform::Bios, "/isolinux/isolinux.bin", 4);
    writer.boot(BootPlatform::Uefi, "/boot/grub/efi.img", 512);
    writer
}

/// As VMware's 8.0, where `cdromBoot` stands last.
fn boot_cfg() -> String {
    let (kernel, modules) = PAYLOAD.split_first().expect("the kernel comes first");
    let modules: Vec<String> = modules.iter().map(|(name, _)| format!("/{name}")).collect();
    format!(
        "bootstate=0\ntitle=Loading ESXi installer\ntimeout=5\nprefix=\nkernel=/{}\n\
         kernelopt=runweasel cdromBoot\nmodules={}\nbuild={VERSION}-0.0.{BUILD}\nupdated=0\n",
        kernel.0,
        modules.join(" --- "),
    )
}

/// Bytes that do not compress, and that depend on the name only.
fn noise(name: &str, kib: usize) -> Vec<u8> {
    let mut bytes = vec![0; kib * 1024];
    Rng::from_seed(0).child(name).fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_image::installer::{KickstartOn, overlay, recognise};
    use shoal_image::iso::ReadAt;

    #[test]
    fn the_stand_in_is_an_installer_without_a_warning() {
        let image = standin_installer();
        let installer = recognise(&image).unwrap();
        assert_eq!(installer.warnings, Vec::<String>::new());
        assert_eq!((installer.version.as_deref(), installer.build.as_deref()), (Some(VERSION), Some(BUILD)));
        assert!(installer.bios && installer.uefi && !installer.boots_unattended());
        assert!(installer.landmarks.payload_bytes() > image.size() / 2);
        assert_eq!(overlay(&image, &installer, KickstartOn::Cd).unwrap().size, image.size());
    }

    #[test]
    fn the_stand_in_is_small_and_always_the_same() {
        let image = standin_installer();
        assert!((1 << 20..4 << 20).contains(&image.size), "{}", image.size);
        assert_eq!(image, standin_installer());
    }
}
