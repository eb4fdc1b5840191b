//! The initramfs: everything that runs on the server, in memory.
//!
//! Invariant: the archive depends on names, kinds and contents of its files alone, in the order of their paths.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

use super::kernel::Kernel;
use super::packages::file_of;
use super::program::DEPMOD;
use super::{BuildError, step};
use crate::cli::new_file::FileError;

/// Busybox's, as the agent and its DHCP script call them, and a shell's few for a look around.
const APPLETS: [&str; 18] = [
    "blockdev", "cat", "chroot", "dmesg", "grep", "ip", "kill", "losetup", "ls", "lsmod", "lspci", "mkdir",
    "modprobe", "mount", "ps", "sh", "udhcpc", "umount",
];
const FOLDERS: [&str; 8] = ["bin", "dev", "etc", "proc", "run", "sbin", "sys", "tmp"];
/// Programs beside busybox: package, path in it, and names here. `mke2fs` makes what it is called after.
const PROGRAMS: [(&str, &str, &str); 8] = [
    ("dosfstools", "sbin/mkfs.fat", "sbin/mkfs.vfat"),
    ("dosfstools", "sbin/fsck.fat", "sbin/fsck.vfat"),
    ("e2fsprogs", "sbin/mke2fs", "sbin/mkfs.ext4"),
    ("e2fsprogs", "sbin/e2fsck", "sbin/e2fsck"),
    ("ntfs-3g", "bin/ntfs-3g", "bin/ntfs-3g"),
    ("tar", "bin/tar", "bin/tar"),
    ("xfsprogs", "sbin/mkfs.xfs", "sbin/mkfs.xfs"),
    ("xfsprogs", "sbin/xfs_repair", "sbin/xfs_repair"),
];
/// Their libraries: package, and the name that programs ask for, up to its version.
const SHARED: [(&str, &str); 12] = [
    ("libacl1", "libacl.so."),
    ("libblkid1", "libblkid.so."),
    ("libc6", "libc.so."),
    ("libcom-err2", "libcom_err.so."),
    ("libext2fs2", "libe2p.so."),
    ("libext2fs2", "libext2fs.so."),
    ("libinih1", "libinih.so."),
    ("libntfs-3g", "libntfs-3g.so."),
    ("libpcre2-8", "libpcre2-8.so."),
    ("libselinux1", "libselinux.so."),
    ("liburcu8", "liburcu.so."),
    ("libuuid1", "libuuid.so."),
];
/// Where they look for their loader and their libraries.
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "lib/x86_64-linux-gnu";
/// Of what `depmod` writes, what busybox reads.
const MODULE_LISTS: [&str; 6] = [
    "modules.alias",
    "modules.builtin",
    "modules.dep",
    "modules.order",
    "modules.softdep",
    "modules.symbols",
];

/// A file of the archive.
enum Node {
    Folder,
    File { bytes: Vec<u8>, is_program: bool },
    Link(String),
}

/// Files by path, without a slash at the beginning.
#[derive(Default)]
struct Archive {
    nodes: BTreeMap<String, Node>,
}

/// The compressed initramfs. `work` is for what `depmod` writes.
pub async fn build(kernel: &Kernel, tree: &Path, work: &Path, agent: &[u8]) -> Result<Vec<u8>, BuildError> {
    let mut archive = Archive::default();
    for folder in FOLDERS {
        archive.add(folder, Node::Folder);
    }
    archive.add("init", Node::File { bytes: agent.to_vec(), is_program: true });
    archive.copy(&file_of(tree, "busybox-static", "bin/busybox")?, "bin/busybox")?;
    for applet in APPLETS {
        archive.add(&format!("bin/{applet}"), Node::Link("busybox".to_owned()));
    }
    // Where the kernel itself looks for it.
    archive.add("sbin/modprobe", Node::Link("/bin/busybox".to_owned()));
    add_programs(&mut archive, tree)?;
    add_modules(&mut archive, kernel, work).await?;
    let compressed = tokio::task::block_in_place(|| archive.compressed());
    // In memory, nothing can go wrong.
    compressed.map_err(|source| FileError { act: "build", path: "initrd.gz".into(), source }.into())
}

fn add_programs(archive: &mut Archive, tree: &Path) -> Result<(), BuildError> {
    for (package, from, to) in PROGRAMS {
        archive.copy(&file_of(tree, package, from)?, to)?;
    }
    archive.copy(&file_of(tree, "e2fsprogs", "etc/mke2fs.conf")?, "etc/mke2fs.conf")?;
    archive.copy(&file_of(tree, "libc6", LOADER)?, LOADER)?;
    for (package, name) in SHARED {
        let library = library(tree, name);
        let (name, path) = library.ok_or_else(|| {
            let path = format!("{LIBRARIES}/{name}*");
            BuildError::NoFile { package, path }
        })?;
        archive.copy(&path, &format!("{LIBRARIES}/{name}"))?;
    }
    Ok(())
}

/// The library of that name with one number behind it, which may be a link to the file.
fn library(tree: &Path, start: &str) -> Option<(String, PathBuf)> {
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    [LIBRARIES.to_owned(), format!("usr/{LIBRARIES}")].iter().find_map(|folder| {
        let mut entries = fs::read_dir(tree.join(folder)).into_iter().flatten().flatten();
        entries.find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix(start).is_some_and(is_number).then(|| (name, entry.path()))
        })
    })
}

