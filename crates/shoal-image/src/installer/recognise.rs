//! Is this image an ESXi installer, and what is known of it?
//!
//! It reads the directories and the boot files, nothing else, and changes nothing. Invariant: an
//! image is judged by its structure; names only make warnings.

use std::collections::BTreeMap;
use std::ops::Range;

use super::bootcfg::{BootConfig, has_cdrom_boot, kickstart_of, parse_boot_config};
use super::{BootFile, Installer, KICKSTART_PATH, Landmarks, NotAnInstaller};
use crate::iso::{BLOCK, BootPlatform, Entry, IsoError, ReadAt, TreeKind, Volume};

/// The boot loader's configuration for a BIOS, and for UEFI.
pub const BOOT_FILES: [&str; 2] = ["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG"];
/// Vendor files have 2 KB, OEM ones with many modules 4 KB.
pub const BOOT_FILE_BYTES_MAX: u64 = 256 * 1024;
/// Files of a boot file that are looked for; vendor images have 130, the largest of OEMs 200.
const PAYLOAD_FILES_MAX: usize = 2048;
/// No path to a kernel is longer.
const PATH_BYTES_MAX: usize = 1024;

/// Reads an image as far as it takes to know.
pub fn recognise<R: ReadAt + ?Sized>(src: &R) -> Result<Installer, NotAnInstaller> {
    let volume = Volume::open(src).map_err(NotAnInstaller::NotIso)?;
    let judge = Judge { src, volume: &volume };
    let damaged = |source| NotAnInstaller::Damaged { volume_id: volume.volume_id.clone(), source };
    let configs = judge.boot_configs()?;
    if volume.udf {
        return Err(NotAnInstaller::UdfBridge { volume_id: volume.volume_id.clone() });
    }
    let entries = volume.walk(src, TreeKind::Primary).map_err(damaged)?;
    judge.check_length(&entries)?;
    let files: BTreeMap<String, Range<u64>> = entries
        .into_iter()
        .filter(|entry| !entry.is_dir)
        .map(|entry| (entry.path.to_ascii_uppercase(), entry.extent))
        .collect();
    let payloads: Vec<Payload> = configs.iter().map(|found| Payload::find(found, &files)).collect();
    let has_ks_cfg = judge.has_kickstart().map_err(damaged)?;
    let (version, build) = version_and_build(&volume.volume_id, &configs);
    let boots = |platform| {
        let entries = volume.boot.iter().flat_map(|catalog| &catalog.entries);
        entries.clone().any(|entry| entry.platform == platform && entry.bootable)
    };
    let mut installer = Installer {
        volume_id: volume.volume_id.clone(),
        application_id: volume.application_id.clone(),
        version,
        build,
        boot_files: configs.iter().zip(&payloads).map(|(found, payload)| boot_file(found, payload)).collect(),
        has_ks_cfg,
        uefi: boots(BootPlatform::Uefi) && configs.len() == BOOT_FILES.len(),
        bios: boots(BootPlatform::Bios),
        warnings: Vec::new(),
        landmarks: landmarks(&volume, &payloads),
    };
    if boots(BootPlatform::Uefi) && !installer.uefi {
        return Err(judge.refuse("it boots by UEFI, but has no /EFI/BOOT/BOOT.CFG".to_owned()));
    }
    installer.warnings = warnings(&installer, &volume, &payloads, src.size());
    Ok(installer)
}

struct Judge<'a, R: ?Sized> {
    src: &'a R,
    volume: &'a Volume,
}

/// A boot file as found.
struct Found {
    path: &'static str,
    size: u64,
    config: BootConfig,
}

impl<R: ReadAt + ?Sized> Judge<'_, R> {
    fn refuse(&self, reason: String) -> NotAnInstaller {
        let Volume { volume_id, application_id, .. } = self.volume.clone();
        NotAnInstaller::OtherImage { volume_id, application_id, reason }
    }

    fn damaged(&self, source: IsoError) -> NotAnInstaller {
        NotAnInstaller::Damaged { volume_id: self.volume.volume_id.clone(), source }
    }

    fn boot_configs(&self) -> Result<Vec<Found>, NotAnInstaller> {
        let mut found = Vec::new();
        for path in BOOT_FILES {
            let entry = self.volume.find(self.src, TreeKind::Primary, path).map_err(|e| self.damaged(e))?;
            match entry {
                Some(entry) => found.push(self.boot_config(path, &entry)?),
                None if path == BOOT_FILES[0] => return Err(self.refuse(format!("it has no {path}"))),
                None => {}
            }
        }
        Ok(found)
    }

    fn boot_config(&self, path: &'static str, entry: &Entry) -> Result<Found, NotAnInstaller> {
        let bytes = match self.volume.read(self.src, entry, BOOT_FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(IsoError::TooMuch { .. } | IsoError::Unsupported { .. }) => {
                return Err(self.refuse(format!("its {path} is no small plain file")));
            }
            Err(error) => return Err(self.damaged(error)),
        };
        let config = parse_boot_config(&bytes);
        let missing = match &config {
            BootConfig { kernel: None, .. } => Some("kernel="),
            BootConfig { modules: None, .. } => Some("modules="),
            BootConfig { kernelopt: None, .. } => Some("kernelopt="),
            _ => None,
        };
        match missing {
            Some(key) => Err(self.refuse(format!("its {path} has no {key}"))),
            None => Ok(Found { path, size: bytes.len() as u64, config }),
        }
    }

    /// An image that was not fetched to its end has directories that point behind it.
    fn check_length(&self, entries: &[Entry]) -> Result<(), NotAnInstaller> {
        let (size, needed) =
            (self.src.size(), entries.iter().map(|entry| entry.extent.end).max().unwrap_or(0));
        if needed > size {
            return Err(NotAnInstaller::CutOff { volume_id: self.volume.volume_id.clone(), size, needed });
        }
        Ok(())
    }

    fn has_kickstart(&self) -> Result<bool, IsoError> {
        let mut has = false;
        for tree in &self.volume.trees {
            has |= self.volume.find(self.src, tree.kind, KICKSTART_PATH)?.is_some();
        }
        Ok(has)
    }
}

