//! `shoal iso inspect`: everything that is known of an image, as a value and as text.
//!
//! It judges nothing: an image that is no ESXi installer is described as well. Invariant: nothing
//! that an image says of itself reaches a terminal as a control character.

use std::fs::File;
use std::path::Path;

use serde::Serialize;

use super::IsoCommandError;
use crate::cli::new_file::FileError;
use crate::cli::output::table;
use shoal_image::installer::{Installer, NotAnInstaller, recognise};
use shoal_image::iso::{BootPlatform, IsoError, ReadAt, TreeKind, Volume};

/// An image, described.
#[derive(Debug, Serialize)]
pub struct Inspection {
    image: String,
    size_bytes: u64,
    volume_id: String,
    application_id: String,
    publisher_id: String,
    preparer_id: String,
    system_id: String,
    volume_blocks: u64,
    trees: Vec<&'static str>,
    /// It has a UDF tree too, which is not listed here; then it is no installer that can be used.
    udf: bool,
    boot: Vec<Boot>,
    /// Absent where it is no ESXi installer; then `not_an_installer` says why.
    #[serde(skip_serializing_if = "Option::is_none")]
    installer: Option<EsxiImage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_an_installer: Option<String>,
    files: Vec<ImageFile>,
}

#[derive(Debug, Serialize)]
struct Boot {
    platform: String,
    bootable: bool,
    offset: u64,
    load_sectors: u16,
}

#[derive(Debug, Serialize)]
struct EsxiImage {
    version: Option<String>,
    build: Option<String>,
    bios: bool,
    uefi: bool,
    /// As it is, with another medium's kickstart: nothing has to be added.
    boots_unattended: bool,
    has_ks_cfg: bool,
    payload_bytes: u64,
    boot_files: Vec<BootOptions>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BootOptions {
    path: String,
    size_bytes: u64,
    payload_files: usize,
    kernelopt: String,
    kickstart: Option<String>,
    cdrom_boot: bool,
    #[serde(skip)]
    asks_for_kickstart: bool,
}

#[derive(Debug, Serialize)]
struct ImageFile {
    path: String,
    size_bytes: u64,
    offset: u64,
}

impl Inspection {
    /// What installer it is, or why it is none.
    pub fn installer(&self) -> Result<String, String> {
        let Inspection { image, volume_id, .. } = self;
        match &self.not_an_installer {
            None => Ok(format!("{image}: {volume_id}")),
            Some(reason) => Err(format!("{image} is not an ESXi installer: {reason}")),
        }
    }
}

pub fn inspect_file(path: &Path) -> Result<Inspection, IsoCommandError> {
    let file = File::open(path).map_err(FileError::of("open", path))?;
    let image = |source| IsoCommandError::Image { path: path.to_owned(), source };
    inspect(&path.display().to_string(), &file).map_err(image)
}

/// Describes an image; fails only where it is none.
pub fn inspect<R: ReadAt + ?Sized>(name: &str, src: &R) -> Result<Inspection, IsoError> {
    let volume = Volume::open(src)?;
    let (installer, not_an_installer) = match recognise(src) {
        Ok(installer) => (Some(esxi(&installer)), None),
        Err(NotAnInstaller::NotIso(error) | NotAnInstaller::Damaged { source: error, .. }) => {
            return Err(error);
        }
        Err(error) => (None, Some(error.to_string())),
    };
    let files = volume.walk(src, TreeKind::Primary)?.into_iter().filter(|entry| !entry.is_dir);
    let boot = volume.boot.iter().flat_map(|catalog| &catalog.entries);
    Ok(Inspection {
        image: name.to_owned(),
        size_bytes: src.size(),
        trees: volume.trees.iter().map(|tree| tree.kind.name()).collect(),
        udf: volume.udf,
        boot: boot
            .map(|entry| Boot {
                platform: platform(entry.platform),
                bootable: entry.bootable,
                offset: entry.offset,
                load_sectors: entry.load_sectors,
            })
            .collect(),
        installer,
        not_an_installer,
        files: files
            .map(|entry| ImageFile { size_bytes: entry.size(), offset: entry.extent.start, path: entry.path })
            .collect(),
        volume_blocks: volume.size_blocks,
        volume_id: volume.volume_id,
        application_id: volume.application_id,
        publisher_id: volume.publisher_id,
        preparer_id: volume.preparer_id,
        system_id: volume.system_id,
    })
}

fn platform(platform: BootPlatform) -> String {
    match platform {
        BootPlatform::Bios => "BIOS".to_owned(),
        BootPlatform::Uefi => "UEFI".to_owned(),
        BootPlatform::Other(id) => format!("platform {id}"),
    }
}

fn esxi(installer: &Installer) -> EsxiImage {
    let boot_files = installer.boot_files.iter().map(|file| BootOptions {
        path: file.path.clone(),
        size_bytes: file.size,
        payload_files: file.payload_files,
        kernelopt: file.kernelopt.clone(),
        kickstart: file.kickstart.clone(),
        cdrom_boot: file.has_cdrom_boot,
        asks_for_kickstart: file.asks_for_kickstart(),
    });
    EsxiImage {
        version: installer.version.clone(),
        build: installer.build.clone(),
        bios: installer.bios,
        uefi: installer.uefi,
        boots_unattended: installer.boots_unattended(),
        has_ks_cfg: installer.has_ks_cfg,
        payload_bytes: installer.landmarks.payload_bytes(),
        boot_files: boot_files.collect(),
        warnings: installer.warnings.clone(),
    }
}

/// For people.
pub fn render(inspection: &Inspection) -> String {
    let mut facts: Vec<[String; 2]> = Vec::new();
    let mut fact = |name: &str, value: String| facts.push([name.to_owned(), shown(&value)]);
    fact("image", inspection.image.clone());
    fact("size", format!("{} bytes", inspection.size_bytes));
    fact("volume", format!("{} ({} blocks)", inspection.volume_id, inspection.volume_blocks));
    fact("application", inspection.application_id.clone());
    let udf = inspection.udf.then_some("UDF");
    fact("trees", inspection.trees.iter().copied().chain(udf).collect::<Vec<_>>().join(", "));
    for boot in &inspection.boot {
        let bootable = if boot.bootable { "" } else { ", not bootable" };
        fact(
            "boots",
            format!("{}, {} sectors at byte {}{bootable}", boot.platform, boot.load_sectors, boot.offset),
        );
    }
    if let Some(reason) = &inspection.not_an_installer {
        fact("installer", format!("no: {reason}"));
    }
    if let Some(esxi) = &inspection.installer {
        installer_facts(esxi, &mut fact);
    }
    let files = inspection.files.iter();
    let files = files.map(|file| [file.size_bytes.to_string(), file.offset.to_string(), shown(&file.path)]);
    format!("{}\n\n{}", table(["", ""], facts).trim_start(), table(["BYTES", "OFFSET", "FILE"], files))
}

fn installer_facts(esxi: &EsxiImage, fact: &mut impl FnMut(&str, String)) {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    fact("installer", format!("ESXi {}, build {}", known(&esxi.version), known(&esxi.build)));
    for file in &esxi.boot_files {
        fact(&file.path, file.kernelopt.clone());
    }
    fact("payload", format!("{} bytes", esxi.payload_bytes));
    let asks = esxi.boot_files.iter().all(|file| file.asks_for_kickstart);
    let unattended = match (asks, esxi.has_ks_cfg) {
        (true, true) => "yes: with the /KS.CFG that it brings",
        (true, false) => "yes: with the /KS.CFG of another CD",
        (false, _) => {
            "not as it is: the controller adds ks=cdrom:/KS.CFG and drops cdromBoot while serving it"
        }
    };
    fact("unattended", unattended.to_owned());
    for warning in &esxi.warnings {
        fact("warning", warning.clone());
    }
}

fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_image::iso::build_task_iso;
    use shoal_sim::{standin_installer, standin_writer};

