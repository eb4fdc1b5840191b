//! What must be true of every world, whatever its faults.
//!
//! Each rule is a function from what happened to sentences about what should not have. It asks the
//! simulator's truth (the journal of a machine), never what a BMC said. Invariant: a rule that makes
//! an exception says for which class, and the class follows from the scenario or the journal.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use shoal::domain::{Confidence, EjectReason, EvidenceKind, FailureCode, Outcome, Phase, Status};
use shoal::media::trace::QUIET;
use shoal_base::world::elapsed;
use shoal_sim::{Fault, Happening};

use super::installer;
use super::leaks;
use super::run::{JobRan, MachineRan, Ran};
use super::scenario::{Address, Plan, serial};

/// One thing that should not be.
#[derive(Clone, Debug)]
pub struct Violation {
    pub seed: u64,
    pub machine: Option<usize>,
    pub rule: &'static str,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.machine.map_or("the world".to_owned(), serial);
        write!(f, "seed {}, {of}: {}: {}", self.seed, self.rule, self.detail)
    }
}

/// What a success was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Success {
    pub confidence: Confidence,
    /// This job's installation was on the disk when the verdict was written.
    pub is_true: bool,
}

/// One job, and all that is known of it.
pub struct Case<'a> {
    pub plan: &'a Plan,
    pub job: &'a JobRan,
    pub machine: &'a MachineRan,
    /// When the machine's next job was made.
    until: Timestamp,
    standing_faults: Vec<Fault>,
    /// The controller was stopped at some time.
    stops: bool,
}

/// No self test is shorter.
const POST_MIN: Duration = Duration::from_secs(10);

/// The slowest BMC's answer.
const EJECT_TAKES: Duration = Duration::from_secs(10);

/// No simulated fault leads to an internal error.
fn has_a_failure_code(case: &Case<'_>) -> Option<String> {
    let job = &case.job.job;
    let has_failed = job.status == Status::Failed;
    match (has_failed, job.failed_step, job.failure_code) {
        (true, Some(step), Some(code)) => {
            let is_sound = code != FailureCode::InternalError && code.entry().steps.contains(&step);
            (!is_sound).then(|| format!("{code} at {step}: {:?}", job.reason))
        }
        (false, None, None) => None,
        other => Some(format!("{:?} with {other:?}", job.status)),
    }
}

type Rule = (&'static str, fn(&Case<'_>) -> Option<String>);

const RULES: [Rule; 10] = [
    ("every job is over in time", is_over),
    ("every job gets exactly one verdict", has_one_verdict),
    ("`proven` is never false", proven_is_true),
    ("`probable` is false only where the host rebooted unasked, or another one answered", probable_is_true),
    ("`assumed` is false only without a live source", assumed_is_true),
    ("nothing is cut short that installs", cuts_nothing),
    ("one installing start a job", starts_once),
    ("nothing is left on the BMC", leaves_nothing),
    ("no secret is shown", shows_no_secret),
    ("a failure has a code of its step", has_a_failure_code),
];

pub fn violations(ran: &Ran) -> Vec<Violation> {
    let seed = ran.scenario.seed;
    let mut found: Vec<Violation> = cases(ran)
        .flat_map(|case| {
            let machine = Some(case.job.machine);
            RULES.iter().filter_map(move |(rule, check)| {
                Some(Violation { seed, machine, rule, detail: check(&case)? })
            })
        })
        .collect();
    let kept = ran.kept.iter().map(|line| Violation {
        seed,
        machine: None,
        rule: "logs and metrics are clean",
        detail: line.clone(),
    });
    found.extend(kept);
    found
}

pub fn cases(ran: &Ran) -> impl Iterator<Item = Case<'_>> {
    ran.jobs.iter().enumerate().map(|(number, job)| {
        let later = ran.jobs[number + 1..].iter().find(|later| later.machine == job.machine);
        let plan = &ran.scenario.plans[job.machine];
        Case {
            plan,
            standing_faults: (plan.persona.faults)(),
            stops: !ran.scenario.stops.is_empty(),
            job,
            machine: &ran.machines[job.machine],
            until: later.map_or(Timestamp::MAX, |later| later.job.created_at),
        }
    })
}

