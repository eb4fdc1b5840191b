//! The installer's search for `ks=cdrom:/PATH`: each CD is mounted in turn until one has the file.
//!
//! The vmkernel's CD file system sees the plain ISO 9660 names and is case-sensitive (VMware's
//! documentation asks for upper case). There is no second round: not found is a dialog for ever.
//! Invariant: the script is read whole, once.

use super::Answer;
use super::reader::{Look, Reader};
use crate::iso::{IsoError, PartialImage, TreeKind, Volume};
use crate::sim::machine::Machine;

/// More than any kickstart has.
const SCRIPT_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub struct Search {
    path: String,
    reader: Option<Reader>,
    next_drive: usize,
}

impl Search {
    pub fn new(path: String) -> Search {
        Search { path, reader: None, next_drive: 0 }
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// The next bytes wanted; or the script, or `None` where no CD has it.
    pub fn look(&mut self, machine: &Machine) -> Look<Option<Vec<u8>>> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(drive) = machine.next_cd(self.next_drive) else { return Look::Done(None) };
                self.next_drive = drive + 1;
                self.reader = Some(Reader::new(drive));
                continue;
            };
            match reader.look(|image| read_script(image, &self.path)) {
                Look::Need(request) => return Look::Need(request),
                Look::Done(Ok(Some(script))) => return Look::Done(Some(script)),
                // Not mountable, or not there: the next drive.
                Look::Done(_) => self.reader = None,
            }
        }
    }

    pub fn answer(&mut self, answer: Answer) {
        if let Some(reader) = &mut self.reader {
            reader.answer(answer);
        }
    }
}

fn read_script(image: &PartialImage, path: &str) -> Result<Option<Vec<u8>>, IsoError> {
    let volume = Volume::open(image)?;
    let found = volume.find_exact(image, TreeKind::Primary, path)?.filter(|entry| !entry.is_dir);
    found.map(|entry| volume.read(image, &entry, SCRIPT_BYTES_MAX)).transpose()
}
