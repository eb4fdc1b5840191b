//! `/kickstart`: paste a kickstart, see its mistakes in their lines, or what a template becomes for a host.
//!
//! Nothing is stored. Invariant: a kickstart is shown only to the person who has just sent it, and secrets of a rendered
//! one are masked unless they are requested.

mod view;

use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::forms::{FormFields, SignedForm};
use super::page::PageFrame;
use super::records::{LintRecord, RenderedRecord};
use super::refusal::PageRefusal;
use super::viewer::Viewer;

/// What the form holds, to be shown again.
#[derive(Default)]
pub struct KickstartForm {
    text: String,
    esxi_version: String,
    completion_hook: String,
    server_serial: String,
    variables: String,
    show_secrets: bool,
}

/// What came of it.
enum KickstartOutcome {
    Nothing,
    Linted(LintRecord),
    Rendered(RenderedRecord),
    Refused(PageRefusal),
}

impl KickstartForm {
    fn read(fields: &FormFields) -> KickstartForm {
        KickstartForm {
            // Browsers send CR LF.
            text: fields.raw("ks_cfg").replace("\r\n", "\n"),
            esxi_version: fields.text("esxi_version").to_owned(),
            completion_hook: fields.text("completion_hook").to_owned(),
            server_serial: fields.text("server_serial").to_owned(),
            variables: fields.raw("variables").to_owned(),
            show_secrets: fields.is_ticked("show_secrets"),
        }
    }

    fn lint_body(&self) -> Value {
        let mut body = json!({ "ks_cfg": self.text });
        for (name, value) in
            [("esxi_version", &self.esxi_version), ("completion_hook", &self.completion_hook)]
        {
            if !value.is_empty() {
                body[name] = json!(value);
            }
        }
        body
    }

    fn render_body(&self) -> Result<Value, PageRefusal> {
        let variables = match self.variables.trim() {
            "" => Map::new(),
            text => serde_json::from_str(text).map_err(|_| {
                PageRefusal::bad("Variables must be a JSON object, such as {\"hostname\": \"esx01\"}")
            })?,
        };
        let mut body =
            json!({ "ks_cfg": self.text, "variables": variables, "show_secrets": self.show_secrets });
        if !self.server_serial.is_empty() {
            body["server_serial"] = json!(self.server_serial);
        }
        Ok(body)
    }
}

pub async fn show(viewer: Viewer) -> Response {
    respond(&viewer, &KickstartForm::default(), &KickstartOutcome::Nothing)
}

pub async fn lint(viewer: Viewer, SignedForm(fields): SignedForm) -> Response {
    let form = KickstartForm::read(&fields);
    let outcome = match viewer.api.post("/api/v1/kickstart/lint", form.lint_body()).await {
        Ok(report) => KickstartOutcome::Linted(report),
        Err(refusal) => KickstartOutcome::Refused(refusal),
    };
    respond(&viewer, &form, &outcome)
}

pub async fn render(viewer: Viewer, SignedForm(fields): SignedForm) -> Response {
    let form = KickstartForm::read(&fields);
    let rendered = match form.render_body() {
        Ok(body) => viewer.api.post("/api/v1/kickstart/render", body).await,
        Err(refusal) => Err(refusal),
    };
    let outcome = rendered.map_or_else(KickstartOutcome::Refused, KickstartOutcome::Rendered);
    respond(&viewer, &form, &outcome)
}

fn respond(viewer: &Viewer, form: &KickstartForm, outcome: &KickstartOutcome) -> Response {
    let status = match outcome {
        KickstartOutcome::Refused(refusal) => refusal.status,
        _ => http::StatusCode::OK,
    };
    let page = PageFrame::new("Kickstart", "Kickstart", viewer).render(&view::page(viewer, form, outcome));
    (status, page).into_response()
}
