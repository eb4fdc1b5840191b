//! The answer file of Windows, written into the image's NTFS volume by `ntfs-3g`.
//!
//! The volume is reached by a loop device, since the kernel does not know the disk's new table yet. Invariants: a
//! volume that Windows left open or hibernated is refused and not changed; it is unmounted before the table is
//! written.

use std::fs;
use std::io;
use std::path::Path;

use crate::machine::{Machine, child};

const MOUNT_POINT: &str = "/run/shoal-windows";
/// Windows reads this before `Panther\unattend.xml`.
const CACHED: [&str; 3] =
    ["Panther/Unattend/unattend.xml", "Panther/Unattend/autounattend.xml", "Panther/autounattend.xml"];

/// An NTFS volume of the disk, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NtfsVolume {
    pub start: u64,
    pub size: u64,
}

/// Writes `Windows\Panther\unattend.xml` into the volume that holds `Windows`, the largest first, and returns that.
pub fn write_unattend(
    machine: &Machine,
    disk: &str,
    volumes: &[NtfsVolume],
    unattend: &[u8],
) -> Result<NtfsVolume, String> {
    let mut volumes = volumes.to_vec();
    volumes.sort_by_key(|volume| std::cmp::Reverse(volume.size));
    for volume in &volumes {
        let mounted = Mounted::new(machine, disk, volume, "norecover")?;
        let written = write_into(&machine.path(MOUNT_POINT), unattend);
        mounted.unmount()?;
        if written? {
            return Ok(volume.clone());
        }
    }
    Err(format!("none of the image's {} NTFS volumes has a Windows folder", volumes.len()))
}

/// Reads the file back, through a mount and a loop device of its own.
pub fn check_unattend(
    machine: &Machine,
    disk: &str,
    volume: &NtfsVolume,
    unattend: &[u8],
) -> Result<(), String> {
    let mounted = Mounted::new(machine, disk, volume, "ro,norecover")?;
    let root = machine.path(MOUNT_POINT);
    let file = ["Windows", "Panther", "unattend.xml"]
        .iter()
        .try_fold(root, |folder, name| child(&folder, name))
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
    let found = file.and_then(fs::read);
    mounted.unmount()?;
    match found {
        Ok(found) if found == unattend => Ok(()),
        Ok(_) => Err(r"the disk returned another Windows\Panther\unattend.xml than was written".to_owned()),
        Err(error) => Err(format!(r"Windows\Panther\unattend.xml cannot be read back: {error}")),
    }
}

/// Whether the volume holds Windows; then the file is in place.
fn write_into(root: &Path, unattend: &[u8]) -> Result<bool, String> {
    let Some(windows) = child(root, "Windows") else { return Ok(false) };
    let panther = child(&windows, "Panther").unwrap_or_else(|| windows.join("Panther"));
    let failed = |error: io::Error| {
        match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "the Windows volume is hibernated or was not shut down: run sysprep /generalize /shutdown before making \
             the image"
                .to_owned()
        }
        _ => format!(r"Windows\Panther\unattend.xml cannot be written: {error}"),
    }
    };
    fs::create_dir_all(&panther).map_err(failed)?;
    for path in CACHED {
        let mut file = Some(windows.clone());
        for part in path.split('/') {
            file = file.and_then(|folder| child(&folder, part));
        }
        if let Some(file) = file {
            fs::remove_file(file).map_err(failed)?;
        }
    }
    let file = child(&panther, "unattend.xml").unwrap_or_else(|| panther.join("unattend.xml"));
    fs::write(&file, unattend).map_err(failed)?;
    fs::File::open(&file).and_then(|file| file.sync_all()).map_err(failed)?;
    Ok(true)
}

/// A mounted volume and its loop device.
struct Mounted<'a> {
    machine: &'a Machine,
    device: String,
}

