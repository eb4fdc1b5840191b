//! Makes a scenario happen: its controllers, its machines, and their disturbances.
//!
//! It judges nothing; that is `checks`. Invariant: everything is done at a simulated time that the
//! scenario names, or at a request that it counts, so the same scenario runs the same way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use shoal::domain::{Cancel, Event, Job, JobId, Status, Step};
use shoal::media::InstallerSource;
use shoal::store::{EventFilter, Store, StoreError};
use shoal_base::Password;
use shoal_sim::{Happening, SimState};
use tokio::time::Instant;

use super::controllers::Controllers;
use super::installer;
use super::leaks::{self, Watch};
use super::linux::{self, Linux};
use super::machines::{bystander, config, kickstart, management_address, shared_address};
use super::scenario::{Address, Bystanding, CALM_AT, End, Hands, Scenario, Stop, Stores, Trigger};
use super::server::Database;
use crate::site::Site;

/// After the calm, beyond the install timeout: the longest retry budget of a cleanup, twice.
const OVER_WITHIN: Duration = Duration::from_secs(2 * 3600);
/// How often it is looked whether all is over.
const LOOK_EVERY: Duration = Duration::from_secs(300);
/// How long the world goes on when every job is over, so that a guest can show what it was at.
const AFTERMATH: Duration = Duration::from_secs(3600);
/// One world in so many has every line of its log looked at.
const LOGGED_IN: u64 = 16;

/// What happened.
pub struct Ran {
    pub scenario: Scenario,
    pub jobs: Vec<JobRan>,
    pub machines: Vec<MachineRan>,
    /// Lines of the log and labels that must not be.
    pub kept: Vec<String>,
    pub tally: Tally,
}

pub struct JobRan {
    pub machine: usize,
    pub job: Job,
    pub events: Vec<Event>,
    /// Of the kickstart, or of a Linux job's image.
    pub installs: String,
    /// When its verdict was written.
    pub decided_at: Option<Timestamp>,
}

pub struct MachineRan {
    pub state: SimState,
    pub journal: Vec<(Timestamp, Happening)>,
    pub struck: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub crashes: u64,
    pub orderly_stops: u64,
    pub suspensions: u64,
    /// Jobs in progress that another controller took up.
    pub takeovers: u64,
    /// Second jobs that were refused because the first was active.
    pub refused: u64,
    /// Times that the machine's clock was set ahead.
    pub clock_steps: u64,
}

/// How far the clock is set ahead at a time.
const CLOCK_STEP: Duration = Duration::from_secs(3600);

/// When each event was written, by the machines' time: the controller's own is ahead of it once it has started again
/// on a clock that was set.
type Written = Arc<Mutex<Vec<(u64, Timestamp)>>>;

/// Something that is done to the world at a time.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Submit(usize),
    SubmitAgain(usize),
    Cancel(usize, bool),
    CutOff(usize, bool),
    Hands(usize, Hands),
    Bystander(Bystanding),
    SetClockAhead,
    Start(usize),
    Stop,
    Resume(usize),
    Calm,
}

struct Run {
    scenario: Scenario,
    site: Site,
    /// Where it is on a server.
    _database: Option<Database>,
    begun: Instant,
    deeds: BTreeMap<(Duration, u64), Deed>,
    added: u64,
    stores: Stores,
    controllers: Controllers,
    /// Of the stops of the scenario, those that have begun to count.
    stops_used: usize,
    /// The one that counts now.
    stop: Option<Stop>,
    jobs: Vec<(usize, JobId, String)>,
    written: Written,
    tally: Tally,
}

pub async fn run(scenario: Scenario, stores: Stores) -> Ran {
    let watch = Watch::default();
    let everything = scenario.seed.is_multiple_of(LOGGED_IN);
    let _logs = watch.logs(everything);
    let _labels = everything.then(|| metrics::set_default_local_recorder(&watch));
    let mut run = Run::new(scenario, stores).await;
    run.all().await;
    if stores != Stores::Sqlite {
        run.controllers.stop_all(&mut run.site).await;
    }
    tokio::time::sleep(AFTERMATH).await;
    let network = run.site.network.clone();
    let ran = run.end(&watch).await;
    network.clear();
    ran
}

