//! `/tokens`: API tokens, for admins.
//!
//! Invariant: the text of a token is on the page that answers its creation, once, and on no other.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Method};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::forms::SignedForm;
use super::page::PageFrame;
use super::records::{TokenPage, TokenView};
use super::refusal::PageRefusal;
use super::text::{Look, badge, data_table, foreign, time};
use super::viewer::Viewer;

pub async fn show(viewer: Viewer) -> Result<Response, PageRefusal> {
    let page: TokenPage = viewer.api.get("/api/v1/tokens").await?;
    let content = html! {
        h1 { "Tokens" }
        (table(&page.tokens))
        (new_token(&viewer))
    };
    Ok(PageFrame::new("Tokens", "Tokens", &viewer).render(&content).into_response())
}

fn table(tokens: &[TokenView]) -> Markup {
    html! {
        (data_table("Tokens", &["Name", "Role", "State", "Created (UTC)", "Expires (UTC)", "Last used (UTC)", "Action"], &html! {
            @for token in tokens { (row(token)) }
        }))
    }
}

fn row(token: &TokenView) -> Markup {
    let look = if token.status == "live" { Look::Good } else { Look::Plain };
    html! {
        tr {
            th scope="row" { (foreign(&token.name)) br; code { (token.id) } }
            td { (token.role) }
            td { (badge(look, &token.status)) }
            td { (time(token.created_at)) br; span.faint { (token.origin) " by " (foreign(&token.created_by)) } }
            td { @match token.expires_at { Some(at) => { (time(at)) } None => { "never" } } }
            td {
                @match token.last_used_at { Some(at) => { (time(at)) } None => { "never" } }
                @if let Some(from) = &token.last_used_from { br; span.faint { "from " (foreign(from)) } }
            }
            td { @if token.status == "live" { a href={ "/tokens/" (token.id) "/revoke" } { "Revoke " (foreign(&token.name)) "…" } } }
        }
    }
}

fn new_token(viewer: &Viewer) -> Markup {
    html! {
        h2 { "New token" }
        form.stack method="post" action="/tokens" {
            (viewer.form_fields())
            label for="name" { "Name" }
            input #name type="text" name="name" required pattern="[A-Za-z0-9._\\-]{1,64}" autocomplete="off" aria-describedby="name-help";
            p #name-help .hint { "1 to 64 letters, digits, dots, hyphens and underscores." }
            label for="role" { "Role" }
            select #role name="role" { @for role in ["viewer", "operator", "admin"] { option value=(role) { (role) } } }
            label for="expires_at" { "Expires at (UTC)" }
            input #expires_at type="text" name="expires_at" placeholder="2027-01-31T00:00:00Z" autocomplete="off" aria-describedby="expires-help";
            p #expires-help .hint { "Empty: valid until it is revoked." }
            div.actions { button { "Create the token" } }
        }
    }
}

pub async fn create(viewer: Viewer, SignedForm(form): SignedForm) -> Result<Response, PageRefusal> {
    let mut body = json!({ "name": form.text("name"), "role": form.text("role") });
    if !form.text("expires_at").is_empty() {
        body["expires_at"] = json!(form.text("expires_at"));
    }
    let token: TokenView = viewer.api.post("/api/v1/tokens", body).await?;
    let text = token.token.as_deref().ok_or_else(PageRefusal::broken)?;
    let content = html! {
        p.crumbs { a href="/tokens" { "Tokens" } " / new" }
        h1 { "Token " (foreign(&token.name)) }
        p.notice role="status" { "The token was created. Copy it now: it is not shown again." }
        p.secret { (text) }
        p { a.button.quiet href="/tokens" { "Back to the tokens" } }
    };
    Ok(PageFrame::new("New token", "Tokens", &viewer).render(&content).into_response())
}

pub async fn confirm_revoke(viewer: Viewer, Path(id): Path<String>) -> Result<Response, PageRefusal> {
    let page: TokenPage = viewer.api.get("/api/v1/tokens").await?;
    let token = page.tokens.iter().find(|token| token.id == id).ok_or_else(PageRefusal::not_found)?;
    let is_own = viewer.actor.id == format!("token:{id}");
    let content = html! {
        p.crumbs { a href="/tokens" { "Tokens" } " / revoke" }
        h1 { "Revoke the token " (foreign(&token.name)) "?" }
        p { "Requests with this token are rejected immediately and permanently. Sessions that were opened with it end." }
        @if is_own { p.warning { "You are signed in with this token: your session ends." } }
        form method="post" action={ "/tokens/" (token.id) "/revoke" } {
            (viewer.form_fields())
            div.actions { button.danger { "Revoke" } a.button.quiet href="/tokens" { "Back, do nothing" } }
        }
    };
    Ok(PageFrame::new("Revoke a token?", "Tokens", &viewer).render(&content).into_response())
}

pub async fn revoke(
    viewer: Viewer,
    Path(id): Path<String>,
    _form: SignedForm,
) -> Result<Redirect, PageRefusal> {
    if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(PageRefusal::not_found());
    }
    let path = format!("/api/v1/tokens/{id}");
    let _: Value = viewer.api.call(Method::DELETE, &path, None, HeaderMap::new()).await?;
    Ok(Redirect::to("/tokens?notice=revoked"))
}
