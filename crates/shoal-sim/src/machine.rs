//! The hardware of one simulated machine: power, self test, boot override, drives, disk, counters.
//!
//! Pure: no I/O and no clock, `now` is handed in. It is not the software on the processor (that is
//! [`super::guest`]) and not the BMC's web service (that is `redfish`). Invariant: a warm reboot
//! never changes the power state, and every path into [`MachineRun::Post`] counts as one boot.
//!
//! ```text
//!            On, ForceOn, PushPowerButton,
//!            ForceRestart, PowerCycle                      ForceRestart, PowerCycle
//!   ┌─────┐ ───────────────────────────► ┌──────┐ ◄──────────────────────────────┐
//!   │ Off │                              │ Post │ ◄── reboot by the guest ───┐   │
//!   └─────┘ ◄─────────────────────────── └──────┘                            │   │
//!     ▲ ▲         ForceOff                  │ the self test is over          │   │
//!     │ │                                   ▼                                │   │
//!     │ └──── ForceOff ───────────── ┌──────────┐ ───────────────────────────┴───┘
//!     └──── power off by the guest ─ │ Software │  GracefulShutdown, GracefulRestart and
//!                                    └──────────┘  PushPowerButton only reach an OS that listens
//! ```
//!
//! BootProgress runs None → PrimaryProcessorInitializationStarted → MemoryInitializationStarted →
//! PCIResourceConfigStarted → SystemHardwareInitializationComplete during the self test, and goes
//! on to OSBootStarted and OSRunning by the word of the software.

mod disk;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use self::disk::{Disk, InstalledSystem, UnknownRelease};
pub use self::words::{BootMode, BootOverride, BootProgress, BootTarget, OverrideEnabled, ResetType};

/// What the board can do, and what it does wrong.
#[derive(Clone, Debug)]
pub struct Board {
    /// From power-on until the firmware looks for something to boot.
    pub post: Duration,
    pub drives: Vec<DriveKind>,
    /// The override reads back as set and is not looked at.
    pub override_ignored: bool,
    /// A one-time override is never spent.
    pub override_continuous: bool,
    /// An eject by the guest has no effect on the virtual drive.
    pub guest_eject_ignored: bool,
    /// Power-on detaches what was inserted (AMI MegaRAC, field report).
    pub media_lost_at_start: bool,
    /// The boot order puts CDs before the disk.
    pub cd_first: bool,
}

/// What the host sees of a virtual drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveKind {
    Cd,
    /// A USB stick: what it holds is a disk, and no CD.
    Usb,
}

/// The hardware.
#[derive(Debug)]
pub struct Machine {
    board: Board,
    run: MachineRun,
    progress: (BootProgress, Timestamp),
    last_reset: Option<Timestamp>,
    last_boot_secs: u64,
    /// When the power last came or went.
    power_since: Timestamp,
    pub boot: BootOverride,
    drives: Vec<Option<Medium>>,
    pub disk: Disk,
    pub counters: Counters,
    /// The next boot is from a CD, whatever the override says (a slot's own switch, an import).
    cd_next: bool,
    /// A press of the power button that no software has seen yet.
    button: Option<Button>,
    insertions: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MachineRun {
    Off,
    Post { since: Timestamp },
    Software,
}

/// What the machine wants after it looked at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing happens until it is reset or switched off.
    Off,
    /// The self test goes on until then.
    Post(Timestamp),
    /// The software has the processor.
    Software,
}

/// What an ACPI request asks of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Button {
    Shutdown,
    Restart,
}

/// A request that has no meaning while the host is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host is off")]
pub struct HostIsOff;

/// What a drive holds. The machine knows nothing of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medium {
    /// The URL as the BMC was given it.
    pub image: String,
    /// Counts up with every insert, so that a second insert of one URL is another medium.
    pub insertion: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Host starts caused through Redfish.
    pub starts: u64,
    /// Self tests begun, by whomever.
    pub boots: u64,
    pub resets: BTreeMap<&'static str, u64>,
    /// How often an installer began to write the disk.
    pub installs_begun: u64,
    /// How often it came to its end.
    pub installs: u64,
    pub interrupted_installs: u64,
    /// Installs that ended by a reboot of the host's own, or by a cut of its power.
    pub crashes: u64,
}

