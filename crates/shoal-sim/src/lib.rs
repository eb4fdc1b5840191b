//! Simulated servers: a Redfish BMC over a machine that boots what is inserted.
//!
//! For tests (in process, paused time), for `shoal sim` (real HTTP on loopback) and for
//! `shoal demo`. It shares no code with the Redfish client, the installer's overlay or the
//! kickstart linter, so that they can prove each other; of the rest it uses the ISO reader (and the
//! writer, for the stand-ins), the types of a recipe and a report, and the three doors. It is not a model of ESXi, only of what can be seen of it from outside.
//! Invariant: [`SimState`] is the truth, whatever the Redfish service says.
//!
//! Reading order, each after what it uses: [`machine`] (hardware), [`guest`] (software), `computer` (both in step),
//! `drive` (the BMC reads images), `personas` and `faults` (what a BMC is, and what it does wrong), `message` and
//! `body` (errors and request bodies of Redfish), `bmc` (the state of one BMC), `shared` (that state behind a lock),
//! `redfish` (its service), `call` and `esxi` (requests by and to the guest), `host` (the task that runs it all).

mod bmc;
mod body;
mod call;
mod computer;
mod drive;
mod esxi;
mod faults;
mod guest;
mod host;
mod journal;
mod machine;
mod message;
mod network;
mod personas;
mod redfish;
mod shared;
mod standin;
mod state;
mod traffic;

use std::time::Duration;

pub use guest::for_comparison as read_as_guest;

pub use faults::{Fault, FaultError, Faults, help as fault_help, names as fault_names};
pub use host::SimBmc;
pub use journal::Happening;
pub use machine::{InstalledSystem, ResetType, UnknownRelease};
pub use network::Network;
pub use personas::{Persona, Sources, UnknownPersona, UnknownSource};
pub use standin::{
    BUILD as STANDIN_BUILD, VERSION as STANDIN_VERSION, standin_installer, standin_maintenance,
    standin_maintenance_writer, standin_writer,
};
pub use state::{OverrideState, SimState, SlotState};
pub use traffic::RequestSeen;

/// One simulated server.
#[derive(Clone)]
pub struct SimConfig {
    /// What its System reports, and its name in logs.
    pub serial: String,
    pub username: String,
    pub password: String,
    pub timings: Timings,
    /// Runs the system on its disk at the start, which obeys ACPI; else off.
    pub power_on: bool,
    /// The ESXi on its disk at the start. Without one, the disk of a host that is on holds some
    /// other system, and that of a host that is off nothing.
    pub previous: Option<InstalledSystem>,
    pub persona: Persona,
    pub faults: Vec<Fault>,
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// The self test.
    pub post: Duration,
    /// From the last byte of the boot loader's reads to the installer's first look at its options.
    pub boot_load: Duration,
    /// The install itself, from memory.
    pub install: Duration,
    /// From the disk's boot loader to a running system.
    pub first_boot: Duration,
    /// From a running system to the first answer of its API.
    pub hostd: Duration,
    /// From an ACPI request to the end of the system.
    pub shutdown: Duration,
    /// How long a restarting BMC does not answer.
    pub bmc_restart: Duration,
    /// What its persona always does late, it does after this at the latest.
    pub lateness_max: Duration,
}

impl Default for Timings {
    /// Short, for people who watch.
    fn default() -> Timings {
        Timings {
            post: Duration::from_millis(1500),
            boot_load: Duration::from_millis(500),
            install: Duration::from_secs(10),
            first_boot: Duration::from_secs(2),
            hostd: Duration::from_secs(3),
            shutdown: Duration::from_secs(2),
            bmc_restart: Duration::from_secs(5),
            lateness_max: Duration::MAX,
        }
    }
}
