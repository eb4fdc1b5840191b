//! What happens in one simulated world, all of it drawn from one seed before anything runs.
//!
//! Pure data; `run` makes it happen. Invariant: the same seed and number of jobs give the same
//! scenario, and the plan of a machine depends on the seed and its number only, never on how many
//! others there are.

use std::fmt;
use std::time::Duration;

use shoal::domain::Confidence;
use shoal::flow::policy::{FinalReset, Policy};
use shoal_base::world::Rng;
use shoal_sim::{Fault, Persona, Sources, Timings};

use super::draw::{Draw, draw_faults};
use super::installer;
use super::linux::{self, Linux};

/// All faults of a moment are over by then, and the controller stays up.
pub const CALM_AT: Duration = Duration::from_secs(3 * 3600);
/// Every job has been submitted by then.
const SUBMIT_WITHIN_SECS: u64 = 1200;
const CONTROLLER_STOPS_MAX: u64 = 4;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub policy: Policy,
    pub plans: Vec<Plan>,
    /// Several only where the store is shared.
    pub controllers: usize,
    /// Each begins to count when the controller is up again after the one before.
    pub stops: Vec<Stop>,
    /// What is done to the host without a job.
    pub bystander: Vec<(Duration, Bystanding)>,
    /// When the clock of the controller's machine is set an hour ahead.
    pub clock_steps: Vec<Duration>,
}

/// Work on another host of the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bystanding {
    RenewCertificate,
    Restart,
}

/// One machine, its job, and what is done to both.
#[derive(Clone, Debug)]
pub struct Plan {
    pub persona: Persona,
    pub faults: Vec<Fault>,
    pub timings: Timings,
    pub power_on: bool,
    /// The release of the ESXi on the disk.
    pub previous: Option<&'static str>,
    pub kickstart: Ending,
    pub wording: Wording,
    /// As the recipe says it.
    pub hook: &'static str,
    pub submit_at: Duration,
    /// A second job for the same server is tried then.
    pub submit_again_at: Option<Duration>,
    pub cancel: Option<Cancelling>,
    /// The inventory's password is not the BMC's.
    pub wrong_password: bool,
    /// The network to the BMC is cut: from, for.
    pub outage: Option<(Duration, Duration)>,
    pub hands: Option<(Duration, Hands)>,
    /// Where the recipe says that the installed system will answer.
    pub management: Option<Address>,
    /// The job installs Linux by a maintenance system; kickstart, hook and address are not used then.
    pub linux: Option<Linux>,
}

/// Whose management address a recipe names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    Own,
    /// Mistyped: another host of the site, of the release that is installed.
    Bystander,
    /// A name that leads to the host and to that other one by rotation.
    Both,
}

/// How the kickstart leaves the installer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Reboot,
    RebootNoEject,
    PowerOff,
    /// Neither: the installer waits for Enter.
    Wait,
    /// The licence is not accepted: the installer refuses it.
    Refused,
}

/// How the kickstart says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    Plain,
    /// A `%pre` writes the end of it, which is included.
    Included,
    /// The end follows an indented section, which swallows it.
    Swallowed,
    /// With warnings, which a strict installer shows.
    Warned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelling {
    pub at: Duration,
    pub force: bool,
    /// An unforced one is followed by a forced one.
    pub force_at: Option<Duration>,
}

/// An operator stands at the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hands {
    PressReset,
    CutPower,
}

/// A stop of a controller, and how long it is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Which of them.
    pub controller: usize,
    pub trigger: Trigger,
    pub end: End,
    pub away: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// So long after its start, or after the stop before.
    After(Duration),
    /// Before its n-th request to a BMC is sent, or once the BMC has done it.
    Request { number: u64, done: bool },
    /// Before its n-th write to the database, or after it.
    Write { number: u64, done: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Kill,
    /// It is asked to stop.
    Order,
    /// It does nothing for a while, as by SIGSTOP, and goes on where it was.
    Suspend,
}

/// Which store the controllers of a world are on, and with it how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    /// One controller at a time, in memory; the leases of the one before are void.
    Sqlite,
    /// Several, on handles of one database in memory: leases run out.
    Shared,
    /// The same on a PostgreSQL server.
    Postgres,
}

