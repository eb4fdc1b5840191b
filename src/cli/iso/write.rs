//! `shoal iso build` and `shoal iso prepare`: images as files.
//!
//! Invariant: the file appears under its name when it is complete.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::IsoCommandError;
use crate::cli::new_file::{FileError, NewFile};
use shoal_base::hex;
use shoal_image::installer::{Installer, KickstartOn, overlay, overlay_single_cd, recognise};
use shoal_image::iso::{Overlay, build_task_iso};

/// Readable by the owner alone: a kickstart holds the root password.
const SECRET_MODE: u32 = 0o600;
/// What the task ISO says of itself beside the kickstart.
const RECIPE: &[u8] = br#"{"task_target":"install-esxi.target"}"#;

/// A task ISO that has been written.
#[derive(Debug, Serialize)]
pub struct Built {
    path: String,
    size_bytes: u64,
    sha256: String,
    ks_bytes: u64,
    ks_sha256: String,
}

pub fn build(kickstart: &[u8], out: &Path) -> Result<Built, IsoCommandError> {
    let task_iso = build_task_iso(kickstart, RECIPE, None);
    let file = NewFile::create(out, SECRET_MODE)?;
    task_iso.image.write_to(&file.file).map_err(FileError::of("write", out))?;
    let sha256 = file.finish()?;
    Ok(Built {
        path: out.display().to_string(),
        size_bytes: task_iso.image.size,
        sha256,
        ks_bytes: kickstart.len() as u64,
        ks_sha256: hex(&Sha256::digest(kickstart)),
    })
}

pub fn render_built(built: &Built) -> String {
    let Built { path, size_bytes, sha256, ks_bytes, ks_sha256 } = built;
    format!("{path}: {size_bytes} bytes, sha256 {sha256}\n/ks.cfg: {ks_bytes} bytes, sha256 {ks_sha256}")
}

/// An installer that has been written with its boot options set.
#[derive(Debug, Serialize)]
pub struct Prepared {
    path: String,
    size_bytes: u64,
    sha256: String,
    volume_id: String,
    version: Option<String>,
    build: Option<String>,
    /// The kickstart is on it.
    single_cd: bool,
    changed_bytes: u64,
    warnings: Vec<String>,
}

pub fn prepare(vendor: &Path, kickstart: Option<&[u8]>, out: &Path) -> Result<Prepared, IsoCommandError> {
    let base = File::open(vendor).map_err(FileError::of("open", vendor))?;
    if is_same_file(&base, out) {
        return Err(IsoCommandError::SameFile { path: out.to_owned() });
    }
    let installer = recognise(&base)
        .map_err(|source| IsoCommandError::NotAnInstaller { path: vendor.to_owned(), source })?;
    let overlay = match kickstart {
        Some(kickstart) => overlay_single_cd(&base, &installer, kickstart, None).map(|single| single.overlay),
        None => overlay(&base, &installer, KickstartOn::Cd),
    };
    let overlay = overlay.map_err(|source| IsoCommandError::Patch { path: vendor.to_owned(), source })?;
    let file = NewFile::create(out, SECRET_MODE)?;
    copy_overlaid(base, &overlay, &file.file).map_err(FileError::of("write", out))?;
    if kickstart.is_none() {
        let mode = Permissions::from_mode(0o644);
        file.file.set_permissions(mode).map_err(FileError::of("write", out))?;
    }
    let sha256 = file.finish()?;
    Ok(prepared(out, sha256, installer, &overlay, kickstart.is_some()))
}

fn prepared(
    out: &Path,
    sha256: String,
    installer: Installer,
    overlay: &Overlay,
    single_cd: bool,
) -> Prepared {
    Prepared {
        path: out.display().to_string(),
        size_bytes: overlay.size,
        sha256,
        volume_id: installer.volume_id,
        version: installer.version,
        build: installer.build,
        single_cd,
        changed_bytes: overlay.patches.iter().map(|patch| patch.bytes.len() as u64).sum(),
        warnings: installer.warnings,
    }
}

