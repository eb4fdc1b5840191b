//! The software on a simulated machine's processor: firmware, boot loader, ESXi installer or maintenance system, and
//! the installed system.
//!
//! Pure: it asks for bytes of a drive ([`GuestNeed::Read`]) and is given them ([`Guest::answer`]), and
//! `now` is handed in. It models what is seen from outside (BOOT.CFG, `ks=`, the search of every
//! CD, the modal dialogs, the reboot), not ESXi. Invariant: from the moment the kickstart was read
//! until the disk is written, no drive is read, because the installer runs from memory.
//!
//! ```text
//! Firmware ─┬─► Loader ──► Kernel ─┬─► Search ──► Installing ──► Post ─┬─► reboot (to Firmware)
//!  looks at │   reads      no ks=  │   CDs/sticks  from memory  reads, ├─► power off
//!  all      │   BOOT.CFG,  ▼       │   not found   │            calls  └─► Finished: waits for Enter
//!  drives   │   kernel,   Prompt   │   ▼           ▼
//!           │   modules   waits    └─► Dialog ◄────┘ refused, failed, medium taken away
//!           │   or kernel and initramfs ──► Maintenance ──► power off
//!           ├─► DiskBoot ──► Running (obeys ACPI after a moment)
//!           └─► NoBootDevice, Setup
//! ```

mod boot_cfg;
mod curious;
mod fat;
mod firmware;
pub mod for_comparison;
mod installer;
mod kickstart;
mod linux;
mod loader;
mod maintenance;
mod post;
mod reader;
mod search;
mod shell;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::curious::Curious;
use self::firmware::{BootChoice, Enumeration};
use self::installer::{Accepted, Install, ScriptReading};
use self::kickstart::InstallEnding;
use self::loader::{Booted, Loaded, Loader};
use self::maintenance::Maintenance;
pub use self::maintenance::MaintenanceManners;
pub use self::post::{CallEnd, HookCall};
use self::post::{Post, PostLook};
use self::reader::ReaderLook;
use self::search::Search;
use super::machine::{BootProgress, Button, Disk, Machine, after};
use bytes::Bytes;
use jiff::Timestamp;

/// How long the software takes, and what it does wrong.
#[derive(Clone, Debug)]
pub struct Software {
    /// From the last module's byte to the installer's first look at its options.
    pub boot_load: Duration,
    /// The install itself.
    pub install: Duration,
    /// From the boot loader on the disk to a running system.
    pub first_boot: Duration,
    /// From an ACPI request to the system's end.
    pub shutdown: Duration,
    /// A system that this site has not installed reads the CDs that it finds.
    pub reads_media: bool,
    pub strict_kickstart: bool,
    /// `cdromBoot` keeps the installer from looking at `ks=`.
    pub cdrom_boot_skips_ks: bool,
    pub ignores_acpi: bool,
    /// The installer, too, shows as `OSRunning`.
    pub os_running_early: bool,
    pub hangs: bool,
    pub fails: bool,
    /// The host reboots half-way through the next install, once.
    pub crashes: bool,
    /// The installer needs its media no more once it runs, and ejects them.
    pub ejects_early: bool,
    /// `%pre` reads the file that the hook reads.
    pub pre_copies_media: bool,
    /// `%post` does not run.
    pub post_skipped: bool,
    /// `%post` finds no CD mounted.
    pub post_cannot_read: bool,
    /// `%post` cannot power the host off.
    pub hook_fails: bool,
    /// No call leaves the guest, and none arrives.
    pub no_network: bool,
    /// From a running system to the first answer of its API.
    pub api_start: Duration,
    pub maintenance: MaintenanceManners,
}

/// Bytes that the software wants of a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    pub drive: usize,
    /// In bytes.
    pub offset: u64,
    pub len: usize,
}

/// What the drive says to a [`ReadRequest`].
#[derive(Clone, Debug)]
pub enum ReadAnswer {
    /// Exactly the bytes asked for, and the medium's size in bytes.
    Data {
        bytes: Bytes,
        capacity: u64,
    },
    NoMedium,
    /// The medium cannot be read (any more).
    Failed,
}

