//! A machine and the software on its processor, kept in step.
//!
//! Pure. It adds what belongs to neither alone: software dies with a reset, and a disk that was
//! being written then is broken. Invariant: there is software exactly while the machine runs
//! [`Turn::Software`].

use jiff::Timestamp;

use super::guest::{CallEnd, Guest, GuestNeed, ReadAnswer, Software};
use super::machine::{HostIsOff, InstalledSystem, Machine, ResetType, Turn, after};

#[derive(Debug)]
pub struct Computer {
    pub machine: Machine,
    software: Software,
    guest: Option<Guest>,
    /// Certificates that the system has made beside those of its installations.
    renewals: u64,
}

/// What the management address of the host does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagementAddress {
    /// A connection is refused: no ESXi runs, or no network leads to it.
    Unreachable,
    /// The system runs, and its API does not answer yet.
    Starting { certificate: u64 },
    /// It answers. Each installation and each renewal makes a certificate of its own; the first is 0.
    Ready { esxi: InstalledSystem, certificate: u64 },
}

impl Computer {
    pub fn new(machine: Machine, software: Software) -> Computer {
        Computer { machine, software, guest: None, renewals: 0 }
    }

    /// A computer whose disk holds a system that has been running for long.
    pub fn running(mut machine: Machine, software: Software, now: Timestamp) -> Computer {
        machine.has_run(now);
        let guest = Guest::running(machine.power_since());
        Computer { machine, software, guest: Some(guest), renewals: 0 }
    }

    /// Goes on to `now`, and says what has to happen next.
    pub fn step(&mut self, now: Timestamp) -> GuestNeed {
        loop {
            match self.machine.turn(now) {
                Turn::Off => {
                    self.guest = None;
                    return GuestNeed::Event;
                }
                Turn::Post(until) => {
                    self.guest = None;
                    return GuestNeed::Until(until);
                }
                Turn::Software => {}
            }
            let guest = self.guest.get_or_insert_with(Guest::firmware);
            match guest.step(&mut self.machine, &mut self.software, now) {
                Some(need) => return need,
                None => self.guest = None,
            }
        }
    }

    /// What the drive said to the last [`GuestNeed::Read`].
    pub fn answer(&mut self, answer: ReadAnswer) {
        if let Some(guest) = &mut self.guest {
            guest.answer(answer);
        }
    }

    /// What became of the last [`GuestNeed::Call`].
    pub fn end_call(&mut self, end: CallEnd) {
        if let Some(guest) = &mut self.guest {
            guest.end_call(end);
        }
    }

    /// The plug is pulled.
    pub fn cut_power(&mut self, now: Timestamp) {
        self.machine.counters.interrupted_installs += u64::from(self.is_installing());
        self.machine.power_off(now);
        self.guest = None;
    }

    /// The system on the disk makes a new certificate for its API.
    pub fn renew_certificate(&mut self) {
        self.renewals += 1;
    }

    /// The reset button is pressed at the machine.
    pub fn press_reset(&mut self, now: Timestamp) {
        if self.machine.is_on() {
            self.machine.counters.interrupted_installs += u64::from(self.is_installing());
            self.machine.begin_post(now);
            self.guest = None;
        }
    }

    pub fn request_reset(&mut self, reset: ResetType, now: Timestamp) -> Result<(), HostIsOff> {
        let was_installing = self.is_installing();
        self.machine.request_reset(reset, now)?;
        let dies = !self.machine.is_on() || self.machine.is_in_post();
        if dies {
            self.guest = None;
            self.machine.counters.interrupted_installs += u64::from(was_installing);
        }
        Ok(())
    }

    /// Takes a medium out by the BMC, also from under the software.
    pub fn eject(&mut self, drive: usize) {
        let held_one = self.machine.medium(drive).is_some();
        self.machine.eject(drive);
        if let Some(guest) = self.guest.as_mut().filter(|guest| held_one && guest.installs_from_medium()) {
            guest.lose_medium();
            self.machine.counters.interrupted_installs += 1;
        }
    }

    pub fn is_installing(&self) -> bool {
        self.guest.as_ref().is_some_and(Guest::is_installing)
    }

    pub fn management(&self, now: Timestamp) -> ManagementAddress {
        let since = self.guest.as_ref().and_then(Guest::running_since);
        let certificate = self.machine.counters.installs + self.renewals;
        match (since, self.machine.disk.esxi()) {
            _ if self.software.no_network => ManagementAddress::Unreachable,
            (Some(since), Some(_)) if now < after(since, self.software.api_start) => {
                ManagementAddress::Starting { certificate }
            }
            (Some(_), Some(esxi)) => ManagementAddress::Ready { esxi: esxi.clone(), certificate },
            _ => ManagementAddress::Unreachable,
        }
    }

    /// What runs, in a word.
    pub fn guest_name(&self) -> &'static str {
        match &self.guest {
            Some(guest) => guest.name(&self.machine.disk),
            None if self.machine.is_on() => "firmware",
            None => "off",
        }
    }

    /// What the console shows, where it waits for a person.
    pub fn console(&self) -> Option<&str> {
        self.guest.as_ref()?.console()
    }
}
