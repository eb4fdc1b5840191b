//! Reads a drive's medium with pure readers ([`shoal_image::iso`], [`super::fat`]), which cannot wait for bytes.
//!
//! A reader that lacks a piece is stopped, the piece is asked for, and the reader starts again.
//! Not a cache between looks: each purpose has its own [`DriveReader`], so that every look at a medium
//! reaches the BMC, as it does on real hardware. Invariant: at most [`HELD_BYTES_MAX`] are held.

use bytes::Bytes;

use super::{ReadAnswer, ReadRequest};
use shoal_base::with_causes;
use shoal_image::iso::PartialImage;

/// Firmware and boot loaders read by sectors.
const SECTOR: usize = 2048;
/// The first volume descriptor: what every look at a CD begins with.
const FIRST_DESCRIPTOR: u64 = 16 * SECTOR as u64;
/// Directories, descriptors and boot options of a real installer take well under 1 MiB.
const HELD_BYTES_MAX: u64 = 8 << 20;

/// One look at one drive.
#[derive(Debug)]
pub struct DriveReader {
    pub drive: usize,
    /// What is read before anything is known of the medium.
    first: u64,
    /// Known once the first answer of the drive has named its capacity.
    image: Option<PartialImage>,
    /// Where the piece begins that is being fetched.
    asked: u64,
    trouble: Option<String>,
}

/// Either bytes are needed, or the look is over.
#[derive(Debug)]
pub enum ReaderLook<T> {
    Need(ReadRequest),
    Done(T),
}

impl DriveReader {
    /// Of a CD.
    pub fn new(drive: usize) -> DriveReader {
        DriveReader::from(drive, FIRST_DESCRIPTOR)
    }

    /// Of a disk, which begins with its partition table.
    pub fn of_disk(drive: usize) -> DriveReader {
        DriveReader::from(drive, 0)
    }

    fn from(drive: usize, first: u64) -> DriveReader {
        DriveReader { drive, first, image: None, asked: first, trouble: None }
    }

    /// Starts `read` again with what has been fetched so far.
    pub fn look<T, E: std::error::Error>(
        &mut self,
        read: impl FnOnce(&PartialImage) -> Result<T, E>,
    ) -> ReaderLook<Result<T, String>> {
        if let Some(trouble) = &self.trouble {
            return ReaderLook::Done(Err(trouble.clone()));
        }
        let Some(image) = &self.image else {
            return ReaderLook::Need(self.request(self.first..self.first + SECTOR as u64));
        };
        let result = read(image);
        match image.take_wanted() {
            Some(_) if image.held_bytes() >= HELD_BYTES_MAX => {
                ReaderLook::Done(Err("the medium has too much to read before it boots".to_owned()))
            }
            Some(range) => {
                self.asked = range.start;
                ReaderLook::Need(self.request(range))
            }
            None => ReaderLook::Done(result.map_err(|error| with_causes(&error))),
        }
    }

    fn request(&self, range: std::ops::Range<u64>) -> ReadRequest {
        ReadRequest { drive: self.drive, offset: range.start, len: (range.end - range.start) as usize }
    }

    /// Takes what the drive said to the last request.
    pub fn answer(&mut self, answer: ReadAnswer) {
        match answer {
            ReadAnswer::Data { bytes, capacity } => self.keep(bytes, capacity),
            ReadAnswer::NoMedium => self.trouble = Some("there is no medium".to_owned()),
            ReadAnswer::Failed => self.trouble = Some("I/O error".to_owned()),
        }
    }

    fn keep(&mut self, bytes: Bytes, capacity: u64) {
        let image = self.image.get_or_insert_with(|| PartialImage::new(capacity, SECTOR));
        image.insert(self.asked, bytes);
    }
}
