//! `/audit`: who did what, for admins.
//!
//! Invariant: the page shows entries as the API gives them, newest first; the check of the chain covers all of them.

use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::page::PageFrame;
use super::records::{AuditPage, AuditRecord, AuditVerdictRecord};
use super::refusal::PageRefusal;
use super::text::{data_table, foreign, time};
use super::viewer::Viewer;

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct AuditQuery {
    actor: String,
    action: String,
    server_serial: String,
    job_id: String,
    cursor: String,
}

impl AuditQuery {
    fn pairs(&self) -> [(&'static str, &str); 4] {
        [
            ("actor", self.actor.trim()),
            ("action", self.action.trim()),
            ("server_serial", self.server_serial.trim()),
            ("job_id", self.job_id.trim()),
        ]
    }

    /// The query of the API, or of this page, from an entry on.
    fn encoded(&self, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.pairs().into_iter().filter(|(_, value)| !value.is_empty()));
        if !cursor.is_empty() {
            query.append_pair("cursor", cursor);
        }
        query.finish()
    }
}

pub async fn show(viewer: Viewer, Query(query): Query<AuditQuery>) -> Result<Response, PageRefusal> {
    let page: AuditPage = viewer.api.get(&format!("/api/v1/audit?{}", query.encoded(&query.cursor))).await?;
    let content = html! {
        h1 { "Audit log" }
        p { a.button.quiet href="/audit/verify" { "Verify the whole log" } }
        (filter(&query))
        @if page.entries.is_empty() { p { "No entry matches." } } @else { (table(&page.entries)) }
        @if let Some(cursor) = page.next_cursor {
            nav.pages aria-label="Pages" {
                a rel="next" href={ "/audit?" (query.encoded(&cursor.to_string())) } { "Older entries" }
            }
        }
    };
    Ok(PageFrame::new("Audit log", "Audit", &viewer).render(&content).into_response())
}

fn filter(query: &AuditQuery) -> Markup {
    let names = ["Actor", "Action", "Server", "Job id"];
    html! {
        form.filter method="get" action="/audit" role="search" {
            @for (name, (field, value)) in names.into_iter().zip(query.pairs()) {
                div { label for=(field) { (name) } input id=(field) type="text" name=(field) value=(value) autocomplete="off"; }
            }
            button { "Apply" }
        }
    }
}

fn table(entries: &[AuditRecord]) -> Markup {
    html! {
        (data_table("Entries", &["No.", "Time (UTC)", "Actor", "From", "Action", "Object", "Detail"], &html! {
            @for entry in entries {
                tr {
                    th scope="row" { (entry.seq) }
                    td { (time(entry.time)) }
                    td { (foreign(&entry.actor_name)) " (" (entry.role) ")" br; code { (foreign(&entry.actor)) } }
                    td { @if let Some(source) = &entry.source { (foreign(source)) } }
                    td { code { (foreign(&entry.action)) } }
                    td {
                        @if let Some(serial) = &entry.server_serial { a href={ "/servers/" (serial) } { (foreign(serial)) } " " }
                        @if let Some(job) = &entry.job_id { a href={ "/jobs/" (job) } { "job" } }
                    }
                    td { code { (foreign(&entry.detail.to_string())) } }
                }
            }
        }))
    }
}

pub async fn verify(viewer: Viewer) -> Result<Response, PageRefusal> {
    let verdict: AuditVerdictRecord = viewer.api.get("/api/v1/audit/verify").await?;
    let content = html! {
        p.crumbs { a href="/audit" { "Audit log" } " / verify" }
        h1 { "Verification of the audit log" }
        @if verdict.ok {
            p.notice { "Audit log verified: entries " (verdict.first) " to " (verdict.entries) " are unchanged." }
        } @else {
            p.problem role="alert" {
                "The audit log was changed after entry " (verdict.entries) ": "
                (verdict.fault.as_deref().map(foreign).unwrap_or_default())
            }
        }
        dl.facts { dt { "Hash of the last good entry" } dd { code { (verdict.last_hash) } } }
    };
    Ok(PageFrame::new("Verification", "Audit", &viewer).render(&content).into_response())
}
