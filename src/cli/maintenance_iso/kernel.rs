//! The kernel's modules: which of them a server's disks, drives and network cards need.
//!
//! Invariant: with a module come those that it depends on, and a kernel without a driver that every server needs is
//! refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::BuildError;
use super::packages::file_of;
use crate::cli::new_file::FileError;

const PACKAGE: &str = "linux-image-amd64";
/// Folders and files below `kernel/` whose modules are taken.
const WANTED: [&str; 36] = [
    "crypto/crc32c_generic.ko",
    "drivers/ata/",
    "drivers/block/loop.ko",
    "drivers/block/mtip32xx/",
    "drivers/block/virtio_blk.ko",
    "drivers/block/xen-blkfront.ko",
    "drivers/cdrom/",
    "drivers/hv/",
    "drivers/message/fusion/",
    "drivers/net/ethernet/",
    "drivers/net/hyperv/",
    "drivers/net/mdio/",
    "drivers/net/phy/",
    "drivers/net/virtio_net.ko",
    "drivers/net/vmxnet3/",
    "drivers/net/xen-netfront.ko",
    "drivers/nvme/host/",
    "drivers/pci/controller/",
    "drivers/scsi/",
    "drivers/usb/common/",
    "drivers/usb/core/",
    "drivers/usb/host/",
    "drivers/usb/storage/",
    "drivers/virtio/",
    "fs/efivarfs/",
    "fs/ext4/",
    "fs/fat/",
    "fs/fuse/fuse.ko",
    "fs/isofs/",
    "fs/nls/",
    "fs/xfs/",
    "lib/",
    "net/8021q/",
    "net/ipv6/ipv6.ko",
    "net/packet/af_packet.ko",
    "arch/x86/crypto/crc",
];
/// Of these folders, what no server needs.
const UNWANTED: [&str; 4] =
    ["drivers/scsi/pcmcia/", "drivers/scsi/scsi_debug.ko", "lib/test", "drivers/virtio/virtio_mem.ko"];
/// A kernel without one of these is another flavour: the cloud kernel has no USB and no SATA.
const NEEDED: [&str; 10] = [
    "sd_mod",
    "sr_mod",
    "isofs",
    "usb_storage",
    "xhci_pci",
    "ahci",
    "nvme",
    "virtio_blk",
    "loop",
    "efivarfs",
];

pub struct Kernel {
    pub version: String,
    /// `lib/modules/VERSION` of the package.
    pub modules: PathBuf,
    image: PathBuf,
}

impl Kernel {
    pub fn open(tree: &Path) -> Result<Kernel, BuildError> {
        let modules = file_of(tree, PACKAGE, "lib/modules")?;
        let mut names = fs::read_dir(&modules).map_err(FileError::of("read", &modules))?.flatten();
        let version = names.next().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let version =
            version.ok_or(BuildError::NoFile { package: PACKAGE, path: "lib/modules/VERSION".into() })?;
        let image = file_of(tree, PACKAGE, &format!("boot/vmlinuz-{version}"))?;
        Ok(Kernel { modules: modules.join(&version), image, version })
    }

    pub fn image(&self) -> Result<Vec<u8>, FileError> {
        fs::read(&self.image).map_err(FileError::of("read", &self.image))
    }

    /// The modules to take, as paths below [`Kernel::modules`], once `depmod` has described them.
    pub fn chosen(&self) -> Result<BTreeSet<String>, BuildError> {
        let read = |name: &str| {
            let path = self.modules.join(name);
            fs::read_to_string(&path).map_err(FileError::of("read", &path))
        };
        let (modules, built_in) = (read("modules.dep")?, read("modules.builtin")?);
        let chosen = choose(&modules, &read("modules.softdep")?);
        let names = chosen.iter().map(String::as_str).chain(built_in.lines());
        let names: BTreeSet<String> = names.map(name_of).collect();
        match NEEDED.into_iter().find(|name| !names.contains(*name)) {
            Some(name) => Err(BuildError::NoDriver { kernel: self.version.clone(), name }),
            None => Ok(chosen),
        }
    }
}

/// What is wanted of `modules.dep`, with what it depends on and, by `modules.softdep`, asks for.
fn choose(modules: &str, soft: &str) -> BTreeSet<String> {
    let lines: Vec<(&str, &str)> = modules.lines().filter_map(|line| line.split_once(':')).collect();
    let is_wanted = |path: &str| {
        let path = path.strip_prefix("kernel/").unwrap_or(path);
        let starts = |prefix: &&str| path.starts_with(*prefix);
        WANTED.iter().any(&starts) && !UNWANTED.iter().any(&starts)
    };
    let mut chosen = BTreeSet::new();
    let mut queue: Vec<&str> = lines.iter().map(|(path, _)| *path).filter(|path| is_wanted(path)).collect();
    while let Some(path) = queue.pop() {
        if !chosen.insert(path.to_owned()) {
            continue;
        }
        let needs = lines.iter().filter(|(other, _)| *other == path).flat_map(|(_, needs)| needs.split(' '));
        queue.extend(needs.filter(|needed| !needed.is_empty()));
        let name = name_of(path);
        let asked = soft.lines().filter_map(|line| line.strip_prefix("softdep "));
        let asked =
            asked.filter_map(|line| line.split_once(' ')).filter(|(of, _)| of.replace('-', "_") == name);
        for word in asked.flat_map(|(_, words)| words.split(' ')).filter(|word| !word.ends_with(':')) {
            let wanted = word.replace('-', "_");
            queue.extend(lines.iter().map(|(path, _)| *path).filter(|path| name_of(path) == wanted));
        }
    }
    chosen
}

/// `usb_storage` of `kernel/drivers/usb/storage/usb-storage.ko.xz`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: [&str; 10] = [
        "kernel/fs/isofs/isofs.ko: kernel/drivers/cdrom/cdrom.ko",
        "kernel/drivers/cdrom/cdrom.ko:",
        "kernel/drivers/usb/storage/usb-storage.ko.xz: kernel/drivers/usb/core/usbcore.ko.xz",
        "kernel/drivers/usb/core/usbcore.ko.xz:",
        "kernel/drivers/net/ethernet/intel/igb/igb.ko: kernel/drivers/i2c/i2c-algo.ko kernel/drivers/dca/dca.ko",
        "kernel/drivers/dca/dca.ko:",
        "kernel/drivers/i2c/i2c-algo.ko:",
        "kernel/drivers/scsi/scsi_debug.ko:",
        "kernel/crypto/crc-x.ko:",
        "kernel/sound/sound.ko:",
    ];

    #[test]
    fn a_module_brings_what_it_depends_on_and_asks_for() {
        let chosen = choose(&MODULES.join("\n"), "# softdeps\nsoftdep usb-storage pre: crc-x post: none\n");
        let names: Vec<String> = chosen.iter().map(|path| name_of(path)).collect();
        let expected = ["crc_x", "cdrom", "dca", "i2c_algo", "igb", "usbcore", "usb_storage", "isofs"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_kernel_without_usb_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let kernel =
            Kernel { version: "6.1-cloud".into(), modules: dir.path().into(), image: dir.path().into() };
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("modules.dep", "");
        write("modules.softdep", "");
        let built_in = NEEDED.map(|name| format!("kernel/x/{}.ko\n", name.replace('_', "-")));
        write("modules.builtin", &built_in.concat());
        assert!(kernel.chosen().is_ok());
        write("modules.builtin", &built_in.concat().replace("usb-storage", "other"));
        let error = kernel.chosen().unwrap_err().to_string();
        assert!(error.contains("6.1-cloud has no driver usb_storage"), "{error}");
    }
}
