//! `/batches` and `/batches/{id}`: installations of many servers under common limits.
//!
//! Invariant: an act that starts or ends installations has a page that says which; pausing has none, because it can be
//! taken back.

mod view;

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fleet::latest_event;
use super::forms::SignedForm;
use super::page::PageFrame;
use super::records::{BatchPage, BatchRecord};
use super::refusal::PageRefusal;
use super::viewer::Viewer;
use crate::access::Role;

pub use view::{ACTIONS_ID, HEAD_ID, actions, head, row};

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct BatchListQuery {
    cursor: String,
}

pub async fn list(viewer: Viewer, Query(query): Query<BatchListQuery>) -> Result<Response, PageRefusal> {
    let is_cursor = query.cursor.bytes().all(|byte| byte.is_ascii_hexdigit());
    let cursor = match query.cursor.as_str() {
        "" => String::new(),
        cursor if is_cursor => format!("?cursor={cursor}"),
        _ => return Err(PageRefusal::bad("the cursor is not one that a page gave")),
    };
    let page: BatchPage = viewer.api.get(&format!("/api/v1/batches{cursor}")).await?;
    Ok(PageFrame::new("Batches", "Batches", &viewer).render(&view::list(&page)).into_response())
}

pub async fn show(viewer: Viewer, Path(id): Path<String>) -> Result<Response, PageRefusal> {
    let after = latest_event(&viewer).await?;
    let batch = load(&viewer, &id).await?;
    let title = batch.title();
    let mut frame = PageFrame::new(&title, "Batches", &viewer);
    frame.live_after = batch.finished_at.is_none().then_some(after);
    Ok(frame.render(&view::page(&batch, &viewer)).into_response())
}

pub async fn load(viewer: &Viewer, id: &str) -> Result<BatchRecord, PageRefusal> {
    viewer.api.get(&api_path(id)?).await
}

fn api_path(id: &str) -> Result<String, PageRefusal> {
    let is_id = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_id { Ok(format!("/api/v1/batches/{id}")) } else { Err(PageRefusal::not_found()) }
}

pub async fn pause(
    viewer: Viewer,
    Path(id): Path<String>,
    _form: SignedForm,
) -> Result<Redirect, PageRefusal> {
    act(&viewer, &id, "pause", json!({}), "paused").await
}

pub async fn confirm_resume(viewer: Viewer, Path(id): Path<String>) -> Result<Response, PageRefusal> {
    confirm(viewer, &id, "Resume the batch?", "resume", "Start rows again", |batch| {
        html! {
            @if let Some(reason) = &batch.reason { p.warning { "The batch was halted: " (super::text::foreign(reason)) } }
            p.problem {
                strong { "Up to " (batch.counts.waiting) " more hosts are reset and their disks erased, " }
                "under the limits of the batch. Failures so far no longer count against the limits."
            }
            (view::waiting_hosts(batch))
        }
    })
    .await
}

pub async fn resume(
    viewer: Viewer,
    Path(id): Path<String>,
    _form: SignedForm,
) -> Result<Redirect, PageRefusal> {
    act(&viewer, &id, "resume", json!({}), "resumed").await
}

pub async fn confirm_cancel(viewer: Viewer, Path(id): Path<String>) -> Result<Response, PageRefusal> {
    confirm(viewer, &id, "Cancel the batch?", "cancel", "Cancel the batch", |batch| {
        html! {
            p { (batch.counts.waiting) " rows that have not started never will. A batch that is cancelled cannot be resumed." }
            label.check {
                input type="checkbox" name="running" value="yes";
                " Also cancel the " (batch.counts.running) " running rows: their disks stay as the installer leaves them"
            }
        }
    })
    .await
}

pub async fn cancel(
    viewer: Viewer,
    Path(id): Path<String>,
    SignedForm(form): SignedForm,
) -> Result<Redirect, PageRefusal> {
    let running = form.is_ticked("running");
    let notice = if running { "batch-cancelled-all" } else { "batch-cancelled" };
    act(&viewer, &id, "cancel", json!({ "running": running }), notice).await
}

pub async fn confirm_retry(viewer: Viewer, Path(id): Path<String>) -> Result<Response, PageRefusal> {
    confirm(viewer, &id, "Erase and install the failed rows again?", "retry", "Erase and install", |batch| {
        html! {
            p.problem {
                strong { (batch.counts.failed) " hosts are reset and the disks that their recipes choose are erased." }
            }
            (view::failed_hosts(batch))
        }
    })
    .await
}

pub async fn retry(
    viewer: Viewer,
    Path(id): Path<String>,
    _form: SignedForm,
) -> Result<Redirect, PageRefusal> {
    act(&viewer, &id, "retry", json!({}), "batch-retried").await
}

async fn act(
    viewer: &Viewer,
    id: &str,
    act: &str,
    body: Value,
    notice: &str,
) -> Result<Redirect, PageRefusal> {
    let _: Value = viewer.api.post(&format!("{}/{act}", api_path(id)?), body).await?;
    Ok(Redirect::to(&format!("/batches/{id}?notice={notice}")))
}

async fn confirm(
    viewer: Viewer,
    id: &str,
    title: &str,
    act: &str,
    button: &str,
    consequences: impl FnOnce(&BatchRecord) -> Markup,
) -> Result<Response, PageRefusal> {
    viewer.need(Role::Operator)?;
    let batch = load(&viewer, id).await?;
    let content = html! {
        p.crumbs { a href="/batches" { "Batches" } " / " a href={ "/batches/" (id) } { (batch.title()) } }
        h1 { (title) }
        form.stack method="post" action={ "/batches/" (id) "/" (act) } {
            (viewer.form_fields())
            (consequences(&batch))
            div.actions {
                button.danger { (button) }
                a.button.quiet href={ "/batches/" (id) } { "Back, do nothing" }
            }
        }
    };
    Ok(PageFrame::new(title, "Batches", &viewer).render(&content).into_response())
}
