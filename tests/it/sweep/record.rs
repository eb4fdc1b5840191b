//! What a world's jobs did, so that two versions of the program can be compared seed by seed.
//!
//! Invariant: texts, times and ids are left out, so that only a change of behaviour changes a line.

use shoal::domain::Job;

use super::run::{JobRan, Ran};

/// A line for each job: seed, number, verdict, state of the cleanup, and each event's step, part, status and level.
pub fn history(seed: u64, ran: &Ran) -> String {
    ran.jobs.iter().enumerate().map(|(number, job)| format!("{seed} {number} {}\n", line(job))).collect()
}

fn line(ran: &JobRan) -> String {
    let events = ran.events.iter().map(|event| {
        let event = &event.event;
        format!("{}/{}={}:{}", event.step.name(), event.op, event.status.name(), event.level.name())
    });
    let events: Vec<String> = events.collect();
    format!("{} {}", verdict(&ran.job), events.join(" "))
}

fn verdict(job: &Job) -> String {
    let Some(verdict) = &job.verdict else { return "none".to_owned() };
    let confidence = verdict.confidence.map_or("-", |confidence| confidence.name());
    format!("{}/{confidence}/{}", verdict.outcome.name(), job.status.name())
}