/// The files that a boot file names.
struct Payload {
    path: &'static str,
    named: usize,
    extents: Vec<Range<u64>>,
}

impl Payload {
    fn find(found: &Found, files: &BTreeMap<String, Range<u64>>) -> Payload {
        let own_dir = found.path.rsplit_once('/').map_or("", |(dir, _)| dir);
        let prefix = found.config.prefix.as_deref().unwrap_or(own_dir);
        let names = found.config.kernel.iter().chain(found.config.modules.iter().flatten());
        let below = |name: &str| if name.starts_with('/') { 0 } else { prefix.len() };
        let may_be_there = |name: &&String| below(name) + name.len() < PATH_BYTES_MAX;
        let looked_for = names.clone().take(PAYLOAD_FILES_MAX).filter(may_be_there);
        let extents = looked_for.filter_map(|name| files.get(&loader_path(prefix, name)).cloned());
        Payload { path: found.path, named: names.clone().count(), extents: extents.collect() }
    }
}

/// The path that the boot loader makes of a name (`make_path` in esx-boot's bootlib/string.c), in
/// upper case.
fn loader_path(prefix: &str, name: &str) -> String {
    let joined = if name.starts_with('/') { name.to_owned() } else { format!("/{prefix}/{name}") };
    let parts = joined.split(['/', '\\']).filter(|part| !part.is_empty());
    parts.fold(String::new(), |path, part| path + "/" + &part.to_ascii_uppercase())
}

fn boot_file(found: &Found, payload: &Payload) -> BootFile {
    let kernelopt = found.config.kernelopt.clone().unwrap_or_default();
    BootFile {
        path: found.path.to_owned(),
        size: found.size,
        kickstart: kickstart_of(&kernelopt),
        has_cdrom_boot: has_cdrom_boot(&kernelopt),
        kernelopt,
        payload_files: payload.named,
    }
}

fn landmarks(volume: &Volume, payloads: &[Payload]) -> Landmarks {
    Landmarks::new(volume, payloads.iter().flat_map(|payload| payload.extents.clone()))
}

/// `build=8.0.3-0.0.24022510` is version 8.0.3, build 24022510; what it does not contain, the volume id
/// `ESXI-8.0U3-24022510-STANDARD` may.
fn version_and_build(volume_id: &str, configs: &[Found]) -> (Option<String>, Option<String>) {
    let line = configs.iter().find_map(|found| found.config.build.as_deref()).unwrap_or_default();
    let (version, release) = line.split_once('-').unwrap_or((line, ""));
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_version = |text: &&str| text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.');
    let from_id = || volume_id.split(['-', '_']);
    let version = Some(version).filter(is_version).or_else(|| from_id().find(is_version));
    let is_build = |text: &&str| is_number(text) && text.len() >= 6;
    let build = release.rsplit('.').next().filter(is_number).or_else(|| from_id().find(is_build));
    (version.map(str::to_owned), build.map(str::to_owned))
}

fn warnings(installer: &Installer, volume: &Volume, payloads: &[Payload], size: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |applies: bool, text: String| {
        if applies {
            warnings.push(text);
        }
    };
    let Installer { volume_id, application_id, .. } = installer;
    warn(
        !volume_id.to_ascii_uppercase().starts_with("ESXI-"),
        format!("the volume id `{volume_id}` does not start with ESXI-, as those of VMware's images do"),
    );
    warn(
        application_id != "ESXIMAGE",
        format!("the application id `{application_id}` is not ESXIMAGE, as that of VMware's images is"),
    );
    warn(installer.version.is_none(), "neither the build= line nor the volume id has the version".to_owned());
    warn(installer.build.is_none(), "neither the build= line nor the volume id has the build".to_owned());
    warn(!installer.bios, "no El Torito entry for BIOS".to_owned());
    warn(!installer.uefi, "no El Torito entry for UEFI".to_owned());
    warn(
        installer.has_ks_cfg,
        format!("it brings a {KICKSTART_PATH} of its own, which is hidden while it is served"),
    );
    warn(
        volume.tree(TreeKind::RockRidge).is_some(),
        "it has Rock Ridge names, on which ESXi was seen not to find a kickstart".to_owned(),
    );
    for payload in payloads {
        let absent = payload.named - payload.extents.len();
        let (path, named) = (payload.path, payload.named);
        warn(absent > 0, format!("{absent} of the {named} files named in {path} are not in the image"));
    }
    warn(
        volume.size_blocks * BLOCK > size,
        format!("the volume claims {} bytes, the image has {size}", volume.size_blocks * BLOCK),
    );
    warnings
}
