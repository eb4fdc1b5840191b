//! The vendor's ESXi installer ISO: recognise one, and make it boot unattended.
//!
//! It fetches nothing and serves nothing; it is a function of the image's bytes. Invariant: no
//! byte of any file but the two boot files is ever changed, every directory tree of the image shows
//! the same content afterwards, and both are checked by reading the result before it is handed
//! out. Errors quote ids and paths, never content: what was taken for an installer may be anything.

mod bootcfg;
mod patch;
mod patch_error;
mod recognise;
mod verify;

use std::ops::Range;

use crate::iso::{BLOCK, IsoError, Volume};

pub use bootcfg::{BootConfig, BootConfigError, fit, parse_boot_config, set_kickstart};
pub use patch::{SingleCd, overlay, overlay_single_cd};
pub use patch_error::PatchError;
pub use recognise::recognise;

/// Where the installer looks for its kickstart, on every CD, one after the other. Upper case: the lookup is
/// case-sensitive, and plain ISO 9660 names are upper-case.
pub const KICKSTART_PATH: &str = "/KS.CFG";

/// Which drives the installer searches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KickstartOn {
    /// Every CD, its own included.
    Cd,
    /// Every USB stick, for 50 seconds.
    Usb,
}

impl KickstartOn {
    /// What makes the installer look there. Without a `ks=` it asks, and waits without a timeout.
    pub fn option(self) -> &'static str {
        match self {
            KickstartOn::Cd => "ks=cdrom:/KS.CFG",
            KickstartOn::Usb => "ks=usb:/KS.CFG",
        }
    }
}

/// An image that has been recognised as an ESXi installer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installer {
    /// Such as `ESXI-8.0U3-24022510-STANDARD`.
    pub volume_id: String,
    /// `ESXIMAGE` on VMware's images.
    pub application_id: String,
    /// Such as `8.0.3`, or `8.0U3` where only the volume id has it.
    pub version: Option<String>,
    /// Decimal digits, such as `24022510`.
    pub build: Option<String>,
    /// `/BOOT.CFG`, and `/EFI/BOOT/BOOT.CFG` where the image has it.
    pub boot_files: Vec<BootFile>,
    /// The image brings a kickstart of its own.
    pub has_ks_cfg: bool,
    /// It can be booted by UEFI.
    pub uefi: bool,
    /// It can be booted by a BIOS.
    pub bios: bool,
    /// What an operator may want to know: none of it keeps the image from being used.
    pub warnings: Vec<String>,
    pub landmarks: Landmarks,
}

/// One of the files in which the boot loader finds its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFile {
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// The kernel's options as the boot loader passes them on.
    pub kernelopt: String,
    /// Value of the `ks=` that counts, which is the last one.
    pub kickstart: Option<String>,
    /// `cdromBoot` stands among the options, in whatever case: some installers then pass over `ks=`.
    pub has_cdrom_boot: bool,
    /// Files that the boot loader loads, the kernel among them.
    pub payload_files: usize,
}

/// Byte ranges of an image whose reads are milestones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landmarks {
    pub descriptors: Range<u64>,
    pub boot_catalog: Option<Range<u64>>,
    /// Kernel and modules: sorted, and one range where they lie block to block.
    pub payload: Vec<Range<u64>>,
}

impl Installer {
    /// Whether the image, as it is, starts an unattended installation from another medium's
    /// `/KS.CFG`: the effective option names it in every boot file and `cdromBoot` stands in
    /// none, and the image itself has no such file that could be found first.
    pub fn boots_unattended(&self) -> bool {
        !self.has_ks_cfg && self.boot_files.iter().all(BootFile::asks_for_kickstart)
    }
}

impl BootFile {
    /// Whether it leads the installer to the `/KS.CFG` of any CD, and nothing in it prevents that.
    pub fn asks_for_kickstart(&self) -> bool {
        self.kickstart.as_deref() == Some("cdrom:/KS.CFG") && !self.has_cdrom_boot
    }
}

impl Landmarks {
    /// Of an image whose payload are these extents, in whatever order.
    pub(crate) fn new(volume: &Volume, extents: impl Iterator<Item = Range<u64>>) -> Landmarks {
        let mut extents: Vec<_> = extents.filter(|extent| !extent.is_empty()).collect();
        extents.sort_by_key(|extent| (extent.start, extent.end));
        let mut payload: Vec<Range<u64>> = Vec::new();
        for extent in extents {
            match payload.last_mut() {
                Some(last) if extent.start <= last.end.next_multiple_of(BLOCK) => {
                    last.end = last.end.max(extent.end);
                }
                _ => payload.push(extent),
            }
        }
        let boot_catalog = volume.boot.as_ref().map(|catalog| catalog.extent.clone());
        Landmarks { descriptors: volume.descriptors.clone(), boot_catalog, payload }
    }

    /// Bytes of kernel and modules.
    pub fn payload_bytes(&self) -> u64 {
        self.payload.iter().map(|range| range.end - range.start).sum()
    }
}

/// Why an image is not taken for an ESXi installer.
#[derive(Debug, thiserror::Error)]
pub enum NotAnInstaller {
    #[error("the image cannot be read as an ISO 9660 volume")]
    NotIso(#[source] IsoError),
    #[error("the image `{volume_id}` (application `{application_id}`) is no ESXi installer: {reason}")]
    OtherImage { volume_id: String, application_id: String, reason: String },
    #[error(
        "the image `{volume_id}` is a UDF bridge: firmware may boot from its UDF tree, which cannot be \
         given the kickstart option; write the image again without UDF (mkisofs without -udf), or \
         use VMware's own, which has none"
    )]
    UdfBridge { volume_id: String },
    #[error("the image `{volume_id}` is cut off: it has {size} bytes, and its files need {needed}")]
    CutOff { volume_id: String, size: u64, needed: u64 },
    #[error("the image `{volume_id}` is damaged")]
    Damaged {
        volume_id: String,
        #[source]
        source: IsoError,
    },
}

#[cfg(test)]
mod tests;