impl Run {
    async fn new(scenario: Scenario, stores: Stores) -> Run {
        let mut site = Site::new(scenario.seed, vec![]).await;
        let mut database = None;
        if stores == Stores::Postgres {
            site.store = database.insert(Database::new(&site.world.clock).await).store.clone();
        }
        let machines = scenario.plans.iter().enumerate().map(|(number, plan)| config(number, plan));
        for machine in machines.chain([bystander()]) {
            site.add(machine).await;
        }
        for (number, machine) in site.machines.iter().enumerate() {
            site.network.add_host(&management_address(number), machine);
            let bystander = site.machines.last().expect("the bystander is there");
            site.network.add_hosts(&shared_address(number), &[machine, bystander]);
        }
        site.policy = scenario.policy.clone();
        site.setup = Box::new(|setup| {
            setup.installer = Some(InstallerSource::File(installer::path().to_owned()));
            setup.maintenance_iso = Some(InstallerSource::File(linux::maintenance_iso().to_owned()));
        });
        let mut run = Run {
            site,
            _database: database,
            begun: Instant::now(),
            deeds: BTreeMap::new(),
            added: 0,
            stores,
            controllers: Controllers::new(stores, scenario.controllers),
            stops_used: 0,
            stop: None,
            jobs: vec![],
            written: Written::default(),
            tally: Tally::default(),
            scenario,
        };
        run.plan().await;
        run
    }

    async fn plan(&mut self) {
        (0..self.scenario.controllers).for_each(|number| self.add(Duration::ZERO, Deed::Start(number)));
        self.add(CALM_AT, Deed::Calm);
        for (at, what) in self.scenario.bystander.clone() {
            self.add(at, Deed::Bystander(what));
        }
        for at in self.scenario.clock_steps.clone() {
            self.add(at, Deed::SetClockAhead);
        }
        for (machine, plan) in self.scenario.plans.clone().iter().enumerate() {
            self.add(plan.submit_at, Deed::Submit(machine));
            plan.submit_again_at.into_iter().for_each(|at| self.add(at, Deed::SubmitAgain(machine)));
            if let Some(cancel) = plan.cancel {
                self.add(cancel.at, Deed::Cancel(machine, cancel.force));
                cancel.force_at.into_iter().for_each(|at| self.add(at, Deed::Cancel(machine, true)));
            }
            if let Some((at, lasts)) = plan.outage {
                self.add(at, Deed::CutOff(machine, true));
                self.add(at + lasts, Deed::CutOff(machine, false));
            }
            plan.hands.into_iter().for_each(|(at, hands)| self.add(at, Deed::Hands(machine, hands)));
            if plan.wrong_password {
                self.mistype_password(machine).await;
            }
        }
    }

    fn add(&mut self, at: Duration, deed: Deed) {
        self.added += 1;
        self.deeds.insert((at, self.added), deed);
    }

    async fn mistype_password(&self, machine: usize) {
        let mut server = self.site.store.server(&self.site.serial(machine)).await.unwrap().unwrap();
        server.bmc_password = Password::new(format!("{}-mistyped", leaks::PASSWORD));
        self.site.store.update_server(&server, None).await.unwrap();
    }

    /// Until every job is over, or should be.
    async fn all(&mut self) {
        let over_by = CALM_AT + self.scenario.policy.install_timeout + OVER_WITHIN;
        let struck = self.controllers.struck.clone();
        loop {
            let next = self.deeds.first_key_value().map(|((at, _), deed)| (*at, *deed));
            if next.is_none_or(|_| self.ends_early())
                && (self.begun.elapsed() > over_by || self.is_over().await)
            {
                return;
            }
            let look_at = self.begun.elapsed() + LOOK_EVERY;
            let (at, deed) = match next {
                Some((at, deed)) if !self.ends_early() || at < look_at => (at, Some(deed)),
                _ => (look_at, None),
            };
            tokio::select! {
                biased;
                () = struck.notified() => self.stop().await,
                () = tokio::time::sleep_until(self.begun + at) => {
                    if let Some(deed) = deed {
                        self.deeds.pop_first();
                        self.act(deed).await;
                    }
                }
            }
        }
    }

    /// A shared store takes its time with every look of an idle controller.
    fn ends_early(&self) -> bool {
        let submits = |deed: &Deed| matches!(deed, Deed::Submit(_) | Deed::SubmitAgain(_));
        self.stores != Stores::Sqlite && !self.deeds.values().any(submits)
    }

