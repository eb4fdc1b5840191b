//! What an image is, by its first MiB, and whether this machine can start from it.
//!
//! Pure. Invariant: every refusal is made before the disk is touched, except of a format whose mark is at its end.

use shoal_recipe::FailedStep;

use super::Compression;
use crate::failure::Failure;
use crate::table::{self, Table};

/// How the machine starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    Uefi,
    Bios,
}

/// What of the machine decides whether an image suits it.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    pub firmware: Firmware,
    /// Bytes of the disk.
    pub disk_size: u64,
    /// Bytes of a logical sector of the disk.
    pub sector: u32,
}

const CONVERT: &str = "qemu-img convert -O raw IN disk.raw && zstd disk.raw";

/// Formats that are no raw disk, by their mark.
const CONTAINERS: [(&str, usize, &[u8]); 9] = [
    ("a qcow2 image", 0, b"QFI\xfb"),
    ("a VHD image", 0, b"conectix"),
    ("a VHDX image", 0, b"vhdxfile"),
    ("a VMDK image", 0, b"KDMV"),
    ("a VMDK descriptor", 0, b"# Disk DescriptorFile"),
    ("a VDI image", 64, &[0x7f, 0x10, 0xda, 0xbe]),
    ("a bzip2 file", 0, b"BZh"),
    ("an LZ4 file", 0, &[0x04, 0x22, 0x4d, 0x18]),
    ("a ZIP file", 0, b"PK\x03\x04"),
];

fn refused(message: impl Into<String>) -> Failure {
    Failure::new(FailedStep::Image, message)
}

/// The partition table of an image that begins with `head`, or why the image is refused.
pub fn inspect(head: &[u8], host: &Host) -> Result<Table, Failure> {
    refuse_containers(head)?;
    let table = table::read(head).map_err(|error| refused(format!("the image is damaged: {error}")))?;
    if table == Table::None {
        let what = match head.get(32_769..32_774) {
            Some(b"CD001") => "the image is an ISO 9660 image, such as an installer CD",
            _ => "the image has no partition table",
        };
        return Err(refused(format!("{what}: a whole-disk image is needed")));
    }
    if table.extent() > host.disk_size {
        return Err(too_large(table.extent(), host.disk_size));
    }
    if table.sector() != host.sector {
        return Err(refused(format!(
            "the image is made for sectors of {} bytes and the disk has sectors of {}",
            table.sector(),
            host.sector
        )));
    }
    match host.firmware {
        Firmware::Uefi if table.esp().is_none() => Err(refused(
            "the machine starts by UEFI and the image has no EFI system partition: use an image for UEFI, or set the \
             machine to BIOS",
        )),
        Firmware::Bios if !table.has_bios_boot(head) => Err(refused(
            "the machine starts by BIOS and the image has no boot code for BIOS: use an image for BIOS, or set the \
             machine to UEFI",
        )),
        _ => Ok(table),
    }
}

pub fn too_large(image: u64, disk: u64) -> Failure {
    refused(format!("the image needs {image} bytes and the disk has {disk}"))
}

/// Whether it begins as a tar archive does.
pub fn is_archive(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

fn refuse_containers(head: &[u8]) -> Result<(), Failure> {
    let is = |offset: usize, mark: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(mark));
    if is(0, b"MSWIM\0\0\0") || is(0, b"WLPWM\0\0\0") {
        return Err(refused(
            "the image is a WIM file, which cannot be written to a disk: install it in a virtual machine, run sysprep \
             /generalize, and convert that disk with qemu-img convert -O raw",
        ));
    }
    if is_archive(head) {
        return Err(refused(
            "the image is a tar archive: give `partition_layout` in the recipe if it is a root file system",
        ));
    }
    if let Some((name, ..)) = CONTAINERS.iter().find(|(_, offset, mark)| is(*offset, mark)) {
        return Err(refused(format!("the image is {name}: convert it with `{CONVERT}`")));
    }
    match Compression::detect(head) {
        Compression::None => Ok(()),
        twice => Err(refused(format!(
            "the image is compressed twice, by {} inside: compress it once",
            twice.name()
        ))),
    }
}

