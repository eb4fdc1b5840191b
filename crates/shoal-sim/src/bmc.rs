//! What a simulated BMC knows: its host, its slots, sessions, accounts, tasks and faults.
//!
//! The BMC is between the client and the host, and may differ from both: its slots show what the faults want, while
//! the [`Computer`] below has the drives, the power and the software that are really there ([`super::state`] reports
//! those to tests). Faults are of three kinds: lasting ones are asked for where they matter ([`Faults::has`]); counted
//! ones are spent here ([`Bmc::happens_once`] and its siblings); faults of a moment are drawn per request and stop
//! when the BMC is calm.
//!
//! Time is pushed in: every call brings `now`, and the task of [`super::host`] comes back at the [`alarm`](Bmc::alarm)
//! for what the BMC does unrequested. Synchronous and without I/O; its web service is in [`super::redfish`].
//! Invariant: the slot of an index is the machine's drive of the same index.

mod accounts;
mod oem;
mod sessions;
mod tasks;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

pub use self::accounts::{Accounts, PASSWORD_LEN, ROLES};
pub use self::oem::OemState;
pub use self::sessions::Sessions;
pub use self::tasks::Tasks;
use super::computer::Computer;
use super::drive::ImageCopy;
use super::faults::{Fault, Faults};
use super::guest::{MaintenanceManners, Software};
use super::journal::Journal;
use super::machine::{Board, BootMode, BootTarget, Disk, DriveKind, Machine, OverrideEnabled, is_disk};
use super::personas::{PersonaDrive, PersonaMedia};
use super::traffic::Traffic;
use super::{SimConfig, Timings};
use shoal_base::world::{self, Rng};

pub struct Bmc {
    pub config: SimConfig,
    pub faults: Faults,
    pub rng: Rng,
    pub computer: Computer,
    pub slots: Vec<Slot>,
    pub sessions: Sessions,
    pub accounts: Accounts,
    pub tasks: Tasks,
    /// What belongs to its maker's own resources.
    pub oem: OemState,
    pub redfish_requests: u64,
    pub traffic: Traffic,
    /// When the request came that is being answered.
    pub asked_at: Timestamp,
    /// When the BMC itself last started.
    pub started_at: Timestamp,
    /// The BMC cannot be reached before that.
    pub down_until: Option<Timestamp>,
    /// When a reset was last requested.
    pub reset_asked_at: Option<Timestamp>,
    /// The collection of slots has not been read since then.
    pub slots_unlisted: bool,
    /// Counts the faults that have happened, for those that happen a number of times.
    spent: BTreeMap<String, u64>,
    /// How often each fault of a moment has struck, by its name.
    pub struck: BTreeMap<&'static str, u64>,
    /// Faults of a moment strike no more.
    pub calm: bool,
    pub journal: Journal,
    /// When a stored override is forgotten.
    pub override_lost_at: Option<Timestamp>,
    /// Wrong passwords since the last right one.
    pub wrong_logins: u64,
    pub locked_until: Option<Timestamp>,
    /// When the BMC restarts unrequested.
    pub restarts_at: Option<Timestamp>,
    /// When the BMC is back from that restart, to read its media again.
    rereads_at: Option<Timestamp>,
}

/// One virtual media device.
pub struct Slot {
    pub id: &'static str,
    pub kind: DriveKind,
    pub types: &'static [&'static str],
    /// It is shown, and takes nothing.
    pub refuses: bool,
    /// There is no action to insert.
    pub eject_only: bool,
    /// There is no action at all.
    pub applet: bool,
    /// `MediaTypes` is shown.
    pub typed: bool,
    /// What it will hold at the next cold start, where a running host is not reached.
    pub waiting: Option<Option<String>>,
    /// When it was last ejected from.
    pub ejected_at: Option<Timestamp>,
    /// An insert that is not over yet.
    pub busy: bool,
    /// What the slot still shows after an eject, and until when.
    pub stale: Option<(String, Timestamp)>,
    /// What the slot shows although the host sees nothing of it.
    pub ghost: Option<String>,
    /// The whole image, where this BMC downloads at insert.
    pub copy: Option<Arc<ImageCopy>>,
}

impl Slot {
    fn of(drive: &PersonaDrive) -> Slot {
        let PersonaDrive { id, kind, types, refuses, eject_only, applet, typed } = *drive;
        Slot {
            id,
            kind,
            types,
            refuses,
            eject_only,
            applet,
            typed,
            waiting: None,
            ejected_at: None,
            busy: false,
            stale: None,
            ghost: None,
            copy: None,
        }
    }

    /// Whether it is a virtual CD drive.
    pub fn is_cd(&self) -> bool {
        self.kind == DriveKind::Cd
    }

