//! The files of an open database: whether they are still those that were opened, and as SQLite wrote them.
//!
//! A database, or its lock, that was deleted or replaced while a controller runs can have a second controller; a
//! write-ahead log that something else wrote into loses what was committed. It repairs nothing. Invariants: what
//! is found stops every further write; no file on which SQLite holds locks is opened here, since closing it would
//! drop those locks (POSIX), so that these are only looked at by name.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What is wrong with the files, for an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    #[error("{} was deleted while the controller ran: stop the controller, put the file back or restore a backup, and start it again", .0.display())]
    Deleted(PathBuf),
    #[error("{} was replaced while the controller ran: stop the controller, see which file is the right one, and start it again", .0.display())]
    Replaced(PathBuf),
    #[error("{} was changed by another program: stop the controller, restore a backup, and start it again", .0.display())]
    Overwritten(PathBuf),
    #[error("{} cannot be looked at: {kind}", path.display())]
    Unknown { path: PathBuf, kind: io::ErrorKind },
}

/// The files of one open database.
pub(super) struct OpenFiles {
    known: Vec<(PathBuf, FileId)>,
    log: PathBuf,
    /// An overwritten log does not become right again.
    overwritten: OnceLock<FileFault>,
}

/// Device and inode.
type FileId = (u64, u64);

impl OpenFiles {
    /// Those beside `database`, which SQLite has opened and read.
    pub fn of(database: &Path) -> io::Result<OpenFiles> {
        let beside = |suffix: &str| {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            PathBuf::from(path)
        };
        let known = ["", "-wal", "-shm", ".lock"].map(beside);
        let known = known.into_iter().map(|path| id(&path).map(|id| (path, id)));
        Ok(OpenFiles {
            known: known.collect::<io::Result<_>>()?,
            log: beside("-wal"),
            overwritten: OnceLock::new(),
        })
    }

    /// Whether each name still leads to the file that was opened. A few system calls: before every write.
    pub fn check_names(&self) -> Result<(), FileFault> {
        if let Some(fault) = self.overwritten.get() {
            return Err(fault.clone());
        }
        self.known.iter().try_for_each(|(path, known)| match id(path) {
            Ok(found) if found == *known => Ok(()),
            Ok(_) => Err(FileFault::Replaced(path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FileFault::Deleted(path.clone())),
            Err(error) => Err(FileFault::Unknown { path: path.clone(), kind: error.kind() }),
        })
    }

    /// Whether the log holds the frames that SQLite has committed to it; `frames` asks SQLite how many. Reads
    /// the whole log, some megabytes.
    pub fn check_log<E>(
        &self,
        mut frames: impl FnMut() -> Result<u64, E>,
    ) -> Result<Result<(), FileFault>, E> {
        // Another program that writes may begin the log anew between the two looks.
        for _ in 0..3 {
            let committed = frames()?;
            match good_frames(&self.log) {
                Ok(good) if good >= committed => return Ok(Ok(())),
                Ok(_) => {}
                Err(error) => {
                    return Ok(Err(FileFault::Unknown { path: self.log.clone(), kind: error.kind() }));
                }
            }
        }
        let fault = FileFault::Overwritten(self.log.clone());
        Ok(Err(self.overwritten.get_or_init(|| fault).clone()))
    }
}

fn id(path: &Path) -> io::Result<FileId> {
    let found = std::fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// Less its last bit, which is the order of bytes that the checksums are computed in.
const MAGIC: u32 = 0x377f_0682;

/// How many frames, from the first, the log holds whose salts and running checksums are right
/// (sqlite.org/walformat.html).
fn good_frames(log: &Path) -> io::Result<u64> {
    let mut log = BufReader::with_capacity(1 << 16, File::open(log)?);
    let mut header = [0; HEADER_BYTES];
    if !fill(&mut log, &mut header)? {
        return Ok(0);
    }
    let page = u32_at(&header, 8) as usize;
    let big_endian = u32_at(&header, 0) & 1 == 1;
    let mut sum = checksum((0, 0), &header[..24], big_endian);
    let is_page = page.is_power_of_two() && (512..=65_536).contains(&page);
    if u32_at(&header, 0) & !1 != MAGIC || !is_page || sum != (u32_at(&header, 24), u32_at(&header, 28)) {
        return Ok(0);
    }
    let mut frame = vec![0; FRAME_HEADER_BYTES + page];
    let mut good = 0;
    while fill(&mut log, &mut frame)? {
        sum = checksum(checksum(sum, &frame[..8], big_endian), &frame[FRAME_HEADER_BYTES..], big_endian);
        if frame[8..16] != header[16..24] || sum != (u32_at(&frame, 16), u32_at(&frame, 20)) {
            break;
        }
        good += 1;
    }
    Ok(good)
}

/// Whether there was enough to fill `buffer`.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..at + 4].try_into().expect("four bytes");
    u32::from_be_bytes(word)
}

fn checksum(mut sum: (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let word = bytes.try_into().expect("four bytes");
        if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    };
    for pair in bytes.chunks_exact(8) {
        sum.0 = sum.0.wrapping_add(word(&pair[..4])).wrapping_add(sum.1);
        sum.1 = sum.1.wrapping_add(word(&pair[4..])).wrapping_add(sum.0);
    }
    sum
}
