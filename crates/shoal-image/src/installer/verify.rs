//! Reads a changed installer back, before anybody else does.
//!
//! It trusts nothing that the change itself computed. Invariant: a change that passes has altered
//! the boot files and the kickstart, each as expected in every tree, and no byte of anything else
//! that can be reached.

use std::collections::BTreeMap;

use super::KICKSTART_PATH;
use super::patch_error::PatchError;
use super::recognise::BOOT_FILE_BYTES_MAX;
use crate::iso::{ChangeError, Entry, NONCE_NAME, Overlaid, Overlay, ReadAt, TreeKind, Volume, check_rest};

/// What the trees must show after the change.
pub struct Expected<'a> {
    /// Content by path.
    pub boot_files: BTreeMap<String, Vec<u8>>,
    pub kickstart: Option<&'a [u8]>,
    /// Without one, a file of the nonce's name is the vendor's own.
    pub nonce: Option<&'a [u8]>,
}

/// Fails unless the overlaid image shows exactly what is expected.
pub fn verify<R: ReadAt + ?Sized>(
    src: &R,
    overlay: &Overlay,
    expected: &Expected<'_>,
) -> Result<(), PatchError> {
    let nonce = expected.nonce.map(|_| nonce_path());
    let own = [Some(KICKSTART_PATH), nonce.as_deref()].into_iter().flatten();
    let paths: Vec<&str> = expected.boot_files.keys().map(String::as_str).chain(own).collect();
    check_rest(src, overlay, &paths, &[])?;
    let image = Overlaid::new(src, overlay);
    let volume = Volume::open(&image)?;
    for tree in &volume.trees {
        let entries = volume.walk(&image, tree.kind)?;
        check_tree(&image, &volume, tree.kind, &entries, expected)?;
    }
    Ok(())
}

/// The boot files that this tree shows, and the kickstart, are as expected.
fn check_tree<R: ReadAt + ?Sized>(
    image: &R,
    volume: &Volume,
    kind: TreeKind,
    entries: &[Entry],
    expected: &Expected<'_>,
) -> Result<(), PatchError> {
    let check = |path: &str, content: Option<&[u8]>, is_needed: bool| {
        let mut found = entries.iter().filter(|entry| entry.path.eq_ignore_ascii_case(path));
        let is_as_expected = match (found.next(), content) {
            (None, Some(_)) => !is_needed,
            (None, None) => true,
            (Some(_), None) => false,
            (Some(entry), Some(content)) => {
                found.next().is_none() && volume.read(image, entry, BOOT_FILE_BYTES_MAX)? == content
            }
        };
        let wrong = || ChangeError::Unverified { path: path.to_owned(), tree: kind.name() };
        is_as_expected.then_some(()).ok_or_else(wrong)
    };
    for (path, content) in &expected.boot_files {
        check(path, Some(content), kind == TreeKind::Primary)?;
    }
    check(KICKSTART_PATH, expected.kickstart, true)?;
    expected.nonce.map_or(Ok(()), |nonce| check(&nonce_path(), Some(nonce), true))?;
    Ok(())
}

fn nonce_path() -> String {
    format!("/{NONCE_NAME}")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::installer::{overlay_single_cd, recognise};
    use crate::iso::{BootPlatform, IsoWriter, Patch, Written};

    const BOOT_CFG: &str =
        "title=Loading ESXi installer\nkernel=/b.b00\nkernelopt=cdromBoot\nmodules=/k.b00\n";
    const KS: &[u8] = b"reboot\n";

    fn installer() -> Written {
        let mut writer = IsoWriter::new("ESXI");
        writer.file("/BOOT.CFG", BOOT_CFG).file("/README.TXT", "read me").file("/BOOT.IMG", "image");
        writer.boot(BootPlatform::Bios, "/BOOT.IMG", 4).write().unwrap()
    }

    /// What verification says of a right change with one more byte changed.
    fn check(spoilt: impl Fn(&Written, &Overlay) -> u64) -> Result<(), String> {
        let base = installer();
        let single = overlay_single_cd(&base.image, &recognise(&base.image).unwrap(), KS, None).unwrap();
        let mut overlay = single.overlay;
        let image = Overlaid::new(&base.image, &overlay);
        let volume = Volume::open(&image).unwrap();
        let entry = volume.find(&image, TreeKind::Primary, "/BOOT.CFG").unwrap().unwrap();
        let content = volume.read(&image, &entry, 10_000).unwrap();
        let expected = Expected {
            boot_files: [("/BOOT.CFG".to_owned(), content)].into(),
            kickstart: Some(KS),
            nonce: None,
        };
        let offset = spoilt(&base, &overlay);
        let mut byte = [0];
        image.read_at(offset, &mut byte).unwrap();
        spoil(&mut overlay, offset, byte[0] ^ 0x01);
        verify(&base.image, &overlay, &expected).map_err(|error| error.to_string())
    }

    fn spoil(overlay: &mut Overlay, offset: u64, byte: u8) {
        if let Some(patch) = overlay.patches.iter_mut().find(|it| it.offset <= offset && offset < it.end()) {
            let mut bytes = patch.bytes.to_vec();
            bytes[(offset - patch.offset) as usize] = byte;
            patch.bytes = bytes.into();
        } else {
            overlay.patches.push(Patch { offset, bytes: Bytes::copy_from_slice(&[byte]) });
            overlay.patches.sort_by_key(|patch| patch.offset);
        }
    }

    #[test]
    fn a_byte_of_another_file_is_found() {
        let readme = check(|base, _| base.extents["/README.TXT"].start).unwrap_err();
        assert!(readme.contains("touch /README.TXT"), "{readme}");
        let boot = check(|base, _| base.extents["/BOOT.IMG"].start).unwrap_err();
        assert!(boot.contains("boot image"), "{boot}");
        let catalog = check(|base, _| base.extents["/BOOT.CAT"].start + 64 + 6).unwrap_err();
        assert!(catalog.contains("boot catalogue"), "{catalog}");
    }

    #[test]
    fn a_wrong_byte_of_our_own_files_is_found() {
        let boot_file = check(|base, _| base.extents["/BOOT.CFG"].start).unwrap_err();
        assert!(boot_file.contains("/BOOT.CFG does not read back"), "{boot_file}");
        let kickstart = check(|_, overlay| overlay.patches.last().unwrap().offset).unwrap_err();
        assert!(kickstart.contains("/KS.CFG does not read back"), "{kickstart}");
    }

    #[test]
    fn a_file_that_has_moved_or_lost_its_name_is_found() {
        let record = |base: &Written| {
            let volume = Volume::open(&base.image).unwrap();
            // The kickstart's record stands before it and has moved it by 42 bytes.
            volume.find(&base.image, TreeKind::Primary, "/README.TXT").unwrap().unwrap().record_offset + 42
        };
        assert!(check(|base, _| record(base) + 2).unwrap_err().contains("ISO 9660 directories"));
        assert!(check(|base, _| record(base) + 33).unwrap_err().contains("ISO 9660 directories"));
    }

    #[test]
    fn what_is_never_read_may_differ() {
        assert_eq!(check(|base, _| base.extents["/README.TXT"].end), Ok(()));
    }
}
