//! What was seen of a BMC is worth: a line a check, and a verdict.
//!
//! Pure. Invariants: every check has its line, in one order, whatever was seen; a verdict other than
//! "not ready" has no failed check; and each failed check says what to do.

mod connection;
mod host;
mod maintenance;
mod media;

use super::{Check, CheckFacts, CheckReport, CheckStatus, Readiness};

/// Judges `facts` of the BMC at `address`.
pub fn judge(address: &str, facts: CheckFacts) -> CheckReport {
    let checks = checks(address, &facts);
    let (verdict, sentence) = conclude(&facts, &checks);
    let serial = facts.expected_serial.clone().or_else(|| facts.system.as_ref()?.serial.clone());
    let confidence = facts.system.is_some().then(|| host::confidence(&facts).to_owned());
    CheckReport {
        serial,
        bmc_address: address.to_owned(),
        verdict,
        sentence,
        media_layout: facts.layout.chosen.clone(),
        confidence,
        checks,
        facts,
    }
}

fn checks(address: &str, facts: &CheckFacts) -> Vec<Check> {
    let mut checks = vec![connection::reach(address, facts), connection::tls(address, facts)];
    if !facts.reach.is_good() {
        checks.extend(skipped(&AFTER_REACH, "the BMC was not asked"));
        return checks;
    }
    checks.push(connection::login(facts));
    if !facts.login.good {
        checks.extend(skipped(&AFTER_REACH[1..], "nothing can be read without a login"));
        return checks;
    }
    checks.push(host::identity(facts));
    if facts.system.is_none() {
        checks.extend(skipped(&AFTER_REACH[2..], "the system that is meant was not found"));
        return checks;
    }
    checks.extend([
        host::power(facts),
        media::drives(facts),
        media::insert(facts),
        host::boot(facts),
        host::reset(facts),
        host::evidence(facts),
        media::licence(facts),
        connection::clock(facts),
        connection::latency(facts),
        media::probe(facts),
        maintenance::maintenance(facts),
    ]);
    checks
}

/// The checks after the BMC was reached, in this order.
const AFTER_REACH: [&str; 13] = [
    "login",
    "identity",
    "power",
    "media",
    "insert",
    "boot",
    "reset",
    "evidence",
    "licence",
    "clock",
    "latency",
    "probe",
    "maintenance",
];

fn skipped<'a>(names: &'a [&'a str], why: &'a str) -> impl Iterator<Item = Check> + 'a {
    names.iter().map(move |name| check(name, CheckStatus::Skipped, why))
}

fn conclude(facts: &CheckFacts, checks: &[Check]) -> (Readiness, String) {
    let failed: Vec<&Check> = checks.iter().filter(|check| check.status == CheckStatus::Failed).collect();
    if let Some(first) = failed.first() {
        let mut sentence = format!("not ready, because {}", first.found);
        if let Some(remedy) = &first.remedy {
            sentence.push_str(&format!(": {remedy}"));
        }
        if failed.len() > 1 {
            let others: Vec<&str> = failed[1..].iter().map(|check| check.name.as_str()).collect();
            sentence.push_str(&format!("; and see {}", others.join(", ")));
        }
        return (Readiness::NotReady, sentence);
    }
    let drives = facts.layout.drives.join(" and ");
    let worth = format!("a success will be {} without a hook", host::confidence(facts));
    match facts.layout.chosen.as_deref() {
        None => (Readiness::Ready, format!("ready: a job will {} first; {worth}", media::switch_on(facts))),
        Some("single-cd") => {
            (Readiness::ReadySingleCd, format!("ready with single-cd: everything on {drives}; {worth}"))
        }
        Some("cd-usb") => {
            (Readiness::Ready, format!("ready: a virtual CD drive and a USB stick, {drives}; {worth}"))
        }
        _ => (Readiness::Ready, format!("ready: two virtual CD drives, {drives}; {worth}")),
    }
}

fn check(name: &str, status: CheckStatus, found: impl Into<String>) -> Check {
    Check { name: name.to_owned(), status, found: found.into(), remedy: None }
}

fn ok(name: &str, found: impl Into<String>) -> Check {
    check(name, CheckStatus::Ok, found)
}

fn warning(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { remedy: Some(remedy.into()), ..check(name, CheckStatus::Warning, found) }
}

fn failed(name: &str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { remedy: Some(remedy.into()), ..check(name, CheckStatus::Failed, found) }
}

#[cfg(test)]
mod tests;
