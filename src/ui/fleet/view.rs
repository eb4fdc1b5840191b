//! The fleet as HTML. Pure.
//!
//! Invariant: a row is rendered by one function, for the page and for live updates.

use jiff::Timestamp;
use maud::{Markup, html};

use super::model::{Fleet, FleetGroup, STATES};
use crate::ui::records::{JobState, ServerRow};
use crate::ui::text::{badge, brief, foreign, job_word, progress, step_word, time, time_left};

pub const SUMMARY_ID: &str = "fleet-summary";
const COLUMNS: [&str; 6] = ["Server", "State", "Step", "Result or reason", "Time left", "Labels"];

pub fn page(fleet: &Fleet, now: Timestamp) -> Markup {
    html! {
        h1 { "Fleet" }
        (summary(fleet))
        (filter(fleet))
        @if fleet.found == 0 { (nothing(fleet)) }
        @for group in &fleet.groups { (table(fleet, group, now)) }
        (pages(fleet))
    }
}

/// How many hosts are in each state; each is a link to them.
pub fn summary(fleet: &Fleet) -> Markup {
    html! {
        nav #(SUMMARY_ID) .states aria-label="Hosts by state" {
            ul {
                @for (state, name) in STATES {
                    @let count = fleet.counts.get(state).copied().unwrap_or(0);
                    @let is_alarm = state == "attention" && count > 0;
                    li {
                        a.alarm[is_alarm] href=(fleet.link("state", state))
                            aria-current=[(fleet.query.state == state).then_some("true")] {
                            strong { (count) } " " (name)
                        }
                    }
                }
            }
        }
    }
}

fn filter(fleet: &Fleet) -> Markup {
    let group = fleet.group.as_deref().unwrap_or("-");
    html! {
        form.filter method="get" action="/" role="search" {
            @if !fleet.query.state.is_empty() { input type="hidden" name="state" value=(fleet.query.state); }
            div {
                label for="q" { "Search" }
                input #q type="search" name="q" value=(fleet.query.q) placeholder="serial, address, label, reason"
                    autocomplete="off" spellcheck="false";
            }
            @if !fleet.labels.is_empty() {
                div {
                    label for="group" { "Group by" }
                    select #group name="group" {
                        @for label in &fleet.labels { option value=(label) selected[label == group] { (label) } }
                        option value="-" selected[group == "-"] { "no label" }
                    }
                }
            }
            button { "Apply" }
        }
    }
}

fn nothing(fleet: &Fleet) -> Markup {
    let is_filtered = !fleet.query.q.is_empty() || !fleet.query.state.is_empty();
    html! {
        @if is_filtered {
            p { "No server matches. " a href="/" { "Show all servers" } "." }
        } @else {
            p {
                "The inventory is empty. Add servers with " code { "shoal server add" } " or "
                code { "shoal server import" } "."
            }
        }
    }
}

fn table(fleet: &Fleet, group: &FleetGroup, now: Timestamp) -> Markup {
    let name = match (&fleet.group, &group.value) {
        (Some(label), Some(value)) => format!("{label} = {value}"),
        (Some(label), None) => format!("without the label {label}"),
        (None, _) => "All servers".to_owned(),
    };
    html! {
        div.scroll role="region" aria-label=(name) tabindex="0" {
            table.fleet role="table" {
                caption { (foreign(&name)) " " span.count { "(" (group.rows.len()) ")" } }
                thead role="rowgroup" {
                    tr role="row" { @for column in COLUMNS { th scope="col" role="columnheader" { (column) } } }
                }
                tbody role="rowgroup" { @for server in &group.rows { (row(server, now)) } }
            }
        }
    }
}

pub fn row_id(serial: &str) -> String {
    format!("row-{serial}")
}

/// One server.
pub fn row(server: &ServerRow, now: Timestamp) -> Markup {
    html! {
        tr id=(row_id(&server.serial)) role="row" {
            th scope="row" role="rowheader" {
                a id={ "s-" (server.serial) } href={ "/servers/" (server.serial) } { (server.serial) }
                @if server.protected { " " span.tag { "protected" } }
            }
            @match &server.last_job {
                Some(job) => { (job_cells(job, now)) }
                None => {
                    td role="cell" { span.faint { "no job yet" } }
                    @for _ in 0..3 { td role="cell" {} }
                }
            }
            td.labels role="cell" {
                @for (name, value) in &server.labels { span.tag { (foreign(name)) "=" (foreign(value)) } " " }
            }
        }
    }
}

fn job_cells(job: &JobState, now: Timestamp) -> Markup {
    let (look, word) = job_word(&job.status, job.confidence.as_deref(), &job.cleanup);
    let is_running = job.status == "provisioning";
    html! {
        td role="cell" {
            a id={ "j-" (job.job_id) } href={ "/jobs/" (job.job_id) } { (badge(look, &word)) }
        }
        td role="cell" { @if is_running { (bar(job)) } }
        td.reason role="cell" {
            @if let Some(step) = &job.failed_step { strong { (step_word(step)) } ": " }
            @match &job.reason {
                Some(reason) => { (brief(reason)) }
                None => @if let Some(at) = job.finished_at { span.faint { "ended " (time(at)) } }
            }
        }
        td role="cell" { @if let Some(deadline) = &job.deadline { (time_left(deadline, now)) } }
    }
}

/// The progress of a running job, as a bar and in words.
pub fn bar(job: &JobState) -> Markup {
    let (percent, words) = progress(job);
    html! {
        progress max="100" value=(percent) aria-label={ "Progress of " (job.job_id) } {}
        span.words { (foreign(&words)) }
    }
}

fn pages(fleet: &Fleet) -> Markup {
    html! {
        @if fleet.pages > 1 {
            nav.pages aria-label="Pages" {
                @if fleet.page > 1 { a rel="prev" href=(fleet.link("page", &(fleet.page - 1).to_string())) { "Previous" } }
                span { "Page " (fleet.page) " of " (fleet.pages) " (" (fleet.found) " hosts)" }
                @if fleet.page < fleet.pages {
                    a rel="next" href=(fleet.link("page", &(fleet.page + 1).to_string())) { "Next" }
                }
            }
        }
        @if fleet.is_cut {
            p.hint { "Only the first 10,000 servers are shown here. Use " code { "shoal server list" } " for the rest." }
        }
    }
}
