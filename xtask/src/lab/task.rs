//! Linux and Windows, installed by the maintenance ISO: what a scenario is made of, and how a round of them is run.
//!
//! Which scenarios there are is in `scenarios`, what must be true afterwards in `judge`. The machines have a network
//! card and two equal disks, but for those that show what works without. Invariant: each scenario begins with machines as they were
//! when they were new.

mod images;
mod judge;
mod scenarios;

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::controller::Controller;
use super::gate::{Gate, Reports};
use super::machine::{Account, Machine};
use super::scenario::{Redfish, Row, await_end, in_parallel, renew, row_of};
use super::trouble::kill_in_every_phase;
use crate::process::Done;
use images::{DiskImage, MaintenanceIso, OfferedImages};
pub use scenarios::{ALL, LONG};

/// A machine's address of its own, on its loopback interface, by which the guests reach it (lab/common.sh).
pub const ADDRESS: &str = "198.18.83.2";
/// Windows and pauses as short as machines on loopback allow.
const SETTINGS: [(&str, &str); 3] =
    [("ESXI_POLL_INTERVAL", "1s"), ("RESET_GRACEFUL_TIMEOUT", "3s"), ("LOG_LEVEL", "info")];
/// What the agent shows of an installation.
const STAGES: [&str; 5] = [
    "shoal: task medium found",
    "shoal: target disk",
    "shoal: write: ",
    "shoal: installed",
    "shoal: powering off",
];

/// One controller, and the scenarios that it drives in parallel.
pub struct TaskRound {
    pub scenarios: &'static [TaskScenario],
    pub trouble: TaskTrouble,
    pub iso: MaintenanceIso,
    /// What becomes of the hosts' reports on their way.
    pub reports: Reports,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TaskTrouble {
    None,
    /// The controller dies by SIGKILL whenever a job is seen in a step, or a machine in a stage, for the first time,
    /// and is started again.
    Killed,
    /// Each machine loses its power while it writes.
    PowerCut,
}

/// The same installation on some machines.
pub struct TaskScenario {
    pub name: &'static str,
    /// Even ones boot by BIOS, odd ones by UEFI; 2, 3, 6 and 7 have one CD drive; 6 to 9 have a network card.
    pub machines: &'static [u32],
    /// What the machines' BMCs are like: see the head of lab/emulator.py.
    pub traits: &'static str,
    pub image: DiskImage,
    /// The controller hosts the image and has it on CD2; the machines have no network. Else a web server has it.
    pub on_medium: bool,
    /// The recipe has another SHA-256 than the image.
    pub wrong_digest: bool,
    /// Hints, as JSON. `SERIAL` stands for the machine's serial number.
    pub target_disk: &'static str,
    pub end: TaskEnd,
}

/// How its jobs must end.
#[derive(Clone, Copy)]
pub enum TaskEnd {
    /// Succeeded, with that confidence and that first evidence, once, and a warning with these words if they are some.
    Installed { confidence: &'static str, evidence: &'static str, warning: &'static str },
    /// Failed, for a reason with these words, before the disk was changed.
    Untouched { reason: &'static str },
    /// Failed, for a reason with these words; the machine does not boot what is on its disk.
    Unbootable { reason: &'static str },
}

/// A scenario's job on one machine.
pub struct TaskRun<'a> {
    pub scenario: &'a TaskScenario,
    pub machine: &'a Machine,
    /// The text that the installed system must show, different in every run.
    pub text: String,
    controller: &'a Controller,
    images: &'a OfferedImages,
    trouble: TaskTrouble,
}

impl TaskRound {
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.scenarios.iter().map(|scenario| scenario.name)
    }

    pub fn machines(&self) -> impl Iterator<Item = u32> {
        self.scenarios.iter().flat_map(|scenario| scenario.machines).copied()
    }

    /// The images that its scenarios write, made if they are not there.
    pub fn ensure_disk_images(&self) -> Done {
        self.scenarios.iter().try_for_each(|scenario| scenario.image.ensure())
    }

    pub fn run(&self) -> Done<Vec<Row>> {
        let mut machines = Vec::new();
        for scenario in self.scenarios {
            for number in scenario.machines {
                machines.push((scenario, scenario.prepare(*number)?));
            }
        }
        let iso = self.iso.ensure()?;
        let images = OfferedImages::start(self.scenarios.iter().map(|scenario| scenario.image))?;
        let gate = Gate::open(ADDRESS, self.reports)?;
        let mut settings = SETTINGS.to_vec();
        let (base, iso) = (gate.url(), iso.to_string_lossy().into_owned());
        settings.extend([
            ("MEDIA_BASE_URL", &*base),
            ("MAINTENANCE_ISO_URL", &iso),
            ("IMAGES_ALLOW", &images.url),
        ]);
        let controller = Controller::start(self.scenarios[0].name, &settings)?;
        gate.lead_to(controller.port);
        for (_, machine) in &machines {
            controller.add_server(machine, &Account::of(Redfish::Lab)?)?;
        }
        for scenario in self.scenarios.iter().filter(|scenario| scenario.on_medium) {
            controller.add_image(&scenario.image.path())?;
        }
        let rows = self.run_on(&machines, &controller, &images);
        if rows.iter().any(|row| row.fault.is_some()) {
            eprintln!("the controller's log ends:\n{}", controller.log_tail());
        }
        controller.stop()?;
        Ok(rows)
    }

    fn run_on(
        &self,
        machines: &[(&TaskScenario, Machine)],
        controller: &Controller,
        images: &OfferedImages,
    ) -> Vec<Row> {
        let all: Vec<&Machine> = machines.iter().map(|(_, machine)| machine).collect();
        let installs = machines.iter().map(|(scenario, machine)| {
            let run = TaskRun::new(scenario, machine, controller, images, self.trouble);
            move || row_of((scenario.name, machine), |row| run.install_and_judge(row))
        });
        in_parallel(installs, |over| match self.trouble {
            TaskTrouble::Killed => kill_in_every_phase(&all, &STAGES, controller, over),
            TaskTrouble::None | TaskTrouble::PowerCut => Ok(String::new()),
        })
    }
}

impl TaskScenario {
    fn prepare(&self, number: u32) -> Done<Machine> {
        renew(number, self.traits)?;
        Ok(Machine::new(number, &Account::of(Redfish::Lab)?))
    }
}

impl<'a> TaskRun<'a> {
    fn new(
        scenario: &'a TaskScenario,
        machine: &'a Machine,
        controller: &'a Controller,
        images: &'a OfferedImages,
        trouble: TaskTrouble,
    ) -> TaskRun<'a> {
        let run = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let text = format!("{} of {run}", machine.serial());
        TaskRun { scenario, machine, text, controller, images, trouble }
    }