pub fn render_prepared(prepared: &Prepared) -> String {
    let Prepared { path, size_bytes, sha256, volume_id, changed_bytes, .. } = prepared;
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let (version, build) = (known(&prepared.version), known(&prepared.build));
    let form = if prepared.single_cd { "with the kickstart on it" } else { "for a kickstart on another CD" };
    let mut text = format!(
        "{volume_id}: ESXi {version}, build {build}, {form}\n\
         {path}: {size_bytes} bytes, {changed_bytes} of them changed, sha256 {sha256}"
    );
    for warning in &prepared.warnings {
        text.push_str(&format!("\nwarning: {warning}"));
    }
    text
}

/// The kernel copies, and shares the blocks where the file system can.
fn copy_overlaid(mut base: File, overlay: &Overlay, file: &File) -> io::Result<()> {
    let mut target = file;
    io::copy(&mut base, &mut target)?;
    file.set_len(overlay.size)?;
    overlay.patches.iter().try_for_each(|patch| file.write_all_at(&patch.bytes, patch.offset))
}

fn is_same_file(base: &File, out: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: io::Result<std::fs::Metadata>| metadata.map(|it| (it.dev(), it.ino())).ok();
    id(base.metadata()).is_some_and(|base| Some(base) == id(std::fs::metadata(out)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shoal_image::iso::{Overlaid, ReadAt};
    use shoal_sim::standin_installer;

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_built_task_iso_is_the_one_of_the_controller_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("task.iso");
        std::fs::write(&out, b"older").unwrap();
        let built = build(b"vmaccepteula\n", &out).unwrap();
        let bytes = std::fs::read(&out).unwrap();
        assert_eq!(bytes, build_task_iso(b"vmaccepteula\n", RECIPE, None).image.to_vec());
        assert_eq!(built.sha256, hex(&Sha256::digest(&bytes)));
        assert_eq!(mode_of(&out), 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_prepared_installer_is_what_would_be_served() {
        let dir = tempfile::tempdir().unwrap();
        let (vendor, out) = (dir.path().join("vendor.iso"), dir.path().join("out.iso"));
        let image = standin_installer();
        image.write_to(&File::create(&vendor).unwrap()).unwrap();
        for (kickstart, mode) in [(None, 0o644), (Some(&b"vmaccepteula\n"[..]), 0o600)] {
            let prepared = prepare(&vendor, kickstart, &out).unwrap();
            let installer = recognise(&image).unwrap();
            let expected = match kickstart {
                Some(kickstart) => overlay_single_cd(&image, &installer, kickstart, None).unwrap().overlay,
                None => overlay(&image, &installer, KickstartOn::Cd).unwrap(),
            };
            let mut served = vec![0; expected.size as usize];
            Overlaid::new(&image, &expected).read_at(0, &mut served).unwrap();
            assert_eq!(std::fs::read(&out).unwrap(), served);
            assert_eq!((mode_of(&out), prepared.single_cd), (mode, kickstart.is_some()));
        }
    }

    #[test]
    fn what_cannot_be_prepared_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (vendor, out) = (dir.path().join("vendor.iso"), dir.path().join("out.iso"));
        std::fs::write(&vendor, vec![0; 100_000]).unwrap();
        let error = prepare(&vendor, None, &out).unwrap_err();
        assert!(matches!(error, IsoCommandError::NotAnInstaller { .. }), "{error}");
        assert!(!out.exists());
        standin_installer().write_to(&File::create(&vendor).unwrap()).unwrap();
        let error = prepare(&vendor, None, &vendor).unwrap_err();
        assert!(matches!(error, IsoCommandError::SameFile { .. }), "{error}");
        let error = prepare(&vendor, None, &dir.path().join("absent/out.iso")).unwrap_err();
        assert!(error.to_string().contains("cannot create"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
