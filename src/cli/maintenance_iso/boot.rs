//! The image: boot loaders of both firmwares, and what they load.
//!
//! BIOS starts ISOLINUX; UEFI starts Debian's signed shim and GRUB from a FAT image, so that Secure Boot may be on.
//! Invariant: a boot loader loads the kernel of its own image, also beside another copy of it on a disk.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use bytes::Bytes;
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use sha2::{Digest, Sha256};
use shoal_base::hex;
use shoal_image::iso::{BLOCK, BootPlatform, IsoWriter, SparseImage};

use super::BuildError;
use super::packages::file_of;
use crate::cli::new_file::FileError;

pub const PLATFORMS: [BootPlatform; 2] = [BootPlatform::Bios, BootPlatform::Uefi];
const VOLUME_ID: &str = "SHOAL_MAINT";
/// The kernel sets the speed of both serial ports, which the agent writes to as well as to the screen.
const KERNEL_OPTIONS: &str = "console=ttyS1,115200 console=ttyS0,115200 console=tty0 quiet";
const ISOLINUX: &str = "/ISOLINUX.BIN";
const EFI_IMAGE: &str = "/EFIBOOT.IMG";
const EFI_IMAGE_BYTES: usize = 8 << 20;
/// A BIOS loads so many sectors of ISOLINUX, which loads the rest.
const ISOLINUX_SECTORS: u16 = 4;
/// Where ISOLINUX has the table of its own place (`-boot-info-table`), and where its checked part begins.
const INFO_TABLE: usize = 8;
const CHECKED_FROM: usize = 64;
const DESCRIPTOR_BLOCK: u32 = 16;

pub struct BootImage {
    pub kernel: Vec<u8>,
    /// Compressed.
    pub initramfs: Vec<u8>,
    /// Which packages it is made of, a line each.
    pub packages: String,
}

impl BootImage {
    /// The image, with the boot loaders of the packages in `tree`.
    pub fn lay_out(self, tree: &Path) -> Result<SparseImage, BuildError> {
        let read = |package: &'static str, path: &str| -> Result<Vec<u8>, BuildError> {
            let path = file_of(tree, package, path)?;
            Ok(fs::read(&path).map_err(FileError::of("read", &path))?)
        };
        let mark = format!("/{}.ID", self.mark());
        let grub = grub_config(&mark);
        let shim = read("shim-signed", "lib/shim/shimx64.efi.signed")?;
        let loader = read("grub-efi-amd64-signed", "lib/grub/x86_64-efi-signed/gcdx64.efi.signed")?;
        let efi_files = [
            ("EFI/BOOT/BOOTX64.EFI", &shim[..]),
            ("EFI/BOOT/grubx64.efi", &loader[..]),
            ("boot/grub/grub.cfg", grub.as_bytes()),
        ];
        let efi_image = efi_image(&efi_files).map_err(BuildError::EfiImage)?;
        let isolinux = read("isolinux", "lib/ISOLINUX/isolinux.bin")?;
        let mut iso = IsoWriter::new(VOLUME_ID);
        iso.application_id = "SHOAL MAINTENANCE".to_owned();
        iso.file("/VMLINUZ", self.kernel)
            .file("/INITRD.GZ", self.initramfs)
            .file("/PACKAGES.TXT", self.packages)
            .file(&mark, mark.clone())
            .file("/ISOLINUX.CFG", isolinux_config())
            .file("/LDLINUX.C32", read("syslinux-common", "lib/syslinux/modules/bios/ldlinux.c32")?)
            .file("/boot/grub/grub.cfg", grub.clone())
            .file(EFI_IMAGE, efi_image)
            .file(ISOLINUX, isolinux.clone())
            .boot(BootPlatform::Bios, ISOLINUX, ISOLINUX_SECTORS)
            .boot(BootPlatform::Uefi, EFI_IMAGE, 0);
        // The first layout shows where ISOLINUX lies, which it has to know; the second differs in that alone.
        let place = iso.write()?.extents[ISOLINUX].start;
        iso.file(ISOLINUX, with_info_table(isolinux, (place / BLOCK) as u32));
        Ok(iso.write()?.image)
    }

    /// Names a file that only this image has.
    fn mark(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.kernel[..], &self.initramfs, self.packages.as_bytes()] {
            hash.update(Sha256::digest(part));
        }
        hex(&hash.finalize())[..8].to_ascii_uppercase()
    }
}

