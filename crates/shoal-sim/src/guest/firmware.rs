//! The firmware after the self test: it looks at every drive and chooses what to boot.
//!
//! As EDK2's El Torito driver does, it reads the volume descriptors of each CD and the boot
//! catalogue of each that has one, on every boot, whatever it boots in the end: a media server sees
//! by that that the host has rebooted. As its partition driver does, it looks at the partition table
//! and the volume of each USB stick; none is ever booted here. Invariant: a CD without a bootable entry is never booted.

use super::ReadAnswer;
use super::fat::FatVolume;
use super::reader::{DriveReader, ReaderLook};
use crate::machine::{BootMode, BootTarget, DriveKind, Machine};
use shoal_image::iso::{BootPlatform, Volume};

/// The look at all drives, in their order.
#[derive(Debug, Default)]
pub struct Enumeration {
    reader: Option<DriveReader>,
    next_drive: usize,
    /// The CDs are done, the sticks are not.
    at_sticks: bool,
    found: Vec<BootableCd>,
}

#[derive(Clone, Copy, Debug)]
struct BootableCd {
    drive: usize,
    bios: bool,
    uefi: bool,
}

/// What the firmware hands over to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootChoice {
    Cd { drive: usize, uefi: bool },
    Disk,
    Setup,
    Nothing,
}

impl Enumeration {
    /// The next bytes wanted, or the choice.
    pub fn look(&mut self, machine: &mut Machine) -> ReaderLook<BootChoice> {
        loop {
            let Some(reader) = &mut self.reader else {
                if !self.next_reader(machine) {
                    return ReaderLook::Done(self.choose(machine));
                }
                continue;
            };
            if self.at_sticks {
                match reader.look(FatVolume::open) {
                    ReaderLook::Need(request) => return ReaderLook::Need(request),
                    ReaderLook::Done(_) => self.reader = None,
                }
                continue;
            }
            match reader.look(Volume::open) {
                ReaderLook::Need(request) => return ReaderLook::Need(request),
                ReaderLook::Done(volume) => {
                    let drive = reader.drive;
                    self.found.extend(volume.ok().and_then(|volume| bootable(drive, &volume)));
                    self.reader = None;
                }
            }
        }
    }

    /// Goes on to the next drive, if there is one.
    fn next_reader(&mut self, machine: &Machine) -> bool {
        let kind = if self.at_sticks { DriveKind::Usb } else { DriveKind::Cd };
        match machine.next_drive(kind, self.next_drive) {
            Some(drive) => {
                self.next_drive = drive + 1;
                let reader =
                    if self.at_sticks { DriveReader::of_disk(drive) } else { DriveReader::new(drive) };
                self.reader = Some(reader);
                true
            }
            None if self.at_sticks => false,
            None => {
                (self.at_sticks, self.next_drive) = (true, 0);
                self.next_reader(machine)
            }
        }
    }

    pub fn answer(&mut self, answer: ReadAnswer) {
        if let Some(reader) = &mut self.reader {
            reader.answer(answer);
        }
    }

    fn choose(&self, machine: &mut Machine) -> BootChoice {
        let mode = machine.boot.mode;
        let cd = self.found.iter().find_map(|cd| match mode {
            BootMode::Uefi if cd.uefi => Some(BootChoice::Cd { drive: cd.drive, uefi: true }),
            // A compatibility module boots what has no UEFI entry.
            _ if cd.bios => Some(BootChoice::Cd { drive: cd.drive, uefi: false }),
            _ => None,
        });
        let disk = machine.disk.boots().then_some(BootChoice::Disk);
        let chosen = match machine.take_override() {
            Some(BootTarget::BiosSetup) => Some(BootChoice::Setup),
            Some(BootTarget::Cd) => cd.or(disk),
            // There is no network to boot from, so the firmware goes on in its own order.
            Some(BootTarget::EmptyDrive | BootTarget::Pxe | BootTarget::None) | None
                if machine.prefers_cd() =>
            {
                cd.or(disk)
            }
            // An empty drive is passed over.
            Some(BootTarget::EmptyDrive | BootTarget::Hdd | BootTarget::Pxe | BootTarget::None) | None => {
                disk.or(cd)
            }
        };
        chosen.unwrap_or(BootChoice::Nothing)
    }
}

fn bootable(drive: usize, volume: &Volume) -> Option<BootableCd> {
    let entries = &volume.boot.as_ref()?.entries;
    let has = |platform| entries.iter().any(|entry| entry.bootable && entry.platform == platform);
    let cd = BootableCd { drive, bios: has(BootPlatform::Bios), uefi: has(BootPlatform::Uefi) };
    (cd.bios || cd.uefi).then_some(cd)
}
