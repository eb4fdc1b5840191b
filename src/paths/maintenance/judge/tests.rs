//! Every row of the table, and the deadlines.

use super::*;
use crate::domain::TaskProgress;

const DEADLINES: Deadlines = Deadlines {
    whole: Duration::from_secs(7200),
    boot: Duration::from_secs(1800),
    graceful: Duration::from_secs(180),
};

fn at(secs: u64) -> Timestamp {
    after("2026-01-01T00:00:00Z".parse().unwrap(), Duration::from_secs(secs))
}

/// A host that was started at 0 and looked at last at `now`.
struct Case {
    facts: MaintenanceFacts,
    boot: MediumTrace,
    task: MediumTrace,
    now: u64,
}

fn streamed() -> MediumTrace {
    MediumTrace {
        total: 1 << 20,
        mode: MediaMode::Streamed,
        first_read_at: Some(at(40)),
        ..MediumTrace::default()
    }
}

impl Case {
    /// On since 10, with the recipe read at 60 over a BMC that streams.
    fn running(now: u64) -> Case {
        let facts = MaintenanceFacts {
            on_at: Some(at(10)),
            power: Some((Power::On, at(10))),
            ..MaintenanceFacts::default()
        };
        Case { facts, boot: streamed(), task: MediumTrace { ks_read_at: Some(at(60)), ..streamed() }, now }
    }

    fn reported(mut self, secs: u64, succeeded: bool, by: Reporter) -> Case {
        self.facts.result = Some(TaskResult {
            at: at(secs),
            succeeded,
            by,
            failed_step: (!succeeded).then(|| "disk".to_owned()),
            detail: (!succeeded).then(|| "two disks match".to_owned()),
            warnings: vec![],
            log: None,
            delivery_id: None,
        });
        self
    }

    fn off(mut self, secs: u64) -> Case {
        self.facts.power = Some((Power::Off, at(secs)));
        self
    }

    fn asked(mut self, secs: u64) -> Case {
        self.facts.shutdown_at = Some(at(secs));
        self.facts.shutdown_accepted = true;
        self
    }

    /// The BMC gave no answer to that.
    fn unanswered(mut self) -> Case {
        self.facts.shutdown_accepted = false;
        self
    }

    fn judge(&self) -> TaskJudgement {
        judge(&Seen {
            facts: &self.facts,
            started_at: at(0),
            boot: &self.boot,
            task: &self.task,
            deadlines: DEADLINES,
            now: at(self.now),
        })
    }

    #[track_caller]
    fn succeeds(&self, wanted: Confidence, kinds: &[EvidenceKind]) {
        let TaskJudgement::Decided(Decision::Succeeded { confidence, evidence }) = self.judge() else {
            panic!("{:?}", self.judge())
        };
        let found: Vec<EvidenceKind> = evidence.iter().map(|evidence| evidence.kind).collect();
        assert_eq!((confidence, found.as_slice()), (wanted, kinds));
    }

    #[track_caller]
    fn fails(&self, part: &str) {
        let TaskJudgement::Decided(Decision::Failed { reason, .. }) = self.judge() else {
            panic!("{:?}", self.judge())
        };
        assert!(reason.contains(part), "{reason}");
    }

    #[track_caller]
    fn waits(&self) {
        assert!(matches!(self.judge(), TaskJudgement::Wait(_)), "{:?}", self.judge());
    }
}

#[test]
fn a_report_by_token_and_the_hosts_own_power_off_are_proof() {
    Case::running(300).reported(290, true, Reporter::Token).waits();
    let kinds = [EvidenceKind::TaskReport, EvidenceKind::PowerOff];
    Case::running(300).reported(290, true, Reporter::Token).off(295).succeeds(Confidence::Proven, &kinds);
    Case::running(300)
        .reported(290, true, Reporter::SharedSecret)
        .off(295)
        .succeeds(Confidence::Probable, &kinds);
}