    fn recipe(&self) -> Done<Value> {
        let scenario = self.scenario;
        let target_disk = scenario.target_disk.replace("SERIAL", &self.machine.serial());
        let mut sha256 = scenario.image.sha256()?;
        if scenario.wrong_digest {
            sha256 = sha256.chars().rev().collect();
        }
        let mut recipe = json!({
            "task_target": scenario.image.target(),
            "server_serial": self.machine.serial(),
            "target_disk": serde_json::from_str::<Value>(&target_disk).unwrap_or_default(),
            "image": match scenario.on_medium {
                true => json!({ "name": scenario.image.name(), "source": "media" }),
                false => json!({ "url": format!("{}{}", self.images.url, scenario.image.name()), "sha256": sha256 }),
            },
        });
        if scenario.image == DiskImage::Archive {
            recipe["partition_layout"] = json!([
                { "size": "64M", "type_guid": "ef00", "format": "vfat", "mountpoint": "/boot/efi" },
                { "size": "100%", "format": "ext4", "mountpoint": "/" },
                { "size": "5%", "format": "swap" },
            ]);
        }
        match scenario.image.is_windows() {
            true => recipe["unattend_xml"] = self.unattend().into(),
            false => recipe["user_data"] = format!("#cloud-config\n# {}\n", self.text).into(),
        }
        Ok(recipe)
    }

    /// The answer file of Windows.
    pub fn unattend(&self) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<unattend xmlns=\"urn:schemas-microsoft-com:unattend\"><!-- {} --></unattend>\n",
            self.text
        )
    }

    fn install_and_judge(&self, row: &mut Row) -> Done {
        let id = self.controller.submit(&self.recipe()?)?;
        if self.trouble == TaskTrouble::PowerCut {
            self.machine.await_console(STAGES[2])?;
            self.machine.reset("ForceOff")?;
        }
        let job = await_end(self.controller, &id)?;
        (row.verdict, row.evidence) = super::judge::shown(&job);
        judge::judge(self, &job)?;
        // Whatever it runs takes time from the next ones.
        self.machine.reset("ForceOff")
    }
}

/// How long a machine has to boot what an installation left, where it must not boot.
const NO_BOOT: Duration = Duration::from_secs(30);

/// Waits, and says whether the machine has shown these words meanwhile.
fn shows_in_time(machine: &Machine, words: &str) -> bool {
    let (start, before) = (Instant::now(), machine.count(words));
    while start.elapsed() < NO_BOOT {
        if machine.count(words) > before {
            return true;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    false
}
