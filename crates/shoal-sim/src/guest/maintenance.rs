//! A maintenance system in RAM: it finds its recipe, writes the disk, reports, and powers its host off.
//!
//! It models what is seen from outside of `shoal-agent`, and of an operator's own system
//! ([`MaintenanceManners::is_foreign`]). An image on the task medium, or at the controller, is read and its digest
//! checked; another one is not fetched: the time of the installation stands for that. Invariant: once the recipe was
//! read, a drive is read again only for the image and for a signal.

mod image;
mod medium;
mod plan;

use std::time::Duration;

use jiff::Timestamp;
use shoal_recipe::{REPORT_TRIES, TaskImageLocation, TaskRecipe, report_pause};

use self::image::ImageReading;
use self::medium::{TaskLook, TaskMedium, TaskSearch};
use self::plan::{ReportSending, TaskAct, TaskPlan};
use super::linux::KernelArguments;
use super::reader::ReaderLook;
use super::{CallEnd, GuestNeed, GuestStep, ReadAnswer, Software};
use crate::machine::{Button, Disk, Machine, after};

/// The machine as its SMBIOS shows it, and what a maintenance system on it does otherwise than `shoal-agent`.
#[derive(Clone, Debug, Default)]
pub struct MaintenanceManners {
    pub serial: String,
    /// It is an operator's own: it reports with the shared secret, reads no signal, leaves its host on, obeys ACPI.
    pub is_foreign: bool,
    pub stays_on: bool,
    /// It believes that its result was taken.
    pub loses_result: bool,
    pub repeats_result: bool,
    /// Another client reports a success while the disk is written.
    pub is_forged: bool,
    /// So long its result is on its way, while the system goes on.
    pub result_late: Option<Duration>,
}

/// The system, from the end of its kernel's start.
#[derive(Debug)]
pub struct Maintenance {
    arguments: KernelArguments,
    search: Option<TaskSearch>,
    medium: Option<TaskMedium>,
    /// On the task medium.
    image: Option<ImageReading>,
    plan: TaskPlan,
    /// The disk is neither what it was nor what it will be.
    is_writing: bool,
    /// Calls that are over.
    calls: usize,
    /// A call was accepted: the controller can be reached.
    is_reached: bool,
    /// The last call was accepted or refused.
    is_answered: bool,
    /// When it goes off by ACPI.
    leaving: Option<Timestamp>,
    console: Option<String>,
}

impl Maintenance {
    pub fn new(arguments: KernelArguments) -> Maintenance {
        Maintenance {
            arguments,
            search: Some(TaskSearch::default()),
            medium: None,
            image: None,
            plan: TaskPlan::default(),
            is_writing: false,
            calls: 0,
            is_reached: false,
            is_answered: false,
            leaving: None,
            console: None,
        }
    }

    pub fn is_writing(&self) -> bool {
        self.is_writing
    }

    pub fn console(&self) -> Option<&str> {
        self.console.as_deref()
    }

    pub fn step(
        &mut self,
        machine: &mut Machine,
        software: &mut Software,
        button: Option<Button>,
        now: Timestamp,
    ) -> GuestStep {
        if button == Some(Button::Shutdown) {
            self.leaving.get_or_insert(after(now, software.shutdown));
        }
        match self.leaving {
            Some(due) if due <= now => return self.power_off(machine, now),
            Some(due) => return GuestStep::Need(GuestNeed::Until(due)),
            None => {}
        }
        if let Some(search) = &mut self.search {
            match search.look(machine, now) {
                TaskLook::Need(need) => return GuestStep::Need(need),
                TaskLook::Done(found) => {
                    self.search = None;
                    self.plan = self.begin(found, software);
                }
            }
        }
        while let Some(act) = self.plan.acts.pop() {
            if let Some(step) = self.act(act, machine, software, now) {
                return step;
            }
        }
        GuestStep::Need(GuestNeed::Event)
    }

    fn begin(&mut self, found: Option<(TaskMedium, Vec<u8>)>, software: &Software) -> TaskPlan {
        let Some((medium, recipe)) = found else {
            return TaskPlan::stop("no drive has a recipe.json");
        };
        self.medium = Some(medium);
        match TaskRecipe::parse(&recipe) {
            Ok(recipe) => {
                if let TaskImageLocation::Media(parts) = &recipe.image.location {
                    self.image = Some(ImageReading::new(parts.clone()));
                }
                TaskPlan::new(&recipe, &self.arguments, software)
            }
            Err(faults) => TaskPlan::stop(&format!("the recipe is invalid: {faults:?}")),
        }
    }