impl Scenario {
    pub fn draw(seed: u64, jobs: usize, stores: Stores) -> Scenario {
        let rng = Rng::from_seed(seed).child("scenario");
        let draw = Draw::new(rng.child("world"));
        let mut stops = (0..draw.below(CONTROLLER_STOPS_MAX + 1)).map(|_| draw_stop(&draw, jobs)).collect();
        let policy = draw_policy(&draw);
        let mut controllers = 1;
        if stores != Stores::Sqlite {
            (controllers, stops) = draw_controllers(&Draw::new(rng.child("controllers")), jobs);
        }
        Scenario {
            seed,
            policy,
            controllers,
            plans: (0..jobs).map(|number| draw_plan(&rng.child(&format!("plan {number}")))).collect(),
            stops,
            bystander: draw_bystander(&Draw::new(rng.child("bystander"))),
            clock_steps: draw_clock_steps(&Draw::new(rng.child("clock"))),
        }
    }
}

/// Either kind of work, again and again while jobs are under way. Both together would look as an installation does.
fn draw_bystander(draw: &Draw) -> Vec<(Duration, Bystanding)> {
    let what = draw.among(&[Bystanding::RenewCertificate, Bystanding::Restart]);
    (0..draw.below(8)).map(|_| (draw.secs(1, SUBMIT_WITHIN_SECS + 2400), what)).collect()
}

/// Several, in every other world.
fn draw_clock_steps(draw: &Draw) -> Vec<Duration> {
    let steps = if draw.percent(50) { draw.between(2, 8) } else { 0 };
    (0..steps).map(|_| draw.secs(1, SUBMIT_WITHIN_SECS + 3600)).collect()
}

fn draw_policy(draw: &Draw) -> Policy {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    Policy {
        stable_window: draw.one(&[45, 60, 90]),
        install_timeout: minutes(draw.among(&[30, 40, 60])),
        boot_timeout: minutes(15),
        ks_timeout: minutes(draw.among(&[10, 20])),
        maintenance_timeout: minutes(45),
        maintenance_boot_timeout: minutes(20),
        poll_interval: draw.one(&[15, 20, 30]),
        min_install_time: minutes(draw.among(&[10, 10, 15])),
        min_confidence: if draw.percent(10) { Confidence::Probable } else { Confidence::Assumed },
        final_reset: draw.among(&[FinalReset::Auto, FinalReset::Auto, FinalReset::Always, FinalReset::Never]),
        ..Policy::default()
    }
}

fn draw_stop(draw: &Draw, jobs: usize) -> Stop {
    let (end, trigger) = match draw.below(6) {
        0 => (End::Kill, Trigger::After(draw.secs(1, 3600))),
        1 => (End::Order, Trigger::After(draw.secs(1, 3600))),
        2 | 3 => (End::Kill, Trigger::Write { number: draw.below(60 * jobs as u64), done: draw.percent(50) }),
        _ => (End::Kill, Trigger::Request { number: draw.below(60 * jobs as u64), done: draw.percent(50) }),
    };
    let away = match draw.below(4) {
        0 => draw.secs(600, 7200),
        1 => draw.secs(60, 600),
        _ => draw.secs(1, 60),
    };
    Stop { controller: 0, trigger, end, away }
}

/// Two or three, of which one at a time is away, again and again.
fn draw_controllers(draw: &Draw, jobs: usize) -> (usize, Vec<Stop>) {
    let controllers = draw.between(2, 3);
    let acts = 60 * jobs as u64 / controllers;
    let stops = (0..draw.below(3 * CONTROLLER_STOPS_MAX)).map(|_| {
        let end = draw.among(&[End::Kill, End::Suspend, End::Suspend, End::Order]);
        let trigger = match draw.below(3) {
            0 if end != End::Order => Trigger::Write { number: draw.below(acts), done: draw.percent(50) },
            1 if end != End::Order => Trigger::Request { number: draw.below(acts), done: draw.percent(50) },
            _ => Trigger::After(draw.secs(1, 1200)),
        };
        // Leases last for a minute: shorter, about as long, longer.
        let away = match draw.below(4) {
            0 => draw.secs(1, 45),
            1 => draw.secs(45, 75),
            2 => draw.secs(75, 600),
            _ => draw.secs(600, 3600),
        };
        Stop { controller: draw.below(controllers) as usize, trigger, end, away }
    });
    (controllers as usize, stops.collect())
}