impl Case<'_> {
    /// What happened to the machine in this job's time, up to `end`.
    fn happenings(&self, end: Timestamp) -> impl Iterator<Item = &(Timestamp, Happening)> {
        let (begin, until) = (self.job.job.created_at, self.until);
        self.machine.journal.iter().filter(move |(at, _)| *at >= begin && *at <= end && *at < until)
    }

    fn decided_at(&self) -> Timestamp {
        self.job.decided_at.unwrap_or(Timestamp::MAX)
    }

    /// Whether the disk held this job's installation at `end`.
    pub fn is_installed(&self, end: Timestamp) -> bool {
        let written = self.happenings(end).filter_map(|(_, happening)| match happening {
            Happening::InstallBegun => Some(false),
            // What was begun before this job's time is not this job's.
            Happening::Installed { ks_sha256 } => Some(self.is_ours(ks_sha256)),
            Happening::Imaged { sha256 } => Some(*sha256 == self.job.installs),
            _ => None,
        });
        let begun = self.happenings(end).any(|(_, happening)| *happening == Happening::InstallBegun);
        begun && written.last().unwrap_or(false)
    }

    /// A kickstart with a hook is not the operator's byte for byte.
    fn is_ours(&self, ks_sha256: &str) -> bool {
        self.plan.linux.is_none()
            && (ks_sha256 == self.job.installs || matches!(self.plan.hook, "poweroff" | "webhook"))
    }

    pub fn success(&self) -> Option<Success> {
        let verdict = self.job.job.verdict.as_ref()?;
        let confidence = verdict.confidence.filter(|_| verdict.outcome == Outcome::Succeeded)?;
        Some(Success { confidence, is_true: self.is_installed(self.decided_at()) })
    }

    /// Failed, and yet the host runs what was asked for.
    pub fn is_missed(&self) -> bool {
        self.job.job.status == Status::Failed && self.is_installed(Timestamp::MAX)
    }

    fn false_success(&self, confidence: Confidence) -> bool {
        self.success() == Some(Success { confidence, is_true: false })
    }

    /// The one class that no BMC can show: the host rebooted in the middle of an install without
    /// a request to its BMC.
    pub fn rebooted_unasked(&self) -> bool {
        self.happenings(self.decided_at())
            .any(|(_, happening)| matches!(happening, Happening::Crash | Happening::HandsOn))
    }

    /// A maintenance system that had begun to write had reported so by its job's token: that its host went off without a
    /// result is no success.
    fn knows_its_agent(&self) -> bool {
        const MUTE: [&str; 2] = ["no-guest-network", "operator-system"];
        let begun = self.happenings(self.decided_at()).map(|(_, happening)| happening);
        let first = begun.into_iter().find(|happening| {
            matches!(happening, Happening::InstallBegun | Happening::Crash | Happening::HandsOn)
        });
        self.plan.linux.is_some_and(|linux| linux.completion == "webhook")
            && first == Some(&Happening::InstallBegun)
            && !self.stops
            && !self.faults().any(|fault| MUTE.contains(&fault.name()))
    }

    /// The BMC has a source that shows every boot, and nothing kept it from being watched.
    pub fn has_live_source(&self) -> bool {
        self.has_source() && !self.has_missed_a_source() && !self.was_booting_already()
    }

    /// The self test that led to the installer had begun before the job did: no source changes at such a start.
    fn was_booting_already(&self) -> bool {
        let first = self
            .happenings(self.decided_at())
            .find(|(_, happening)| matches!(happening, Happening::Boot | Happening::InstallBegun));
        matches!(first, Some((_, Happening::InstallBegun)))
    }

    fn has_source(&self) -> bool {
        let has = |fault: &Fault| self.faults().any(|one| one == fault);
        (self.has_progress() || self.has_record()) && !has(&Fault::NullSources)
    }

    /// A source without a time or a count may show nothing between two looks.
    fn has_progress(&self) -> bool {
        let has = |fault: &Fault| self.faults().any(|one| one == fault);
        let sources = self.plan.persona.sources;
        sources.boot_progress
            && sources.boot_progress_time
            && ![Fault::NoBootProgress, Fault::StuckBootProgress].iter().any(has)
    }

    fn has_record(&self) -> bool {
        let has = |fault: &Fault| self.faults().any(|one| one == fault);
        let sources = self.plan.persona.sources;
        let stuck = [Fault::NoLastResetTime, Fault::ZeroLastResetTime, Fault::StuckLastResetTime];
        (sources.last_reset_time && !stuck.iter().any(has))
            || (sources.number_of_reboots && !has(&Fault::StuckNumberOfReboots))
    }

    /// The BMC could not be observed for so long that a source may have shown a boot meanwhile. Progress that has
    /// moved on between two looks may have done so in either of two boots.
    pub fn has_missed_a_source(&self) -> bool {
        let watch = &self.job.job.facts.esxi().watch;
        let may_hide = !self.has_record() && Duration::from_millis(watch.longest_pause_ms) >= POST_MIN;
        let was_away = may_hide || watch.silence_ended_at.is_some();
        self.has_source() && self.may_be_unwatched() && was_away
    }

    fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.plan.faults.iter().chain(&self.standing_faults)
    }

    /// The BMC, the network or the controller were away at some time; a source that could not be
    /// watched when it would have spoken is not live.
    fn may_be_unwatched(&self) -> bool {
        const AWAY: [&str; 12] = [
            "bmc-down-after-reset",
            "bmc-down-in-install",
            "bmc-restarts-in-install",
            "busy-503-after-start",
            "lost-answer",
            "lost-request",
            "not-ready-after-reset",
            "reset-connection",
            "slow",
            "system-404-after-reset",
            "tokens-refused-after-start",
            "unauthorised-after-reset",
        ];
        self.stops || self.plan.outage.is_some() || self.faults().any(|fault| AWAY.contains(&fault.name()))
    }

    /// The installation was over, and the firmware has booted the installer once more, behind a BMC that
    /// does not show its host's reads, or keeps its host from seeing that the media are out.
    pub fn installs_again_unseen(&self) -> bool {
        let mut journal = self.happenings(Timestamp::MAX).map(|(_, happening)| happening);
        let is_over = journal
            .any(|happening| matches!(happening, Happening::Installed { .. } | Happening::Imaged { .. }));
        let is_seen = !self.faults().any(|fault| matches!(fault, Fault::Prefetch | Fault::LiveMediaIgnored));
        !is_seen && is_over && journal.any(|happening| *happening == Happening::InstallBegun)
    }

    /// What answered is the ESXi that was on the disk: of the installer's own build, never seen before
    /// because the host was off, and started in the middle of the installation by an operator at the machine.
    fn was_its_old_system(&self) -> bool {
        let first = self.job.job.verdict.as_ref().and_then(|verdict| verdict.evidence.first());
        let answered = first.is_some_and(|first| first.kind == EvidenceKind::OsApi);
        let is_same = self.plan.previous == Some(installer::RELEASE);
        answered && is_same && !self.plan.power_on && self.rebooted_unasked()
    }

    /// What answered is another host, since the operator gave its address.
    pub fn was_another_host(&self) -> bool {
        let first = self.job.job.verdict.as_ref().and_then(|verdict| verdict.evidence.first());
        let answered = first.is_some_and(|first| first.kind == EvidenceKind::OsApi);
        answered && matches!(self.plan.management, Some(Address::Bystander | Address::Both))
    }

    fn released_without_proof(&self) -> bool {
        matches!(self.job.job.facts.cleanup.released, Some(EjectReason::Forced | EjectReason::TimedOut))
    }
}

