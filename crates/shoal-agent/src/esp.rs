//! The boot loaders in an EFI system partition.
//!
//! A firmware that has lost its boot entries starts `\EFI\BOOT\BOOTX64.EFI` alone, so that file must be there.
//! Invariant: an image without any loader is refused before its table is written.

use std::io::{Read, Seek, Write};

use fatfs::{Dir, FileSystem, FsOptions};

/// What a firmware without entries starts.
pub const FALLBACK: &str = r"\EFI\BOOT\BOOTX64.EFI";
const WINDOWS: &str = r"\EFI\Microsoft\Boot\bootmgfw.efi";
/// In the order of preference: shim starts the others under Secure Boot.
const LOADERS: [&str; 4] = ["shimx64.efi", "grubx64.efi", "systemd-bootx64.efi", "refind_x64.efi"];
/// A loader is below 20 MiB.
const LOADER_BYTES_MAX: u64 = 64 << 20;
const FOLDERS_MAX: usize = 64;

/// What a firmware can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaders {
    pub has_fallback: bool,
    /// The system's own loader and its name, for a boot entry.
    pub own: Option<Loader>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loader {
    pub label: String,
    /// With backslashes, from the root.
    pub path: String,
}

#[derive(Debug, thiserror::Error)]
pub enum EspError {
    #[error("the EFI system partition is not a readable FAT file system: {0}")]
    Fat(#[from] std::io::Error),
    #[error(r"the EFI system partition has no boot loader: neither \EFI\BOOT\BOOTX64.EFI nor one in another folder")]
    NoLoader,
}

/// Finds the loaders, and copies Windows' own to the fallback path where an image has none there.
pub fn prepare<T: Read + Write + Seek>(partition: T) -> Result<Loaders, EspError> {
    let volume = FileSystem::new(partition, FsOptions::new())?;
    let root = volume.root_dir();
    let mut loaders =
        Loaders { has_fallback: is_file(&root, "EFI/BOOT/BOOTX64.EFI"), own: own_loader(&root)? };
    match &loaders.own {
        None if !loaders.has_fallback => return Err(EspError::NoLoader),
        Some(own) if own.path == WINDOWS && !loaders.has_fallback => {
            copy(&root, "EFI/Microsoft/Boot/bootmgfw.efi", "EFI/BOOT", "BOOTX64.EFI")?;
            loaders.has_fallback = true;
        }
        _ => {}
    }
    Ok(loaders)
}

fn is_file<T: Read + Write + Seek>(dir: &Dir<'_, T>, path: &str) -> bool {
    dir.open_file(path).is_ok()
}

fn own_loader<T: Read + Write + Seek>(root: &Dir<'_, T>) -> Result<Option<Loader>, EspError> {
    if is_file(root, "EFI/Microsoft/Boot/bootmgfw.efi") {
        return Ok(Some(Loader { label: "Windows Boot Manager".to_owned(), path: WINDOWS.to_owned() }));
    }
    let Ok(efi) = root.open_dir("EFI") else { return Ok(None) };
    let mut folders = Vec::new();
    for entry in efi.iter().take(FOLDERS_MAX) {
        let entry = entry?;
        let name = entry.file_name();
        if entry.is_dir() && name != "." && name != ".." && !name.eq_ignore_ascii_case("BOOT") {
            folders.push(name);
        }
    }
    folders.sort();
    for loader in LOADERS {
        for folder in &folders {
            if is_file(&efi, &format!("{folder}/{loader}")) {
                return Ok(Some(Loader { label: folder.clone(), path: format!(r"\EFI\{folder}\{loader}") }));
            }
        }
    }
    Ok(None)
}

fn copy<T: Read + Write + Seek>(
    root: &Dir<'_, T>,
    from: &str,
    folder: &str,
    name: &str,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    root.open_file(from)?.take(LOADER_BYTES_MAX).read_to_end(&mut bytes)?;
    let mut file = root.create_dir(folder)?.create_file(name)?;
    file.truncate()?;
    file.write_all(&bytes)?;
    file.flush()
}

#[cfg(test)]
pub mod tests {
    use std::io::Cursor;

    use super::*;

    /// A FAT volume with these files, each with its path as content.
    pub fn volume(size: usize, paths: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0; size];
        fatfs::format_volume(Cursor::new(&mut bytes), fatfs::FormatVolumeOptions::new()).unwrap();
        let volume = FileSystem::new(Cursor::new(&mut bytes), FsOptions::new()).unwrap();
        for path in paths {
            let (folder, name) = path.rsplit_once('/').unwrap();
            let mut dir = volume.root_dir();
            for part in folder.split('/') {
                dir = dir.create_dir(part).unwrap();
            }
            dir.create_file(name).unwrap().write_all(path.as_bytes()).unwrap();
        }
        drop(volume);
        bytes
    }

    fn prepared(paths: &[&str]) -> (Result<Loaders, EspError>, Vec<u8>) {
        let mut bytes = volume(2 << 20, paths);
        (prepare(Cursor::new(&mut bytes)), bytes)
    }

    fn loader(label: &str, path: &str) -> Option<Loader> {
        Some(Loader { label: label.to_owned(), path: path.to_owned() })
    }

    #[test]
    fn the_systems_own_loader_is_found_shim_first() {
        let (loaders, _) =
            prepared(&["EFI/debian/grubx64.efi", "EFI/debian/shimx64.efi", "EFI/boot/bootx64.efi"]);
        let own = loader("debian", r"\EFI\debian\shimx64.efi");
        assert_eq!(loaders.unwrap(), Loaders { has_fallback: true, own });
        let (loaders, _) = prepared(&["EFI/BOOT/BOOTX64.EFI"]);
        assert_eq!(loaders.unwrap(), Loaders { has_fallback: true, own: None });
        let (loaders, _) = prepared(&["EFI/debian/grubx64.efi"]);
        assert!(!loaders.unwrap().has_fallback);
    }

    #[test]
    fn windows_without_a_fallback_gets_one() {
        let (loaders, bytes) = prepared(&["EFI/Microsoft/Boot/bootmgfw.efi", "EFI/ubuntu/shimx64.efi"]);
        let own = loader("Windows Boot Manager", WINDOWS);
        assert_eq!(loaders.unwrap(), Loaders { has_fallback: true, own });
        let volume = FileSystem::new(Cursor::new(bytes), FsOptions::new()).unwrap();
        let mut text = String::new();
        volume.root_dir().open_file("EFI/BOOT/BOOTX64.EFI").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "EFI/Microsoft/Boot/bootmgfw.efi");
    }

    #[test]
    fn a_volume_without_a_loader_or_without_fat_is_an_error() {
        let (loaders, _) = prepared(&["EFI/debian/README"]);
        assert!(matches!(loaders, Err(EspError::NoLoader)));
        assert!(matches!(prepare(Cursor::new(vec![0; 4096])), Err(EspError::Fat(_))));
    }
}
