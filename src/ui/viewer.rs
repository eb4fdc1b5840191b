//! The person in front of the browser, and where the request came from.
//!
//! Invariant: a [`Viewer`] is made by the gate alone, for a session that holds.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::request::Parts;
use maud::Markup;

use super::api_client::ApiClient;
use super::refusal::PageRefusal;
use super::session::Session;
use super::{UiState, csrf};
use crate::access::{Actor, Role};

/// The person in front of the browser, and the API as they may use it.
#[derive(Clone)]
pub struct Viewer {
    pub ui: UiState,
    pub actor: Actor,
    pub api: ApiClient,
    /// Absent where no sign-in is required.
    pub session: Option<Session>,
    pub csrf: String,
    /// Path and query of the page.
    pub path: String,
}

impl Viewer {
    /// Whether buttons that act are shown. What they do is decided by the API.
    pub fn may(&self, role: Role) -> bool {
        self.actor.role >= role
    }

    /// Refuses a page that is of no use without this role.
    pub fn need(&self, role: Role) -> Result<(), PageRefusal> {
        match self.may(role) {
            true => Ok(()),
            false => Err(PageRefusal::role(role, &self.actor)),
        }
    }

    /// The hidden fields of a form on this page.
    pub fn form_fields(&self) -> Markup {
        csrf::hidden(&self.ui.world.rng, &self.csrf)
    }

    pub fn now(&self) -> jiff::Timestamp {
        self.ui.world.clock.wall()
    }
}

impl FromRequestParts<UiState> for Viewer {
    type Rejection = PageRefusal;

    async fn from_request_parts(parts: &mut Parts, _state: &UiState) -> Result<Viewer, PageRefusal> {
        parts.extensions.get::<Viewer>().cloned().ok_or_else(PageRefusal::broken)
    }
}

/// The peer's address, with the port.
pub struct Peer(pub Option<SocketAddr>);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Peer, Infallible> {
        Ok(Peer(peer(&parts.extensions)))
    }
}

pub fn peer(extensions: &http::Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}
