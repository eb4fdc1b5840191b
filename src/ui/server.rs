//! `/servers/{serial}`: one server: what it is, what its BMC can do, what was installed on it.
//!
//! Invariants: reading the BMC changes nothing on it, unless the form says so; a release asks first and names the host;
//! what a BMC or a host reported is shown as text.

mod view;

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Method};
use maud::html;
use serde_json::{Value, json};

use super::forms::SignedForm;
use super::job::identity;
use super::page::PageFrame;
use super::records::{CheckRecord, JobPage, ReleaseRecord, ServerDetail};
use super::refusal::PageRefusal;
use super::viewer::Viewer;
use crate::access::Role;

/// Jobs of the history.
const HISTORY: usize = 50;

/// The path of a server in the API.
fn api_path(serial: &str) -> Result<String, PageRefusal> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_serial = (1..=64).contains(&serial.len()) && serial.bytes().all(is_plain);
    let is_name = is_serial && serial.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if is_name { Ok(format!("/api/v1/servers/{serial}")) } else { Err(PageRefusal::not_found()) }
}

pub async fn show(viewer: Viewer, Path(serial): Path<String>) -> Result<Response, PageRefusal> {
    let server: ServerDetail = viewer.api.get(&api_path(&serial)?).await?;
    let history = format!("/api/v1/jobs?server_serial={serial}&refused=true&limit={HISTORY}");
    let history: JobPage = viewer.api.get(&history).await?;
    let title = format!("Server {serial}");
    let content = view::page(&server, &history.jobs, &viewer);
    Ok(PageFrame::new(&title, "Fleet", &viewer).render(&content).into_response())
}

/// Runs the doctor and shows its report.
pub async fn check(
    viewer: Viewer,
    Path(serial): Path<String>,
    SignedForm(form): SignedForm,
) -> Result<Response, PageRefusal> {
    let body = json!({ "probe_media": form.is_ticked("probe_media") });
    let report: CheckRecord = viewer.api.post(&format!("{}/check", api_path(&serial)?), body).await?;
    let title = format!("Check of {serial}");
    let content = view::report(&serial, &report, viewer.now());
    Ok(PageFrame::new(&title, "Fleet", &viewer).render(&content).into_response())
}

pub async fn inspect(
    viewer: Viewer,
    Path(serial): Path<String>,
    _form: SignedForm,
) -> Result<Redirect, PageRefusal> {
    let _: Value = viewer.api.post(&format!("{}/inspect", api_path(&serial)?), json!({})).await?;
    Ok(Redirect::to(&format!("/servers/{serial}?notice=inspected")))
}

pub async fn protect(
    viewer: Viewer,
    Path(serial): Path<String>,
    _form: SignedForm,
) -> Result<Redirect, PageRefusal> {
    set_protected(&viewer, &serial, true).await
}

pub async fn unprotect(
    viewer: Viewer,
    Path(serial): Path<String>,
    _form: SignedForm,
) -> Result<Redirect, PageRefusal> {
    set_protected(&viewer, &serial, false).await
}

async fn set_protected(viewer: &Viewer, serial: &str, is_protected: bool) -> Result<Redirect, PageRefusal> {
    let body = Some(json!({ "protected": is_protected }));
    let _: Value = viewer.api.call(Method::PATCH, &api_path(serial)?, body, HeaderMap::new()).await?;
    let notice = if is_protected { "protected" } else { "unprotected" };
    Ok(Redirect::to(&format!("/servers/{serial}?notice={notice}")))
}

pub async fn confirm_release(viewer: Viewer, Path(serial): Path<String>) -> Result<Response, PageRefusal> {
    viewer.need(Role::Operator)?;
    let server: ServerDetail = viewer.api.get(&api_path(&serial)?).await?;
    let content = html! {
        p.crumbs { a href="/" { "Fleet" } " / " a href={ "/servers/" (serial) } { (serial) } }
        h1 { "Release the server?" }
        (identity(&serial, Some(&server)))
        ul {
            li { "Every virtual drive of this BMC is ejected, the boot override is cleared and the controller's session is deleted." }
            li { "Nothing on the disks is erased, and the host is not reset." }
        }
        form.stack method="post" action={ "/servers/" (serial) "/release" } {
            (viewer.form_fields())
            label.check {
                input type="checkbox" name="force" value="yes";
                " Force: also if the host is On or a drive holds an image that is not this controller's. A system that runs \
                 from such an image loses it."
            }
            div.actions {
                button.danger { "Release" }
                a.button.quiet href={ "/servers/" (serial) } { "Back, do nothing" }
            }
        }
    };
    Ok(PageFrame::new("Release the server?", "Fleet", &viewer).render(&content).into_response())
}

pub async fn release(
    viewer: Viewer,
    Path(serial): Path<String>,
    SignedForm(form): SignedForm,
) -> Result<Response, PageRefusal> {
    let body = json!({ "force": form.is_ticked("force") });
    let report: ReleaseRecord = viewer.api.post(&format!("{}/release", api_path(&serial)?), body).await?;
    let title = format!("Release of {serial}");
    Ok(PageFrame::new(&title, "Fleet", &viewer).render(&view::released(&serial, &report)).into_response())
}
