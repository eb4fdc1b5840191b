//! isolinux and GRUB, as far as they boot a Linux from a CD: which kernel and initramfs, with which arguments.
//!
//! One entry is enough: the first that a configuration has. Files are found under their long names. Invariant: a CD
//! without a configuration, or without the files that it names, boots no Linux.

use std::ops::Range;

use shoal_image::iso::{Entry, IsoError, PartialImage, TreeKind, Volume};

const CONFIGURATION_BYTES_MAX: u64 = 1 << 20;
/// Where each boot loader looks, in its order.
const ISOLINUX: [&str; 3] = ["/boot/isolinux/isolinux.cfg", "/isolinux/isolinux.cfg", "/isolinux.cfg"];
const GRUB: [&str; 3] = ["/EFI/BOOT/grub.cfg", "/boot/grub/grub.cfg", "/grub.cfg"];

/// A Linux on a CD.
#[derive(Debug)]
pub struct Linux {
    /// Kernel and initramfs, in bytes of the image.
    pub files: Vec<Range<u64>>,
    pub arguments: KernelArguments,
}

/// What follows the kernel's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelArguments(String);

impl KernelArguments {
    /// The value of the last `name=`.
    pub fn value(&self, name: &str) -> Option<&str> {
        let words = self.0.split_whitespace().rev();
        words.filter_map(|word| word.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// The Linux that the CD boots, or the path that is missing of it.
pub fn find(image: &PartialImage, volume: &Volume, uefi: bool) -> Result<Option<Linux>, IsoError> {
    for path in if uefi { GRUB } else { ISOLINUX } {
        let Some(entry) = find_file(image, volume, path)? else { continue };
        let text = volume.read(image, &entry, CONFIGURATION_BYTES_MAX)?;
        let Some(Configured { kernel, initrds, arguments }) = parse(&String::from_utf8_lossy(&text)) else {
            continue;
        };
        let mut files = vec![];
        for name in std::iter::once(&kernel).chain(&initrds) {
            let Some(entry) = find_file(image, volume, name)? else { return Ok(None) };
            files.extend((!entry.extent.is_empty()).then_some(entry.extent));
        }
        return Ok(Some(Linux { files, arguments }));
    }
    Ok(None)
}

/// A file as Linux and its boot loaders see the volume: by its long name.
pub fn find_file(image: &PartialImage, volume: &Volume, path: &str) -> Result<Option<Entry>, IsoError> {
    for kind in [TreeKind::RockRidge, TreeKind::Joliet, TreeKind::Primary] {
        if volume.tree(kind).is_some() {
            return Ok(volume.find(image, kind, path)?.filter(|entry| !entry.is_dir));
        }
    }
    Ok(None)
}

#[derive(Debug, PartialEq, Eq)]
struct Configured {
    kernel: String,
    initrds: Vec<String>,
    arguments: KernelArguments,
}

/// The first entry with a kernel, in either language.
fn parse(text: &str) -> Option<Configured> {
    let (mut kernel, mut initrds, mut arguments) = (None, vec![], String::new());
    for line in text.lines() {
        let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        match word.to_ascii_lowercase().as_str() {
            "linux" | "linuxefi" | "kernel" if kernel.is_none() => {
                let (path, given) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
                kernel = Some(path.to_owned());
                arguments.push_str(given);
            }
            "linux" | "linuxefi" | "kernel" => break,
            "append" => arguments.push_str(rest),
            "initrd" | "initrdefi" if initrds.is_empty() => {
                initrds = rest.split([',', ' ']).filter(|path| !path.is_empty()).map(str::to_owned).collect();
            }
            _ => {}
        }
    }
    let kernel = kernel.filter(|path| !path.is_empty() && !initrds.is_empty())?;
    Some(Configured { kernel, initrds, arguments: KernelArguments(arguments) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_boot_loaders_configurations_are_read() {
        let isolinux =
            "default m\nlabel m\n  KERNEL /boot/vmlinuz\n  initrd /boot/initrd.img\n  append quiet a=1 a=2\n";
        let grub = "menuentry 'm' {\n  linux /boot/vmlinuz quiet a=1 a=2\n  initrd /boot/initrd.img\n}\n\
                    menuentry 'other' {\n linux /other\n initrd /other\n}\n";
        for text in [isolinux, grub] {
            let found = parse(text).expect("it boots a Linux");
            assert_eq!(
                (found.kernel.as_str(), found.initrds.as_slice()),
                ("/boot/vmlinuz", &["/boot/initrd.img".to_owned()][..])
            );
            assert_eq!(
                (found.arguments.value("a"), found.arguments.value("quiet")),
                (Some("2"), None),
                "{text}"
            );
        }
    }

    #[test]
    fn a_configuration_without_kernel_or_initramfs_boots_nothing() {
        for text in ["", "DEFAULT MBOOT.C32\nAPPEND -c BOOT.CFG\n", "linux /vmlinuz\n", "initrd /initrd\n"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
