//! Callers that the web interface has authenticated: what its sessions rest on.
//!
//! It keeps no session and reads no cookie; that is `ui`. Invariants: [`SignedIn`] is an extension of requests that
//! are made in this process, so that no header of a client leads to it; it replaces the bearer token and nothing
//! else of the guard; every sign-in is in the audit log before its session exists.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use serde_json::json;

use super::{Access, Who};
use crate::access::{Actor, Standing, TokenId};
use crate::api::error::ApiError;
use shoal_base::with_causes;

/// The caller of a request made in this process, already authenticated.
#[derive(Clone, Debug)]
pub struct SignedIn(pub Actor);

impl Access {
    /// Whether every client of the loopback listener is accepted without a token.
    pub fn is_open(&self) -> bool {
        matches!(self, Access::Open)
    }

    /// Authenticates the holder of this token, under the same limits as the API, and records it.
    pub async fn sign_in(&self, token: &str, source: Option<IpAddr>) -> Result<Actor, ApiError> {
        let mut headers = HeaderMap::new();
        // A text that cannot stand in a header is an invalid token, and counts as one.
        let shown = HeaderValue::from_str(&format!("Bearer {token}"));
        headers.insert(header::AUTHORIZATION, shown.unwrap_or(HeaderValue::from_static("Bearer")));
        let actor = self.actor(&headers, source).await?;
        self.record_sign_in(&actor, source, "token").await?;
        Ok(actor)
    }

    /// Writes a sign-in into the audit log.
    pub async fn record_sign_in(
        &self,
        actor: &Actor,
        source: Option<IpAddr>,
        method: &str,
    ) -> Result<(), ApiError> {
        let Access::Tokens(tokens) = self else { return Ok(()) };
        let who = Who { actor: actor.clone(), source };
        let act = who.act(tokens.clock.now(), "session.start").with(json!({ "method": method }));
        Ok(tokens.store.record(act).await?)
    }

    /// The holder of a token of the store; `None` once that is revoked, expired or unknown.
    pub async fn token_holder(
        &self,
        id: &TokenId,
        source: Option<IpAddr>,
    ) -> Result<Option<Actor>, ApiError> {
        let Access::Tokens(tokens) = self else { return Ok(None) };
        let token = tokens.store.token(id).await?;
        let live = token.filter(|token| token.standing(tokens.clock.wall()) == Standing::Live);
        if let Some(token) = &live {
            let source = source.map(|source| source.to_string());
            // A failed write of this note does not end a valid session.
            if let Err(error) = tokens.store.note_token_use(token, tokens.clock.now(), source).await {
                tracing::debug!(error = %with_causes(&error), "the use of a token is not noted");
            }
        }
        Ok(live.as_ref().map(Actor::of_token))
    }

    /// Whether a session was ended before its time.
    pub async fn session_has_ended(&self, session: &str) -> Result<bool, ApiError> {
        let Access::Tokens(tokens) = self else { return Ok(false) };
        Ok(tokens.store.session_has_ended(session).await?)
    }

    /// Ends a session that would have lasted until then, at every controller of the database.
    pub async fn end_session(&self, session: &str, until: Timestamp) -> Result<(), ApiError> {
        let Access::Tokens(tokens) = self else { return Ok(()) };
        Ok(tokens.store.end_session(session, until, tokens.clock.wall()).await?)
    }
}