fn draw_plan(rng: &Rng) -> Plan {
    let draw = &Draw::new(rng.clone());
    let submit_at = draw.secs(1, SUBMIT_WITHIN_SECS);
    let (kickstart, hook) = draw_recipe(draw);
    let within_job = || submit_at + draw.secs(0, 2400);
    let mut plan = Plan {
        persona: draw_persona(draw),
        faults: draw_faults(draw),
        timings: draw_timings(draw),
        power_on: draw.percent(50),
        previous: draw.sometimes(40, || draw.among(&["7.0.3-0.0.19193900", installer::RELEASE])),
        kickstart,
        wording: draw_wording(&Draw::new(rng.child("wording"))),
        hook,
        submit_at,
        submit_again_at: draw.sometimes(10, || submit_at + draw.secs(1, 6000)),
        cancel: draw.sometimes(12, || draw_cancel(draw, submit_at)),
        wrong_password: draw.percent(1),
        outage: draw.sometimes(10, || (within_job(), draw.secs(5, 900))),
        hands: draw.sometimes(4, || {
            (within_job(), if draw.percent(50) { Hands::PressReset } else { Hands::CutPower })
        }),
        management: draw_management(&Draw::new(rng.child("management"))),
        linux: None,
    };
    linux::change(&Draw::new(rng.child("linux")), &mut plan);
    plan
}

fn draw_management(draw: &Draw) -> Option<Address> {
    match draw.below(100) {
        0..20 => Some(Address::Own),
        20..28 => Some(Address::Bystander),
        28..32 => Some(Address::Both),
        _ => None,
    }
}

/// What the kickstart does at its end, and what the recipe says of it, rightly or not.
fn draw_recipe(draw: &Draw) -> (Ending, &'static str) {
    match draw.below(100) {
        0..50 => (Ending::Reboot, "none"),
        50..60 => (Ending::RebootNoEject, "none"),
        60..68 => (Ending::Reboot, "poweroff"),
        68..76 => (Ending::Reboot, "webhook"),
        76..78 => (Ending::RebootNoEject, "webhook"),
        78..88 => (Ending::PowerOff, "own-poweroff"),
        88..90 => (Ending::PowerOff, "none"),
        90..92 => (Ending::PowerOff, "webhook"),
        92..94 => (Ending::Reboot, "own-poweroff"),
        94..96 => (Ending::Wait, "none"),
        96..97 => (Ending::Wait, "webhook"),
        97..98 => (Ending::Refused, "poweroff"),
        _ => (Ending::Refused, "none"),
    }
}

fn draw_wording(draw: &Draw) -> Wording {
    match draw.below(100) {
        0..10 => Wording::Included,
        10..13 => Wording::Swallowed,
        13..20 => Wording::Warned,
        _ => Wording::Plain,
    }
}

fn draw_cancel(draw: &Draw, submit_at: Duration) -> Cancelling {
    let at = submit_at + draw.secs(0, 1500);
    let force = draw.percent(30);
    Cancelling { at, force, force_at: (!force && draw.percent(30)).then(|| at + draw.secs(1, 1200)) }
}

fn draw_persona(draw: &Draw) -> Persona {
    let mut persona: Persona = draw.among(&Persona::names()).parse().unwrap();
    if draw.percent(40) {
        persona.sources = Sources {
            boot_progress: draw.percent(50),
            boot_progress_time: draw.percent(50),
            last_boot_time: draw.percent(20),
            last_reset_time: draw.percent(40),
            post_state: draw.percent(30),
            number_of_reboots: draw.percent(30),
        };
    }
    persona
}