    /// Dell goes by the name's ending (help of its own scripts): `.img` is a disk, all else a CD. Who
    /// obeys that pleases those too that do not look.
    pub fn takes(&self, image: &str) -> bool {
        if is_disk(image) { self.types.contains(&"USBStick") } else { self.is_cd() }
    }
}

impl Bmc {
    pub fn new(config: SimConfig, rng: Rng, now: Timestamp) -> Bmc {
        let lateness_max = config.timings.lateness_max;
        let standing = (config.persona.faults)().into_iter().map(|fault| fault.at_most(lateness_max));
        let faults = Faults::new(standing.chain(config.faults.iter().cloned()));
        let slots = slots(&faults, &config.persona.media);
        let drives = slots.iter().map(|slot| slot.kind).collect();
        let disk = match &config.previous {
            None if !config.power_on => Disk::Blank,
            previous => Disk::OtherSystem(previous.clone()),
        };
        let mode = if faults.has(&Fault::LegacyBoot) { BootMode::Legacy } else { BootMode::Uefi };
        let mut machine = Machine::new(board(&config.timings, &faults, drives), disk, mode, now);
        if config.persona.boot.lasts {
            (machine.boot.enabled, machine.boot.target) = (OverrideEnabled::Continuous, BootTarget::Hdd);
        }
        let software = software(&config, &faults);
        let mut computer = match config.power_on {
            true => Computer::running(machine, software, now),
            false => Computer::new(machine, software),
        };
        if faults.has(&Fault::MediaLeft) {
            computer.machine.insert(0, "http://192.0.2.1/forgotten.iso".to_owned());
        }
        Bmc {
            journal: Journal::of(&computer.machine),
            struck: BTreeMap::new(),
            calm: false,
            override_lost_at: None,
            wrong_logins: 0,
            locked_until: None,
            restarts_at: None,
            rereads_at: None,
            sessions: Sessions::new(&faults),
            accounts: Accounts::new(&config.username, &config.password),
            tasks: Tasks::default(),
            oem: OemState::default(),
            config,
            faults,
            rng,
            computer,
            slots,
            redfish_requests: 0,
            traffic: Traffic::default(),
            asked_at: now,
            started_at: now,
            down_until: None,
            reset_asked_at: None,
            slots_unlisted: false,
            spent: BTreeMap::new(),
        }
    }

    /// Whether a fault that happens once happens now.
    pub fn happens_once(&mut self, fault: &Fault) -> bool {
        self.faults.has(fault) && self.happens_below(fault, 1)
    }

    /// Whether a fault that happens `times` times happens now.
    pub fn happens_below(&mut self, fault: &Fault, times: u64) -> bool {
        let spent = self.spent.entry(fault.to_string()).or_default();
        *spent += 1;
        let happens = *spent <= times;
        if happens {
            self.note(fault.name());
        }
        happens
    }

    /// Whether a fault that happens as often as its value says happens now.
    pub fn happens_counted(&mut self, pick: impl Fn(&Fault) -> Option<u64>) -> bool {
        let found = self.faults.iter().find_map(|fault| Some((fault.clone(), pick(fault)?)));
        found.is_some_and(|(fault, times)| self.happens_below(&fault, times))
    }

    /// Counts that a fault of a moment has struck.
    pub fn note(&mut self, fault: &'static str) {
        *self.struck.entry(fault).or_default() += 1;
    }

    /// After anything that may have changed the host: writes the journal, and lets those faults
    /// strike that wait for an install.
    pub fn look_at_host(&mut self, now: Timestamp) {
        let begun = self.journal.installs_begun();
        self.journal.look(&self.computer.machine, now);
        if self.journal.installs_begun() == begun || self.calm {
            return;
        }
        for fault in self.faults.clone().iter() {
            match fault {
                Fault::BmcDownInInstall(wait) => {
                    self.note(fault.name());
                    self.down_until = Some(world::after(now, *wait));
                }
                Fault::BmcRestartsInInstall(wait) => self.restarts_at = Some(world::after(now, *wait)),
                _ => {}
            }
        }
    }

    /// The BMC's restart of its own accord, when its time has come.
    pub fn restart_unrequested(&mut self, now: Timestamp) {
        if self.restarts_at.take_if(|at| *at <= now).is_some() {
            self.note("bmc-restarts-in-install");
            self.restart(now);
            self.rereads_at = self.down_until;
        }
    }

    /// Whether it is back and reads its media again now.
    pub fn rereads(&mut self, now: Timestamp) -> bool {
        self.rereads_at.take_if(|at| *at <= now).is_some()
    }

    /// When the BMC does something of its own accord.
    pub fn alarm(&self) -> Option<Timestamp> {
        self.restarts_at.or(self.rereads_at)
    }

