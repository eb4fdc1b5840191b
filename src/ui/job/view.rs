//! The page of a job, put together from its parts. Pure.

use maud::{Markup, html};

use super::{JobView, read_map, timeline, verdict};
use crate::access::Role;
use crate::ui::records::{DriveRecord, EventRecord, JobRecord};
use crate::ui::text::{
    badge, bytes, clock, data_table, duration, foreign, job_word, progress, seconds_between, step_word,
};
use crate::ui::text::{deadline_word, time, time_left};
use crate::ui::viewer::Viewer;

pub const ACTIONS_ID: &str = "job-actions";
/// Events that the page shows; the newest ones.
const EVENTS_MAX: usize = 200;

pub fn page(view: &JobView, viewer: &Viewer) -> Markup {
    let serial = &view.job.server_serial;
    html! {
        p.crumbs { a href="/" { "Fleet" } " / " a href={ "/servers/" (serial) } { (serial) } " / job" }
        h1 { "Job on " (serial) }
        (head(view))
        (actions(&view.job, viewer))
        (timeline::section(view))
        (read_map::section(view))
        (verdict::section(&view.job))
        (events(&view.job))
    }
}

/// The parts that live updates replace, by their ids.
pub fn parts(view: &JobView) -> Vec<(&'static str, Markup)> {
    vec![
        ("job-head", head(view)),
        ("job-timeline", timeline::section(view)),
        ("job-reads", read_map::section(view)),
        ("job-verdict", verdict::section(&view.job)),
        ("job-events", events(&view.job)),
    ]
}

fn head(view: &JobView) -> Markup {
    let (job, state) = (&view.job, &view.job.state);
    let (look, word) = job_word(&state.status, job.confidence(), &state.cleanup);
    let spent = duration(seconds_between(state.created_at, view.end()));
    html! {
        div #job-head {
            p {
                (badge(look, &word)) " "
                @if state.status == "provisioning" {
                    @let (percent, words) = progress(state);
                    progress max="100" value=(percent) aria-label="Progress of the installation" {}
                    span.words { (foreign(&words)) }
                }
            }
            @if let Some(reason) = &state.reason {
                @if state.status == "failed" {
                    div.problem role="alert" { (foreign(reason)) }
                } @else {
                    p.warning { (foreign(reason)) }
                }
            }
            dl.facts {
                @if let Some(step) = &state.failed_step { dt { "Failed step" } dd { (step_word(step)) " (" code { (step) } ")" } }
                @if let Some(code) = &state.failure_code { dt { "Failure code" } dd { code { (code) } } }
                @if let (Some(step), "provisioning") = (&state.step, state.status.as_str()) {
                    dt { "Step" } dd { (step_word(step)) }
                }
                @if let Some(deadline) = &state.deadline {
                    dt { "Next deadline" }
                    dd { (deadline_word(&deadline.kind)) " by " (clock(deadline.at)) " UTC, " (time_left(deadline, view.now)) }
                }
                dt { "Created (UTC)" } dd { (time(state.created_at)) }
                @if let Some(end) = state.finished_at { dt { "Finished (UTC)" } dd { (time(end)) } }
                dt { "Duration" } dd { (spent) }
                dt { "Cleanup" }
                dd { (state.cleanup) @if !job.cleanup_left.is_empty() { ": " (foreign(&job.cleanup_left.join("; "))) } }
                dt { "Target" } dd { code { (foreign(&state.task_target)) } }
                dt { "Job id" } dd { code { (state.job_id) } }
                @if let Some(first) = &job.retry_of { dt { "Retry of" } dd { a href={ "/jobs/" (first) } { code { (first) } } } }
                @if let Some(batch) = &job.batch_id { dt { "Batch" } dd { a href={ "/batches/" (batch) } { code { (batch) } } } }
            }
        }
    }
}

/// Buttons lead to pages that name the consequences. What is possible is decided when they are used.
pub fn actions(job: &JobRecord, viewer: &Viewer) -> Markup {
    let id = &job.state.job_id;
    html! {
        @if viewer.may(Role::Operator) {
            div #(ACTIONS_ID) .actions {
                form method="post" action={ "/jobs/" (id) "/bmc" } {
                    (viewer.form_fields())
                    button.quiet { "Read the BMC now" }
                }
                @if job.is_active() {
                    a.button.danger href={ "/jobs/" (id) "/cancel" } { "Cancel…" }
                    a.button.danger href={ "/jobs/" (id) "/force" } { "Force the end…" }
                } @else {
                    a.button.danger href={ "/jobs/" (id) "/retry" } { "Retry…" }
                }
            }
        }
    }
}

fn events(job: &JobRecord) -> Markup {
    let hidden = job.events.len().saturating_sub(EVENTS_MAX);
    html! {
        section #job-events.log aria-labelledby="events-title" {
            h2 #events-title { "Events" }
            @if hidden > 0 {
                p.hint {
                    "The newest " (EVENTS_MAX) " of " (job.events.len()) " events. "
                    code { "shoal job show " (job.state.job_id) } " shows all."
                }
            }
            (data_table("List of events", &["Time (UTC)", "Step", "State", "Message"], &html! {
                @for event in job.events.iter().skip(hidden).rev() { (row(event)) }
            }))
        }
    }
}

fn row(event: &EventRecord) -> Markup {
    let spent = event.duration_ms.filter(|spent| *spent >= 1_000).map(|spent| duration(spent / 1_000));
    html! {
        tr role="row" {
            td role="cell" { (time(event.time)) }
            td role="cell" { code { (foreign(&event.op)) } @if event.attempt > 1 { " (try " (event.attempt) ")" } }
            td role="cell" class=(event.level) { @if event.level != "info" { (event.level) ": " } (event.status) }
            td role="cell" { (foreign(&event.message)) @if let Some(spent) = spent { span.faint { " (" (spent) ")" } } }
        }
    }
}

/// The drives of the last inspection, for pages that say what may be erased.
pub fn drives(drives: &[DriveRecord]) -> Markup {
    html! {
        ul {
            @for drive in drives {
                li {
                    @let parts = [&drive.vendor, &drive.model, &drive.serial, &drive.protocol];
                    (foreign(&drive.id)) ": "
                    @for part in parts.into_iter().flatten() { (foreign(part)) " " }
                    @if let Some(size) = drive.bytes { (bytes(size)) }
                    @if drive.is_volume { " (volume)" }
                }
            }
        }
    }
}