impl<'a> Mounted<'a> {
    fn new(
        machine: &'a Machine,
        disk: &str,
        volume: &NtfsVolume,
        options: &str,
    ) -> Result<Mounted<'a>, String> {
        fs::create_dir_all(machine.path(MOUNT_POINT)).map_err(|error| format!("{MOUNT_POINT}: {error}"))?;
        let device = machine.run("losetup", &["-f"])?.trim().to_owned();
        machine.run("losetup", &["-o", &volume.start.to_string(), &device, disk])?;
        let mounted = Mounted { machine, device };
        let point = machine.path(MOUNT_POINT);
        let point = point.to_string_lossy();
        match machine.run("ntfs-3g", &["-o", options, &mounted.device, &point]) {
            Ok(_) => Ok(mounted),
            Err(error) => {
                mounted.detach()?;
                Err(format!("the NTFS volume cannot be mounted: {error}"))
            }
        }
    }

    fn unmount(self) -> Result<(), String> {
        let point = self.machine.path(MOUNT_POINT);
        self.machine.run("umount", &[&point.to_string_lossy()])?;
        self.detach()
    }

    fn detach(self) -> Result<(), String> {
        self.machine.run("losetup", &["-d", &self.device]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestMachine;

    fn volumes() -> [NtfsVolume; 2] {
        [NtfsVolume { start: 1 << 20, size: 1 << 20 }, NtfsVolume { start: 1 << 30, size: 1 << 34 }]
    }

    /// A machine whose ntfs-3g mounts a folder with these files.
    fn machine(files: &[&str]) -> TestMachine {
        let test = TestMachine::new();
        test.programs
            .on("losetup", |args| (true, if args == ["-f"] { "/dev/loop0\n".into() } else { String::new() }));
        test.programs.on("umount", |_| (true, String::new()));
        let root = test.path(MOUNT_POINT);
        let files: Vec<_> = files.iter().map(|file| root.join(file)).collect();
        test.programs.on("ntfs-3g", move |_| {
            for file in &files {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                if !file.exists() {
                    fs::write(file, "old").unwrap();
                }
            }
            (true, String::new())
        });
        test
    }

    #[test]
    fn the_answer_file_replaces_what_windows_would_read_first() {
        let test = machine(&["WINDOWS/panther/Unattend.XML", "WINDOWS/panther/unattend/Unattend.xml"]);
        write_unattend(&test.machine(), "/dev/sda", &volumes(), b"<unattend/>").unwrap();
        let panther = test.path("/run/shoal-windows/WINDOWS/panther");
        assert_eq!(fs::read(panther.join("Unattend.XML")).unwrap(), b"<unattend/>");
        assert!(!panther.join("unattend/Unattend.xml").exists());
        let point = test.path(MOUNT_POINT).display().to_string();
        let expected = [
            "losetup -f".to_owned(),
            "losetup -o 1073741824 /dev/loop0 /dev/sda".to_owned(),
            format!("ntfs-3g -o norecover /dev/loop0 {point}"),
            format!("umount {point}"),
            "losetup -d /dev/loop0".to_owned(),
        ];
        assert_eq!(test.programs.calls(), expected);
    }

    #[test]
    fn an_answer_file_that_reads_back_otherwise_or_not_is_an_error() {
        let test = machine(&["Windows/System32/ntoskrnl.exe"]);
        let machine = test.machine();
        let volume = write_unattend(&machine, "/dev/sda", &volumes(), b"x").unwrap();
        assert_eq!(volume.start, 1 << 30);
        test.programs.calls.lock().unwrap().clear();
        check_unattend(&machine, "/dev/sda", &volume, b"x").unwrap();
        assert!(test.programs.calls()[2].starts_with("ntfs-3g -o ro,norecover /dev/loop0"));
        let error = check_unattend(&machine, "/dev/sda", &volume, b"y").unwrap_err();
        assert!(error.contains("returned another"), "{error}");
        fs::remove_file(test.path("/run/shoal-windows/Windows/Panther/unattend.xml")).unwrap();
        let error = check_unattend(&machine, "/dev/sda", &volume, b"x").unwrap_err();
        assert!(error.contains("cannot be read back"), "{error}");
        assert_eq!(test.programs.calls().last().unwrap(), "losetup -d /dev/loop0");
    }

    #[test]
    fn a_folder_is_made_where_windows_has_none() {
        let test = machine(&["Windows/System32/ntoskrnl.exe"]);
        write_unattend(&test.machine(), "/dev/sda", &volumes(), b"x").unwrap();
        assert!(test.path("/run/shoal-windows/Windows/Panther/unattend.xml").exists());
    }

    #[test]
    fn no_windows_and_no_mount_are_errors_and_nothing_stays_attached() {
        let test = machine(&["data/file"]);
        let error = write_unattend(&test.machine(), "/dev/sda", &volumes(), b"x").unwrap_err();
        assert!(error.contains("none of the image's 2 NTFS volumes"), "{error}");
        test.programs.on("ntfs-3g", |_| (false, "Volume is dirty.\nRefused to mount.\n".into()));
        let error = write_unattend(&test.machine(), "/dev/sda", &volumes(), b"x").unwrap_err();
        assert!(error.contains("Refused to mount"), "{error}");
        assert_eq!(test.programs.calls().last().unwrap(), "losetup -d /dev/loop0");
    }
}
