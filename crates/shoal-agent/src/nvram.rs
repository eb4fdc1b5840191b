//! The firmware's boot entries, as files of efivarfs.
//!
//! A firmware may refuse any of this; the caller makes that a warning. Invariants: entries for the same partition
//! and file are removed before one is added, since some firmware refuses a removal after an addition; the rest of the
//! boot order stays as it is, behind the new entry.

use std::fs;
use std::io;
use std::path::Path;

use crate::esp::Loader;
use crate::table::{Partition, PartitionKind};

/// Non-volatile, and there before and after the firmware has handed over.
const ATTRIBUTES: u32 = 7;
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const ACTIVE: u32 = 1;
const ENTRIES_MAX: u32 = 0x1_0000;

/// Adds an entry for `loader` on a partition of a disk with sectors of `sector` bytes, first in the boot order.
/// Returns its name.
pub fn add_entry(
    folder: &Path,
    loader: &Loader,
    partition: &Partition,
    sector: u32,
    head: &[u8],
) -> io::Result<String> {
    let path = device_path(partition, sector, head, &loader.path);
    let option = load_option(&loader.label, &path);
    let removed = remove_same(folder, &path)?;
    let number = (0..ENTRIES_MAX).find(|number| !folder.join(entry_name(*number)).exists());
    let number = number.ok_or_else(|| io::Error::other("all boot entries are in use"))?;
    write_variable(&folder.join(entry_name(number)), &option)?;
    let order_file = folder.join(format!("BootOrder-{GLOBAL}"));
    let old = read_variable(&order_file).unwrap_or_default();
    let old = old.chunks_exact(2).map(|pair| u32::from(u16::from_le_bytes([pair[0], pair[1]])));
    let rest = old.filter(|other| *other != number && !removed.contains(other));
    let order: Vec<u8> =
        std::iter::once(number).chain(rest).flat_map(|number| (number as u16).to_le_bytes()).collect();
    write_variable(&order_file, &order)?;
    Ok(format!("Boot{number:04X}"))
}

fn entry_name(number: u32) -> String {
    format!("Boot{number:04X}-{GLOBAL}")
}

