//! mboot: reads BOOT.CFG of the medium it was booted from, then the kernel and every module. A medium without BOOT.CFG
//! may hold a Linux, which its own boot loader reads in the same way.
//!
//! Only the primary tree is read, names are compared without regard to case, and a file that is
//! missing hangs the loader (vmware/esx-boot @32924c6, fsw_iso9660.c, mboot/config.c).
//! Invariant: every byte of kernel and modules is read once, in the order of BOOT.CFG.

use std::ops::Range;

use super::boot_cfg::{BootCfg, COMMAND_LINE_BYTES_MAX, parse_boot_cfg};
use super::linux::{self, KernelArguments, Linux};
use super::reader::{DriveReader, ReaderLook};
use super::{ReadAnswer, ReadRequest};
use shoal_image::iso::{IsoError, PartialImage, TreeKind, Volume};

/// A real BOOT.CFG has about 2 KB.
const BOOT_CFG_BYTES_MAX: u64 = 1 << 20;
/// What one read takes of a big file; pieces end at multiples of it.
const PIECE_BYTES: u64 = 64 << 10;

#[derive(Debug)]
pub struct Loader {
    drive: usize,
    uefi: bool,
    cfg_path: &'static str,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Finding BOOT.CFG and the files that it names.
    Plan(DriveReader),
    Load {
        files: Vec<Range<u64>>,
        booted: Booted,
        trouble: Option<&'static str>,
    },
}

/// What is to be loaded, found on the medium.
struct LoadPlan {
    files: Vec<Range<u64>>,
    booted: Booted,
}

/// What was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Booted {
    Installer(Loaded),
    /// With the arguments of its kernel.
    Linux(KernelArguments),
}

impl Default for Booted {
    fn default() -> Booted {
        Booted::Installer(Loaded::default())
    }
}

/// What has been loaded, as far as the installer acts on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What follows `ks=` on the command line.
    pub kickstart: Option<String>,
    /// `cdromBoot` is on the command line.
    pub cdrom_boot: bool,
    /// The image's release, as its BOOT.CFG has it.
    pub build: String,
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("Fatal error: {0}")]
    Medium(#[from] IsoError),
    #[error("Fatal error: 15 (Not found): {0}")]
    NotFound(String),
    #[error("Fatal error: the command line is too long")]
    CommandLine,
    #[error("Fatal error: no kernel in the configuration")]
    NoKernel,
}

impl Loader {
    pub fn new(drive: usize, uefi: bool) -> Loader {
        let cfg_path = if uefi { "/EFI/BOOT/BOOT.CFG" } else { "/BOOT.CFG" };
        Loader { drive, uefi, cfg_path, stage: Stage::Plan(DriveReader::new(drive)) }
    }

    /// The next bytes wanted; or what has been loaded, or, as the error, the text at which the
    /// loader hangs.
    pub fn look(&mut self) -> ReaderLook<Result<Booted, String>> {
        if let Stage::Plan(reader) = &mut self.stage {
            match reader.look(|image| plan(image, self.cfg_path, self.uefi)) {
                ReaderLook::Need(request) => return ReaderLook::Need(request),
                ReaderLook::Done(Err(error)) => return ReaderLook::Done(Err(error)),
                ReaderLook::Done(Ok(LoadPlan { mut files, booted })) => {
                    files.reverse();
                    self.stage = Stage::Load { files, booted, trouble: None };
                }
            }
        }
        let Stage::Load { files, booted, trouble } = &mut self.stage else {
            return ReaderLook::Done(Ok(Booted::default()));
        };
        match (trouble, files.last()) {
            (Some(trouble), _) => ReaderLook::Done(Err((*trouble).to_owned())),
            (None, Some(file)) => ReaderLook::Need(piece(self.drive, file)),
            (None, None) => ReaderLook::Done(Ok(std::mem::take(booted))),
        }
    }

    pub fn answer(&mut self, answer: ReadAnswer) {
        match (&mut self.stage, answer) {
            (Stage::Plan(reader), answer) => reader.answer(answer),
            (Stage::Load { files, .. }, ReadAnswer::Data { bytes, .. }) => {
                if let Some(file) = files.last_mut() {
                    file.start += bytes.len() as u64;
                }
                files.pop_if(|file| file.start >= file.end);
            }
            (Stage::Load { trouble, .. }, ReadAnswer::NoMedium) => *trouble = Some("Fatal error: no medium"),
            (Stage::Load { trouble, .. }, ReadAnswer::Failed) => *trouble = Some("Fatal error: I/O error"),
        }
    }
}

fn piece(drive: usize, file: &Range<u64>) -> ReadRequest {
    let end = file.end.min((file.start / PIECE_BYTES + 1) * PIECE_BYTES);
    ReadRequest { drive, offset: file.start, len: (end - file.start) as usize }
}

fn plan(image: &PartialImage, cfg_path: &str, uefi: bool) -> Result<LoadPlan, LoadError> {
    let volume = Volume::open(image)?;
    let find = |path: &str| {
        let found = volume.find(image, TreeKind::Primary, path)?;
        found.filter(|entry| !entry.is_dir).ok_or_else(|| LoadError::NotFound(path.to_owned()))
    };
    let cfg = match find(cfg_path) {
        Err(LoadError::NotFound(_))
            if let Some(Linux { files, arguments }) = linux::find(image, &volume, uefi)? =>
        {
            return Ok(LoadPlan { files, booted: Booted::Linux(arguments) });
        }
        found => parse_boot_cfg(&volume.read(image, &found?, BOOT_CFG_BYTES_MAX)?),
    };
    check(&cfg)?;
    let mut files = vec![];
    for name in std::iter::once(&cfg.kernel).chain(&cfg.modules) {
        let extent = find(&cfg.resolve(cfg_path, name))?.extent;
        files.extend((!extent.is_empty()).then_some(extent));
    }
    let kickstart = cfg.kickstart_option().map(str::to_owned);
    let cdrom_boot = cfg.has_cdrom_boot();
    Ok(LoadPlan { files, booted: Booted::Installer(Loaded { kickstart, cdrom_boot, build: cfg.build }) })
}

fn check(cfg: &BootCfg) -> Result<(), LoadError> {
    if cfg.kernel.is_empty() {
        return Err(LoadError::NoKernel);
    }
    if cfg.kernel.len() + 1 + cfg.kernelopt.len() >= COMMAND_LINE_BYTES_MAX {
        return Err(LoadError::CommandLine);
    }
    Ok(())
}