/// What has to happen before the software goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestNeed {
    /// Something from outside: a reset, a medium, a press of the power button.
    Event,
    Until(Timestamp),
    Read(ReadRequest),
    /// Once: a call that is asked for again is the same one, still on its way.
    Call(HookCall),
}

/// Software between power-on (or reboot) and power-off (or reboot).
#[derive(Debug)]
pub struct Guest {
    state: GuestState,
}

#[derive(Debug)]
enum GuestState {
    Firmware(Enumeration),
    Setup,
    NoBootDevice,
    Loader(Loader),
    /// mboot shows an error and hangs, which is its default (`errtimeout` -1).
    LoaderError(String),
    Kernel {
        until: Timestamp,
        booted: Booted,
    },
    /// The interactive installer: "(Enter) Continue".
    Prompt,
    Search(Box<ScriptReading>),
    Maintenance(Box<Maintenance>),
    /// A modal dialog that ends after a while.
    Warning {
        until: Timestamp,
        accepted: Box<Accepted>,
    },
    /// A modal dialog without a time-out.
    Dialog(String),
    Installing(Box<Install>),
    /// The disk is written, and the kickstart's `%post` runs.
    Post {
        post: Post,
        ending: InstallEnding,
    },
    Finished {
        /// When it goes on without an answer, and how.
        leaving: Option<(Timestamp, InstallEnding)>,
    },
    DiskBoot {
        until: Timestamp,
    },
    Running {
        since: Timestamp,
        leaving: Option<(Timestamp, Button)>,
        curious: Curious,
    },
}

/// What one look at the state came to.
enum GuestStep {
    Need(GuestNeed),
    Next(GuestState),
    /// The machine has rebooted or is off: this software is no more.
    Gone,
}

impl Guest {
    /// The firmware, at the end of the self test.
    pub fn firmware() -> Guest {
        Guest { state: GuestState::Firmware(Enumeration::default()) }
    }

    /// A system that has been running for long.
    pub fn running(since: Timestamp) -> Guest {
        Guest { state: GuestState::Running { since, leaving: None, curious: Curious::default() } }
    }

    /// Goes on until something is needed; `None` when the machine has rebooted or is off.
    pub fn step(
        &mut self,
        machine: &mut Machine,
        software: &mut Software,
        now: Timestamp,
    ) -> Option<GuestNeed> {
        loop {
            match self.step_once(machine, software, now) {
                GuestStep::Need(need) => return Some(need),
                GuestStep::Next(state) => self.state = state,
                GuestStep::Gone => return None,
            }
        }
    }

    fn step_once(&mut self, machine: &mut Machine, software: &mut Software, now: Timestamp) -> GuestStep {
        // Who does not listen loses the press.
        let button = machine.take_button().filter(|button| self.listens_to(*button, software));
        match &mut self.state {
            GuestState::Firmware(enumeration) => match enumeration.look(machine) {
                ReaderLook::Need(request) => GuestStep::Need(GuestNeed::Read(request)),
                ReaderLook::Done(choice) => GuestStep::Next(boot(choice, machine, software, now)),
            },
            GuestState::Loader(loader) => step_loader(loader, machine, software, now),
            GuestState::Kernel { until, .. } if now < *until => GuestStep::Need(GuestNeed::Until(*until)),
            GuestState::Kernel { booted, .. } => GuestStep::Next(start(std::mem::take(booted), software)),
            GuestState::Maintenance(system) => system.step(machine, software, button, now),
            GuestState::Search(reading) => reading.step(machine, software, now),
            GuestState::Warning { until, .. } if now < *until => GuestStep::Need(GuestNeed::Until(*until)),
            GuestState::Warning { accepted, .. } => {
                GuestStep::Next(std::mem::take(accepted.as_mut()).dismissed().go_on(machine, software, now))
            }
            GuestState::Installing(install) => install.step(machine, software, now),
            GuestState::Post { post, ending } => match post.look(machine, software) {
                PostLook::Need(need) => GuestStep::Need(need),
                PostLook::PowerOff => {
                    machine.power_off(now);
                    GuestStep::Gone
                }
                PostLook::Reboot => installer::leave(InstallEnding::Reboot { eject: false }, machine, now),
                PostLook::Failed(why) => {
                    GuestStep::Next(GuestState::Dialog(format!("%post: the script has failed: {why}")))
                }
                PostLook::Over => installer::finish(*ending, machine, software, now),
            },
            GuestState::Finished { leaving: Some((until, _)) } if now < *until => {
                GuestStep::Need(GuestNeed::Until(*until))
            }
            GuestState::Finished { leaving: Some((_, ending)) } => installer::leave(*ending, machine, now),
            GuestState::DiskBoot { until } if now < *until => GuestStep::Need(GuestNeed::Until(*until)),
            GuestState::DiskBoot { .. } => {
                machine.set_progress(BootProgress::OsRunning, now);
                GuestStep::Next(GuestState::Running {
                    since: now,
                    leaving: None,
                    curious: Curious::default(),
                })
            }
            GuestState::Running { leaving, curious, .. } => {
                *leaving = leaving.or(button.map(|button| (after(now, software.shutdown), button)));
                match leaving {
                    None if software.reads_media => curious.look(machine, now),
                    _ => step_running(*leaving, machine, now),
                }
            }
            GuestState::Setup | GuestState::NoBootDevice if button.is_some() => {
                machine.counters.starts += 1;
                machine.begin_post(now);
                GuestStep::Gone
            }
            GuestState::Setup
            | GuestState::NoBootDevice
            | GuestState::LoaderError(_)
            | GuestState::Prompt
            | GuestState::Dialog(_)
            | GuestState::Finished { leaving: None } => GuestStep::Need(GuestNeed::Event),
        }
    }

