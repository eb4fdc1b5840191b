//! What a maintenance system does about a recipe, act by act.
//!
//! Data and what makes it; the parent acts. Invariant: a result is sent only once the disk is what the result says,
//! and its signal is read after the report.

use std::time::Duration;

use jiff::Timestamp;
use shoal_recipe::{
    FAILURE_FILE, FailedStep, Report, ReportStatus, SUCCESS_FILE, TaskImageLocation, TaskRecipe,
};

use super::MaintenanceManners;
use crate::guest::Software;
use crate::guest::linux::KernelArguments;
use crate::guest::post::HookCall;

/// A result is sent so often, with longer and longer pauses.
const TRIES: u32 = 10;
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// What stands for the bytes of an image, whose size the simulation does not know.
const IMAGE_BYTES: u64 = 2 << 30;

/// The arguments of an operator's own system with the address and the secret of its reports.
pub const WEBHOOK_ARGUMENT: &str = "webhook";
pub const SECRET_ARGUMENT: &str = "secret";

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
    /// A read of the file that signals the result.
    Signal(&'static str),
    /// It gives up, and the console says why.
    Stop(String),
    PowerOff,
}

/// A download on its way.
#[derive(Clone, Debug)]
pub struct ImageFetch {
    url: String,
    sha256: String,
    tries: u32,
    pause: Duration,
}

impl ImageFetch {
    /// Only from the controller: an image elsewhere is not in the simulation.
    fn of(recipe: &TaskRecipe) -> Option<Box<ImageFetch>> {
        let TaskImageLocation::Url(url) = &recipe.image.location else { return None };
        let controller = recipe.job.controller_url.as_ref()?;
        let (url, sha256) =
            ((url.origin() == controller.origin()).then(|| url.to_string())?, &recipe.image.sha256);
        Some(Box::new(ImageFetch {
            url,
            sha256: sha256.to_string(),
            tries: TRIES,
            pause: Duration::from_secs(1),
        }))
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
        let pause = self.pause;
        self.tries -= 1;
        self.pause = (pause * 2).min(PAUSE_MAX);
        (self.tries > 0).then_some((pause, self))
    }
}

/// A report on its way.
#[derive(Clone, Debug)]
pub struct ReportSending {
    url: String,
    secret: Option<String>,
    report: Report,
    late: Option<Duration>,
    /// Times that it is sent yet; a report of progress once.
    tries: u32,
    pause: Duration,
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

    /// The pause and the next try, after one that failed.
    pub fn again(mut self: Box<Self>) -> Option<(Duration, Box<ReportSending>)> {
        let pause = self.pause;
        self.tries -= 1;
        self.pause = (pause * 2).min(PAUSE_MAX);
        (self.tries > 0).then_some((pause, self))
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
        let mut acts = reporter.progress("write", 0);
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
        self.sending(report, 1).map(TaskAct::Send).into_iter().collect()
    }

    fn succeeded(&self) -> Vec<TaskAct> {
        let mut acts = self.result(Report::new(ReportStatus::Success), SUCCESS_FILE);
        acts.extend((!self.manners.stays_on && !self.manners.is_foreign).then_some(TaskAct::PowerOff));
        acts
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
        let sending = self.sending(report, TRIES).filter(|_| !manners.loses_result);
        let times = if manners.repeats_result { 3 } else { 1 };
        let mut acts: Vec<TaskAct> =
            sending.into_iter().flat_map(|sending| vec![sending; times]).map(TaskAct::Send).collect();
        acts.extend((self.recipe.job.signals && !manners.is_foreign).then_some(TaskAct::Signal(signal)));
        acts
    }

    fn sending(&self, report: Report, tries: u32) -> Option<Box<ReportSending>> {
        let (url, secret) = match self.manners.is_foreign {
            true => {
                let webhook = self.arguments.value(WEBHOOK_ARGUMENT)?;
                let secret = self.arguments.value(SECRET_ARGUMENT).map(str::to_owned);
                (format!("{webhook}/{}", self.manners.serial), secret)
            }
            false => (self.recipe.job.report_url.as_ref()?.to_string(), None),
        };
        let late = self.manners.result_late.filter(|_| report.status != ReportStatus::Progress);
        Some(Box::new(ReportSending { url, secret, report, late, tries, pause: Duration::from_secs(1) }))
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
            let pause = Duration::ZERO;
            TaskAct::Send(Box::new(ReportSending { url, secret, report, late: None, tries: 1, pause }))
        };
        urls.into_iter().map(sending).collect()
    }
}
