//! What a maintenance system does about a recipe, act by act.
//!
//! Data and what makes it; the parent acts. Invariant: a result is sent only once the disk is what the result says,
//! and its signal is read after the report.

use std::time::Duration;

use jiff::Timestamp;
use shoal_recipe::{
    FAILURE_FILE, FailedStep, REPORT_TRIES, REPORT_TRIES_UNREACHED, Report, ReportStatus, STARTED_FILE,
    SUCCESS_FILE, TaskImageLocation, TaskRecipe, report_pause,
};

use super::MaintenanceManners;
use crate::guest::Software;
use crate::guest::linux::KernelArguments;
use crate::guest::post::HookCall;

/// What stands for the bytes of an image, whose size the simulation does not know.
const IMAGE_BYTES: u64 = 2 << 30;

/// The arguments of an operator's own system: the address and the secret of its reports, and `poweroff` where it goes off
/// at its end.
pub const WEBHOOK_ARGUMENT: &str = "webhook";
pub const SECRET_ARGUMENT: &str = "secret";
pub const END_ARGUMENT: &str = "end";

#[derive(Debug)]
pub enum TaskAct {
    /// The disk is no longer what it was.
    Begin,
    Work(Duration),
    Until(Timestamp),
    Half,
    /// The image on the task medium, up to so many halves of it.
    Read {
        halves: u64,
    },
    /// The image that was read is this one.
    Check {
        image_sha256: String,
    },
    /// A download of the image; without it the installation fails.
    Fetch(Box<ImageFetch>),
    Finish {
        image_sha256: String,
    },
    Send(Box<ReportSending>),
    /// A read of a file that is a signal, and how often that has failed.
    Signal(&'static str, u32),
    /// It gives up, and the console says why.
    Stop(String),
    PowerOff,
}

/// A download on its way.
#[derive(Clone, Debug)]
pub struct ImageFetch {
    url: String,
    sha256: String,
    failed_tries: u32,
}

impl ImageFetch {
    /// Only from the controller: an image elsewhere is not in the simulation.
    fn of(recipe: &TaskRecipe) -> Option<Box<ImageFetch>> {
        let TaskImageLocation::Url(url) = &recipe.image.location else { return None };
        let controller = recipe.job.controller_url.as_ref()?;
        let (url, sha256) =
            ((url.origin() == controller.origin()).then(|| url.to_string())?, &recipe.image.sha256);
        Some(Box::new(ImageFetch { url, sha256: sha256.to_string(), failed_tries: 0 }))
    }

    pub fn call(&self, number: usize) -> HookCall {
        let sha256 = Some(self.sha256.clone());
        HookCall {
            number,
            url: self.url.clone(),
            body: None,
            is_json: false,
            secret: None,
            late: None,
            sha256,
        }
    }

    /// The pause and the next try, after one that failed.
    pub fn again(mut self: Box<Self>) -> Option<(Duration, Box<ImageFetch>)> {
        self.failed_tries += 1;
        let pause = report_pause(self.failed_tries);
        (self.failed_tries < REPORT_TRIES_UNREACHED).then_some((pause, self))
    }
}

/// A report on its way.
#[derive(Clone, Debug)]
pub struct ReportSending {
    url: String,
    secret: Option<String>,
    report: Report,
    late: Option<Duration>,
    /// What signals the same, read meanwhile where the controller stays away.
    signal: Option<&'static str>,
    failed_tries: u32,
    /// It is sent once, as reports of progress are.
    is_once: bool,
}

impl ReportSending {
    pub fn call(&self, number: usize) -> HookCall {
        let body = serde_json::to_string(&self.report).unwrap_or_default();
        HookCall {
            number,
            url: self.url.clone(),
            body: Some(body),
            is_json: true,
            secret: self.secret.clone(),
            late: self.late,
            sha256: None,
        }
    }

