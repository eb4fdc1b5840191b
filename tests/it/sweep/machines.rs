//! The machines of a world, and the kickstarts of their jobs.

use std::time::Duration;

use shoal_sim::{SimConfig, Timings};

use super::installer;
use super::leaks;
use super::scenario::{Ending, Plan, Wording, serial};
use crate::site::machine;

/// The system at the management address of the machine of that number.
pub fn management_address(number: usize) -> String {
    format!("esx{number}.test")
}

/// A name that leads to that machine and to the host without a job.
pub fn shared_address(number: usize) -> String {
    format!("both{number}.test")
}

/// A host without a job, behind all machines that have one.
pub fn bystander() -> SimConfig {
    SimConfig {
        serial: "BYSTANDER".to_owned(),
        timings: Timings {
            post: Duration::from_secs(60),
            first_boot: Duration::from_secs(40),
            hostd: Duration::from_secs(30),
            ..Timings::default()
        },
        power_on: true,
        previous: Some(installer::RELEASE.parse().unwrap()),
        ..machine(vec![])
    }
}

pub fn config(number: usize, plan: &Plan) -> SimConfig {
    SimConfig {
        serial: serial(number),
        username: leaks::USER.to_owned(),
        password: format!("{}-{number}", leaks::PASSWORD),
        timings: plan.timings,
        power_on: plan.power_on,
        previous: plan.previous.map(|release| release.parse().unwrap()),
        persona: plan.persona.clone(),
        faults: plan.faults.clone(),
    }
}

/// Each job's own text, so that a disk shows which job wrote it.
pub fn kickstart(ending: Ending, wording: Wording, job: &str) -> String {
    let licence = if ending == Ending::Refused { "" } else { "vmaccepteula\n" };
    let end = match ending {
        Ending::Reboot | Ending::Refused => "reboot\n",
        Ending::RebootNoEject => "reboot --noeject\n",
        Ending::PowerOff => "reboot\n%post --interpreter=busybox\npoweroff\n",
        Ending::Wait => "",
    };
    let end = match wording {
        Wording::Plain => end.to_owned(),
        Wording::Included => {
            let (command, sections) = end.split_once('\n').unwrap_or((end, ""));
            let pre = "%pre --interpreter=busybox\ncat > /tmp/end.cfg <<'EOF'\n";
            format!("%include /tmp/end.cfg\n{sections}{pre}{command}\nEOF\n")
        }
        Wording::Swallowed => format!("  %firstboot --interpreter=busybox\ntrue\n{end}"),
        Wording::Warned => format!("timezone UTC\n{end}"),
    };
    format!("{licence}install --firstdisk --overwritevmfs\nrootpw {}-{job}\n{end}", leaks::KICKSTART)
}
