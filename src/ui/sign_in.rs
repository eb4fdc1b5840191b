//! Signing in with a token, and signing out.
//!
//! Invariants: a token is accepted only over TLS or on a loopback listener, and only from a form of this origin; its
//! text is neither kept nor shown again; a wrong one counts against the limits of its address like any other.

use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderValue, header};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::{self, SignedForm};
use super::gate::is_sign_in_safe;
use super::page::{self, PageFrame};
use super::refusal::PageRefusal;
use super::session::cookie;
use super::viewer::{Peer, Viewer};
use super::{UiShared, UiState, csrf, origin};

/// Ties a sign-in form to the browser that it was rendered for, before there is a session.
const FORM_COOKIE: &str = "shoal-sign-in";
const FORM_SECONDS: i64 = 3_600;

#[derive(Default, Deserialize)]
pub struct SignInParams {
    #[serde(default)]
    next: String,
    #[serde(default)]
    notice: String,
}

pub async fn show(State(ui): State<UiState>, Query(params): Query<SignInParams>) -> Response {
    if ui.access.is_open() {
        return Redirect::to("/").into_response();
    }
    render(&ui, origin::own_path(&params.next), page::notice_text(&params.notice), None)
}

/// The page with a new form, or why there is none.
pub fn render(
    ui: &UiShared,
    next: &str,
    notice: Option<&'static str>,
    problem: Option<&PageRefusal>,
) -> Response {
    let csrf = ui.world.rng.hex(super::session::CSRF_BYTES);
    let content = html! {
        h1 { "Sign in" }
        @if let Some(problem) = problem { p.problem role="alert" { (problem.detail) } }
        @if is_sign_in_safe(ui) {
            @if ui.code_flow.is_some() {
                p { a.button href={ "/sign-in/oidc?" (next_query(next)) } { "Sign in with the identity provider" } }
                h2 { "With a token" }
            }
            (token_form(ui, &csrf, next))
        } @else { (no_tls()) }
    };
    let frame = PageFrame { title: "Sign in", part: "", viewer: None, live_after: None, notice };
    let status = problem.map_or(http::StatusCode::OK, |problem| problem.status);
    let given = ui.sessions.set_cookie(FORM_COOKIE, &csrf, "/sign-in", FORM_SECONDS);
    (status, [(header::SET_COOKIE, given)], frame.render(&content)).into_response()
}

fn next_query(next: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish()
}

fn token_form(ui: &UiShared, csrf: &str, next: &str) -> Markup {
    html! {
        form.stack method="post" action="/sign-in" {
            (csrf::hidden(&ui.world.rng, csrf))
            input type="hidden" name="next" value=(next);
            label for="token" { "Token" }
            input #token type="password" name="token" autocomplete="current-password" required
                spellcheck="false" aria-describedby="token-help";
            p #token-help .hint {
                "The first start wrote an admin token to the file " code { "admin.token" }
                " beside the database. An admin creates further tokens on the page Tokens or with "
                code { "shoal token create" } "."
            }
            button { "Sign in" }
        }
    }
}

fn no_tls() -> Markup {
    html! {
        p.problem role="alert" {
            "Sign-in requires TLS: this connection is not encrypted, and a token sent over it could be read on the \
             network. Set TLS_CERT_FILE and TLS_KEY_FILE, or let the controller listen on loopback behind a reverse \
             proxy with TLS and set PUBLIC_URL."
        }
    }
}

/// Checks the token of the form and begins a session.
pub async fn by_token(State(ui): State<UiState>, Peer(peer): Peer, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let source = peer.map(|peer| peer.ip().to_canonical());
    if ui.access.is_open() {
        return Redirect::to("/").into_response();
    }
    if !is_sign_in_safe(&ui) {
        let problem = PageRefusal::forbidden("sign-in requires TLS");
        return render(&ui, "/", None, Some(&problem));
    }
    let fields = match forms::read(body).await {
        Ok(fields) => fields,
        Err(problem) => return render(&ui, "/", None, Some(&problem)),
    };
    let next = origin::own_path(fields.text("next")).to_owned();
    let expected = cookie(&head.headers, FORM_COOKIE).unwrap_or_default();
    let is_own = origin::is_own(&head.headers, ui.tls, ui.public_url.as_ref());
    if !is_own || !csrf::is_masked(fields.raw("csrf"), expected) {
        let problem = PageRefusal::forbidden(
            "this form was not rendered for this browser, or it is older than an hour. Try again; behind a reverse \
             proxy, set PUBLIC_URL to the URL in the browser",
        );
        return render(&ui, &next, None, Some(&problem));
    }
    match ui.access.sign_in(fields.text("token"), source).await {
        Ok(actor) => {
            tracing::info!(actor = actor.id, "a session began");
            let dropped = ui.sessions.set_cookie(FORM_COOKIE, "", "/sign-in", 0);
            signed_in(&next, [ui.sessions.begin(&actor), dropped])
        }
        Err(error) => {
            let mut problem = PageRefusal::from(error);
            if problem.status == http::StatusCode::UNAUTHORIZED {
                problem.detail = "the token is invalid, expired or revoked".to_owned();
            }
            render(&ui, &next, None, Some(&problem))
        }
    }
}

pub fn signed_in(next: &str, cookies: [HeaderValue; 2]) -> Response {
    let mut response = Redirect::to(next).into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

pub async fn sign_out(viewer: Viewer, _form: SignedForm) -> Result<Response, PageRefusal> {
    let ended = viewer.ui.sessions.end(viewer.session.as_ref(), &viewer.ui.access).await?;
    tracing::info!(actor = viewer.actor.id, "a session ended");
    Ok(([(header::SET_COOKIE, ended)], Redirect::to("/sign-in?notice=signed-out")).into_response())
}
