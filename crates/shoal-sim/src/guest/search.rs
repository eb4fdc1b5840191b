//! The installer's search for `ks=cdrom:/PATH` and `ks=usb:/PATH`: each drive of that kind is mounted
//! one after the other until one has the file.
//!
//! The vmkernel's CD file system sees the plain ISO 9660 names and is case-sensitive (VMware's
//! documentation asks for upper case); FAT has no case. CDs are searched once, USB sticks five times
//! with ten seconds between (weasel of ESXi 6.7); not found is a dialog without a timeout. Invariant: the script
//! is read whole, once.

use std::time::Duration;

use jiff::Timestamp;

use super::post::{FileSystem, Mounted};
use super::reader::ReaderLook;
use super::{GuestNeed, ReadAnswer};
use crate::machine::{DriveKind, Machine, after};

const USB_ROUNDS: u32 = 5;
const USB_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Search {
    path: String,
    kind: DriveKind,
    files: Option<FileSystem>,
    next_drive: usize,
    /// Rounds through all drives that are over.
    rounds: u32,
    /// When the next round begins.
    waits_until: Option<Timestamp>,
}

/// What the search wants, or the script, or `None` where no drive has it.
#[derive(Debug)]
pub enum SearchLook {
    Need(GuestNeed),
    Done(Option<Vec<u8>>),
}

impl Search {
    /// Of what follows `ks=`; `None` where that is no search of drives.
    pub fn parse(source: &str) -> Option<Search> {
        let (word, path) = source.split_once(':')?;
        let kind = match word {
            "cdrom" => DriveKind::Cd,
            "usb" => DriveKind::Usb,
            _ => return None,
        };
        path.starts_with('/').then(|| Search {
            path: path.to_owned(),
            kind,
            files: None,
            next_drive: 0,
            rounds: 0,
            waits_until: None,
        })
    }

    /// What the console shows where no drive has the script.
    pub fn dialog(&self) -> String {
        let drives = match self.kind {
            DriveKind::Cd => "cd-rom",
            DriveKind::Usb => "usb",
        };
        format!("cannot find kickstart file on {drives} with path -- {}", self.path)
    }

    pub fn look(&mut self, machine: &Machine, now: Timestamp) -> SearchLook {
        if let Some(until) = self.waits_until.filter(|until| now < *until) {
            return SearchLook::Need(GuestNeed::Until(until));
        }
        self.waits_until = None;
        loop {
            let Some(files) = &mut self.files else {
                match machine.next_drive(self.kind, self.next_drive) {
                    Some(drive) => {
                        self.next_drive = drive + 1;
                        self.files = Some(FileSystem::new(self.kind, drive));
                    }
                    None => return self.end_round(now),
                }
                continue;
            };
            match files.read(&self.path) {
                ReaderLook::Need(request) => return SearchLook::Need(GuestNeed::Read(request)),
                ReaderLook::Done(Ok(Some(script))) => return SearchLook::Done(Some(script)),
                // Not mountable, or not there: the next drive.
                ReaderLook::Done(_) => self.files = None,
            }
        }
    }

    fn end_round(&mut self, now: Timestamp) -> SearchLook {
        self.rounds += 1;
        self.next_drive = 0;
        let rounds = match self.kind {
            DriveKind::Cd => 1,
            DriveKind::Usb => USB_ROUNDS,
        };
        if self.rounds >= rounds {
            return SearchLook::Done(None);
        }
        let until = after(now, USB_PAUSE);
        self.waits_until = Some(until);
        SearchLook::Need(GuestNeed::Until(until))
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Another file of the medium that has the script.
    pub fn read(&mut self, path: &str) -> ReaderLook<Result<Option<Vec<u8>>, String>> {
        match &mut self.files {
            Some(files) => files.read(path),
            None => ReaderLook::Done(Ok(None)),
        }
    }

    /// The drive that has the script, which stays mounted.
    pub fn mounted(&mut self, machine: &Machine) -> Option<Mounted> {
        let files = self.files.take()?;
        let insertion = machine.medium(files.drive())?.insertion;
        Some(Mounted { files, insertion })
    }

    pub fn answer(&mut self, answer: ReadAnswer) {
        if let Some(files) = &mut self.files {
            files.answer(answer);
        }
    }
}