fn draw_timings(draw: &Draw) -> Timings {
    Timings {
        // No firmware and no loader of a machine with a BMC is quicker.
        post: draw.secs(10, if draw.percent(20) { 300 } else { 60 }),
        boot_load: draw.secs(10, 30),
        // Two runs of an installer are never nearer to each other than the trace's `QUIET`.
        install: draw.secs(60, if draw.percent(15) { 1500 } else { 500 }),
        first_boot: draw.secs(5, 200),
        shutdown: draw.secs(1, if draw.percent(10) { 400 } else { 60 }),
        bmc_restart: draw.secs(5, 240),
        lateness_max: std::time::Duration::MAX,
        hostd: draw.secs(1, 120),
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = &self.policy;
        writeln!(
            f,
            "seed {}: window {:?}, poll {:?}, install timeout {:?}, ks timeout {:?}, least install {:?}, \
             at least {}, final reset {}",
            self.seed,
            policy.stable_window,
            policy.poll_interval,
            policy.install_timeout,
            policy.ks_timeout,
            policy.min_install_time,
            policy.min_confidence.name(),
            policy.final_reset,
        )?;
        for (at, what) in &self.bystander {
            writeln!(f, "  bystander {what:?} at {at:?}")?;
        }
        for at in &self.clock_steps {
            writeln!(f, "  clock set ahead by an hour at {at:?}")?;
        }
        for stop in &self.stops {
            writeln!(f, "  controller {}", stop)?;
        }
        for (number, plan) in self.plans.iter().enumerate() {
            writeln!(f, "  {} {plan}", serial(number))?;
        }
        Ok(())
    }
}

/// The machine of a number, as it is called everywhere.
pub fn serial(number: usize) -> String {
    format!("M{number:04}")
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::Kill => "killed",
            End::Order => "asked to stop",
            End::Suspend => "suspended",
        };
        write!(f, "{} {end} ", self.controller)?;
        match self.trigger {
            Trigger::After(after) => write!(f, "after {after:?}")?,
            Trigger::Request { number, done: false } => write!(f, "before request {number}")?,
            Trigger::Request { number, done: true } => write!(f, "after request {number} was done")?,
            Trigger::Write { number, done: false } => write!(f, "before write {number}")?,
            Trigger::Write { number, done: true } => write!(f, "after write {number}")?,
        }
        write!(f, ", away for {:?}", self.away)
    }
}

/// As `shoal sim --sources` takes them.
fn sources(sources: Sources) -> String {
    let words = [
        (sources.boot_progress, "boot-progress"),
        (sources.boot_progress && sources.boot_progress_time, "boot-progress-time"),
        (sources.boot_progress && sources.last_boot_time, "last-boot-time"),
        (sources.last_reset_time, "last-reset-time"),
        (sources.post_state, "post-state"),
        (sources.number_of_reboots, "number-of-reboots"),
    ];
    let shown: Vec<&str> = words.iter().filter(|(is_there, _)| *is_there).map(|(_, word)| *word).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(",") }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timings { post, boot_load, install, first_boot, shutdown, bmc_restart, .. } = self.timings;
        let power = if self.power_on { "on" } else { "off" };
        let previous = self.previous.unwrap_or("no ESXi");
        write!(
            f,
            "{} (sources {}) {power}, {previous}, {:?} {:?}, hook {}, submitted at {:?}",
            self.persona.name,
            sources(self.persona.sources),
            self.kickstart,
            self.wording,
            self.hook,
            self.submit_at
        )?;
        write!(
            f,
            ", post {post:?} load {boot_load:?} install {install:?} boot {first_boot:?} shutdown {shutdown:?} \
             bmc {bmc_restart:?}"
        )?;
        if let Some(linux) = self.linux {
            write!(f, ", Linux by {}", linux.completion)?;
        }
        for fault in &self.faults {
            write!(f, " --fault {fault}")?;
        }
        if let Some(at) = self.submit_again_at {
            write!(f, ", again at {at:?}")?;
        }
        if let Some(Cancelling { at, force, force_at }) = self.cancel {
            write!(f, ", cancel{} at {at:?}", if force { " by force" } else { "" })?;
            force_at.map_or(Ok(()), |at| write!(f, ", by force at {at:?}"))?;
        }
        if self.wrong_password {
            write!(f, ", wrong password")?;
        }
        if let Some((at, lasts)) = self.outage {
            write!(f, ", cut off at {at:?} for {lasts:?}")?;
        }
        if let Some((at, hands)) = self.hands {
            write!(f, ", {hands:?} at {at:?}")?;
        }
        match self.management {
            Some(Address::Own) => write!(f, ", its own management address"),
            Some(Address::Bystander) => write!(f, ", a bystander's management address"),
            Some(Address::Both) => write!(f, ", an address that leads to it and to the bystander"),
            None => Ok(()),
        }
    }
}
