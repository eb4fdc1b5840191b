//! What a verdict and its evidence are worth, in words. Pure.

use maud::{Markup, html};

use crate::ui::records::{JobRecord, VerdictRecord};
use crate::ui::text::{data_table, foreign, time};

/// What the confidence means, and when it can be wrong.
pub fn worth(confidence: &str) -> &'static str {
    match confidence {
        "proven" => {
            "Proven: the installer or the installed system itself reported. Nothing but the completed installation \
             explains what was seen."
        }
        "probable" => {
            "Probable: after the kickstart was read, the host booted again or powered off as announced. A crash, a \
             watchdog or a person at the power button can look the same. A completion hook makes the next job proven."
        }
        "assumed" => {
            "Assumed: the host was On without interruption for long enough, and this BMC shows nothing that could have \
             confirmed more. An installer that stopped at an error message looks the same: look at the console before \
             you use the host."
        }
        _ => "",
    }
}

pub fn kind_word(kind: &str) -> &str {
    match kind {
        "installer_hook" => "Report from the installer",
        "os_api" => "The installed ESXi answered",
        "second_boot" => "Second boot",
        "kickstart_read" => "Kickstart read",
        "guest_ejected" => "Media ejected by the host",
        "power_stable" => "Power stayed On",
        "task_report" => "Report from the maintenance system",
        "media_signal" => "Signal by a read of CD2",
        "power_off" => "The host powered off",
        other => other,
    }
}

/// The section of the page.
pub fn section(job: &JobRecord) -> Markup {
    html! {
        section #job-verdict aria-labelledby="verdict-title" {
            h2 #verdict-title { "Verdict and evidence" }
            @match &job.verdict {
                Some(verdict) => { (of(verdict)) }
                None => p.faint { "There is no verdict yet: the job has not been decided." }
            }
            @if let Some(installed) = &job.installed {
                p {
                    "ESXi " (foreign(&installed.version)) " build " (foreign(&installed.build)) " answers at "
                    code { (foreign(&installed.management_address)) } "."
                }
            }
        }
    }
}

fn of(verdict: &VerdictRecord) -> Markup {
    html! {
        p { strong { (verdict.outcome) @if let Some(confidence) = &verdict.confidence { ", " (confidence) } } }
        @if let Some(confidence) = &verdict.confidence { p { (worth(confidence)) } }
        @if verdict.evidence.is_empty() {
            p.faint { "No evidence was recorded." }
        } @else {
            (data_table("Evidence", &["Evidence", "Time (UTC)", "What was seen"], &html! {
                @for evidence in &verdict.evidence {
                    tr {
                        th scope="row" { (kind_word(&evidence.kind)) }
                        td { (time(evidence.at)) }
                        td { (foreign(&evidence.detail)) }
                    }
                }
            }))
        }
    }
}
