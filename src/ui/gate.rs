//! The entrance of every page that needs a sign-in: who asks, and whether a form comes from a page of this controller.
//!
//! It decides nothing about roles; the API does. Invariants: a handler behind it runs for a person whose session
//! holds at that moment, and a request that changes something only for one of this origin.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{Method, header};

use super::api_client::ApiClient;
use super::origin;
use super::page;
use super::refusal::PageRefusal;
use super::viewer::{Viewer, peer};
use super::{UiShared, UiState};
use crate::api::ApiError;

/// State of the middleware.
#[derive(Clone)]
pub struct UiGate(pub UiState);

/// Admits a request to its page, or leads to the sign-in.
pub async fn guard(State(UiGate(ui)): State<UiGate>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let viewer = match viewer(&ui, &head).await {
        Ok(Some(viewer)) => viewer,
        Ok(None) => return unknown(&head),
        Err(error) => return page::refused(None, &PageRefusal::from(error)),
    };
    if !head.method.is_safe() && !origin::is_own(&head.headers, ui.tls, ui.public_url.as_ref()) {
        tracing::warn!(actor = viewer.actor.id, "a form of another origin was refused");
        return page::refused(Some(&viewer), &PageRefusal::foreign_form());
    }
    head.extensions.insert(viewer.clone());
    let mut response = next.run(Request::from_parts(head, body)).await;
    match response.extensions_mut().remove::<PageRefusal>() {
        Some(refusal) => page::refused(Some(&viewer), &refusal),
        None => response,
    }
}

async fn viewer(ui: &UiState, request: &Parts) -> Result<Option<Viewer>, ApiError> {
    let peer = peer(&request.extensions);
    let source = peer.map(|peer| peer.ip().to_canonical());
    let headers = &request.headers;
    let (session, actor) = match ui.access.is_open() {
        true => (None, ui.access.actor(headers, source).await?),
        false => match ui.sessions.find(headers, &ui.access, source).await? {
            Some((session, actor)) => (Some(session), actor),
            None => return Ok(None),
        },
    };
    let api = ApiClient {
        router: ui.api.clone(),
        actor: session.is_some().then(|| actor.clone()),
        peer,
        host: headers.get(header::HOST).cloned(),
    };
    let csrf = session.as_ref().map_or_else(|| ui.open_csrf.clone(), |session| session.csrf.clone());
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(Some(Viewer { ui: ui.clone(), actor, api, session, csrf, path }))
}

/// A page leads to the sign-in and back; a stream ends, so that a browser does not ask again.
fn unknown(request: &Parts) -> Response {
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    if !request.method.is_safe() {
        return Redirect::to("/sign-in?notice=signed-out").into_response();
    }
    if request.uri.path() == "/live" {
        return http::StatusCode::UNAUTHORIZED.into_response();
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", path).finish();
    let location = if path == "/" { "/sign-in".to_owned() } else { format!("/sign-in?{query}") };
    Redirect::to(&location).into_response()
}

/// A path that is neither a page nor a route of the API: a page for a browser, and what the API answers to anything else.
pub async fn unknown_path(request: Request) -> Response {
    let accepted = request.headers().get_all(header::ACCEPT).iter().filter_map(|list| list.to_str().ok());
    let is_browser =
        accepted.flat_map(|list| list.split(',')).any(|kind| kind.trim().starts_with("text/html"));
    let is_api = ["/api/", "/media/"].iter().any(|prefix| request.uri().path().starts_with(prefix));
    match is_browser && !is_api && request.method() == Method::GET {
        true => page::refused(None, &PageRefusal::not_found()),
        false => ApiError::unknown_path().into_response(),
    }
}

/// Whether a person can sign in over this connection: a token must not travel in clear.
pub fn is_sign_in_safe(ui: &UiShared) -> bool {
    ui.tls || ui.is_loopback
}
