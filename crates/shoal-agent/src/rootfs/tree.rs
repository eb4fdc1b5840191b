//! The tree of the installed system while it is mounted: unpacked into, completed, unmounted.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use shoal_recipe::PartitionFormat;

use super::volumes::{Volume, Volumes};
use crate::machine::{Fed, Machine};

const ROOT: &str = "/run/shoal-root";
/// Where the EFI system partition is mounted until its own mountpoint is empty.
const ESP: &str = "/run/shoal-esp";
const NOCLOUD: &str = "var/lib/cloud/seed/nocloud";
const BY_UUID: &str = "/dev/disk/by-uuid";
/// What programs inside the tree need.
const KERNEL_MOUNTS: [(&str, &[&str]); 3] =
    [("dev", &["-o", "bind", "/dev"]), ("proc", &["-t", "proc", "proc"]), ("sys", &["-t", "sysfs", "sysfs"])];

/// Mounted volumes. Must be closed, whatever happened meanwhile.
pub struct Tree<'a> {
    machine: &'a Machine,
    volumes: &'a Volumes,
    /// In the order of mounting.
    points: Vec<PathBuf>,
}

impl<'a> Tree<'a> {
    pub fn new(machine: &'a Machine, volumes: &'a Volumes) -> Tree<'a> {
        Tree { machine, volumes, points: Vec::new() }
    }

    /// A file of the tree.
    pub fn path(&self, inner: &str) -> PathBuf {
        self.machine.path(ROOT).join(inner.trim_start_matches('/'))
    }

    /// Mounts everything but the EFI system partition.
    pub fn mount(&mut self) -> Result<(), String> {
        for (point, volume) in self.volumes.mounted() {
            if !volume.partition.is_esp() {
                self.mount_volume(volume, self.path(point))?;
            }
        }
        Ok(())
    }

    fn mount_volume(&mut self, volume: &Volume, point: PathBuf) -> Result<(), String> {
        let device = format!("/dev/{}", volume.node);
        self.mount_at(point, &["-t", volume.partition.format.name(), &device])
    }

    fn mount_at(&mut self, point: PathBuf, what: &[&str]) -> Result<(), String> {
        fs::create_dir_all(&point).map_err(|error| format!("{}: {error}", point.display()))?;
        let text = point.to_string_lossy().into_owned();
        self.machine.run("mount", &[what, &[&text]].concat())?;
        self.points.push(point);
        Ok(())
    }

    /// A running tar that unpacks into the tree: owners, modes, extended attributes and ACLs as they were packed.
    pub fn unpack(&self) -> Result<Fed, String> {
        let root = self.path("");
        let root = root.to_string_lossy();
        let options = ["--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*", "--acls"];
        self.machine.feed("tar", &[&["-x", "-p", "-f", "-", "-C", &root], &options[..]].concat())
    }

    /// Replaces the archive's fstab by one that names the new file systems.
    pub fn write_fstab(&self) -> io::Result<()> {
        self.write_new("etc/fstab", fstab(self.volumes).as_bytes(), 0o644)
    }

    /// cloud-init's NoCloud data: user data may hold passwords.
    pub fn write_seed(&self, files: &[(&str, Vec<u8>)]) -> io::Result<()> {
        let folder = self.path(NOCLOUD);
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for (name, content) in files {
            self.write_new(&format!("{NOCLOUD}/{name}"), content, 0o600)?;
        }
        Ok(())
    }

    /// Not through a link that the archive has in its place.
    fn write_new(&self, inner: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let path = self.path(inner);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        file.write_all(content)?;
        file.sync_all()?;
        match fs::read(&path)? == content {
            true => Ok(()),
            false => Err(io::Error::other("the file was read back with other content")),
        }
    }

    /// Mounts what programs inside the tree need. Links by UUID make GRUB name file systems so.
    pub fn mount_for_programs(&mut self) -> Result<(), String> {
        let links = self.machine.path(BY_UUID);
        fs::create_dir_all(&links).map_err(|error| format!("{BY_UUID}: {error}"))?;
        for volume in self.volumes.iter() {
            if let Some(uuid) = volume.uuid() {
                symlink(format!("../../{}", volume.node), links.join(uuid)).ok();
            }
        }
        for (point, what) in KERNEL_MOUNTS {
            self.mount_at(self.path(point), what)?;
        }
        Ok(())
    }

    /// Runs a program of the tree.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<(), String> {
        let root = self.path("");
        let root = root.to_string_lossy();
        self.machine.run("chroot", &[&[&*root, program], args].concat()).map(drop)
    }

    /// Moves what the archive has for the EFI system partition onto it, and mounts that at its place. From here on
    /// the disk may start.
    pub fn mount_esp(&mut self) -> Result<(), String> {
        self.machine.sync();
        let (point, volume) = self.volumes.esp()?;
        self.mount_volume(volume, self.machine.path(ESP))?;
        let from = self.path(point);
        move_children(&from, &self.machine.path(ESP))
            .map_err(|error| format!("{point} of the archive cannot be moved: {error}"))?;
        self.unmount_last()?;
        self.mount_volume(volume, from)
    }

    fn unmount_last(&mut self) -> Result<(), String> {
        match self.points.pop() {
            Some(point) => self.machine.run("umount", &[&point.to_string_lossy()]).map(drop),
            None => Ok(()),
        }
    }

    /// Unmounts everything; the first failure is the one to report.
    pub fn close(mut self) -> Result<(), String> {
        self.machine.sync();
        let mut outcome = Ok(());
        while !self.points.is_empty() {
            outcome = outcome.and(self.unmount_last());
        }
        outcome
    }
}

/// Files and folders alone: a FAT file system has nothing else.
fn move_children(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            move_children(&path, &target)?;
            fs::remove_dir(&path)?;
        } else {
            if entry.file_type()?.is_file() {
                fs::copy(&path, &target)?;
            }
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn fstab(volumes: &Volumes) -> String {
    let mut text = "# <file system> <mountpoint> <type> <options> <dump> <pass>\n".to_owned();
    let mounted = volumes.mounted();
    for (point, volume) in &mounted {
        let (options, pass) = match volume.partition.format {
            PartitionFormat::Vfat => ("umask=0077", 2),
            PartitionFormat::Ext4 if *point == "/" => ("errors=remount-ro", 1),
            PartitionFormat::Ext4 => ("defaults", 2),
            _ => ("defaults", 0),
        };
        let uuid = volume.uuid().unwrap_or_default();
        text += &format!("UUID={uuid} {point} {} {options} 0 {pass}\n", volume.partition.format.name());
    }
    for volume in volumes.iter().filter(|volume| volume.partition.format == PartitionFormat::Swap) {
        text += &format!("UUID={} none swap sw 0 0\n", volume.uuid().unwrap_or_default());
    }
    text
}