/// A fixed VHD has its only mark in the last 512 bytes of the image.
pub fn refuse_tail(tail: &[u8]) -> Result<(), Failure> {
    let footer = tail.len().checked_sub(512).map(|at| &tail[at..]);
    match footer.is_some_and(|footer| footer.starts_with(b"conectix")) {
        true => Err(refused(format!("the image is a fixed VHD image: convert it with `{CONVERT}`"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::samples;
    use crate::table::{BIOS_BOOT, ESP, LINUX};

    const MIB: u64 = 1 << 20;

    fn host(firmware: Firmware) -> Host {
        Host { firmware, disk_size: 8 * MIB, sector: 512 }
    }

    fn message(head: &[u8], host: &Host) -> String {
        let failure = inspect(head, host).unwrap_err();
        assert_eq!(failure.step, FailedStep::Image);
        failure.message
    }

    #[test]
    fn every_other_format_is_refused_with_what_to_do() {
        for (name, offset, mark) in CONTAINERS {
            let mut head = vec![0; table::HEAD_BYTES];
            head[offset..offset + mark.len()].copy_from_slice(mark);
            let message = message(&head, &host(Firmware::Uefi));
            assert!(message.contains(name) && message.contains("qemu-img convert -O raw"), "{message}");
        }
        for (offset, mark, part) in [
            (0, &b"MSWIM\0\0\0"[..], "sysprep"),
            (0, b"WLPWM\0\0\0", "sysprep"),
            (257, b"ustar\0", "tar archive"),
            (32_769, b"CD001", "installer CD"),
            (0, &[0x28, 0xb5, 0x2f, 0xfd], "compressed twice, by zstd"),
            (0, b"", "no partition table"),
        ] {
            let mut head = vec![0; table::HEAD_BYTES];
            head[offset..offset + mark.len()].copy_from_slice(mark);
            let message = message(&head, &host(Firmware::Uefi));
            assert!(message.contains(part), "{message}");
        }
        let mut footer = vec![0; 4096];
        footer[3584..3592].copy_from_slice(b"conectix");
        assert!(refuse_tail(&footer).unwrap_err().message.contains("fixed VHD"));
        assert_eq!(refuse_tail(&[0; 4096]), Ok(()));
    }

    #[test]
    fn the_firmware_decides_what_an_image_must_have() {
        let uefi = samples::gpt_image(4 * MIB, 512, &[(ESP, MIB, MIB), (LINUX, 2 * MIB, MIB)]);
        let mut bios = samples::gpt_image(4 * MIB, 512, &[(BIOS_BOOT, MIB, MIB), (LINUX, 2 * MIB, MIB)]);
        bios[0] = 0xeb;
        assert!(inspect(&uefi, &host(Firmware::Uefi)).is_ok());
        assert!(inspect(&bios, &host(Firmware::Bios)).is_ok());
        assert!(message(&bios, &host(Firmware::Uefi)).contains("no EFI system partition"));
        assert!(message(&uefi, &host(Firmware::Bios)).contains("no boot code for BIOS"));
    }

    #[test]
    fn size_sectors_and_damage_are_checked() {
        let image = samples::gpt_image(16 * MIB, 512, &[(ESP, MIB, MIB)]);
        assert!(
            message(&image, &host(Firmware::Uefi)).contains("needs 16777216 bytes and the disk has 8388608")
        );
        let mut image = samples::gpt_image(4 * MIB, 4096, &[(ESP, MIB, MIB)]);
        assert!(message(&image, &host(Firmware::Uefi)).contains("sectors of 4096 bytes"));
        image[4096 + 40] ^= 1;
        assert!(message(&image, &host(Firmware::Uefi)).contains("damaged: its GPT header"));
    }
}
