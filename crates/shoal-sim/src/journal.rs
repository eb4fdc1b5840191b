//! What has happened to one simulated machine, in order, for the checkers of tests.
//!
//! Derived from the machine's counters after everything that may have changed them, so it says
//! nothing that the machine does not know. Invariant: bounded; what is beyond the bound is counted.

use jiff::Timestamp;

use super::machine::{Counters, Disk, Machine};

/// A machine of a test comes to a few dozen.
const ENTRIES_MAX: usize = 2000;

/// One thing that happened to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The BMC accepted this reset request.
    Reset(&'static str),
    /// A host start caused through Redfish.
    Start,
    /// A self test began, by whomever.
    Boot,
    PowerOn,
    PowerOff,
    /// An installer began to write the disk.
    InstallBegun,
    /// It came to its end; what is on the disk was made from this kickstart.
    Installed {
        ks_sha256: String,
    },
    /// A maintenance system wrote this image to the disk.
    Imaged {
        sha256: String,
    },
    /// It was cut short by a reset, a power-off or an eject.
    InstallCut,
    /// A person at the machine pulled its plug or pressed its button.
    HandsOn,
    /// The host rebooted unrequested in the middle of an install, or its power was cut.
    Crash,
}

#[derive(Debug, Default)]
pub struct Journal {
    entries: Vec<(Timestamp, Happening)>,
    dropped: u64,
    seen: Counters,
    was_on: bool,
}

impl Journal {
    pub fn of(machine: &Machine) -> Journal {
        Journal { seen: machine.counters.clone(), was_on: machine.is_on(), ..Journal::default() }
    }

    pub fn entries(&self) -> &[(Timestamp, Happening)] {
        &self.entries
    }

    /// As of the last look.
    pub fn installs_begun(&self) -> u64 {
        self.seen.installs_begun
    }

    /// Writes down what has changed since the last look.
    pub fn look(&mut self, machine: &Machine, now: Timestamp) {
        if machine.counters == self.seen && machine.is_on() == self.was_on {
            return;
        }
        let (before, after) =
            (std::mem::replace(&mut self.seen, machine.counters.clone()), &machine.counters);
        for (reset, count) in &after.resets {
            self.add(
                now,
                count - before.resets.get(reset).copied().unwrap_or_default(),
                &Happening::Reset(reset),
            );
        }
        self.add(now, after.interrupted_installs - before.interrupted_installs, &Happening::InstallCut);
        self.add(now, after.installs_begun - before.installs_begun, &Happening::InstallBegun);
        let installed = match &machine.disk {
            Disk::Installed { ks_sha256, .. } => Some(Happening::Installed { ks_sha256: ks_sha256.clone() }),
            Disk::Imaged { sha256 } => Some(Happening::Imaged { sha256: sha256.clone() }),
            Disk::Blank | Disk::Broken | Disk::OtherSystem(_) => None,
        };
        if let Some(installed) = installed {
            self.add(now, after.installs - before.installs, &installed);
        }
        self.add(now, after.crashes - before.crashes, &Happening::Crash);
        if self.was_on != machine.is_on() {
            self.was_on = machine.is_on();
            self.push(now, if self.was_on { Happening::PowerOn } else { Happening::PowerOff });
        }
        self.add(now, after.starts - before.starts, &Happening::Start);
        self.add(now, after.boots - before.boots, &Happening::Boot);
    }

    pub fn push(&mut self, now: Timestamp, happening: Happening) {
        if self.entries.len() < ENTRIES_MAX {
            self.entries.push((now, happening));
        } else {
            self.dropped += 1;
        }
    }

    fn add(&mut self, now: Timestamp, times: u64, happening: &Happening) {
        for _ in 0..times {
            self.push(now, happening.clone());
        }
    }
}