impl Machine {
    /// A machine that is off.
    pub fn new(board: Board, disk: Disk, mode: BootMode, now: Timestamp) -> Machine {
        let boot = BootOverride { enabled: OverrideEnabled::Disabled, target: BootTarget::None, mode };
        Machine {
            drives: vec![None; board.drives.len()],
            board,
            run: MachineRun::Off,
            progress: (BootProgress::None, now),
            last_reset: None,
            last_boot_secs: 0,
            power_since: now,
            boot,
            disk,
            counters: Counters::default(),
            cd_next: false,
            button: None,
            insertions: 0,
        }
    }

    /// The machine has been running for an hour, without anybody's help.
    pub fn has_run(&mut self, now: Timestamp) {
        let begun = now.checked_sub(SignedDuration::from_hours(1)).unwrap_or(now);
        self.begin_post(begun);
        self.turn(now);
        let booted = after(begun, self.board.post);
        self.set_progress(BootProgress::OsBootStarted, booted);
        self.set_progress(BootProgress::OsRunning, booted);
    }

    /// Lets the self test go on to `now`.
    pub fn turn(&mut self, now: Timestamp) -> Turn {
        let MachineRun::Post { since } = self.run else {
            return if self.is_on() { Turn::Software } else { Turn::Off };
        };
        let part = self.board.post / BootProgress::POST.len() as u32;
        for (number, stage) in BootProgress::POST.into_iter().enumerate() {
            let begins = after(since, part * number as u32);
            if now < begins {
                return Turn::Post(begins);
            }
            if begins >= self.progress.1 && self.progress.0 != stage {
                self.progress = (stage, begins);
            }
        }
        let ends = after(since, self.board.post);
        if now < ends {
            return Turn::Post(ends);
        }
        self.run = MachineRun::Software;
        Turn::Software
    }

    /// What a `ComputerSystem.Reset` does to the hardware.
    pub fn request_reset(&mut self, reset: ResetType, now: Timestamp) -> Result<(), HostIsOff> {
        let on = self.is_on();
        if reset == ResetType::GracefulRestart && !on {
            return Err(HostIsOff);
        }
        *self.counters.resets.entry(reset.name()).or_default() += 1;
        match reset {
            ResetType::On | ResetType::ForceOn | ResetType::PushPowerButton if !on => self.start(now),
            ResetType::On | ResetType::ForceOn => {}
            ResetType::ForceRestart | ResetType::PowerCycle => self.start(now),
            ResetType::ForceOff => self.power_off(now),
            ResetType::GracefulRestart => self.button = Some(Button::Restart),
            ResetType::GracefulShutdown if !on => {}
            ResetType::GracefulShutdown | ResetType::PushPowerButton => self.button = Some(Button::Shutdown),
        }
        Ok(())
    }

    /// A start that was asked for through Redfish.
    pub fn start(&mut self, now: Timestamp) {
        self.counters.starts += 1;
        if self.board.media_lost_at_start {
            self.drives.fill(None);
        }
        self.begin_post(now);
    }

    /// A start without Redfish: the button was pressed long ago.
    pub fn begin_post(&mut self, now: Timestamp) {
        if !self.is_on() {
            self.power_since = now;
        }
        self.counters.boots += 1;
        self.button = None;
        self.last_reset = Some(now);
        self.last_boot_secs = 0;
        self.progress = (BootProgress::None, now);
        self.run = MachineRun::Post { since: now };
    }

    pub fn power_off(&mut self, now: Timestamp) {
        if self.is_on() {
            self.run = MachineRun::Off;
            self.power_since = now;
            self.button = None;
            self.progress = (BootProgress::None, now);
        }
    }