/// GRUB begins on the medium that it was loaded from; some firmware names another one.
fn grub_config(mark: &str) -> String {
    format!(
        "if [ ! -e {mark} ]; then\n  search --no-floppy --set=root --file {mark}\nfi\n\
         linux /VMLINUZ {KERNEL_OPTIONS}\ninitrd /INITRD.GZ\nboot\n"
    )
}

fn isolinux_config() -> String {
    format!(
        "DEFAULT maintenance\nPROMPT 0\nTIMEOUT 0\nLABEL maintenance\n  KERNEL /VMLINUZ\n  INITRD /INITRD.GZ\n  APPEND \
         {KERNEL_OPTIONS}\n"
    )
}

/// A FAT volume with these files. Its dates and its number are always the same.
fn efi_image(files: &[(&str, &[u8])]) -> std::io::Result<Bytes> {
    let mut volume = Cursor::new(vec![0; EFI_IMAGE_BYTES]);
    let options = FormatVolumeOptions::new().fat_type(FatType::Fat16).volume_id(0x51_0a_1e_f1);
    fatfs::format_volume(&mut volume, options.volume_label(*b"EFIBOOT    "))?;
    let system = FileSystem::new(&mut volume, FsOptions::new())?;
    for (path, bytes) in files {
        let mut folder = system.root_dir();
        let mut names = path.split('/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_some() {
                folder = folder.create_dir(name)?;
                continue;
            }
            let mut file = folder.create_file(name)?;
            file.write_all(bytes)?;
            file.flush()?;
        }
    }
    system.unmount()?;
    Ok(volume.into_inner().into())
}

/// Blocks of the descriptor and of ISOLINUX, its size, and the sum of what follows.
fn with_info_table(mut isolinux: Vec<u8>, block: u32) -> Vec<u8> {
    let words = isolinux.get(CHECKED_FROM..).unwrap_or_default().chunks(4);
    let sum = words.fold(0_u32, |sum, word| {
        let mut bytes = [0; 4];
        bytes[..word.len()].copy_from_slice(word);
        sum.wrapping_add(u32::from_le_bytes(bytes))
    });
    let table = [DESCRIPTOR_BLOCK, block, isolinux.len() as u32, sum].map(u32::to_le_bytes).concat();
    if let Some(place) = isolinux.get_mut(INFO_TABLE..INFO_TABLE + table.len()) {
        place.copy_from_slice(&table);
    }
    isolinux
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolinux_knows_its_place_and_its_sum() {
        let isolinux = with_info_table([vec![0xff; 64], vec![1, 0, 0, 0, 2, 0, 0, 0, 3]].concat(), 77);
        let word = |at: usize| u32::from_le_bytes(isolinux[at..at + 4].try_into().unwrap());
        assert_eq!((word(8), word(12), word(16), word(20)), (16, 77, 73, 6));
        assert_eq!((isolinux[7], word(24)), (0xff, u32::MAX));
    }

    #[test]
    fn the_same_input_is_the_same_image_with_both_boot_loaders() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "lib/shim/shimx64.efi.signed",
            "lib/grub/x86_64-efi-signed/gcdx64.efi.signed",
            "lib/ISOLINUX/isolinux.bin",
            "lib/syslinux/modules/bios/ldlinux.c32",
        ] {
            let path = dir.path().join("usr").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [7; 3000]).unwrap();
        }
        let image = |initramfs: &[u8]| {
            let (kernel, packages) = (b"kernel".to_vec(), "x\n".to_owned());
            let image =
                BootImage { kernel, initramfs: initramfs.to_vec(), packages }.lay_out(dir.path()).unwrap();
            let path = dir.path().join("image");
            image.write_to(&fs::File::create(&path).unwrap()).unwrap();
            let file = fs::File::open(&path).unwrap();
            super::super::verify(&file).unwrap();
            fs::read(path).unwrap()
        };
        let first = image(b"initramfs");
        assert!(first == image(b"initramfs"));
        let marks = |image: &[u8]| image.windows(4).filter(|bytes| bytes == b".ID;").count();
        assert!(marks(&first) == 1 && first != image(b"another"));
    }
}
