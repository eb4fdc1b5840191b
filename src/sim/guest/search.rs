//! The installer's search for `ks=cdrom:/PATH`: each CD is mounted in turn until one has the file.
//!
//! The vmkernel's CD file system sees the plain ISO 9660 names and is case-sensitive (VMware's
//! documentation asks for upper case). There is no second round: not found is a dialog for ever.
//! Invariant: the script is read whole, once.

use super::Answer;
use super::post::{Mounted, read_file};
use super::reader::{Look, Reader};
use crate::sim::machine::Machine;

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
            match reader.look(|image| read_file(image, &self.path)) {
                Look::Need(request) => return Look::Need(request),
                Look::Done(Ok(Some(script))) => return Look::Done(Some(script)),
                // Not mountable, or not there: the next drive.
                Look::Done(_) => self.reader = None,
            }
        }
    }

    /// The CD that has the script, which stays mounted.
    pub fn mounted(&mut self, machine: &Machine) -> Option<Mounted> {
        let reader = self.reader.take()?;
        let insertion = machine.medium(reader.drive)?.insertion;
        Some(Mounted { reader, insertion })
    }

    pub fn answer(&mut self, answer: Answer) {
        if let Some(reader) = &mut self.reader {
            reader.answer(answer);
        }
    }
}