    /// Does an act, or says what has to happen before it, or what has happened with it.
    fn act(
        &mut self,
        act: TaskAct,
        machine: &mut Machine,
        software: &mut Software,
        now: Timestamp,
    ) -> Option<GuestStep> {
        match act {
            TaskAct::Begin => {
                machine.disk = Disk::Broken;
                machine.counters.installs_begun += 1;
                self.is_writing = true;
            }
            TaskAct::Work(time) => self.plan.acts.push(TaskAct::Until(after(now, time))),
            TaskAct::Until(until) if now < until => {
                self.plan.acts.push(TaskAct::Until(until));
                return Some(GuestStep::Need(GuestNeed::Until(until)));
            }
            TaskAct::Until(_) => {}
            TaskAct::Read { halves } => {
                let (Some(medium), Some(image)) = (&mut self.medium, &mut self.image) else { return None };
                match image.look(halves, medium, machine) {
                    ReaderLook::Need(request) => {
                        self.plan.acts.push(TaskAct::Read { halves });
                        return Some(GuestStep::Need(GuestNeed::Read(request)));
                    }
                    ReaderLook::Done(Ok(())) => {}
                    ReaderLook::Done(Err(_)) => self.plan.refuse_image(),
                }
            }
            TaskAct::Check { image_sha256 } => {
                if self.image.as_ref().is_none_or(|image| image.sha256() != image_sha256) {
                    self.plan.refuse_image();
                }
            }
            TaskAct::Half => return self.pass_half(machine, software, now),
            TaskAct::Finish { image_sha256 } => {
                self.is_writing = false;
                machine.disk = Disk::Imaged { sha256: image_sha256 };
                machine.counters.installs += 1;
            }
            TaskAct::Fetch(_) if software.no_network => self.plan.refuse_image(),
            TaskAct::Fetch(fetch) => {
                let call = fetch.call(self.calls);
                self.plan.acts.push(TaskAct::Fetch(fetch));
                return Some(GuestStep::Need(GuestNeed::Call(call)));
            }
            TaskAct::Send(sending) if software.no_network => self.try_again(sending),
            TaskAct::Send(sending) => {
                let call = sending.call(self.calls);
                self.plan.acts.push(TaskAct::Send(sending));
                return Some(GuestStep::Need(GuestNeed::Call(call)));
            }
            TaskAct::Signal(name, failed_tries) => return self.signal(name, failed_tries, machine),
            TaskAct::Stop(why) => {
                self.is_writing = false;
                self.console = Some(why);
            }
            TaskAct::PowerOff => return Some(self.power_off(machine, now)),
        }
        None
    }

    /// A controller that has taken the report needs no signal; without one it is tried again.
    fn signal(&mut self, name: &'static str, failed_tries: u32, machine: &Machine) -> Option<GuestStep> {
        let medium = self.medium.as_mut()?;
        let is_wanted = !self.is_answered && failed_tries < REPORT_TRIES;
        match medium.read(name, machine) {
            ReaderLook::Need(request) => {
                self.plan.acts.push(TaskAct::Signal(name, failed_tries));
                return Some(GuestStep::Need(GuestNeed::Read(request)));
            }
            ReaderLook::Done(None) if is_wanted && medium.is_there(machine) => {
                medium.try_again();
                let pause = TaskAct::Work(report_pause(failed_tries + 1));
                self.plan.acts.extend([TaskAct::Signal(name, failed_tries + 1), pause]);
            }
            ReaderLook::Done(_) => {}
        }
        None
    }

    fn power_off(&mut self, machine: &mut Machine, now: Timestamp) -> GuestStep {
        machine.counters.interrupted_installs += u64::from(self.is_writing);
        machine.power_off(now);
        GuestStep::Gone
    }

    /// Half-way through is where an installation goes wrong.
    fn pass_half(
        &mut self,
        machine: &mut Machine,
        software: &mut Software,
        now: Timestamp,
    ) -> Option<GuestStep> {
        if software.hangs {
            self.plan.acts.clear();
        } else if software.fails {
            self.plan.fail();
        } else if std::mem::take(&mut software.crashes) {
            machine.counters.crashes += 1;
            machine.power_off(now);
            return Some(GuestStep::Gone);
        }
        None
    }

    /// What the drive said to the last read.
    pub fn answer(&mut self, answer: ReadAnswer) {
        let is_reading = matches!(self.plan.acts.last(), Some(TaskAct::Read { .. }));
        let image = self.image.as_mut().filter(|image| is_reading && image.is_under_way());
        match (&mut self.search, image, &mut self.medium) {
            (Some(search), ..) => search.answer(answer),
            (None, Some(image), _) => image.answer(answer),
            (None, None, Some(medium)) => medium.answer(answer),
            (None, None, None) => {}
        }
    }

    /// What became of the last call.
    pub fn end_call(&mut self, end: CallEnd) {
        self.calls += 1;
        self.is_reached |= end == CallEnd::Accepted;
        self.is_answered = end != CallEnd::Lost;
        if let Some(TaskAct::Fetch(fetch)) = self.plan.acts.pop_if(|act| matches!(act, TaskAct::Fetch(_))) {
            let succeeded = end == CallEnd::Accepted;
            match fetch.again().filter(|_| !succeeded) {
                Some((pause, fetch)) => self.plan.acts.extend([TaskAct::Fetch(fetch), TaskAct::Work(pause)]),
                None if succeeded => {}
                None => self.plan.refuse_image(),
            }
            return;
        }
        if let Some(TaskAct::Send(sending)) = self.plan.acts.pop_if(|act| matches!(act, TaskAct::Send(_)))
            && end == CallEnd::Lost
        {
            self.try_again(sending);
        }
    }

    fn try_again(&mut self, sending: Box<ReportSending>) {
        self.plan.acts.extend(sending.again(self.is_reached));
    }
}