#[test]
fn a_host_that_stays_on_after_its_success_is_shut_down_once() {
    Case::running(290 + 179).reported(290, true, Reporter::Token).waits();
    let overdue = Case::running(290 + 180).reported(290, true, Reporter::Token);
    assert_eq!(overdue.judge(), TaskJudgement::ShutDown);
    assert_eq!(
        Case::running(305).reported(290, true, Reporter::SharedSecret).judge(),
        TaskJudgement::ShutDown,
        "nothing says that such a system powers its host off"
    );
    let report = [EvidenceKind::TaskReport];
    Case::running(500).reported(290, true, Reporter::Token).asked(470).waits();
    let unanswered = Case::running(500).reported(290, true, Reporter::Token).asked(470).unanswered();
    assert_eq!(unanswered.judge(), TaskJudgement::ShutDown, "once more");
    Case::running(500)
        .reported(290, true, Reporter::Token)
        .asked(470)
        .off(499)
        .succeeds(Confidence::Probable, &report);
    Case::running(650)
        .reported(290, true, Reporter::Token)
        .asked(470)
        .succeeds(Confidence::Probable, &report);
}

#[test]
fn a_failure_is_reported_in_the_reporters_words() {
    let failed = Case::running(300).reported(290, false, Reporter::Token);
    failed.fails("failed at disk: two disks match");
    failed.off(295).fails("failed at disk");
    Case::running(300).reported(290, false, Reporter::SharedSecret).fails("failed at disk");
}

#[test]
fn one_signal_on_a_streamed_medium_is_a_result() {
    let with = |success: Option<u64>, failure: Option<u64>, mode| {
        let mut case = Case::running(300);
        case.task.mode = mode;
        case.task.nonce_read_at = success.map(at);
        case.task.failure_read_at = failure.map(at);
        case
    };
    let kinds = [EvidenceKind::MediaSignal, EvidenceKind::PowerOff];
    with(Some(290), None, MediaMode::Streamed).waits();
    with(Some(290), None, MediaMode::Streamed).off(295).succeeds(Confidence::Proven, &kinds);
    with(None, Some(290), MediaMode::Streamed).fails("failure signal");
    with(Some(290), Some(291), MediaMode::Streamed).waits();
    with(Some(290), None, MediaMode::Prefetched).waits();
    with(Some(50), None, MediaMode::Streamed).waits();
    let both = with(None, Some(290), MediaMode::Streamed).reported(291, true, Reporter::Token).off(295);
    both.succeeds(Confidence::Proven, &[EvidenceKind::TaskReport, EvidenceKind::PowerOff]);
}

#[test]
fn a_power_off_alone_is_probable_of_a_system_that_is_not_known() {
    let off = [EvidenceKind::PowerOff];
    let mut unknown = Case::running(300).off(280);
    unknown.waits();
    unknown.now = 320;
    unknown.succeeds(Confidence::Probable, &off);
    unknown.facts.progress =
        progress(270).map(|spoken| TaskProgress { by: Reporter::SharedSecret, ..spoken });
    unknown.succeeds(Confidence::Probable, &off);
    let mut copied = Case::running(320).off(280);
    (copied.task.ks_read_at, copied.task.mode) = (None, MediaMode::Prefetched);
    copied.succeeds(Confidence::Probable, &off);
    let mut unread = Case::running(320).off(280);
    unread.task.ks_read_at = None;
    unread.fails("before it read its recipe");
}

#[test]
fn a_power_off_of_a_known_agent_without_its_result_is_a_failure() {
    let mut marked = Case::running(320).off(280);
    marked.task.started_read_at = Some(at(61));
    marked.fails("without a result");
    marked.task.mode = MediaMode::Prefetched;
    marked.succeeds(Confidence::Probable, &[EvidenceKind::PowerOff]);
    marked.facts.progress = progress(270);
    marked.fails("without a result");
}

/// It reports by the job's token, so the report is an earlier job's or another system's.
#[test]
fn a_known_agents_result_does_not_come_with_the_shared_secret() {
    let mut known = Case::running(320).reported(290, true, Reporter::SharedSecret);
    known.task.started_read_at = Some(at(61));
    known.waits();
    known.task.nonce_read_at = Some(at(310));
    let kinds = [EvidenceKind::MediaSignal, EvidenceKind::PowerOff];
    known.off(315).succeeds(Confidence::Proven, &kinds);
}

