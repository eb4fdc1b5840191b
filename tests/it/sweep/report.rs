//! Figures over all worlds of a sweep, and how to see a violation again.
//!
//! Invariant: what is printed depends on the worlds alone, not on the order in which they ended.

use std::collections::BTreeMap;
use std::fmt;

use shoal::domain::{Confidence, Status};
use shoal::flow::policy::Detection;

use super::Order;
use super::checks::{self, Case, Violation};
use super::run::{JobRan, Ran, Tally};
use super::scenario::serial;
use shoal_sim::Happening;

/// Violations that are shown; all are counted.
const SHOWN_MAX: usize = 100;

/// A fault of a moment that so many machines had and that struck none of them is not tried at all.
const STRIKES_WITHIN: u64 = 100;

/// The faults that wait for a moment. The others are in a BMC's nature and work all the time.
const OF_A_MOMENT: &[&str] = &[
    "bmc-down-in-install",
    "bmc-restarts-in-install",
    "busy-503",
    "busy-503-after-start",
    "clear-refused",
    "cut-body",
    "etag-412-once",
    "flaky-5xx",
    "garbled-json",
    "import-busy",
    "insert-500-after-eject",
    "insert-500-once",
    "insert-not-done",
    "insert-not-seen",
    "insert-task-fails-late",
    "lost-answer",
    "lost-request",
    "not-ready-after-reset",
    "on-409-once",
    "override-lost",
    "reset-answer-lost",
    "reset-connection",
    "reset-critical",
    "reset-done-critical",
    "reset-done-task-fails",
    "reset-task-fails",
    "slots-404-after-reset",
    "slots-404-until-listed",
    "system-404-after-reset",
    "throttled-429",
    "truncated-json",
    "tokens-refused-after-start",
    "unauthorised-after-reset",
    "unauthorised-once",
];

pub struct Report {
    order: Order,
    pub violations: Vec<Violation>,
    jobs: u64,
    tally: Tally,
    statuses: BTreeMap<&'static str, u64>,
    /// By confidence: true and false.
    successes: BTreeMap<Confidence, [u64; 2]>,
    /// False ones by what kept the controller from knowing it; one may have several.
    excused: BTreeMap<&'static str, u64>,
    /// Of all jobs, those whose host installed again behind a BMC that fetches images whole.
    unseen_loops: u64,
    /// Failed, with the installation on the disk.
    missed: u64,
    failed_at: BTreeMap<String, u64>,
    /// Installs that the controller cut short.
    cut: u64,
    machines_with: BTreeMap<&'static str, u64>,
    struck: BTreeMap<&'static str, u64>,
    /// Of a sweep of one seed: everything.
    stories: Vec<String>,
}

impl Report {
    pub fn new(order: Order) -> Report {
        Report {
            order,
            violations: vec![],
            jobs: 0,
            tally: Tally::default(),
            statuses: BTreeMap::new(),
            successes: BTreeMap::new(),
            excused: BTreeMap::new(),
            unseen_loops: 0,
            missed: 0,
            failed_at: BTreeMap::new(),
            cut: 0,
            machines_with: BTreeMap::new(),
            struck: BTreeMap::new(),
            stories: vec![],
        }
    }

    pub fn add(&mut self, ran: &Ran) {
        self.tally.crashes += ran.tally.crashes;
        self.tally.orderly_stops += ran.tally.orderly_stops;
        self.tally.suspensions += ran.tally.suspensions;
        self.tally.takeovers += ran.tally.takeovers;
        self.tally.refused += ran.tally.refused;
        self.tally.clock_steps += ran.tally.clock_steps;
        checks::cases(ran).for_each(|case| self.add_case(&case));
        for (plan, machine) in ran.scenario.plans.iter().zip(&ran.machines) {
            for fault in plan.faults.iter().chain(&(plan.persona.faults)()) {
                *self.machines_with.entry(fault.name()).or_default() += 1;
            }
            for (fault, times) in &machine.struck {
                *self.struck.entry(fault).or_default() += times;
            }
            self.cut += cuts_by_the_controller(&machine.journal);
        }
        if self.order.rule == Detection::Power {
            return;
        }
        let violations = checks::violations(ran);
        if self.order.seeds == 1 {
            self.stories.push(ran.scenario.to_string());
            self.stories.extend(violations.iter().filter_map(|one| Some(story(ran, one.machine?))));
        }
        self.violations.extend(violations);
        self.violations.sort_by_key(|one| (one.seed, one.machine));
    }

    /// All worlds are in.
    pub fn close(&mut self) {
        let is_untried = |fault: &&&str| {
            self.machines_with.get(**fault).is_some_and(|machines| *machines >= STRIKES_WITHIN)
                && !self.struck.contains_key(**fault)
        };
        let untried = OF_A_MOMENT.iter().filter(is_untried).map(|fault| Violation {
            seed: self.order.first,
            machine: None,
            rule: "every fault strikes",
            detail: format!("{fault} never did"),
        });
        let untried: Vec<Violation> = untried.collect();
        self.violations.extend(untried);
    }

    fn add_case(&mut self, case: &Case<'_>) {
        let job = &case.job.job;
        self.jobs += 1;
        *self.statuses.entry(job.status.name()).or_default() += 1;
        self.missed += u64::from(case.is_missed());
        if let Some(success) = case.success() {
            let counts = self.successes.entry(success.confidence).or_default();
            counts[usize::from(!success.is_true)] += 1;
            if !success.is_true {
                self.excuse(case, success.confidence);
            }
        }
        self.unseen_loops += u64::from(case.installs_again_unseen());
        if job.status == Status::Failed {
            let step = job.failed_step.map_or("?", |step| step.name());
            *self.failed_at.entry(step.to_owned()).or_default() += 1;
        }
    }
}

