//! The kickstart page as HTML. Pure.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{KickstartForm, KickstartOutcome};
use crate::access::Role;
use crate::ui::records::{FindingRecord, LintRecord, RenderedRecord};
use crate::ui::refusal::PageRefusal;
use crate::ui::text::{Look, badge, data_table, foreign};
use crate::ui::viewer::Viewer;

const HOOKS: [(&str, &str); 4] = [
    ("none", "none: the kickstart ends with reboot"),
    ("poweroff", "poweroff: added by the controller"),
    ("webhook", "webhook: added by the controller"),
    ("own-poweroff", "own-poweroff: the kickstart powers off"),
];

pub fn page(viewer: &Viewer, form: &KickstartForm, outcome: &KickstartOutcome) -> Markup {
    html! {
        h1 { "Kickstart" }
        @match outcome {
            KickstartOutcome::Nothing => {}
            KickstartOutcome::Linted(report) => { (linted(report, &form.text)) }
            KickstartOutcome::Rendered(rendered) => { (result(rendered)) }
            KickstartOutcome::Refused(refusal) => { (refused(refusal)) }
        }
        (fields(viewer, form))
    }
}

fn fields(viewer: &Viewer, form: &KickstartForm) -> Markup {
    html! {
        form.stack.wide method="post" action="/kickstart/lint" {
            (viewer.form_fields())
            label for="ks_cfg" { "Kickstart or template" }
            textarea #ks_cfg name="ks_cfg" required spellcheck="false" autocomplete="off" { "\n" (form.text) }
            label for="esxi_version" { "ESXi version" }
            input #esxi_version type="text" name="esxi_version" value=(form.esxi_version) placeholder="that of the installer, else 8.0.3";
            label for="completion_hook" { "Completion hook" }
            select #completion_hook name="completion_hook" {
                @for (hook, words) in HOOKS { option value=(hook) selected[form.completion_hook == hook] { (words) } }
            }
            div.actions { button { "Check" } }
            @if viewer.may(Role::Operator) {
                h2 { "Render for a host" }
                p.hint { "For templates. Passwords, hashes and keys are masked." }
                label for="server_serial" { "Server (serial number)" }
                input #server_serial type="text" name="server_serial" value=(form.server_serial) autocomplete="off";
                label for="variables" { "Variables (JSON)" }
                input #variables type="text" name="variables" value=(form.variables) placeholder="{\"hostname\": \"esx01\"}" autocomplete="off";
                label.check {
                    input type="checkbox" name="show_secrets" value="yes" checked[form.show_secrets];
                    " Show secrets in the result"
                }
                div.actions { button formaction="/kickstart/render" { "Render" } }
            }
        }
    }
}

fn look(class: &str) -> Look {
    match class {
        "breaks" => Look::Failed,
        "dangerous" => Look::Attention,
        _ => Look::Plain,
    }
}

fn linted(report: &LintRecord, text: &str) -> Markup {
    html! {
        section aria-labelledby="lint-title" {
            h2 #lint-title { "Result of the check for ESXi " (report.esxi_version) }
            @match (report.breaks, report.findings.len()) {
                (_, 0) => p.notice role="status" { "No findings." },
                (true, count) => p.problem role="alert" { "This kickstart stops the installation: " (count) " findings." },
                (false, count) => p.warning role="status" { (count) " findings; none of them stops the installation." },
            }
            @if !report.findings.is_empty() {
                (findings(&report.findings))
                (marked(text, &report.findings))
            }
            @if !report.allowed.is_empty() {
                h3 { "Allowed by comments" }
                ul { @for one in &report.allowed { li { code { (one.finding.rule) } " in line " (one.finding.line) ": " (foreign(&one.reason)) } } }
            }
        }
    }
}

fn findings(findings: &[FindingRecord]) -> Markup {
    html! {
        (data_table("Findings", &["Line", "Class", "Rule", "Finding", "What to do"], &html! {
            @for finding in findings {
                tr {
                    th scope="row" { a href={ "#line-" (finding.line) } { (finding.line) ":" (finding.column) } }
                    td { (badge(look(&finding.class), &finding.class)) }
                    td { code { (finding.rule) } }
                    td.reason { (foreign(&finding.message)) }
                    td.reason { (foreign(&finding.remedy)) }
                }
            }
        }))
    }
}

/// The text with its lines numbered, and those with findings marked.
fn marked(text: &str, findings: &[FindingRecord]) -> Markup {
    let mut rules: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for finding in findings {
        rules.entry(finding.line).or_default().push(&finding.rule);
    }
    html! {
        ol.source {
            @for (number, line) in (1..).zip(text.lines()) {
                @let found = rules.get(&number);
                li id={ "line-" (number) } class=[found.map(|_| "marked")] {
                    span { (number) }
                    span { (foreign(line)) @if let Some(rules) = found { " " span.tag { "◀ " (rules.join(", ")) } } }
                }
            }
        }
    }
}

fn result(rendered: &RenderedRecord) -> Markup {
    html! {
        section aria-labelledby="rendered-title" {
            h2 #rendered-title { "Rendered kickstart" }
            @if rendered.masked { p.hint { "Secrets are masked." } }
            @for disk in &rendered.disks {
                p { code { "disk(\"" (foreign(&disk.hints)) "\")" } " is " code { (foreign(&disk.device)) } ": " (foreign(&disk.disk)) " (" (disk.confidence) ")" }
            }
            ol.source {
                @for (number, line) in (1..).zip(rendered.ks_cfg.lines()) { li { span { (number) } span { (foreign(line)) } } }
            }
        }
    }
}

fn refused(refusal: &PageRefusal) -> Markup {
    html! {
        div.problem role="alert" {
            p { (foreign(&refusal.detail)) }
            @if !refusal.faults.is_empty() {
                ul { @for fault in &refusal.faults { li { code { (fault.pointer) } " " (foreign(&fault.message)) } } }
            }
        }
    }
}
