//! Batches as HTML. Pure.
//!
//! Invariant: the numbers of a batch and its rows come from the same answer of the API.

use maud::{Markup, html};

use crate::access::Role;
use crate::ui::records::{BatchCountsRecord, BatchPage, BatchRecord, BatchRowRecord};
use crate::ui::text::{Look, badge, brief, data_table, foreign, job_word, step_word, time};
use crate::ui::viewer::Viewer;

pub const HEAD_ID: &str = "batch-head";
pub const ACTIONS_ID: &str = "batch-actions";
/// Hosts that a page names one by one.
const NAMED_MAX: usize = 100;

pub fn list(page: &BatchPage) -> Markup {
    html! {
        h1 { "Batches" }
        @if page.batches.is_empty() {
            p { "There is no batch. Create one with " code { "shoal batch submit" } "." }
        } @else {
            (data_table("Batches", &["Batch", "State", "Progress", "Reason", "Created by", "Created (UTC)"], &html! {
                @for batch in &page.batches {
                    tr {
                        th scope="row" { a href={ "/batches/" (batch.batch_id) } { (batch.title()) } }
                        td { (state(batch)) }
                        td { (progress(&batch.counts)) }
                        td.reason { @if let Some(reason) = &batch.reason { (brief(reason)) } }
                        td { (foreign(&batch.created_by)) }
                        td { (time(batch.created_at)) }
                    }
                }
            }))
        }
        @if let Some(cursor) = &page.next_cursor {
            nav.pages aria-label="Pages" { a rel="next" href={ "/batches?cursor=" (cursor) } { "Older batches" } }
        }
    }
}

fn state(batch: &BatchRecord) -> Markup {
    let look = match batch.status.as_str() {
        "halted" => Look::Failed,
        "running" => Look::Running,
        "paused" => Look::Attention,
        "finished" if batch.counts.failed > 0 => Look::Attention,
        "finished" => Look::Good,
        _ => Look::Plain,
    };
    badge(look, &batch.status)
}

/// Ended rows of all, and what became of them.
fn progress(counts: &BatchCountsRecord) -> Markup {
    let ended = counts.succeeded + counts.failed + counts.cancelled;
    html! {
        progress max=(counts.total.max(1)) value=(ended) aria-label="Rows that have ended" {}
        span.words {
            (counts.succeeded) " succeeded, " (counts.failed) " failed, "
            @if counts.cancelled > 0 { (counts.cancelled) " cancelled, " }
            (counts.running) " running, " (counts.waiting) " waiting, of " (counts.total)
        }
    }
}

pub fn page(batch: &BatchRecord, viewer: &Viewer) -> Markup {
    html! {
        p.crumbs { a href="/batches" { "Batches" } " / batch" }
        h1 { (batch.title()) }
        (head(batch))
        (actions(batch, viewer))
        (plan(batch))
        h2 { "Rows" }
        div.scroll role="region" aria-label="Rows" tabindex="0" {
            table.fleet role="table" {
                thead role="rowgroup" {
                    tr role="row" {
                        @for name in ["Server", "State", "Step", "Reason", "Tries"] { th scope="col" role="columnheader" { (name) } }
                    }
                }
                tbody role="rowgroup" { @for (number, one) in batch.rows.iter().enumerate() { (row(batch, number, one)) } }
            }
        }
    }
}

/// State, reason and progress: what live updates replace.
pub fn head(batch: &BatchRecord) -> Markup {
    html! {
        div #(HEAD_ID) {
            p { (state(batch)) " " (progress(&batch.counts)) }
            @if let Some(reason) = &batch.reason {
                p class=(if batch.status == "halted" { "problem" } else { "warning" }) { (foreign(reason)) }
            }
            @if let Some(waits_for) = &batch.waits_for { p.hint { "Waiting: " (foreign(waits_for)) } }
        }
    }
}

