//! Acts on a job: a page that names the host and the consequences, and the form that acts.
//!
//! Invariants: nothing is done by a GET; a page that confirms names server, host and what is erased; whether the act is
//! possible is decided by the API when the form is sent, not by what the page showed.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{JobView, api_path, drives, load};
use crate::access::Role;
use crate::ui::forms::SignedForm;
use crate::ui::page::PageFrame;
use crate::ui::records::{BmcFactsRecord, CheckRecord, JobRecord, ServerDetail};
use crate::ui::refusal::PageRefusal;
use crate::ui::text::{Look, badge, foreign, time};
use crate::ui::viewer::Viewer;

/// A page that asks before an act.
struct Question<'a> {
    title: &'a str,
    /// The last part of the form's path.
    act: &'a str,
    button: &'a str,
    consequences: Markup,
    /// An additional box to tick.
    tick: Option<&'a str>,
}

pub async fn confirm_cancel(viewer: Viewer, Path(id): Path<String>) -> Result<Response, PageRefusal> {
    let consequences = html! {
        ul {
            li { "The job ends as cancelled. The boot override is cleared immediately." }
            li { "The media stay until the installer cannot be running any more, then they are ejected." }
            li { "The controller does not reset the host. What the installer has erased or written so far stays as it is." }
        }
    };
    let (title, button) = ("Cancel the job?", "Cancel the job");
    ask(viewer, &id, Question { title, act: "cancel", button, consequences, tick: None }).await
}

pub async fn confirm_force(viewer: Viewer, Path(id): Path<String>) -> Result<Response, PageRefusal> {
    let consequences = html! {
        ul {
            li { strong { "The media are ejected immediately, even while the installer is reading them." } }
            li { "An installation that is running is destroyed. The disks are then neither what they were nor a system that boots." }
            li { "A job whose stored state this release cannot read is ended without any access to its host." }
        }
    };
    let (title, button) = ("Force the end of the job?", "Eject now and end the job");
    let tick = Some("I know that a running installation is destroyed");
    ask(viewer, &id, Question { title, act: "force", button, consequences, tick }).await
}

pub async fn confirm_retry(viewer: Viewer, Path(id): Path<String>) -> Result<Response, PageRefusal> {
    viewer.need(Role::Operator)?;
    let view = load(&viewer, &id).await?;
    let server = server_of(&viewer, &view.job).await?;
    let has_succeeded = view.job.state.status == "succeeded";
    let hardware = server.as_ref().and_then(|server| server.hardware.as_ref());
    let consequences = html! {
        p.problem {
            strong { "The disks that the recipe of this job chooses are erased." }
            @if has_succeeded { " This job succeeded: what it installed is lost." }
        }
        (erased(&view.job))
        @match hardware {
            Some(hardware) if !hardware.drives.is_empty() => {
                p { "Drives of this server at the inspection of " (time(hardware.read_at)) " UTC:" }
                (drives(&hardware.drives))
            }
            _ => p.hint { "The drives are not known: the server was not inspected." }
        }
        ul {
            li { "A new job with the same recipe is created. The host is reset: what runs on it now ends." }
        }
    };
    let tick = has_succeeded.then_some("Install again although the job succeeded");
    let (title, button) = ("Erase and install again?", "Erase and install");
    Ok(question(
        &viewer,
        &view,
        server.as_ref(),
        Question { title, act: "retry", button, consequences, tick },
    ))
}

/// Which disks, in the words of the recipe.
fn erased(job: &JobRecord) -> Markup {
    html! {
        @if job.erases.is_empty() {
            p { "The kickstart names no disk: one of its scripts or an included file chooses it." }
        } @else {
            p { "The recipe chooses them by:" }
            ul { @for choice in &job.erases { li { code { (foreign(choice)) } } } }
        }
    }
}

async fn ask(viewer: Viewer, id: &str, asked: Question<'_>) -> Result<Response, PageRefusal> {
    viewer.need(Role::Operator)?;
    let view = load(&viewer, id).await?;
    let server = server_of(&viewer, &view.job).await?;
    Ok(question(&viewer, &view, server.as_ref(), asked))
}