fn is_over(case: &Case<'_>) -> Option<String> {
    let cursor = &case.job.job.cursor;
    (cursor.phase != Phase::Done).then(|| format!("still at {}, {:?}", cursor.step, cursor.phase))
}

fn has_one_verdict(case: &Case<'_>) -> Option<String> {
    let job = &case.job.job;
    let wanted = match job.verdict.as_ref()?.outcome {
        Outcome::Succeeded => Status::Succeeded,
        Outcome::Failed => Status::Failed,
        Outcome::Cancelled => Status::Cancelled,
    };
    (job.status != wanted).then(|| format!("status {:?} with verdict {:?}", job.status, job.verdict))
}

fn proven_is_true(case: &Case<'_>) -> Option<String> {
    (case.false_success(Confidence::Proven) && !case.was_its_old_system()).then(|| evidence(case))
}

fn probable_is_true(case: &Case<'_>) -> Option<String> {
    let went_off = case.rebooted_unasked() && !case.knows_its_agent();
    let excused = went_off || case.installs_again_unseen() || case.was_another_host();
    (case.false_success(Confidence::Probable) && !excused).then(|| evidence(case))
}

fn assumed_is_true(case: &Case<'_>) -> Option<String> {
    (case.false_success(Confidence::Assumed) && case.has_live_source()).then(|| evidence(case))
}

fn evidence(case: &Case<'_>) -> String {
    format!("{:?}", case.job.job.verdict.as_ref().map(|verdict| &verdict.evidence))
}

