//! Installs on each persona and counts the Redfish requests; for the test of their bounds, and for the figure.
//!
//! The simulated BMC counts what reaches it, and knows which requests are polls: a GET of a resource that was read
//! before, half a second ago or earlier, with nothing but sessions written to the BMC since. Invariant: every persona
//! that takes images from this controller is in the table.

use std::time::Duration;

use serde_json::{Value, json};
use shoal::domain::Status;
use shoal::flow::policy::FinalReset;
use shoal_sim::{Persona, RequestSeen, SimConfig, Timings};

use super::site::{Site, https_only, machine};

/// What one installation took on one persona.
pub struct Requests {
    pub persona: &'static str,
    pub besides_polls: u64,
    pub polls: u64,
    /// The most that were in flight at the same time, so far.
    pub in_parallel: u64,
    /// Those besides polls, in their order.
    pub seen: Vec<RequestSeen>,
}

/// What is known of the BMC before, and what the host does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing is known, and the host is off.
    Cold,
    /// Nothing is known, and the host runs a system, which is shut down.
    ColdOn,
    /// A controller has installed it before, and was restarted since: only what the store keeps is known. The host is
    /// off.
    Remembered,
    /// The same, and the host runs what was installed.
    RememberedOn,
}

impl Before {
    /// Requests besides polls that are enough for most BMCs.
    pub fn most(self) -> u64 {
        match self {
            Before::Cold => 25,
            Before::Remembered => 20,
            // The shutdown, looks at the host, and the media once more before the start.
            Before::ColdOn => Before::Cold.most() + 6,
            Before::RememberedOn => Before::Remembered.most() + 6,
        }
    }

    fn is_remembered(self) -> bool {
        matches!(self, Before::Remembered | Before::RememberedOn)
    }
}

/// A persona that needs more.
pub struct Exception {
    persona: &'static str,
    /// Of a BMC that is not known, and of a remembered one.
    more: (u64, u64),
    pub why: &'static str,
}

impl Exception {
    pub fn more(&self, before: Before) -> u64 {
        if before.is_remembered() { self.more.1 } else { self.more.0 }
    }
}

const EXCEPTIONS: [Exception; 5] = [
    Exception {
        persona: "idrac10",
        more: (9, 0),
        why: "its second drive refuses, so both media go onto the first (9), and it refuses the first start (4)",
    },
    Exception { persona: "xcc1", more: (0, 2), why: "each look at its drive is three requests" },
    Exception {
        persona: "gigabyte",
        more: (10, 4),
        why: "virtual media are switched on (6); two more forms of the insert (2); its boot options show the true mode (3)",
    },
    Exception {
        persona: "megarac",
        more: (16, 9),
        why: "virtual media are switched on (6); two more forms of the insert (2); it is busy for three minutes after each \
              start, so that the session ends (8)",
    },
    Exception {
        persona: "dgx",
        more: (19, 9),
        why: "as megarac; a second System (2), and the insert needs credentials too (1)",
    },
];

/// What this persona may take beyond the bound.
pub fn exception(persona: &str) -> Option<&'static Exception> {
    EXCEPTIONS.iter().find(|row| row.persona == persona)
}

/// One installation on each persona.
pub async fn on_every_persona(before: Before) -> Vec<Requests> {
    let mut all = Vec::new();
    for https in [false, true] {
        let takes_images = |persona: &&Persona| !persona.media.protocols.is_empty();
        let personas: Vec<&Persona> =
            Persona::all().filter(takes_images).filter(|persona| https_only(persona) == https).collect();
        let configs = personas.iter().enumerate().map(|(number, persona)| config(persona, number, before));
        let mut site = Site::new(1, configs.collect()).await;
        prepare(&mut site, https).await;
        site.start();
        if before.is_remembered() {
            install_all(&mut site).await;
            site.shut_down().await;
            site.start();
        }
        for machine in &site.machines {
            if before == Before::Remembered {
                machine.cut_power();
            }
            machine.begin_requests_anew();
        }
        let earlier: Vec<Requests> = count(&site, &personas);
        install_all(&mut site).await;
        let now = count(&site, &personas).into_iter().zip(&earlier);
        all.extend(now.map(|(now, earlier)| since(now, earlier)));
    }
    let place = |name| Persona::all().position(|persona| persona.name == name);
    all.sort_by_key(|requests| place(requests.persona));
    all
}

fn config(persona: &Persona, number: usize, before: Before) -> SimConfig {
    let secs = Duration::from_secs;
    let timings = Timings { post: secs(60), boot_load: secs(20), install: secs(120), ..Timings::default() };
    let is_on = before == Before::ColdOn;
    let previous = is_on.then(|| "8.0.2-0.0.22380479".parse().unwrap());
    let serial = format!("SIM{number:04}");
    SimConfig { serial, persona: persona.clone(), timings, previous, power_on: is_on, ..machine(vec![]) }
}

async fn prepare(site: &mut Site, https: bool) {
    site.policy.final_reset = FinalReset::Never;
    if https {
        site.give_media_by_https();
    }
    // The stock emulator reports no serial number, so its record names the system.
    for mut server in site.store.servers().await.unwrap() {
        let machine = site.machines.iter().find(|machine| machine.config().serial == server.serial.as_str());
        if machine.unwrap().config().persona.boot.lasts {
            server.system_id = Some("vm".to_owned());
            site.store.update_server(&server, None).await.unwrap();
        }
    }
}

/// A job on every machine, all at the same time.
async fn install_all(site: &mut Site) {
    let mut jobs = Vec::new();
    for machine in 0..site.machines.len() {
        let recipe = recipe(&site.machines[machine].config().persona);
        jobs.push(site.submit(machine, recipe).await);
    }
    for (machine, id) in jobs.into_iter().enumerate() {
        let job = site.settle(id).await;
        let name = site.machines[machine].config().persona.name;
        assert_eq!(job.status, Status::Succeeded, "{name}: {:?}\n{}", job.reason, site.story(id).await);
    }
}

/// Where an override lasts and no boot is seen, an installation has to end with the host off.
fn recipe(persona: &Persona) -> Value {
    if persona.boot.lasts { json!({ "completion_hook": "poweroff" }) } else { json!({}) }
}

fn count(site: &Site, personas: &[&Persona]) -> Vec<Requests> {
    let machines = personas.iter().zip(&site.machines);
    let requests = machines.map(|(persona, machine)| {
        let state = machine.state();
        Requests {
            persona: persona.name,
            besides_polls: state.redfish_requests - state.redfish_polls,
            polls: state.redfish_polls,
            in_parallel: state.redfish_in_parallel,
            seen: machine.requests_besides_polls(),
        }
    });
    requests.collect()
}

fn since(now: Requests, earlier: &Requests) -> Requests {
    Requests {
        besides_polls: now.besides_polls - earlier.besides_polls,
        polls: now.polls - earlier.polls,
        ..now
    }
}
