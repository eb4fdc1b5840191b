//! Signing in at an identity provider: to it by a link, and back by its redirect.
//!
//! The flow itself is in `oidc`. Invariants: what must come back is in a sealed cookie of a few minutes, for these two
//! paths alone; it is dropped by the first answer that comes; the session begins as with a token.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::gate::is_sign_in_safe;
use super::refusal::PageRefusal;
use super::session::cookie;
use super::sign_in::{render, signed_in};
use super::viewer::Peer;
use super::{UiShared, UiState, origin};
use crate::oidc::{CallbackParams, CodeFlowError, OidcError, SignInAttempt};
use shoal_base::with_causes;

const COOKIE: &str = "shoal-oidc";
const PATH: &str = "/sign-in/oidc";
const SECONDS: i64 = 600;
const CONTEXT: &str = "ui oidc attempt";

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct BeginParams {
    next: String,
}

pub async fn begin(State(ui): State<UiState>, Query(params): Query<BeginParams>) -> Response {
    let next = origin::own_path(&params.next);
    let Some(flow) = ui.code_flow.as_ref().filter(|_| is_sign_in_safe(&ui)) else {
        return render(&ui, next, None, Some(&unavailable()));
    };
    match flow.begin(next).await {
        Ok((url, attempt)) => {
            let kept = ui.sessions.set_cookie(COOKIE, &ui.sessions.seal(CONTEXT, &attempt), PATH, SECONDS);
            ([(header::SET_COOKIE, kept)], Redirect::to(url.as_str())).into_response()
        }
        Err(error) => failed(&ui, next, &error),
    }
}

pub async fn callback(
    State(ui): State<UiState>,
    Peer(peer): Peer,
    Query(params): Query<CallbackParams>,
    headers: HeaderMap,
) -> Response {
    let Some(flow) = ui.code_flow.as_ref().filter(|_| is_sign_in_safe(&ui)) else {
        return render(&ui, "/", None, Some(&unavailable()));
    };
    let attempt = cookie(&headers, COOKIE).and_then(|text| ui.sessions.open::<SignInAttempt>(CONTEXT, text));
    let Some(attempt) = attempt else { return failed(&ui, "/", &CodeFlowError::OtherAttempt) };
    let source = peer.map(|peer| peer.ip().to_canonical());
    let next = origin::own_path(&attempt.next);
    let dropped = ui.sessions.set_cookie(COOKIE, "", PATH, 0);
    let actor = match flow.finish(&attempt, &params).await {
        Ok(actor) => actor,
        Err(error) => {
            let mut page = failed(&ui, next, &error);
            page.headers_mut().append(header::SET_COOKIE, dropped);
            return page;
        }
    };
    if let Err(error) = ui.access.record_sign_in(&actor, source, "oidc").await {
        return render(&ui, next, None, Some(&PageRefusal::from(error)));
    }
    tracing::info!(actor = actor.id, "a session began");
    signed_in(next, [ui.sessions.begin(&actor), dropped])
}

fn unavailable() -> PageRefusal {
    PageRefusal::forbidden(
        "sign-in at an identity provider is not set up, or not possible over this connection: it needs OIDC_CLIENT_ID, \
         and TLS or a loopback listener",
    )
}

fn failed(ui: &UiShared, next: &str, error: &CodeFlowError) -> Response {
    tracing::warn!(error = %with_causes(error), "a sign-in at the identity provider failed");
    let status = match error {
        CodeFlowError::Rejected | CodeFlowError::OtherAttempt => StatusCode::FORBIDDEN,
        CodeFlowError::Token(OidcError::NoRole { .. }) => StatusCode::FORBIDDEN,
        CodeFlowError::Token(OidcError::Refused(_)) => StatusCode::UNAUTHORIZED,
        CodeFlowError::Token(OidcError::Unavailable) | CodeFlowError::Provider(_) => StatusCode::BAD_GATEWAY,
    };
    let problem = PageRefusal { status, ..PageRefusal::forbidden(&error.to_string()) };
    render(ui, next, None, Some(&problem))
}