    /// What follows a try that failed; the last act is the first to do.
    pub fn again(mut self: Box<Self>, is_reached: bool) -> Vec<TaskAct> {
        self.failed_tries += 1;
        let most = if is_reached { REPORT_TRIES } else { REPORT_TRIES_UNREACHED };
        if self.is_once || self.failed_tries >= most {
            return vec![];
        }
        let in_doubt = self.signal.filter(|_| self.failed_tries == REPORT_TRIES_UNREACHED);
        let pause = report_pause(self.failed_tries);
        let mut acts = vec![TaskAct::Send(self), TaskAct::Work(pause)];
        acts.extend(in_doubt.map(|signal| TaskAct::Signal(signal, REPORT_TRIES)));
        acts
    }
}

#[derive(Debug, Default)]
pub struct TaskPlan {
    /// The next is the last.
    pub acts: Vec<TaskAct>,
    failure: Vec<TaskAct>,
    /// What is done about an image that cannot be read or is another one.
    wrong_image: Vec<TaskAct>,
}

impl TaskPlan {
    pub fn stop(why: &str) -> TaskPlan {
        TaskPlan { acts: vec![TaskAct::Stop(why.to_owned())], ..TaskPlan::default() }
    }

    pub fn new(recipe: &TaskRecipe, arguments: &KernelArguments, software: &Software) -> TaskPlan {
        let manners = &software.maintenance;
        let reporter = Reporter { recipe, arguments, manners };
        if !manners.is_foreign && !recipe.identity.serials.contains(&manners.serial) {
            let serials = recipe.identity.serials.join(" or ");
            let why = format!(
                "this machine has the serial number {}, and the recipe is for {serials}",
                manners.serial
            );
            let acts = reporter.failed(FailedStep::Dispatcher, &why);
            return TaskPlan::of(acts, vec![]);
        }
        let half = software.install / 2;
        let mut acts = reporter.signal(STARTED_FILE, REPORT_TRIES);
        acts.extend(reporter.progress("write", 0));
        acts.push(TaskAct::Begin);
        acts.extend(reporter.forged());
        let image_sha256 = recipe.image.sha256.to_string();
        let is_on_medium = matches!(recipe.image.location, TaskImageLocation::Media(_));
        acts.extend(ImageFetch::of(recipe).map(TaskAct::Fetch));
        acts.push(TaskAct::Work(half));
        acts.extend(is_on_medium.then_some(TaskAct::Read { halves: 1 }));
        acts.push(TaskAct::Half);
        acts.extend(reporter.progress("write", IMAGE_BYTES / 2));
        acts.push(TaskAct::Work(software.install.saturating_sub(half)));
        if is_on_medium {
            acts.push(TaskAct::Read { halves: 2 });
            acts.push(TaskAct::Check { image_sha256: image_sha256.clone() });
        }
        acts.push(TaskAct::Finish { image_sha256 });
        acts.extend(reporter.succeeded());
        let wrong = "the image cannot be read, or has another SHA-256 than the recipe says";
        TaskPlan {
            wrong_image: reversed(reporter.failed(FailedStep::Image, wrong)),
            ..TaskPlan::of(acts, reporter.failed(FailedStep::Write, "writing the image failed: I/O error"))
        }
    }

    fn of(acts: Vec<TaskAct>, failure: Vec<TaskAct>) -> TaskPlan {
        TaskPlan { acts: reversed(acts), failure: reversed(failure), wrong_image: vec![] }
    }

    /// The installation has failed.
    pub fn fail(&mut self) {
        self.acts = std::mem::take(&mut self.failure);
    }

    pub fn refuse_image(&mut self) {
        self.acts = std::mem::take(&mut self.wrong_image);
    }
}

fn reversed(mut acts: Vec<TaskAct>) -> Vec<TaskAct> {
    acts.reverse();
    acts
}

/// What is reported, and to whom.
struct Reporter<'a> {
    recipe: &'a TaskRecipe,
    arguments: &'a KernelArguments,
    manners: &'a MaintenanceManners,
}