    /// Whether nothing answers now: it restarts, or a fault has it so.
    pub fn is_down(&self, now: Timestamp) -> bool {
        self.down_until.is_some_and(|until| now < until)
    }

    /// The BMC's own restart: sessions end, and nothing answers for a while.
    pub fn restart(&mut self, now: Timestamp) {
        self.sessions.clear();
        self.tasks.clear();
        let back = world::after(now, self.config.timings.bmc_restart);
        self.started_at = back;
        self.down_until = Some(back);
    }

    /// Whether the firmware's boot options are resources.
    pub fn has_boot_options(&self) -> bool {
        self.faults.has(&Fault::NoOverride) || self.faults.has(&Fault::LegacyWhileDisabled)
    }

    /// Slots that are there now.
    pub fn drives_shown(&self) -> usize {
        let all = self.slots.len();
        let on = self.oem.media_at.is_some_and(|at| at <= self.asked_at);
        match self.config.persona.media.switched {
            false => all,
            true if on => self.oem.instances.clamp(1, all),
            true => 0,
        }
    }

    /// An id that is always the same for the same serial number and purpose.
    pub fn uuid(&self, purpose: &str) -> String {
        let hash = Sha256::new().chain_update(purpose).chain_update(self.config.serial.as_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// The persona's slots, less what the faults take away.
fn slots(faults: &Faults, media: &PersonaMedia) -> Vec<Slot> {
    let slots = media.drives.iter().map(Slot::of);
    if faults.has(&Fault::NoSlots) || faults.has(&Fault::NoVirtualMedia) {
        vec![]
    } else if faults.has(&Fault::OneCd) {
        let stick = |slot| Slot { id: "USB1", kind: DriveKind::Usb, types: &["Floppy", "USBStick"], ..slot };
        slots.take(2).enumerate().map(|(n, slot)| if n == 0 { slot } else { stick(slot) }).collect()
    } else {
        slots.collect()
    }
}

/// The hardware, with the faults that are in it.
fn board(timings: &Timings, faults: &Faults, drives: Vec<DriveKind>) -> Board {
    Board {
        post: timings.post,
        drives,
        override_ignored: faults.has(&Fault::OverrideIgnored),
        override_continuous: faults.has(&Fault::OverrideContinuous),
        guest_eject_ignored: faults.has(&Fault::NoEject),
        media_lost_at_start: faults.has(&Fault::MediaLostAtStart),
        cd_first: faults.has(&Fault::CdFirst),
    }
}

/// The installer and the installed system, with the faults that are in them.
fn software(config: &SimConfig, faults: &Faults) -> Software {
    let timings = &config.timings;
    let late = faults.find(|fault| match fault {
        Fault::ApiLate(late) => Some(*late),
        _ => None,
    });
    Software {
        boot_load: timings.boot_load,
        install: timings.install,
        first_boot: timings.first_boot,
        shutdown: timings.shutdown,
        reads_media: faults.has(&Fault::OldSystemReadsMedia),
        strict_kickstart: faults.has(&Fault::StrictKickstart),
        cdrom_boot_skips_ks: faults.has(&Fault::CdromBootSkipsKs),
        ignores_acpi: faults.has(&Fault::GracefulIgnored),
        os_running_early: faults.has(&Fault::OsRunningEarly),
        hangs: faults.has(&Fault::GuestHangs),
        fails: faults.has(&Fault::GuestFails),
        crashes: faults.has(&Fault::GuestCrashes),
        ejects_early: faults.has(&Fault::GuestEjectsEarly),
        pre_copies_media: faults.has(&Fault::PreCopiesMedia),
        post_skipped: faults.has(&Fault::PostSkipped),
        post_cannot_read: faults.has(&Fault::PostCannotRead),
        hook_fails: faults.has(&Fault::HookFails),
        no_network: faults.has(&Fault::NoGuestNetwork),
        api_start: late.unwrap_or(timings.hostd),
        maintenance: maintenance(&config.serial, faults),
    }
}

fn maintenance(serial: &str, faults: &Faults) -> MaintenanceManners {
    let other = if faults.has(&Fault::SmbiosDiffers) { "-OTHER" } else { "" };
    MaintenanceManners {
        serial: format!("{serial}{other}"),
        is_foreign: faults.has(&Fault::OperatorSystem),
        stays_on: faults.has(&Fault::GuestStaysOn),
        loses_result: faults.has(&Fault::ReportLost),
        repeats_result: faults.has(&Fault::ReportRepeated),
        is_forged: faults.has(&Fault::ReportForged),
        result_late: faults.find(|fault| match fault {
            Fault::ReportLate(late) => Some(*late),
            _ => None,
        }),
    }
}