/// Buttons lead to pages that name the consequences.
pub fn actions(batch: &BatchRecord, viewer: &Viewer) -> Markup {
    let path = format!("/batches/{}", batch.batch_id);
    let is_over = matches!(batch.status.as_str(), "finished" | "cancelled");
    html! {
        @if viewer.may(Role::Operator) {
            div #(ACTIONS_ID) .actions {
                @if batch.status == "running" {
                    form method="post" action={ (path) "/pause" } { (viewer.form_fields()) button { "Pause" } }
                }
                @if matches!(batch.status.as_str(), "paused" | "halted") {
                    a.button href={ (path) "/resume" } { "Resume…" }
                }
                @if !is_over { a.button.danger href={ (path) "/cancel" } { "Cancel…" } }
                @if batch.counts.failed > 0 && batch.status != "cancelled" {
                    a.button.danger href={ (path) "/retry" } { "Retry the failed rows…" }
                }
            }
        }
    }
}

fn plan(batch: &BatchRecord) -> Markup {
    let limits = &batch.limits;
    let or_none = |limit: Option<u32>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    html! {
        h2 { "Plan" }
        dl.facts {
            dt { "Canary" }
            dd { @if limits.canary == 0 { "none" } @else { "the first " (limits.canary) " rows must succeed before the others start" } }
            dt { "Rows in parallel" } dd { (or_none(limits.max_parallel)) }
            dt { "Halts after failures" } dd { (or_none(limits.max_failures)) }
            @for (label, limit) in &limits.per_label_parallel { dt { "In parallel for each " (foreign(label)) } dd { (limit) } }
            @for (label, limit) in &limits.per_label_failures { dt { "Failures for each " (foreign(label)) } dd { (limit) } }
            @if let Some(at) = limits.not_before { dt { "Starts not before (UTC)" } dd { (time(at)) } }
            @if let Some(at) = limits.not_after { dt { "Starts not after (UTC)" } dd { (time(at)) } }
            dt { "Created by" } dd { (foreign(&batch.created_by)) }
            dt { "Created (UTC)" } dd { (time(batch.created_at)) }
            @if let Some(at) = batch.finished_at { dt { "Finished (UTC)" } dd { (time(at)) } }
            dt { "Batch id" } dd { code { (batch.batch_id) } }
        }
    }
}

/// One row, the `number`th from 0.
pub fn row(batch: &BatchRecord, number: usize, one: &BatchRowRecord) -> Markup {
    let is_canary = u32::try_from(number).is_ok_and(|number| number < batch.limits.canary);
    let status = match one.state.as_str() {
        "running" => "provisioning",
        "waiting" => "queued",
        other => other,
    };
    let (look, word) = job_word(status, one.confidence.as_deref(), "done");
    let word = if status == "queued" { "waiting".to_owned() } else { word };
    html! {
        tr id={ "row-" (one.server_serial) } role="row" {
            th scope="row" role="rowheader" {
                a id={ "s-" (one.server_serial) } href={ "/servers/" (one.server_serial) } { (one.server_serial) }
                @if is_canary { " " span.tag { "canary" } }
            }
            td role="cell" { a id={ "j-" (one.server_serial) } href={ "/jobs/" (one.job_id) } { (badge(look, &word)) } }
            td role="cell" {
                @match (&one.failed_step, &one.step) {
                    (Some(step), _) => { (step_word(step)) }
                    (None, Some(step)) if one.state == "running" => { (step_word(step)) }
                    _ => {}
                }
            }
            td.reason role="cell" { @if let Some(reason) = &one.reason { (brief(reason)) } }
            td role="cell" { (one.attempts) }
        }
    }
}

fn hosts(batch: &BatchRecord, state: &str) -> Markup {
    let all: Vec<&BatchRowRecord> = batch.rows.iter().filter(|row| row.state == state).collect();
    html! {
        ul {
            @for row in all.iter().take(NAMED_MAX) { li { (row.server_serial) } }
            @if all.len() > NAMED_MAX { li { "and " (all.len() - NAMED_MAX) " more" } }
        }
    }
}

pub fn failed_hosts(batch: &BatchRecord) -> Markup {
    hosts(batch, "failed")
}

pub fn waiting_hosts(batch: &BatchRecord) -> Markup {
    hosts(batch, "waiting")
}