    /// Jobs that are not over. One that was submitted while no controller was up has not begun yet.
    async fn active(&self) -> Vec<Job> {
        let mut active = vec![];
        for (_, id, _) in &self.jobs {
            active.extend(Some(self.site.job(*id).await).filter(Job::is_active));
        }
        active
    }

    async fn is_over(&self) -> bool {
        self.active().await.is_empty()
    }

    async fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Submit(machine) | Deed::SubmitAgain(machine) => self.submit(machine).await,
            Deed::Cancel(machine, force) => self.cancel(machine, force).await,
            Deed::CutOff(machine, cut_off) => {
                self.site.network.cut_off(&format!("bmc{machine}.test"), cut_off)
            }
            Deed::Hands(machine, Hands::PressReset) => self.site.machines[machine].press_reset(),
            Deed::Hands(machine, Hands::CutPower) => self.site.machines[machine].cut_power(),
            Deed::Bystander(what) => {
                let bystander = self.site.machines.last().expect("the bystander is there");
                match what {
                    Bystanding::RenewCertificate => bystander.renew_certificate(),
                    Bystanding::Restart => bystander.press_reset(),
                }
            }
            Deed::SetClockAhead => {
                self.tally.clock_steps += 1;
                self.site.world.clock.set_ahead(CLOCK_STEP);
            }
            Deed::Start(number) => self.start(number).await,
            Deed::Stop => self.stop().await,
            Deed::Resume(number) => {
                if self.controllers.resume(number, &self.site) {
                    self.arm();
                }
            }
            Deed::Calm => self.calm().await,
        }
    }

    async fn submit(&mut self, machine: usize) {
        let plan = &self.scenario.plans[machine];
        let ks = kickstart(plan.kickstart, plan.wording, &format!("{}-{}", machine, self.jobs.len()));
        if let Some(linux) = plan.linux {
            return self.submit_linux(machine, linux).await;
        }
        let mut with = json!({ "ks_cfg": ks, "completion_hook": plan.hook });
        if let Some(address) = plan.management {
            let name = match address {
                Address::Own => management_address(machine),
                Address::Bystander => management_address(self.scenario.plans.len()),
                Address::Both => shared_address(machine),
            };
            with["management_address"] = name.into();
        }
        match self.site.try_submit(machine, with).await {
            Ok(id) => {
                let spec = self.site.job(id).await.spec.unwrap();
                self.jobs.push((machine, id, spec.esxi().unwrap().kickstart.sha256()));
            }
            Err(StoreError::Busy { .. }) => self.tally.refused += 1,
            Err(error) => panic!("{error}"),
        }
    }

    async fn submit_linux(&mut self, machine: usize, linux: Linux) {
        let sha256 = linux::image_sha256(machine, self.jobs.len());
        match self.site.try_submit_linux(machine, linux::recipe(linux, &sha256)).await {
            Ok(id) => self.jobs.push((machine, id, sha256)),
            Err(StoreError::Busy { .. }) => self.tally.refused += 1,
            Err(error) => panic!("{error}"),
        }
    }

    async fn cancel(&mut self, machine: usize, force: bool) {
        if let Some((_, id, _)) = self.jobs.iter().find(|job| job.0 == machine) {
            self.site.store.request_cancel(*id, Cancel { force }).await.unwrap();
        }
    }

    /// A controller starts, and the next of the scenario's stops begins to count once all are up.
    async fn start(&mut self, number: usize) {
        let is_last = number + 1 == self.scenario.controllers;
        if self.stops_used > 0 || is_last {
            self.arm();
        }
        if self.stores == Stores::Sqlite {
            let begun = self.active().await.into_iter().filter(|job| job.status != Status::Queued);
            self.tally.takeovers += begun.count() as u64;
        }
        self.note_events(&self.site.store);
        let store = self.controllers.start(number, &self.site);
        self.note_events(&store);
    }

    fn arm(&mut self) {
        let stop = self.scenario.stops.get(self.stops_used).copied();
        self.stops_used += 1;
        let now = self.begun.elapsed();
        self.stop = stop.filter(|_| now < CALM_AT);
        self.controllers.arm(self.stop);
        if let Some(Stop { trigger: Trigger::After(after), .. }) = self.stop {
            self.add(now + after, Deed::Stop);
        }
    }

    /// As long as this store is open.
    fn note_events(&self, store: &Store) {
        let (mut latest, written, clock) =
            (store.latest_event(), self.written.clone(), self.site.world.clock.clone());
        tokio::spawn(async move {
            while latest.changed().await.is_ok() {
                let id = *latest.borrow_and_update();
                written.lock().unwrap().push((id, clock.now()));
            }
        });
    }

    async fn stop(&mut self) {
        let Some(Stop { controller, end, away, .. }) = self.stop.take() else { return };
        match end {
            End::Kill => self.tally.crashes += 1,
            End::Order => self.tally.orderly_stops += 1,
            End::Suspend => self.tally.suspensions += 1,
        }
        self.controllers.stop(controller, end, &mut self.site).await;
        self.controllers.arm(None);
        // No client was notified of an event whose write the controller did not outlive.
        let latest = *self.site.store.latest_event().borrow();
        self.written.lock().unwrap().push((latest, self.site.world.clock.now()));
        let back = if end == End::Suspend { Deed::Resume(controller) } else { Deed::Start(controller) };
        self.add((self.begun.elapsed() + away).min(CALM_AT.max(self.begun.elapsed())), back);
    }

    /// From now on nothing goes wrong but what is in a machine's nature.
    async fn calm(&mut self) {
        self.site.machines.iter().for_each(|machine| machine.calm_down());
        for machine in 0..self.scenario.plans.len() {
            self.site.network.cut_off(&format!("bmc{machine}.test"), false);
        }
        self.deeds.retain(|_, deed| matches!(deed, Deed::Start(_) | Deed::Resume(_)));
        self.stop = None;
        self.controllers.arm(None);
    }

    async fn end(mut self, watch: &Watch) -> Ran {
        if self.stores != Stores::Sqlite {
            // Whatever its controller did not live to see.
            self.written.lock().unwrap().push((u64::MAX, self.site.world.clock.now()));
        }
        self.close_times();
        let mut jobs = vec![];
        for (machine, id, installs) in std::mem::take(&mut self.jobs) {
            let (job, events) = (self.site.job(id).await, self.events(id).await);
            let is_forward = |event: &&Event| !is_cleanup(event.event.step);
            let decided_at = events.iter().rev().find(is_forward).map(|event| event.event.time);
            let decided_at = decided_at.filter(|_| job.verdict.is_some());
            if self.stores != Stores::Sqlite {
                let taken_up = events.iter().filter(|event| event.event.op == "job.take_up");
                self.tally.takeovers += taken_up.count() as u64;
            }
            jobs.push(JobRan { machine, job, events, installs, decided_at });
        }
        let machines = self.site.machines.iter();
        let machines = machines.map(|machine| MachineRan {
            state: machine.state(),
            journal: machine.journal(),
            struck: machine.struck(),
        });
        Ran {
            jobs,
            machines: machines.collect(),
            kept: watch.kept(),
            tally: self.tally,
            scenario: self.scenario,
        }
    }

    /// From here on each entry has the earliest time that is known of its event.
    fn close_times(&self) {
        let mut written = self.written.lock().unwrap();
        written.sort_unstable();
        let mut earliest = Timestamp::MAX;
        for (_, time) in written.iter_mut().rev() {
            earliest = earliest.min(*time);
            *time = earliest;
        }
    }

    fn in_the_machines_time(&self, mut events: Vec<Event>) -> Vec<Event> {
        let written = self.written.lock().unwrap();
        for event in &mut events {
            let next = written.partition_point(|(id, _)| *id < event.id);
            event.event.time = written[next].1;
        }
        events
    }

    async fn events(&self, job: JobId) -> Vec<Event> {
        let mut events: Vec<Event> = vec![];
        loop {
            let after = events.last().map_or(0, |event| event.id);
            let page = self
                .site
                .store
                .events(&EventFilter { job: Some(job), after, limit: 500, ..EventFilter::default() })
                .await
                .unwrap();
            if page.is_empty() {
                return self.in_the_machines_time(events);
            }
            events.extend(page);
        }
    }
}

fn is_cleanup(step: Step) -> bool {
    matches!(step, Step::CleanupUnmountTask | Step::CleanupUnmountMaintenance | Step::CleanupReset)
}