    #[test]
    fn an_installer_is_described_for_people_and_for_programs() {
        let inspection = inspect("standin.iso", &standin_installer()).unwrap();
        let text = render(&inspection);
        for part in [
            "ESXI-8.0U3-24022510-STANDIN",
            "ESXi 8.0.3, build 24022510",
            "runweasel cdromBoot",
            "UEFI",
            "/EFI/BOOT/BOOT.CFG",
            "not as it is",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        let json = serde_json::to_value(&inspection).unwrap();
        assert_eq!(json["installer"]["build"], "24022510");
        assert_eq!(json["boot"][1]["platform"], "UEFI");
        assert_eq!(json["files"].as_array().unwrap().len(), inspection.files.len());
    }

    #[test]
    fn an_image_that_is_no_installer_is_described_with_the_reason() {
        let inspection = inspect("task.iso", &build_task_iso(b"secret", b"{}", None).image).unwrap();
        let text = render(&inspection);
        assert!(text.contains("SHOAL_TASK") && text.contains("/KS.CFG"), "{text}");
        assert!(text.contains("no: the image `SHOAL_TASK`"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        assert!(inspect("zeros", &vec![0; 100_000]).is_err());
    }

    #[test]
    fn a_udf_tree_is_shown_and_refused() {
        let mut bridge = standin_installer().to_vec();
        let table = Volume::open(&bridge).unwrap().primary().path_tables.little[0] as usize;
        bridge[table + 1..table + 6].copy_from_slice(b"NSR02");
        let inspection = inspect("bridge.iso", &bridge).unwrap();
        let text = render(&inspection);
        assert!(text.contains(", UDF\n") && text.contains("no: the image `ESXI-8.0U3"), "{text}");
        let json = serde_json::to_value(&inspection).unwrap();
        assert_eq!((json["udf"].as_bool(), json["installer"].is_null()), (Some(true), true));
    }

    #[test]
    fn an_image_that_keeps_cdrom_boot_is_not_said_to_boot_unattended() {
        let mut writer = standin_writer();
        let cfg = |options| format!("kernel=/b.b00\nmodules=/k.b00\nkernelopt={options}ks=cdrom:/KS.CFG\n");
        writer.file("/BOOT.CFG", cfg("")).file("/EFI/BOOT/BOOT.CFG", cfg(""));
        let inspection = inspect("a.iso", &writer.write().unwrap().image).unwrap();
        assert!(render(&inspection).contains("yes: with the /KS.CFG of another CD"));
        writer.file("/EFI/BOOT/BOOT.CFG", cfg("CDROMBOOT "));
        let inspection = inspect("a.iso", &writer.write().unwrap().image).unwrap();
        assert!(render(&inspection).contains("not as it is"));
        assert!(inspection.installer.unwrap().boot_files[1].cdrom_boot);
    }

    #[test]
    fn no_image_can_speak_to_the_terminal() {
        let mut writer = standin_writer();
        writer.file("/BOOT.CFG", "kernel=/b.b00\nmodules=/k.b00\nkernelopt=a\u{1b}[2Jb\n");
        let inspection = inspect("a\u{1b}b", &writer.write().unwrap().image).unwrap();
        assert!(!render(&inspection).contains('\u{1b}'));
    }
}
