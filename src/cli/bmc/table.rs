//! Reports as people read them.
//!
//! Invariant: nothing is left out but what the JSON form has for programs.

use super::checked::Checked;
use crate::cli::output::table;
use crate::doctor::{Check, CheckReport, CheckStatus};

/// The verdict, a line a check, and what to do.
pub fn report_text(report: &CheckReport) -> String {
    let name = report.serial.as_deref().unwrap_or("a server of unknown serial number");
    let rows = report.checks.iter().map(|check| [check.name.clone(), status(check), check.found.clone()]);
    let mut text = format!("{name} at {}: {}\n\n", report.bmc_address, report.sentence);
    text.push_str(&table(["CHECK", "STATUS", "FOUND"], rows));
    let to_do: Vec<String> = report.checks.iter().filter_map(remedy).collect();
    if !to_do.is_empty() {
        text.push_str(&format!("\n\nWhat to do:\n{}", to_do.join("\n")));
    }
    text
}

fn status(check: &Check) -> String {
    match check.status {
        CheckStatus::Ok => "ok".to_owned(),
        CheckStatus::Warning => "WARNING".to_owned(),
        CheckStatus::Failed => "FAILED".to_owned(),
        CheckStatus::Skipped => "-".to_owned(),
    }
}

fn remedy(check: &Check) -> Option<String> {
    check.remedy.as_ref().map(|remedy| format!("  {}: {remedy}", check.name))
}

/// A row a server, then what those that are not ready need.
pub fn fleet_text(all: &[Checked]) -> String {
    let text = |value: Option<&String>| value.cloned().unwrap_or_else(|| "-".to_owned());
    let rows = all.iter().map(|checked| match &checked.result {
        Ok(report) => [
            checked.serial.clone(),
            report.verdict.name().to_owned(),
            text(report.media_layout.as_ref()),
            text(report.confidence.as_ref()),
            text(report.facts.system.as_ref().and_then(|system| system.model.as_ref())),
            report.bmc_address.clone(),
        ],
        Err(_) => [checked.serial.as_str(), "not_checked", "-", "-", "-", "-"].map(str::to_owned),
    });
    let mut shown = table(["SERIAL", "VERDICT", "LAYOUT", "CONFIDENCE", "MODEL", "BMC"], rows);
    let ready = all.iter().filter(|checked| checked.is_ready()).count();
    shown.push_str(&format!("\n\n{ready} of {} ready", all.len()));
    for checked in all.iter().filter(|checked| !checked.is_ready()) {
        shown.push_str(&format!("\n{}", checked.line()));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{CheckFacts, judge};

    fn unreachable() -> CheckReport {
        let mut facts = CheckFacts { expected_serial: Some("A1".to_owned()), ..CheckFacts::default() };
        facts.reach.error = Some("cannot connect".to_owned());
        judge("https://10.0.0.5", facts)
    }

    #[test]
    fn a_report_has_its_verdict_first_and_every_remedy_last() {
        let text = report_text(&unreachable());
        assert!(text.starts_with("A1 at https://10.0.0.5: not ready, because "), "{text}");
        assert!(text.contains("FAILED") && text.contains("cannot connect"), "{text}");
        assert!(text.lines().last().unwrap().starts_with("  reach: "), "{text}");
    }

    #[test]
    fn a_fleet_has_a_row_a_server_and_a_sentence_for_each_that_is_not_ready() {
        let all = [
            Checked { serial: "A1".to_owned(), result: Ok(Box::new(unreachable())) },
            Checked { serial: "B2".to_owned(), result: Err("busy (409)".to_owned()) },
        ];
        let text = fleet_text(&all);
        assert!(text.contains("0 of 2 ready"), "{text}");
        assert!(text.contains("A1: not ready, because") && text.contains("B2: not checked: busy"), "{text}");
    }
}
