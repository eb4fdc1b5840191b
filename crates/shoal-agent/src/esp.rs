//! The boot loaders in an EFI system partition.
//!
//! A firmware that has lost its boot entries starts `\EFI\BOOT\BOOTX64.EFI` alone, so that file must be there.
//! Invariant: an image without any loader is refused before its table is written.

use std::io::{Read, Seek, Write};

use fatfs::{Dir, FileSystem, FsOptions};

/// What a firmware without entries starts.
pub const FALLBACK: &str = r"\EFI\BOOT\BOOTX64.EFI";
const WINDOWS: &str = r"\EFI\Microsoft\Boot\bootmgfw.efi";
const WINDOWS_FILE: &str = "EFI/Microsoft/Boot/bootmgfw.efi";
/// In the order of preference: shim starts the others under Secure Boot.
const LOADERS: [&str; 4] = ["shimx64.efi", "grubx64.efi", "systemd-bootx64.efi", "refind_x64.efi"];
/// A loader is below 20 MiB.
const LOADER_BYTES_MAX: u64 = 64 << 20;
const FOLDERS_MAX: usize = 64;

/// What a firmware can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaders {
    pub has_fallback: bool,
    /// The fallback was not in the image, and is a copy of the system's own loader.
    pub is_copied: bool,
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
    let loaders = find_or_copy(&volume.root_dir())?;
    volume.unmount()?;
    Ok(loaders)
}

fn find_or_copy<T: Read + Write + Seek>(root: &Dir<'_, T>) -> Result<Loaders, EspError> {
    let has_fallback = is_file(root, "EFI/BOOT/BOOTX64.EFI");
    let own = own_loader(root)?;
    if own.is_none() && !has_fallback {
        return Err(EspError::NoLoader);
    }
    let is_copied = !has_fallback && own.as_ref().is_some_and(|own| own.path == WINDOWS);
    if is_copied {
        copy(root, WINDOWS_FILE, "EFI/BOOT", "BOOTX64.EFI")?;
    }
    Ok(Loaders { has_fallback: has_fallback || is_copied, is_copied, own })
}

/// Whether the copy that [`prepare`] made is like its original.
pub fn holds_copy<T: Read + Write + Seek>(partition: T) -> std::io::Result<bool> {
    let volume = FileSystem::new(partition, FsOptions::new())?;
    let read = |path: &str| {
        let mut bytes = Vec::new();
        volume.root_dir().open_file(path)?.take(LOADER_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    Ok(read(WINDOWS_FILE)? == read("EFI/BOOT/BOOTX64.EFI")?)
}

fn is_file<T: Read + Write + Seek>(dir: &Dir<'_, T>, path: &str) -> bool {
    dir.open_file(path).is_ok()
}

fn own_loader<T: Read + Write + Seek>(root: &Dir<'_, T>) -> Result<Option<Loader>, EspError> {
    if is_file(root, WINDOWS_FILE) {
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
        assert_eq!(loaders.unwrap(), Loaders { has_fallback: true, is_copied: false, own });
        let (loaders, _) = prepared(&["EFI/BOOT/BOOTX64.EFI"]);
        assert_eq!(loaders.unwrap(), Loaders { has_fallback: true, is_copied: false, own: None });
        let (loaders, _) = prepared(&["EFI/debian/grubx64.efi"]);
        assert!(!loaders.unwrap().has_fallback);
    }

    #[test]
    fn windows_without_a_fallback_gets_one() {
        let (loaders, bytes) = prepared(&["EFI/Microsoft/Boot/bootmgfw.efi", "EFI/ubuntu/shimx64.efi"]);
        let own = loader("Windows Boot Manager", WINDOWS);
        assert_eq!(loaders.unwrap(), Loaders { has_fallback: true, is_copied: true, own });
        assert!(holds_copy(Cursor::new(bytes.clone())).unwrap());
        let volume = FileSystem::new(Cursor::new(bytes), FsOptions::new()).unwrap();
        let mut text = String::new();
        volume.root_dir().open_file("EFI/BOOT/BOOTX64.EFI").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "EFI/Microsoft/Boot/bootmgfw.efi");
    }

    #[test]
    fn a_copy_that_differs_or_is_missing_is_noticed() {
        let paths = ["EFI/Microsoft/Boot/bootmgfw.efi", "EFI/BOOT/BOOTX64.EFI"];
        assert!(!holds_copy(Cursor::new(volume(2 << 20, &paths))).unwrap());
        assert!(holds_copy(Cursor::new(volume(2 << 20, &paths[..1]))).is_err());
    }

    #[test]
    fn a_volume_without_a_loader_or_without_fat_is_an_error() {
        let (loaders, _) = prepared(&["EFI/debian/README"]);
        assert!(matches!(loaders, Err(EspError::NoLoader)));
        assert!(matches!(prepare(Cursor::new(vec![0; 4096])), Err(EspError::Fat(_))));
    }
}