/// The controller was away while the host went on.
#[test]
fn a_grace_begins_when_the_controller_is_back() {
    let mut on = Case::running(900).reported(290, true, Reporter::Token);
    on.facts.resumed_at = Some(at(890));
    on.waits();
    let kinds = [EvidenceKind::TaskReport, EvidenceKind::PowerOff];
    on.off(895).succeeds(Confidence::Proven, &kinds);
    let mut off = Case::running(900).off(280);
    off.task.started_read_at = Some(at(61));
    off.facts.resumed_at = Some(at(890));
    off.waits();
    off.now = 920;
    off.fails("without a result");
}

#[test]
fn a_recipe_that_was_never_read_by_the_deadline_began_nothing() {
    let began = |case: &Case| {
        !never_began(&Seen {
            facts: &case.facts,
            started_at: at(0),
            boot: &case.boot,
            task: &case.task,
            deadlines: DEADLINES,
            now: at(case.now),
        })
    };
    let mut case = Case::running(1801);
    assert!(began(&case));
    case.task.ks_read_at = None;
    assert!(!began(&case));
    case.now = 1800;
    assert!(began(&case), "it may be read yet");
    case.now = 1801;
    case.task.mode = MediaMode::Prefetched;
    assert!(began(&case), "no read of it would be seen");
}

#[test]
fn a_host_that_never_came_on_is_started_again() {
    let mut case = Case::running(181).off(1);
    case.facts.on_at = None;
    (case.boot, case.task) = (MediumTrace::default(), MediumTrace::default());
    assert_eq!(case.judge(), TaskJudgement::NeverStarted);
    case.now = 100;
    case.waits();
}

fn progress(secs: u64) -> Option<TaskProgress> {
    let step = Some("write".to_owned());
    Some(TaskProgress { at: at(secs), by: Reporter::Token, step, bytes: None, total: None })
}

#[test]
fn a_run_that_begins_after_the_result_makes_it_a_failure() {
    let reported = || Case::running(600).reported(290, true, Reporter::Token);
    let mut again = reported();
    again.facts.progress = progress(400);
    again.fails("began again");
    again.facts.power = Some((Power::Off, at(500)));
    again.fails("began again");
    let mut again = reported();
    again.task.ks_read_again_at = Some(at(400));
    again.fails("began again");
    let mut others = reported().off(310);
    others.facts.progress = progress(400).map(|spoken| TaskProgress { by: Reporter::SharedSecret, ..spoken });
    others.succeeds(Confidence::Proven, &[EvidenceKind::TaskReport, EvidenceKind::PowerOff]);
    let mut last_words = reported().off(310);
    last_words.facts.progress = progress(300);
    last_words.succeeds(Confidence::Proven, &[EvidenceKind::TaskReport, EvidenceKind::PowerOff]);
}

#[test]
fn a_system_that_reports_has_begun_though_it_never_read_the_recipe() {
    let mut case = Case::running(1801);
    case.task.ks_read_at = None;
    case.facts.progress = progress(1700);
    case.waits();
    case.facts.on_at = None;
    case.facts.power = Some((Power::Off, at(1)));
    (case.boot, case.task) = (MediumTrace::default(), MediumTrace::default());
    assert_ne!(case.judge(), TaskJudgement::NeverStarted);
}

#[test]
fn deadlines_count_observed_time() {
    Case::running(7200).waits();
    Case::running(7201).fails("MAINTENANCE_TIMEOUT");
    let mut silent = Case::running(7201);
    silent.facts.unobserved_ms = 60_000;
    silent.waits();
    let mut unread = Case::running(1801);
    unread.task.ks_read_at = None;
    unread.fails("never read its recipe");
    unread.boot.first_read_at = None;
    unread.fails("never read the maintenance ISO");
    unread.boot = MediumTrace::default();
    unread.fails("never read its recipe");
    unread.task.mode = MediaMode::Prefetched;
    unread.waits();
}
