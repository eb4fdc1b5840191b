//! What is true of a simulated machine, for `GET /sim/v1/state` and for the checkers of tests.
//!
//! Not what its BMC says. Invariant: the field names are public (CONTRACT of `shoal sim`).

use std::collections::BTreeMap;

use serde::Serialize;

use super::bmc::Bmc;
use super::machine::Disk;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SimState {
    pub serial: String,
    /// `On` or `Off`.
    pub power: &'static str,
    /// `off`, `firmware`, `loading`, `boot_error`, `installer_starting`, `installer_prompt`,
    /// `installer_error`, `installing`, `installer_post` (the disk is written), `installer_finished`,
    /// `maintenance`, `maintenance_error`, `booting`, `installed`, or `other_system`: one that was on the disk before.
    pub guest: &'static str,
    /// What the console asks a person to do, if it does.
    pub console: Option<String>,
    /// How often an installer began to write the disk.
    pub installs_begun: u64,
    /// Finished installs.
    pub installs: u64,
    /// Installs that a reset, a power-off or an eject cut short.
    pub interrupted_installs: u64,
    pub installed_ks_sha256: Option<String>,
    /// Of the image that a maintenance system wrote to the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed_image_sha256: Option<String>,
    /// Of the ESXi on the disk, by whatever it was installed.
    pub build: Option<String>,
    /// Host starts caused through Redfish.
    pub starts: u64,
    /// Self tests begun, by whomever.
    pub boots: u64,
    /// Accepted reset requests, by type.
    pub resets: BTreeMap<&'static str, u64>,
    pub media: BTreeMap<&'static str, SlotState>,
    pub boot_override: OverrideState,
    pub redfish_requests: u64,
    /// Of these, reads that were repeated while the client waited.
    pub redfish_polls: u64,
    /// The most requests that were in flight at the same time.
    pub redfish_in_parallel: u64,
    /// Redfish sessions that have not been ended.
    pub sessions: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlotState {
    pub inserted: bool,
    pub image: Option<String>,
    /// What the slot holds once the host is off: some BMCs keep a change of it from a running host.
    #[serde(skip)]
    pub image_when_off: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OverrideState {
    /// `Disabled`, `Once` or `Continuous`.
    pub enabled: &'static str,
    /// `None` when nothing is armed.
    pub target: &'static str,
}

impl SimState {
    pub(super) fn of(bmc: &Bmc) -> SimState {
        let machine = &bmc.computer.machine;
        let counters = &machine.counters;
        SimState {
            serial: bmc.config.serial.clone(),
            power: if machine.is_on() { "On" } else { "Off" },
            guest: bmc.computer.guest_name(),
            console: bmc.computer.console().map(str::to_owned),
            installs_begun: counters.installs_begun,
            installs: counters.installs,
            interrupted_installs: counters.interrupted_installs,
            installed_ks_sha256: match &machine.disk {
                Disk::Installed { ks_sha256, .. } => Some(ks_sha256.clone()),
                _ => None,
            },
            installed_image_sha256: match &machine.disk {
                Disk::Imaged { sha256 } => Some(sha256.clone()),
                _ => None,
            },
            build: machine.disk.esxi().map(|esxi| esxi.build.clone()),
            starts: counters.starts,
            boots: counters.boots,
            resets: counters.resets.clone(),
            media: bmc
                .slots
                .iter()
                .enumerate()
                .map(|(drive, slot)| (slot.id, slot_state(bmc, drive)))
                .collect(),
            boot_override: OverrideState {
                enabled: machine.boot.enabled.name(),
                target: machine.boot.target.name(),
            },
            redfish_requests: bmc.redfish_requests,
            redfish_polls: bmc.traffic.polls(),
            redfish_in_parallel: bmc.traffic.most_in_parallel(),
            sessions: bmc.sessions.count(),
        }
    }
}

fn slot_state(bmc: &Bmc, drive: usize) -> SlotState {
    let image = bmc.computer.machine.medium(drive).map(|medium| medium.image.clone());
    SlotState { inserted: image.is_some(), image, image_when_off: bmc.held(drive) }
}