impl Report {
    fn excuse(&mut self, case: &Case<'_>, confidence: Confidence) {
        let is_assumed = confidence == Confidence::Assumed;
        let excuses = [
            ("the host rebooted unasked", case.rebooted_unasked()),
            ("it installed again, unseen", case.installs_again_unseen()),
            ("another host answered", case.was_another_host()),
            ("a source could not be observed", is_assumed && case.has_missed_a_source()),
        ];
        for (excuse, _) in excuses.iter().filter(|(_, applies)| *applies) {
            *self.excused.entry(excuse).or_default() += 1;
        }
    }
}

fn cuts_by_the_controller(journal: &[(jiff::Timestamp, Happening)]) -> u64 {
    let cuts = journal.iter().filter(|(_, happening)| *happening == Happening::InstallCut);
    let by_hand = |at: jiff::Timestamp| journal.contains(&(at, Happening::HandsOn));
    cuts.filter(|(at, _)| !by_hand(*at)).count() as u64
}

/// All events and deeds of one machine, side by side in time.
fn story(ran: &Ran, machine: usize) -> String {
    let begun = ran.jobs.iter().map(|job| job.job.created_at).min().unwrap_or_default();
    let secs = |at: jiff::Timestamp| at.duration_since(begun).as_secs_f64();
    let mut lines: Vec<(f64, String)> = vec![];
    for (at, happening) in &ran.machines[machine].journal {
        lines.push((secs(*at), format!("machine: {happening:?}")));
    }
    let own = |job: &&JobRan| job.machine == machine;
    for event in ran.jobs.iter().filter(own).flat_map(|job| &job.events) {
        let event = &event.event;
        let line = format!("{} {:?} {} {}", event.op, event.status, event.message, event.detail);
        lines.push((secs(event.time), line));
    }
    lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut text = format!("--- {} {}\n", serial(machine), ran.scenario.plans[machine]);
    for (at, line) in lines {
        text += &format!("{at:10.1} {line}\n");
    }
    for job in ran.jobs.iter().filter(own) {
        text += &format!("{:?} {:?} {:#?}\n", job.job.status, job.job.reason, job.job.facts);
    }
    text + &format!("{:?}\n", ran.machines[machine].state)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stories.iter().try_for_each(|story| writeln!(f, "{story}"))?;
        self.show_faults(f)?;
        self.show_jobs(f)?;
        let Order { seeds, first, jobs, rule, stores } = self.order;
        let stores = format!("{stores:?}").to_lowercase();
        for violation in self.violations.iter().take(SHOWN_MAX) {
            writeln!(f, "VIOLATION {violation}")?;
            let seed = violation.seed;
            writeln!(
                f,
                "  see it: cargo xtask sim --seeds 1 --first-seed {seed} --jobs {jobs} --store {stores}"
            )?;
        }
        let count = self.violations.len();
        writeln!(
            f,
            "{} jobs in {seeds} worlds from seed {first}, rule {rule}, store {stores}: {count} violations",
            self.jobs
        )
    }
}

impl Report {
    fn show_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:28} {:>10} {:>10}", "fault", "machines", "struck")?;
        for (fault, machines) in &self.machines_with {
            // What is in a BMC's nature strikes all the time.
            let struck = self.struck.get(fault).map_or("-".to_owned(), u64::to_string);
            writeln!(f, "{fault:28} {machines:>10} {struck:>10}")?;
        }
        Ok(())
    }

    fn show_jobs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { crashes, orderly_stops, suspensions, takeovers, refused, clock_steps } = self.tally;
        writeln!(
            f,
            "\ncontrollers killed {crashes}, asked to stop {orderly_stops}, suspended {suspensions}; jobs taken \
             over {takeovers}"
        )?;
        writeln!(
            f,
            "second jobs refused while the first was active {refused}; clock set ahead {clock_steps} times"
        )?;
        for (status, count) in &self.statuses {
            writeln!(f, "{status:28} {count:>10}")?;
        }
        writeln!(f, "{:28} {:>10} {:>10} {:>10}", "success", "true", "false", "false in %")?;
        for (confidence, [right, wrong]) in &self.successes {
            let percent = *wrong as f64 * 100.0 / (right + wrong) as f64;
            writeln!(f, "{:28} {right:>10} {wrong:>10} {percent:>10.3}", confidence.name())?;
        }
        for (excuse, count) in &self.excused {
            writeln!(f, "of the false ones: {excuse:36} {count:>10}")?;
        }
        writeln!(f, "hosts that installed again, unseen {}", self.unseen_loops)?;
        writeln!(f, "installs cut short by the controller {}", self.cut)?;
        let failed: Vec<String> =
            self.failed_at.iter().map(|(step, count)| format!("{step} {count}")).collect();
        writeln!(f, "failed at: {}", failed.join(", "))?;
        writeln!(f, "failed with the installation on the disk {}", self.missed)
    }
}

#[test]
fn a_fault_without_effect_is_reported() {
    let mut report = Report::new(Order::FIXED);
    report.machines_with.extend([
        ("busy-503", STRIKES_WITHIN),
        ("lost-answer", STRIKES_WITHIN),
        ("prefetch", 900),
    ]);
    report.struck.insert("busy-503", 1);
    report.close();
    let details: Vec<&str> = report.violations.iter().map(|one| one.detail.as_str()).collect();
    assert_eq!(details, ["lost-answer never did"]);
}