    /// A system listens to ACPI, the menus of firmware to a restart alone, boot loader and installer
    /// to nothing.
    fn listens_to(&self, button: Button, software: &Software) -> bool {
        match self.state {
            GuestState::Running { .. } => !software.ignores_acpi,
            GuestState::Maintenance(_) => software.maintenance.is_foreign && !software.ignores_acpi,
            GuestState::Setup | GuestState::NoBootDevice => button == Button::Restart,
            _ => false,
        }
    }

    /// Hands over what the drive said to the last [`GuestNeed::Read`].
    pub fn answer(&mut self, answer: ReadAnswer) {
        match &mut self.state {
            GuestState::Firmware(enumeration) => enumeration.answer(answer),
            GuestState::Loader(loader) => loader.answer(answer),
            GuestState::Search(reading) => reading.answer(answer),
            GuestState::Maintenance(system) => system.answer(answer),
            GuestState::Post { post, .. } => post.answer(answer),
            GuestState::Installing(install) => install.answer(answer),
            GuestState::Running { curious, .. } => curious.answer(answer),
            _ => {}
        }
    }

    /// Hands over what became of the last [`GuestNeed::Call`].
    pub fn end_call(&mut self, end: CallEnd) {
        match &mut self.state {
            GuestState::Post { post, .. } => post.end_call(end),
            GuestState::Maintenance(system) => system.end_call(end),
            _ => {}
        }
    }

    /// Whether the disk is being written: a reset now destroys the install.
    pub fn is_installing(&self) -> bool {
        match &self.state {
            GuestState::Installing(_) => true,
            GuestState::Maintenance(system) => system.is_writing(),
            _ => false,
        }
    }

    /// Whether it is an installation that ends with its medium.
    pub fn installs_from_medium(&self) -> bool {
        matches!(self.state, GuestState::Installing(_))
    }

    /// A medium was taken away under the installer.
    pub fn lose_medium(&mut self) {
        self.state =
            GuestState::Dialog("the installation medium was removed during the installation".to_owned());
    }

    /// Since when an operating system runs, if one does.
    pub fn running_since(&self) -> Option<Timestamp> {
        match self.state {
            GuestState::Running { since, .. } => Some(since),
            _ => None,
        }
    }