    pub fn is_on(&self) -> bool {
        self.run != MachineRun::Off
    }

    /// When the power last came or went.
    pub fn power_since(&self) -> Timestamp {
        self.power_since
    }

    pub fn is_in_post(&self) -> bool {
        matches!(self.run, MachineRun::Post { .. })
    }

    /// The last state of the boot and when it began.
    pub fn progress(&self) -> (BootProgress, Timestamp) {
        self.progress
    }

    /// The software reports to the BMC how far it is.
    pub fn set_progress(&mut self, state: BootProgress, now: Timestamp) {
        if state == BootProgress::OsBootStarted {
            // On real hardware no two boots in a row take the same time.
            let took = now.duration_since(self.last_reset.unwrap_or(now)).as_secs();
            self.last_boot_secs = took.unsigned_abs() + 1 + self.counters.boots % 5;
        }
        self.progress = (state, now);
    }

    /// How long the last boot took, to the start of the system; 0 until then (iLO7 1.14).
    pub fn last_boot_secs(&self) -> u64 {
        self.last_boot_secs
    }

    /// When the host last began a self test.
    pub fn last_reset(&self) -> Option<Timestamp> {
        self.last_reset
    }

    /// The press of the power button that waits, which is then seen.
    pub fn take_button(&mut self) -> Option<Button> {
        self.button.take()
    }

    /// The override that this boot follows; a one-time override is spent by that.
    pub fn take_override(&mut self) -> Option<BootTarget> {
        if std::mem::take(&mut self.cd_next) {
            return Some(BootTarget::Cd);
        }
        let BootOverride { enabled, target, .. } = self.boot;
        if enabled == OverrideEnabled::Disabled || target == BootTarget::None {
            return None;
        }
        if enabled == OverrideEnabled::Once && !self.board.override_continuous {
            self.boot.enabled = OverrideEnabled::Disabled;
            self.boot.target = BootTarget::None;
        }
        (!self.board.override_ignored).then_some(target)
    }

    pub fn prefers_cd(&self) -> bool {
        self.board.cd_first
    }

    /// Makes the next boot one from a CD, or no more.
    pub fn boot_cd_next(&mut self, on: bool) {
        self.cd_next = on;
    }

    pub fn boots_cd_next(&self) -> bool {
        self.cd_next
    }

    /// The host is on, and its self test never ends.
    pub fn hang(&mut self) {
        self.run = MachineRun::Post { since: Timestamp::MAX };
    }

    /// The first drive of a kind from `drive` on that holds a medium.
    pub fn next_drive(&self, kind: DriveKind, drive: usize) -> Option<usize> {
        (drive..self.drives.len()).find(|drive| self.kind_with_medium(*drive) == Some(kind))
    }

    /// What the host sees of a drive that holds a medium: one for CDs may be for disks too.
    fn kind_with_medium(&self, drive: usize) -> Option<DriveKind> {
        let medium = self.medium(drive)?;
        if is_disk(&medium.image) { Some(DriveKind::Usb) } else { self.board.drives.get(drive).copied() }
    }

    pub fn medium(&self, drive: usize) -> Option<&Medium> {
        self.drives.get(drive)?.as_ref()
    }

    /// Puts a medium into a drive, in the place of what was there.
    pub fn insert(&mut self, drive: usize, image: String) -> u64 {
        self.insertions += 1;
        if let Some(slot) = self.drives.get_mut(drive) {
            *slot = Some(Medium { image, insertion: self.insertions });
        }
        self.insertions
    }

    /// How often a medium was put into a drive.
    pub fn insertions(&self) -> u64 {
        self.insertions
    }

    pub fn eject(&mut self, drive: usize) {
        if let Some(slot) = self.drives.get_mut(drive) {
            *slot = None;
        }
    }

    /// The guest opens the tray of every CD drive.
    pub fn eject_all_by_guest(&mut self) {
        if self.board.guest_eject_ignored {
            return;
        }
        for drive in 0..self.drives.len() {
            if self.kind_with_medium(drive) == Some(DriveKind::Cd) {
                self.drives[drive] = None;
            }
        }
    }
}