/// The chosen modules, described anew by `depmod`, which knows only what is there.
async fn add_modules(archive: &mut Archive, kernel: &Kernel, work: &Path) -> Result<(), BuildError> {
    let version = &kernel.version;
    let all = kernel.modules.ancestors().nth(3).unwrap_or(&kernel.modules);
    DEPMOD.run(&["-b", &all.to_string_lossy(), version], work).await?;
    let chosen = kernel.chosen()?;
    let copy = |name: &str, root: &Path| {
        let (from, to) = (kernel.modules.join(name), root.join(name));
        let parent = to.parent().unwrap_or(root);
        let copied = fs::create_dir_all(parent).and_then(|()| fs::copy(&from, &to));
        copied.map(drop).map_err(FileError::of("copy", &from))
    };
    let root = work.join("initramfs");
    let modules = root.join("lib/modules").join(version);
    for name in chosen.iter().map(String::as_str) {
        copy(name, &modules)?;
    }
    for name in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        copy(name, &modules)?;
    }
    DEPMOD.run(&["-b", &root.to_string_lossy(), version], work).await?;
    for name in chosen.iter().map(String::as_str).chain(MODULE_LISTS) {
        archive.copy(&modules.join(name), &format!("lib/modules/{version}/{name}"))?;
    }
    step(&format!("{} of the kernel's modules are taken", chosen.len()));
    Ok(())
}

impl Archive {
    /// Adds a file, and the folders above it.
    fn add(&mut self, path: &str, node: Node) {
        for (at, _) in path.match_indices('/') {
            self.nodes.entry(path[..at].to_owned()).or_insert(Node::Folder);
        }
        self.nodes.insert(path.to_owned(), node);
    }

    fn copy(&mut self, from: &Path, path: &str) -> Result<(), FileError> {
        let failed = || FileError::of("read", from);
        let bytes = fs::read(from).map_err(failed())?;
        let mode = fs::metadata(from).map_err(failed())?.permissions().mode();
        self.add(path, Node::File { bytes, is_program: mode & 0o100 != 0 });
        Ok(())
    }

    fn compressed(&self) -> io::Result<Vec<u8>> {
        let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        for (number, (path, node)) in self.nodes.iter().enumerate() {
            let (mode, content) = match node {
                Node::Folder => (0o040_755, &[][..]),
                Node::File { bytes, is_program: true } => (0o100_755, &bytes[..]),
                Node::File { bytes, is_program: false } => (0o100_644, &bytes[..]),
                Node::Link(target) => (0o120_777, target.as_bytes()),
            };
            write_entry(&mut gzip, number + 1, mode, path, content)?;
        }
        write_entry(&mut gzip, 0, 0, "TRAILER!!!", &[])?;
        gzip.finish()
    }
}

/// One file of a `newc` archive: hexadecimal fields, the name, the content, each padded to four bytes.
fn write_entry(to: &mut impl Write, number: usize, mode: u32, path: &str, content: &[u8]) -> io::Result<()> {
    // Inode, mode, user, group, links, date, size, device and device of a node (two each), length of the name, sum.
    let links = if mode == 0o040_755 { 2 } else { 1 };
    let fields = [number, mode as usize, 0, 0, links, 0, content.len(), 0, 0, 0, 0, path.len() + 1, 0];
    let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
    let head = format!("070701{fields}{path}\0");
    to.write_all(head.as_bytes())?;
    to.write_all(&[0; 3][..head.len().next_multiple_of(4) - head.len()])?;
    to.write_all(content)?;
    to.write_all(&[0; 3][..content.len().next_multiple_of(4) - content.len()])
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// By cpio, which is not ours.
    #[test]
    fn an_archive_is_read_by_cpio() {
        let mut archive = Archive::default();
        archive.add("lib/a/file", Node::File { bytes: b"12345".to_vec(), is_program: false });
        archive.add("init", Node::File { bytes: b"#!x".to_vec(), is_program: true });
        archive.add("bin", Node::Folder);
        archive.add("bin/sh", Node::Link("busybox".to_owned()));
        let compressed = archive.compressed().unwrap();
        assert_eq!(compressed, archive.compressed().unwrap());
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut bytes).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("archive"), bytes).unwrap();
        let script = "cpio -itv <archive 2>/dev/null | awk '{ print $1, $2, $3, $5, $9, $11 }'";
        let output = std::process::Command::new("sh").args(["-c", script]).current_dir(dir.path()).output();
        let listed = String::from_utf8(output.unwrap().stdout).unwrap();
        let expected = "drwxr-xr-x 2 root 0 bin \n\
                        lrwxrwxrwx 1 root 7 bin/sh busybox\n\
                        -rwxr-xr-x 1 root 3 init \n\
                        drwxr-xr-x 2 root 0 lib \n\
                        drwxr-xr-x 2 root 0 lib/a \n\
                        -rw-r--r-- 1 root 5 lib/a/file \n";
        assert_eq!(listed, expected);
    }
}
