//! A disk as the writer sees it: read and written by position, flushed on demand.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use shoal_image::iso::ReadAt;

/// A disk that can be written. What is not synced may be lost, in any order, when power fails.
pub trait BlockDevice: ReadAt + Sync {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Returns when everything written is on the medium.
    fn sync(&self) -> io::Result<()>;
    /// The next reads come from the medium, not from memory.
    fn forget(&self) -> io::Result<()>;
}

/// A block device or a regular file.
pub struct DeviceFile {
    file: File,
    size: u64,
}

impl DeviceFile {
    /// For reading. The size of a block device is where its end is: its inode says 0.
    pub fn open(path: &Path) -> io::Result<DeviceFile> {
        DeviceFile::new(File::open(path)?)
    }

    /// For writing, exclusively: fails with `EBUSY` where the disk is mounted or part of an array. The file
    /// must exist; none is created.
    pub fn open_exclusive(path: &Path) -> io::Result<DeviceFile> {
        let exclusive = rustix::fs::OFlags::EXCL.bits();
        let flags = i32::try_from(exclusive).map_err(io::Error::other)?;
        DeviceFile::new(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?)
    }

    /// For writing, where partitions of the disk are mounted.
    pub fn open_shared(path: &Path) -> io::Result<DeviceFile> {
        DeviceFile::new(OpenOptions::new().read(true).write(true).open(path)?)
    }

    fn new(mut file: File) -> io::Result<DeviceFile> {
        let size = file.seek(SeekFrom::End(0))?;
        Ok(DeviceFile { file, size })
    }
}

impl ReadAt for DeviceFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

impl BlockDevice for DeviceFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn forget(&self) -> io::Result<()> {
        rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed).map_err(io::Error::from)
    }
}

impl DeviceFile {
    /// Returns what is on the medium even if it was read before: the cache is dropped first.
    pub fn read_fresh(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.forget()?;
        self.read_at(offset, buf)
    }
}