/// Removes entries that lead to the same file of the same partition.
fn remove_same(folder: &Path, path: &[u8]) -> io::Result<Vec<u32>> {
    let mut removed = Vec::new();
    for name in crate::machine::names(folder) {
        let number = name.strip_prefix("Boot").and_then(|rest| rest.strip_suffix(&format!("-{GLOBAL}")));
        let number =
            number.filter(|digits| digits.len() == 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let Some(number) = number else { continue };
        let is_same = read_variable(&folder.join(&name)).is_ok_and(|option| option.ends_with(path));
        if is_same {
            make_mutable(&folder.join(&name));
            fs::remove_file(folder.join(&name))?;
            removed.push(number);
        }
    }
    Ok(removed)
}

/// Without its attributes.
fn read_variable(file: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(file)?;
    Ok(bytes.get(4..).unwrap_or_default().to_vec())
}

/// Attributes and value in one write, as efivarfs wants it.
fn write_variable(file: &Path, value: &[u8]) -> io::Result<()> {
    make_mutable(file);
    let bytes = [&ATTRIBUTES.to_le_bytes()[..], value].concat();
    let mut open = fs::OpenOptions::new();
    let mut written = open.write(true).create(true).truncate(false).open(file)?;
    io::Write::write_all(&mut written, &bytes)?;
    match read_variable(file)? == value {
        true => Ok(()),
        false => Err(io::Error::other("the firmware returned another value than was written")),
    }
}

/// efivarfs guards its files by the immutable flag; other file systems have none to clear.
fn make_mutable(file: &Path) {
    let Ok(open) = fs::File::open(file) else { return };
    if let Ok(flags) = rustix::fs::ioctl_getflags(&open) {
        rustix::fs::ioctl_setflags(&open, flags - rustix::fs::IFlags::IMMUTABLE).ok();
    }
}

/// `EFI_LOAD_OPTION` of the UEFI specification.
fn load_option(label: &str, path: &[u8]) -> Vec<u8> {
    let mut option = ACTIVE.to_le_bytes().to_vec();
    option.extend((path.len() as u16).to_le_bytes());
    option.extend(utf16(label));
    option.extend(path);
    option
}

/// A hard drive's partition, a file on it, the end.
fn device_path(partition: &Partition, sector: u32, head: &[u8], file: &str) -> Vec<u8> {
    let sector = u64::from(sector);
    let mut path = vec![4, 1, 42, 0];
    path.extend((partition.slot as u32 + 1).to_le_bytes());
    path.extend((partition.start / sector).to_le_bytes());
    path.extend((partition.size / sector).to_le_bytes());
    match partition.kind {
        PartitionKind::Gpt { guid, .. } => {
            path.extend(guid);
            path.extend([2, 2]);
        }
        PartitionKind::Mbr { .. } => {
            path.extend(head.get(440..444).unwrap_or(&[0; 4]));
            path.extend([0; 12]);
            path.extend([1, 1]);
        }
    }
    let name = utf16(file);
    path.extend([4, 4]);
    path.extend((name.len() as u16 + 4).to_le_bytes());
    path.extend(name);
    path.extend([0x7f, 0xff, 4, 0]);
    path
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        let kind = PartitionKind::Gpt { type_guid: crate::table::ESP, guid: [0xab; 16] };
        Partition { slot: 0, start: 1 << 20, size: 512 << 20, kind }
    }

    fn loader() -> Loader {
        Loader { label: "debian".to_owned(), path: r"\EFI\debian\shimx64.efi".to_owned() }
    }

    fn variable(folder: &Path, name: &str) -> Vec<u8> {
        fs::read(folder.join(format!("{name}-{GLOBAL}"))).unwrap()
    }

    fn set(folder: &Path, name: &str, value: &[u8]) {
        write_variable(&folder.join(format!("{name}-{GLOBAL}")), value).unwrap();
    }

    /// The bytes that efibootmgr 17 writes for the same entry.
    #[test]
    fn an_entry_has_the_bytes_of_the_specification() {
        let option = load_option("debian", &device_path(&partition(), 512, &[], r"\EFI\debian\shimx64.efi"));
        let expected = concat!(
            "01000000",
            "6200",
            "640065006200690061006e000000",
            "04012a00",
            "01000000",
            "0008000000000000",
            "0000100000000000",
            "abababababababababababababababab",
            "0202",
            "04043400",
            "5c004500460049005c00640065006200690061006e005c007300680069006d007800360034002e006500660069000000",
            "7fff0400"
        );
        assert_eq!(shoal_base::hex(&option), expected);
    }

    #[test]
    fn the_new_entry_is_first_and_the_rest_keeps_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        set(folder, "Boot0000", &load_option("PXE", &[0x7f, 0xff, 4, 0]));
        set(folder, "Boot0003", &load_option("old", &[0x7f, 0xff, 4, 0]));
        set(folder, "BootOrder", &[3, 0, 0, 0]);
        assert_eq!(add_entry(folder, &loader(), &partition(), 512, &[]).unwrap(), "Boot0001");
        assert_eq!(variable(folder, "BootOrder"), [7, 0, 0, 0, 1, 0, 3, 0, 0, 0]);
    }

    #[test]
    fn an_entry_for_the_same_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let path = device_path(&partition(), 512, &[], r"\EFI\debian\shimx64.efi");
        set(folder, "Boot0000", &load_option("other name", &path));
        set(folder, "BootOrder", &[2, 0, 0, 0]);
        set(folder, "Boot0002", &load_option("PXE", &[0x7f, 0xff, 4, 0]));
        assert_eq!(add_entry(folder, &loader(), &partition(), 512, &[]).unwrap(), "Boot0000");
        assert_eq!(variable(folder, "BootOrder"), [7, 0, 0, 0, 0, 0, 2, 0]);
        assert!(variable(folder, "Boot0000").len() > 100);
    }

    #[test]
    fn a_firmware_without_variables_is_an_error() {
        assert!(add_entry(Path::new("/proc/none"), &loader(), &partition(), 512, &[]).is_err());
    }
}