    /// A word for what runs.
    pub fn name(&self, disk: &Disk) -> &'static str {
        match &self.state {
            GuestState::Firmware(_) | GuestState::Setup | GuestState::NoBootDevice => "firmware",
            GuestState::Loader(_) => "loading",
            GuestState::LoaderError(_) => "boot_error",
            GuestState::Kernel { .. } | GuestState::Search(_) => "installer_starting",
            GuestState::Warning { .. } => "installer_warning",
            GuestState::Prompt => "installer_prompt",
            GuestState::Dialog(_) => "installer_error",
            GuestState::Installing(_) => "installing",
            GuestState::Post { .. } => "installer_post",
            GuestState::Finished { .. } => "installer_finished",
            GuestState::DiskBoot { .. } => "booting",
            GuestState::Maintenance(system) if system.is_writing() => "installing",
            GuestState::Maintenance(system) if system.console().is_some() => "maintenance_error",
            GuestState::Maintenance(_) => "maintenance",
            GuestState::Running { .. } if disk.is_installed() => "installed",
            GuestState::Running { .. } => "other_system",
        }
    }

    /// What the console shows, where it waits for a person.
    pub fn console(&self) -> Option<&str> {
        match &self.state {
            GuestState::Setup => Some("the firmware's setup menu is open"),
            GuestState::NoBootDevice => Some("no bootable device was found"),
            GuestState::Prompt => Some("Welcome to the VMware ESXi Installation: (Enter) Continue"),
            GuestState::Finished { .. } => Some("Installation Complete: (Enter) Reboot"),
            GuestState::Warning { accepted, .. } => accepted.warning(),
            GuestState::Maintenance(system) => system.console(),
            GuestState::LoaderError(text) | GuestState::Dialog(text) => Some(text),
            _ => None,
        }
    }
}

/// The firmware hands over to what it has chosen.
fn boot(choice: BootChoice, machine: &mut Machine, software: &Software, now: Timestamp) -> GuestState {
    match choice {
        BootChoice::Setup => {
            machine.set_progress(BootProgress::SetupEntered, now);
            GuestState::Setup
        }
        BootChoice::Nothing => GuestState::NoBootDevice,
        BootChoice::Cd { drive, uefi } => {
            machine.set_progress(BootProgress::OsBootStarted, now);
            GuestState::Loader(Loader::new(drive, uefi))
        }
        BootChoice::Disk => {
            machine.set_progress(BootProgress::OsBootStarted, now);
            GuestState::DiskBoot { until: after(now, software.first_boot) }
        }
    }
}

fn step_loader(loader: &mut Loader, machine: &mut Machine, software: &Software, now: Timestamp) -> GuestStep {
    match loader.look() {
        ReaderLook::Need(request) => GuestStep::Need(GuestNeed::Read(request)),
        ReaderLook::Done(Err(error)) => GuestStep::Next(GuestState::LoaderError(error)),
        ReaderLook::Done(Ok(booted)) => {
            if software.os_running_early {
                machine.set_progress(BootProgress::OsRunning, now);
            }
            GuestStep::Next(GuestState::Kernel { until: after(now, software.boot_load), booted })
        }
    }
}

/// What the kernel starts.
fn start(booted: Booted, software: &Software) -> GuestState {
    match booted {
        Booted::Installer(loaded) => start_installer(loaded, software),
        Booted::Linux(arguments) => GuestState::Maintenance(Box::new(Maintenance::new(arguments))),
    }
}

/// What the installer does with its `ks=`. There is no network here.
fn start_installer(Loaded { kickstart, cdrom_boot, build }: Loaded, software: &Software) -> GuestState {
    let is_skipped = cdrom_boot && software.cdrom_boot_skips_ks;
    let Some(source) = kickstart.filter(|_| !is_skipped) else { return GuestState::Prompt };
    match Search::parse(&source) {
        Some(search) => GuestState::Search(Box::new(ScriptReading::new(search, build))),
        None => GuestState::Dialog(format!("cannot open the kickstart ks={source}")),
    }
}

fn step_running(leaving: Option<(Timestamp, Button)>, machine: &mut Machine, now: Timestamp) -> GuestStep {
    match leaving {
        None => GuestStep::Need(GuestNeed::Event),
        Some((due, _)) if now < due => GuestStep::Need(GuestNeed::Until(due)),
        Some((_, Button::Shutdown)) => {
            machine.power_off(now);
            GuestStep::Gone
        }
        Some((_, Button::Restart)) => {
            machine.counters.starts += 1;
            machine.begin_post(now);
            GuestStep::Gone
        }
    }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
