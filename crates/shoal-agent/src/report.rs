//! Reports to the controller: progress while the image is written, and the end.
//!
//! Invariants: progress goes out at most once in [`PROGRESS_EVERY`] and a failure to deliver it changes nothing; all
//! tries of one final report have the same delivery id. A controller that was reached before and is away is waited for.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use shoal_recipe::{
    REPORT_LOG_BYTES_MAX, REPORT_TRIES, REPORT_TRIES_UNREACHED, Report, ReportStatus, report_pause,
};
use tokio::time::Instant;
use url::Url;

use crate::failure::Failure;
use crate::http::Web;
use crate::log::Log;
use crate::machine::Machine;

pub const PROGRESS_EVERY: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(250);
/// Answers that another try may change.
const TRANSIENT: [u16; 2] = [408, 429];

/// How far the installation is, set by one thread and read by another.
#[derive(Default)]
pub struct Progress {
    step: Mutex<&'static str>,
    pub bytes: AtomicU64,
    /// 0 where it is not known.
    pub total: AtomicU64,
}

impl Progress {
    /// A new step begins, with nothing done of `total`.
    pub fn begin(&self, step: &'static str, total: u64) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
        self.bytes.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    fn report(&self) -> Report {
        let mut report = Report::new(ReportStatus::Progress);
        report.step = Some((*self.step.lock().unwrap_or_else(PoisonError::into_inner)).to_owned());
        report.bytes = Some(self.bytes.load(Ordering::Relaxed));
        report.total = Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0);
        report
    }
}

/// Sends the reports of one job.
pub struct Reporter<'a> {
    machine: &'a Machine,
    log: &'a Log,
    web: &'a dyn Web,
    url: Option<Url>,
    /// The same for the whole boot, so that a repeated report is recognized as one.
    delivery: String,
    /// The controller has taken a report.
    is_reached: AtomicBool,
}