impl Reporter<'_> {
    fn progress(&self, step: &str, bytes: u64) -> Vec<TaskAct> {
        if self.manners.is_foreign {
            return vec![];
        }
        let mut report = Report::new(ReportStatus::Progress);
        report.step = Some(step.to_owned());
        (report.bytes, report.total) = (Some(bytes), Some(IMAGE_BYTES));
        self.sending(report, None).map(TaskAct::Send).into_iter().collect()
    }

    fn succeeded(&self) -> Vec<TaskAct> {
        let mut acts = self.result(Report::new(ReportStatus::Success), SUCCESS_FILE);
        let goes_off = match self.manners.is_foreign {
            true => self.arguments.value(END_ARGUMENT) == Some("poweroff"),
            false => !self.manners.stays_on,
        };
        acts.extend(goes_off.then_some(TaskAct::PowerOff));
        acts
    }

    /// A read of a signal, tried [`REPORT_TRIES`] times less so many.
    fn signal(&self, name: &'static str, failed_tries: u32) -> Vec<TaskAct> {
        let reads = self.recipe.job.signals && !self.manners.is_foreign;
        reads.then_some(TaskAct::Signal(name, failed_tries)).into_iter().collect()
    }

    fn failed(&self, step: FailedStep, why: &str) -> Vec<TaskAct> {
        let mut report = Report::new(ReportStatus::Failed);
        report.failed_step = Some(step.to_string());
        report.detail = Some(why.to_owned());
        report.log = Some(format!("{step}: {why}\n"));
        let mut acts = self.result(report, FAILURE_FILE);
        acts.push(TaskAct::Stop(why.to_owned()));
        acts
    }

    fn result(&self, mut report: Report, signal: &'static str) -> Vec<TaskAct> {
        let manners = self.manners;
        // One for each result, whichever of its repeats it is on.
        report.delivery_id = Some(format!("{}-{signal}", self.recipe.job.id));
        let sending = self.sending(report, Some(signal)).filter(|_| !manners.loses_result);
        let times = if manners.repeats_result { 3 } else { 1 };
        let mut acts: Vec<TaskAct> =
            sending.into_iter().flat_map(|sending| vec![sending; times]).map(TaskAct::Send).collect();
        acts.extend(self.signal(signal, 0));
        acts
    }

    /// A result has a signal of its own, and is sent until it is taken.
    fn sending(&self, report: Report, result: Option<&'static str>) -> Option<Box<ReportSending>> {
        let (url, secret) = match self.manners.is_foreign {
            true => {
                let webhook = self.arguments.value(WEBHOOK_ARGUMENT)?;
                let secret = self.arguments.value(SECRET_ARGUMENT).map(str::to_owned);
                (format!("{webhook}/{}", self.manners.serial), secret)
            }
            false => (self.recipe.job.report_url.as_ref()?.to_string(), None),
        };
        let late = self.manners.result_late.filter(|_| result.is_some());
        let signal = result.filter(|_| self.recipe.job.signals && !self.manners.is_foreign);
        let is_once = result.is_none();
        Some(Box::new(ReportSending { url, secret, report, late, signal, failed_tries: 0, is_once }))
    }

    /// Successes from a client that lacks a part of the job's URL: with another token, for another server, and
    /// with a secret that is none.
    fn forged(&self) -> Vec<TaskAct> {
        let url = self.recipe.job.report_url.as_ref().filter(|_| self.manners.is_forged);
        let Some((server, token)) = url.and_then(|url| url.as_str().rsplit_once('/')) else { return vec![] };
        let Some((webhook, _)) = server.rsplit_once('/') else { return vec![] };
        let other_token: String = token.chars().rev().collect();
        let urls = [
            (format!("{server}/{other_token}"), None),
            (format!("{webhook}/OTHER-SERVER/{token}"), None),
            (server.to_owned(), Some("a guess".to_owned())),
        ];
        let sending = |(url, secret)| {
            let report = Report::new(ReportStatus::Success);
            let (late, signal) = (None, None);
            let sending = ReportSending { url, secret, report, late, signal, failed_tries: 0, is_once: true };
            TaskAct::Send(Box::new(sending))
        };
        urls.into_iter().map(sending).collect()
    }
}
