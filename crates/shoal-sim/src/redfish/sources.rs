//! What the System shows of its host's boots beside PowerState: which properties, and their values.
//!
//! Shapes as in captures: iDRAC9 7.10, iLO5 2.72, iLO6 1.66, iLO7 1.14, XCC 2.83, OpenBMC. Invariant:
//! a property that the persona lacks is absent, not null.

use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::faults::Fault;
use super::super::machine::BootProgress;
use super::super::personas::Sources;
use super::systems::date_time;

/// A source that is stuck shows what it showed when it was last seen to move.
const LONG_AGO: &str = "2021-03-13T04:14:13+00:00";
/// The first boot of a test is not the first that the BMC counts.
const EARLIER_BOOTS: u64 = 16;

impl Bmc {
    /// Adds the sources that this BMC has.
    pub fn add_sources(&self, system: &mut Value) {
        let sources = self.sources();
        if sources.boot_progress {
            system["BootProgress"] = self.or_null(self.render_progress(sources));
        }
        let time = self.shown_last_reset();
        if sources.last_reset_time && (time.is_some() || self.faults.has(&Fault::NullSources)) {
            system["LastResetTime"] = self.or_null(json!(time));
        }
        if sources.post_state {
            system["Oem"]["Hpe"] = json!({
                "@odata.type": "#HpeComputerSystemExt.v2_14_0.HpeComputerSystemExt",
                "PostState": self.or_null(json!(self.shown_post_state())),
            });
        }
        if sources.number_of_reboots {
            system["Oem"]["Lenovo"] = json!({
                "@odata.type": "#LenovoComputerSystem.v1_0_0.LenovoSystemProperties",
                "NumberOfReboots": self.or_null(json!(self.shown_reboots())),
            });
        }
    }

    fn sources(&self) -> Sources {
        let persona = self.config.persona.sources;
        Sources {
            boot_progress: persona.boot_progress && !self.faults.has(&Fault::NoBootProgress),
            last_reset_time: persona.last_reset_time && !self.faults.has(&Fault::NoLastResetTime),
            ..persona
        }
    }

    fn or_null(&self, value: Value) -> Value {
        if self.faults.has(&Fault::NullSources) { Value::Null } else { value }
    }

    fn render_progress(&self, sources: Sources) -> Value {
        let machine = &self.computer.machine;
        let (state, since) = match machine.progress() {
            // As Supermicro X13 11.01.01 shows it while its system runs.
            _ if self.faults.has(&Fault::StuckBootProgress) => {
                (BootProgress::HardwareComplete, LONG_AGO.to_owned())
            }
            (state, since) => (state, date_time(since)),
        };
        let mut progress = json!({ "LastState": state.name() });
        if sources.boot_progress_time {
            progress["LastStateTime"] = json!(since);
        }
        if sources.last_boot_time {
            progress["LastBootTimeSeconds"] = json!(machine.last_boot_secs());
        }
        progress
    }

    fn shown_last_reset(&self) -> Option<String> {
        if self.faults.has(&Fault::ZeroLastResetTime) {
            Some("0000-00-00T00:00:00+00:00".to_owned())
        } else if self.faults.has(&Fault::StuckLastResetTime) {
            Some(LONG_AGO.to_owned())
        } else {
            self.computer.machine.last_reset().map(date_time)
        }
    }

    fn shown_post_state(&self) -> &'static str {
        let machine = &self.computer.machine;
        match machine.progress().0 {
            _ if self.faults.has(&Fault::StuckPostState) => "FinishedPost",
            _ if !machine.is_on() => "PowerOff",
            BootProgress::None
            | BootProgress::PrimaryProcessor
            | BootProgress::Memory
            | BootProgress::PciResources => "InPost",
            BootProgress::HardwareComplete | BootProgress::SetupEntered => "InPostDiscoveryComplete",
            BootProgress::OsBootStarted | BootProgress::OsRunning => "FinishedPost",
        }
    }

    fn shown_reboots(&self) -> u64 {
        let stuck = self.faults.has(&Fault::StuckNumberOfReboots);
        EARLIER_BOOTS + if stuck { 0 } else { self.computer.machine.counters.boots }
    }
}