/// The record of the job's server, which may have been removed since.
async fn server_of(viewer: &Viewer, job: &JobRecord) -> Result<Option<ServerDetail>, PageRefusal> {
    match viewer.api.get(&format!("/api/v1/servers/{}", job.server_serial)).await {
        Ok(server) => Ok(Some(server)),
        Err(refusal) if refusal.status == http::StatusCode::NOT_FOUND => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn question(viewer: &Viewer, view: &JobView, server: Option<&ServerDetail>, asked: Question<'_>) -> Response {
    let (job, id) = (&view.job, &view.job.state.job_id);
    let content = html! {
        p.crumbs { a href="/" { "Fleet" } " / " a href={ "/jobs/" (id) } { "job on " (job.server_serial) } }
        h1 { (asked.title) }
        (identity(&job.server_serial, server))
        (asked.consequences)
        form.stack method="post" action={ "/jobs/" (id) "/" (asked.act) } {
            (viewer.form_fields())
            @if let Some(tick) = asked.tick {
                label.check { input type="checkbox" name="sure" value="yes" required; " " (tick) }
            }
            div.actions {
                button.danger { (asked.button) }
                a.button.quiet href={ "/jobs/" (id) } { "Back, do nothing" }
            }
        }
    };
    PageFrame::new(asked.title, "Fleet", viewer).render(&content).into_response()
}

/// Which machine it is, by everything that a person can compare.
pub fn identity(serial: &str, server: Option<&ServerDetail>) -> Markup {
    html! {
        dl.facts {
            dt { "Serial number" } dd { strong { (serial) } }
            @match server {
                None => { dt { "Record" } dd { "removed from the inventory" } }
                Some(server) => {
                    dt { "Host" } dd { (server.management_address.as_deref().map_or_else(|| "no management address recorded".to_owned(), foreign)) }
                    dt { "BMC" } dd { code { (foreign(&server.row.bmc_address)) } }
                    @if let Some(model) = server.hardware.as_ref().and_then(|hardware| hardware.model.as_deref()) {
                        dt { "Model" } dd { (foreign(model)) }
                    }
                    @if !server.row.labels.is_empty() {
                        dt { "Labels" }
                        dd { @for (name, value) in &server.row.labels { span.tag { (foreign(name)) "=" (foreign(value)) } " " } }
                    }
                }
            }
        }
    }
}

pub async fn cancel(
    viewer: Viewer,
    Path(id): Path<String>,
    _form: SignedForm,
) -> Result<Redirect, PageRefusal> {
    end(&viewer, &id, false).await
}

pub async fn force(
    viewer: Viewer,
    Path(id): Path<String>,
    SignedForm(form): SignedForm,
) -> Result<Redirect, PageRefusal> {
    if !form.is_ticked("sure") {
        return Err(PageRefusal::bad("tick the box to confirm that a running installation is destroyed"));
    }
    end(&viewer, &id, true).await
}

async fn end(viewer: &Viewer, id: &str, force: bool) -> Result<Redirect, PageRefusal> {
    let path = api_path(id)?;
    let _: Value = viewer.api.post(&format!("{path}/cancel"), json!({ "force": force })).await?;
    Ok(Redirect::to(&format!("/jobs/{id}?notice=cancelled")))
}

pub async fn retry(
    viewer: Viewer,
    Path(id): Path<String>,
    SignedForm(form): SignedForm,
) -> Result<Redirect, PageRefusal> {
    let path = api_path(&id)?;
    let body = json!({ "force": form.is_ticked("sure") });
    let job: Value = viewer.api.post_once(&format!("{path}/retry"), body, form.once()).await?;
    let new = job["job_id"].as_str().ok_or_else(PageRefusal::broken)?;
    Ok(Redirect::to(&format!("/jobs/{new}?notice=retried")))
}

/// What the BMC of a job's server shows at this moment: power, media, boot override.
pub async fn bmc(viewer: Viewer, Path(id): Path<String>, _form: SignedForm) -> Result<Response, PageRefusal> {
    let job: JobRecord = viewer.api.get(&api_path(&id)?).await?;
    let serial = &job.server_serial;
    let report: CheckRecord = viewer.api.post(&format!("/api/v1/servers/{serial}/check"), json!({})).await?;
    let title = format!("BMC of {serial}");
    let content = html! {
        p.crumbs { a href="/" { "Fleet" } " / " a href={ "/jobs/" (id) } { "job on " (serial) } }
        h1 { (title) }
        p { "Read at " (time(viewer.now())) " UTC. Nothing was changed." }
        (present_state(&report.facts))
        @if report.verdict == "not_ready" { p.warning { (foreign(&report.sentence)) } }
        div.actions {
            a.button.quiet href={ "/jobs/" (id) } { "Back to the job" }
            a.button.quiet href={ "/servers/" (serial) } { "Show the server" }
        }
    };
    Ok(PageFrame::new(&title, "Fleet", &viewer).render(&content).into_response())
}

/// Power, drives, override and boot sources of a BMC.
pub fn present_state(facts: &BmcFactsRecord) -> Markup {
    let power = facts.system.as_ref().and_then(|system| system.power.as_deref());
    html! {
        dl.facts {
            dt { "Power" } dd { (power.map_or_else(|| "not reported".to_owned(), foreign)) }
            dt { "Boot override" } dd { (facts.armed.as_deref().map_or_else(|| "none".to_owned(), foreign)) }
            @for slot in &facts.slots {
                dt { "Drive " (foreign(&slot.id)) }
                dd {
                    @if slot.occupied { (badge(Look::Running, "image inserted")) } @else { (badge(Look::Plain, "empty")) }
                    " " span.faint { (foreign(&slot.media_types.join(", "))) }
                }
            }
            @for source in &facts.sources { dt { (foreign(&source.name)) } dd { (foreign(&source.value)) } }
        }
    }
}