/// By a reset or by an eject. What follows from a wrong verdict is that rule's, and an eject by force
/// or at the install timeout is what was promised. A host that rebooted unasked is seen to install
/// again only where its kickstart is read a minute after the first time. A run that begins once an eject
/// was asked for cannot be saved. One that hangs past its own job's timeout is ended by the next job.
fn cuts_nothing(case: &Case<'_>) -> Option<String> {
    let wrong = case.success().is_some_and(|success| !success.is_true);
    if wrong || case.installs_again_unseen() {
        return None;
    }
    let (mut by_hand, mut reset_at, mut begun_at) = (None, None, None);
    let (mut is_again, mut is_hidden) = (false, false);
    for (at, happening) in case.happenings(Timestamp::MAX) {
        match happening {
            Happening::HandsOn => by_hand = Some(*at),
            Happening::Reset(_) => reset_at = Some(*at),
            Happening::InstallBegun => {
                let earlier = begun_at.replace(*at);
                is_again = earlier.is_some();
                let is_soon = earlier.is_some_and(|begun| elapsed(begun, *at) < QUIET);
                is_hidden = is_soon && case.rebooted_unasked();
            }
            Happening::InstallCut if by_hand != Some(*at) && !is_hidden && begun_at.is_some() => {
                let is_reset = reset_at == Some(*at);
                let is_new = begun_at.is_some_and(|begun| elapsed(begun, *at) <= EJECT_TAKES);
                if is_again && is_new && !is_reset {
                    continue;
                }
                if is_reset || !case.released_without_proof() {
                    return Some(format!("{} at {at}", if is_reset { "a reset" } else { "an eject" }));
                }
            }
            _ => {}
        }
    }
    None
}

/// Through Redfish; after a success the final reset may start the host once more, and an operator who cuts its
/// power before an installation has begun makes a start as if it had never been. What is done in the
/// cleanup may happen at the very time of the verdict.
fn starts_once(case: &Case<'_>) -> Option<String> {
    let (mut starts, mut undone, mut may_be_undone) = (vec![], vec![], false);
    let mut by_hand = None;
    for (at, happening) in case.happenings(Timestamp::MAX) {
        match happening {
            Happening::Start => {
                starts.push(*at);
                may_be_undone = true;
            }
            Happening::InstallBegun => may_be_undone = false,
            Happening::HandsOn => by_hand = Some(*at),
            Happening::PowerOff if by_hand == Some(*at) && std::mem::take(&mut may_be_undone) => {
                undone.push(*at)
            }
            _ => {}
        }
    }
    let by_verdict = |times: &[Timestamp]| times.iter().filter(|at| **at < case.decided_at()).count();
    let before = by_verdict(&starts);
    let allowed = 1 + usize::from(case.job.job.status == Status::Succeeded) + undone.len();
    (before > 1 + by_verdict(&undone) || starts.len() > allowed)
        .then(|| format!("{} starts, {before} of them before the verdict", starts.len()))
}

/// Of this job, unless its cleanup says what and why. A running host that its BMC keeps from seeing a
/// change of its drives is clean once it has been off.
fn leaves_nothing(case: &Case<'_>) -> Option<String> {
    let job = &case.job.job;
    if job.cursor.phase != Phase::Done || !job.facts.cleanup.left.is_empty() {
        return None;
    }
    let state = &case.machine.state;
    let name = job.id.to_string();
    let is_ours = |image: &Option<String>| image.as_ref().is_some_and(|image| image.contains(&name));
    if let Some((slot, _)) = state.media.iter().find(|(_, slot)| is_ours(&slot.image_when_off)) {
        return Some(format!("a medium of the job is in {slot}"));
    }
    let armed =
        state.boot_override.enabled != "Disabled" && !matches!(state.boot_override.target, "None" | "Hdd");
    (armed && case.until == Timestamp::MAX)
        .then(|| format!("the override is armed: {:?}", state.boot_override))
}

fn shows_no_secret(case: &Case<'_>) -> Option<String> {
    let job = &case.job.job;
    let reasons = job.reason.iter().chain(&job.facts.cleanup.left);
    let texts = reasons.cloned().chain(case.job.events.iter().map(|event| {
        let event = &event.event;
        format!("{} {} {}", event.op, event.message, event.detail)
    }));
    texts.into_iter().find_map(|text| Some(format!("{} in {text:?}", leaks::find(&text)?)))
}
