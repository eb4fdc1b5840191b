//! The task medium: found by its content, whatever drive it is in.
//!
//! Every drive with a medium is mounted, one after the other, and again until one has the recipe: a virtual CD may
//! appear late. The same files may lie on the maintenance system's own CD. Invariant: the file system keeps the
//! directories that it has read, so a signal costs the reads of its own extent.

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use shoal_image::iso::{IsoError, PartialImage, Volume};
use shoal_recipe::RECIPE_FILE;

use crate::guest::linux::find_file;
use crate::guest::reader::{DriveReader, ReaderLook};
use crate::guest::{GuestNeed, ReadAnswer};
use crate::machine::{DriveKind, Machine, after};

/// As long as `shoal-agent` looks for it.
const SEARCH: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(2);
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A mounted medium.
#[derive(Debug)]
pub struct TaskMedium {
    reader: DriveReader,
    insertion: u64,
}

impl TaskMedium {
    fn mount(drive: usize, machine: &Machine) -> Option<TaskMedium> {
        let insertion = machine.medium(drive)?.insertion;
        Some(TaskMedium { reader: DriveReader::new(drive), insertion })
    }

    pub fn drive(&self) -> usize {
        self.reader.drive
    }

    pub fn is_there(&self, machine: &Machine) -> bool {
        machine.medium(self.reader.drive).is_some_and(|medium| medium.insertion == self.insertion)
    }

    /// Where these files lie, `None` where one of them is not there or the medium is not any more.
    pub fn places(&mut self, names: &[String], machine: &Machine) -> ReaderLook<Option<Vec<Range<u64>>>> {
        if !self.is_there(machine) {
            return ReaderLook::Done(None);
        }
        match self.reader.look(|image| places(image, names)) {
            ReaderLook::Need(request) => ReaderLook::Need(request),
            ReaderLook::Done(found) => ReaderLook::Done(found.unwrap_or(None)),
        }
    }

    /// The file at the root, `None` where it is not there or the medium is not any more.
    pub fn read(&mut self, name: &str, machine: &Machine) -> ReaderLook<Option<Vec<u8>>> {
        if !self.is_there(machine) {
            return ReaderLook::Done(None);
        }
        match self.reader.look(|image| read(image, name)) {
            ReaderLook::Need(request) => ReaderLook::Need(request),
            ReaderLook::Done(file) => ReaderLook::Done(file.unwrap_or(None)),
        }
    }

    pub fn answer(&mut self, answer: ReadAnswer) {
        self.reader.answer(answer);
    }

    /// Forgets what was read, and why it could not be.
    pub fn try_again(&mut self) {
        self.reader = DriveReader::new(self.reader.drive);
    }
}

fn read(image: &PartialImage, name: &str) -> Result<Option<Vec<u8>>, IsoError> {
    let volume = Volume::open(image)?;
    let found = find_file(image, &volume, name)?;
    found.map(|entry| volume.read(image, &entry, FILE_BYTES_MAX)).transpose()
}

fn places(image: &PartialImage, names: &[String]) -> Result<Option<Vec<Range<u64>>>, IsoError> {
    let volume = Volume::open(image)?;
    let place = |name: &String| Ok(find_file(image, &volume, name)?.map(|entry| entry.extent));
    names.iter().map(place).collect()
}

/// The search for the medium with the recipe.
#[derive(Debug, Default)]
pub struct TaskSearch {
    medium: Option<TaskMedium>,
    next_drive: usize,
    /// The CDs were looked at in this round, the sticks were not.
    at_sticks: bool,
    gives_up_at: Option<Timestamp>,
    /// When the next round begins.
    waits_until: Option<Timestamp>,
}

/// What the search wants, or the medium and its recipe, or `None` where no drive has one.
pub enum TaskLook {
    Need(GuestNeed),
    Done(Option<(TaskMedium, Vec<u8>)>),
}

impl TaskSearch {
    pub fn look(&mut self, machine: &Machine, now: Timestamp) -> TaskLook {
        let gives_up_at = *self.gives_up_at.get_or_insert(after(now, SEARCH));
        if let Some(until) = self.waits_until.filter(|until| now < *until) {
            return TaskLook::Need(GuestNeed::Until(until));
        }
        self.waits_until = None;
        loop {
            let Some(mut medium) = self.medium.take().or_else(|| self.next(machine)) else {
                if now >= gives_up_at {
                    return TaskLook::Done(None);
                }
                (self.next_drive, self.at_sticks) = (0, false);
                let until = after(now, PAUSE);
                self.waits_until = Some(until);
                return TaskLook::Need(GuestNeed::Until(until));
            };
            match medium.read(RECIPE_FILE, machine) {
                ReaderLook::Need(request) => {
                    self.medium = Some(medium);
                    return TaskLook::Need(GuestNeed::Read(request));
                }
                ReaderLook::Done(Some(recipe)) => return TaskLook::Done(Some((medium, recipe))),
                // Not mountable, or not there: the next drive.
                ReaderLook::Done(None) => {}
            }
        }
    }

    fn next(&mut self, machine: &Machine) -> Option<TaskMedium> {
        let kind = if self.at_sticks { DriveKind::Usb } else { DriveKind::Cd };
        match machine.next_drive(kind, self.next_drive) {
            Some(drive) => {
                self.next_drive = drive + 1;
                TaskMedium::mount(drive, machine)
            }
            None if self.at_sticks => None,
            None => {
                (self.next_drive, self.at_sticks) = (0, true);
                self.next(machine)
            }
        }
    }

    pub fn answer(&mut self, answer: ReadAnswer) {
        if let Some(medium) = &mut self.medium {
            medium.answer(answer);
        }
    }
}