/// Whether an image is that of a disk, by its name.
pub fn is_disk(image: &str) -> bool {
    image.ends_with(".img")
}

/// `at` plus `wait`, held at the end of time.
pub fn after(at: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: Duration = Duration::from_secs(4);

    fn machine() -> Machine {
        let board = Board {
            post: POST,
            drives: vec![DriveKind::Cd; 2],
            override_ignored: false,
            override_continuous: false,
            guest_eject_ignored: false,
            media_lost_at_start: false,
            cd_first: false,
        };
        Machine::new(board, Disk::Blank, BootMode::Uefi, at(0))
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + secs).unwrap()
    }

    #[test]
    fn a_self_test_passes_through_its_stages_and_ends() {
        let mut machine = machine();
        machine.request_reset(ResetType::On, at(0)).unwrap();
        let mut seen = vec![];
        for second in 0..4 {
            assert_eq!(machine.turn(at(second)), Turn::Post(at(second + 1)));
            seen.push(machine.progress().0.name());
        }
        assert_eq!(machine.turn(at(4)), Turn::Software);
        assert_eq!(
            seen,
            [
                "PrimaryProcessorInitializationStarted",
                "MemoryInitializationStarted",
                "PCIResourceConfigStarted",
                "SystemHardwareInitializationComplete"
            ]
        );
        assert_eq!(machine.progress().1, at(3));
    }

    #[test]
    fn a_late_look_at_the_self_test_finds_the_last_stage() {
        let mut machine = machine();
        machine.request_reset(ResetType::On, at(0)).unwrap();
        assert_eq!(machine.turn(at(60)), Turn::Software);
        assert_eq!(machine.progress(), (BootProgress::HardwareComplete, at(3)));
    }

    #[test]
    fn a_redundant_request_is_counted_and_starts_nothing() {
        let mut machine = machine();
        machine.request_reset(ResetType::ForceOff, at(0)).unwrap();
        machine.request_reset(ResetType::On, at(1)).unwrap();
        machine.request_reset(ResetType::On, at(2)).unwrap();
        assert_eq!(machine.counters.starts, 1);
        assert_eq!(machine.counters.resets, BTreeMap::from([("ForceOff", 1), ("On", 2)]));
        assert_eq!(machine.last_reset(), Some(at(1)));
    }

    #[test]
    fn a_graceful_request_waits_for_software_and_dies_with_the_power() {
        let mut machine = machine();
        assert_eq!(machine.request_reset(ResetType::GracefulRestart, at(0)), Err(HostIsOff));
        machine.request_reset(ResetType::On, at(0)).unwrap();
        machine.request_reset(ResetType::GracefulShutdown, at(1)).unwrap();
        assert!(machine.is_on(), "the hardware does nothing unrequested");
        machine.request_reset(ResetType::ForceRestart, at(2)).unwrap();
        assert_eq!(machine.take_button(), None);
    }

    #[test]
    fn a_one_time_override_is_spent_by_one_boot_and_a_continuous_one_is_not() {
        let mut machine = machine();
        machine.boot.target = BootTarget::Cd;
        machine.boot.enabled = OverrideEnabled::Once;
        assert_eq!(machine.take_override(), Some(BootTarget::Cd));
        assert_eq!(machine.take_override(), None);
        machine.boot.target = BootTarget::Cd;
        machine.boot.enabled = OverrideEnabled::Continuous;
        assert_eq!(machine.take_override(), Some(BootTarget::Cd));
        assert_eq!(machine.take_override(), Some(BootTarget::Cd));
    }

    #[test]
    fn the_same_image_inserted_again_is_another_medium() {
        let mut machine = machine();
        let first = machine.insert(0, "http://media/a.iso".into());
        machine.eject(0);
        assert_eq!(machine.medium(0), None);
        assert_ne!(machine.insert(0, "http://media/a.iso".into()), first);
    }
}