impl<'a> Reporter<'a> {
    pub fn new(machine: &'a Machine, log: &'a Log, web: &'a dyn Web, url: Option<Url>) -> Reporter<'a> {
        let boot = machine.text("/proc/sys/kernel/random/boot_id").unwrap_or_else(|| "boot".to_owned());
        Reporter { machine, log, web, url, delivery: boot, is_reached: AtomicBool::new(false) }
    }

    /// Logs and sends the progress until `done` is closed.
    pub fn pump(&self, progress: &Progress, done: &Receiver<()>) {
        let mut last = Instant::now();
        while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(TICK) {
            if last.elapsed() < PROGRESS_EVERY {
                continue;
            }
            last = Instant::now();
            let report = progress.report();
            self.log.line(&describe(&report));
            if let Some(url) = &self.url {
                // After a failure the next one follows soon.
                self.post(url, &body(&report)).ok();
            }
        }
    }

    fn post(&self, url: &Url, body: &[u8]) -> Result<u16, String> {
        let answer = self.web.post(url, body);
        if matches!(answer, Ok(200..=299)) {
            self.is_reached.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// Whether the controller has accepted the success. `in_doubt` is called where that takes long.
    pub fn success(&self, warnings: &[String], in_doubt: &mut dyn FnMut()) -> bool {
        let mut report = Report::new(ReportStatus::Success);
        report.warnings = warnings.iter().map(|warning| self.log.redact(warning)).collect();
        self.deliver(report, in_doubt)
    }

    /// See [`Reporter::success`].
    pub fn failed(&self, failure: &Failure, warnings: &[String], in_doubt: &mut dyn FnMut()) -> bool {
        let mut report = Report::new(ReportStatus::Failed);
        report.failed_step = Some(failure.step.to_string());
        report.detail = Some(self.log.redact(&failure.message));
        report.warnings = warnings.iter().map(|warning| self.log.redact(warning)).collect();
        report.log = Some(self.log.tail(REPORT_LOG_BYTES_MAX));
        self.deliver(report, in_doubt)
    }

    /// A controller that was never reached is beyond this network; one that was will be back.
    fn deliver(&self, mut report: Report, in_doubt: &mut dyn FnMut()) -> bool {
        let Some(url) = &self.url else { return false };
        let status = if report.status == ReportStatus::Success { "success" } else { "failed" };
        report.delivery_id = Some(format!("{}-{status}", self.delivery));
        let body = body(&report);
        for tries in 1..=REPORT_TRIES {
            match self.post(url, &body) {
                Ok(200..=299) => {
                    self.log.line("the controller has accepted the report");
                    return true;
                }
                Ok(code @ 400..=499) if !TRANSIENT.contains(&code) => {
                    self.log.line(&format!("the controller refuses the report with status {code}"));
                    return false;
                }
                Ok(code) => self.log.line(&format!("the report was answered with status {code}")),
                Err(error) => self.log.line(&format!("the report was not delivered: {error}")),
            }
            if tries == REPORT_TRIES_UNREACHED {
                if !self.is_reached.load(Ordering::Relaxed) {
                    return false;
                }
                in_doubt();
            }
            if tries < REPORT_TRIES {
                self.machine.sleep(report_pause(tries));
            }
        }
        false
    }
}

fn body(report: &Report) -> Vec<u8> {
    serde_json::to_vec(report).expect("a report is plain data")
}

fn describe(report: &Report) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let (step, bytes) = (report.step.as_deref().unwrap_or_default(), report.bytes.unwrap_or_default());
    match report.total {
        Some(total) => {
            let percent = bytes.min(total) as f64 / total as f64 * 100.0;
            format!("{step}: {} of {} MiB ({percent:.0} %)", mib(bytes), mib(total))
        }
        None => format!("{step}: {} MiB", mib(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use shoal_recipe::FailedStep;

    use super::*;
    use crate::testing::{FakeWeb, TestMachine};

    fn url() -> Option<Url> {
        Some("https://ctl/report/0123456789abcdef0123".parse().unwrap())
    }

    /// After a report of progress that was answered so.
    fn send_after(progress: u16, answers: &[Result<u16, String>]) -> (bool, u32, Vec<Report>) {
        let (test, log, web) = (TestMachine::new(), Log::new(Vec::new()), FakeWeb::default());
        test.file("/proc/sys/kernel/random/boot_id", "b007\n");
        web.answers.lock().unwrap().extend(answers.iter().cloned());
        log.hide_all(url().iter());
        log.line("posting to https://ctl/report/0123456789abcdef0123");
        let machine = test.machine();
        let reporter = Reporter::new(&machine, &log, &web, url());
        web.answers.lock().unwrap().push_front(Ok(progress));
        reporter.post(&url().unwrap(), &body(&Progress::default().report())).unwrap();
        let (failure, mut doubts) = (Failure::new(FailedStep::Disk, "no disk"), 0);
        let delivered = reporter.failed(&failure, &["w".to_owned()], &mut || doubts += 1);
        (delivered, doubts, web.reports().split_off(1))
    }

    fn send(answers: &[Result<u16, String>]) -> (bool, Vec<Report>) {
        let (delivered, _, reports) = send_after(503, answers);
        (delivered, reports)
    }

    #[test]
    fn a_failure_is_repeated_with_the_same_id_until_it_is_accepted() {
        let (delivered, reports) = send(&[Ok(500), Err("no route".to_owned()), Ok(429), Ok(200)]);
        assert!(delivered && reports.len() == 4);
        let ids: Vec<_> = reports.iter().map(|report| report.delivery_id.as_deref().unwrap()).collect();
        assert_eq!(ids, ["b007-failed"; 4]);
        let report = &reports[0];
        assert_eq!(report.failed_step.as_deref(), Some("disk"));
        assert_eq!((report.detail.as_deref(), report.warnings.len()), (Some("no disk"), 1));
        let log = report.log.as_deref().unwrap();
        assert!(log.contains("(hidden)") && !log.contains("0123456789abcdef"), "{log}");
    }

    #[test]
    fn a_refusal_ends_the_tries_and_so_does_their_number() {
        assert_eq!(send(&[Ok(404), Ok(200)]).1.len(), 1);
        let (delivered, reports) = send(&vec![Ok(503); 20]);
        assert!(!delivered && reports.len() == REPORT_TRIES_UNREACHED as usize);
    }

    #[test]
    fn a_controller_that_was_reached_before_is_waited_for() {
        let away = |tries: u32| vec![Err("connection refused".to_owned()); tries as usize];
        let (delivered, doubts, reports) = send_after(200, &away(REPORT_TRIES - 1));
        assert!(delivered && doubts == 1 && reports.len() == REPORT_TRIES as usize);
        let (delivered, doubts, reports) = send_after(200, &away(REPORT_TRIES + 5));
        assert!(!delivered && doubts == 1 && reports.len() == REPORT_TRIES as usize);
        assert_eq!(send_after(200, &away(REPORT_TRIES_UNREACHED - 1)).1, 0);
    }

    #[test]
    fn without_an_address_nothing_is_sent() {
        let (test, log, web) = (TestMachine::new(), Log::new(Vec::new()), FakeWeb::default());
        let machine = test.machine();
        assert!(
            !Reporter::new(&machine, &log, &web, None).success(&[], &mut || ()) && web.reports().is_empty()
        );
    }

    #[test]
    fn progress_names_step_and_bytes() {
        let progress = Progress::default();
        progress.begin("write", 4 << 20);
        progress.bytes.store(1 << 20, Ordering::Relaxed);
        assert_eq!(describe(&progress.report()), "write: 1 of 4 MiB (25 %)");
        progress.begin("write", 0);
        assert_eq!(describe(&progress.report()), "write: 0 MiB");
    }
}
