//! The web interface: pages and forms for people, rendered on the server.
//!
//! A page is a client of the public API inside this process: it sends requests to the API's own router as the person
//! who is signed in, and renders the JSON of the answers. It reads no store, drives no job and opens no listener.
//! Invariants:
//!
//! - *No privilege.* What a page shows or does went through the API's guard with the role of that person; the audit
//!   log names them.
//! - *No foreign act.* A form is accepted only from this origin and with the CSRF token of the session
//!   ([`mod@forms`]); the API never reads a cookie.
//! - *Nothing inline, nothing foreign.* One style sheet and one script, embedded, under names with their hash; texts
//!   are escaped by the template macro; the CSP of every page forbids the rest.
//! - *Script is a convenience.* Every page reads and acts without JavaScript; live updates replace parts of a page by
//!   the same functions that rendered it.

mod api_client;
mod assets;
mod audit;
mod batches;
mod csrf;
mod fleet;
mod forms;
mod gate;
mod job;
mod kickstart;
mod live;
mod oidc_sign_in;
mod origin;
mod page;
mod records;
mod refusal;
mod server;
mod session;
mod sign_in;
mod text;
mod tokens;
mod viewer;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{any, get, post};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::access::Role;
use crate::api::{Access, finished};
use crate::oidc::CodeFlow;
use crate::seal::Sealer;
use gate::UiGate;
use session::Sessions;
use shoal_base::world::World;

/// What the pages are made of.
pub struct UiParts {
    pub world: World,
    /// All routes of the API, to which the pages send their requests.
    pub api: Router,
    pub access: Access,
    /// Seals the cookies of sessions.
    pub sealer: Sealer,
    /// The listener speaks TLS.
    pub tls: bool,
    /// The listener is on loopback.
    pub is_loopback: bool,
    /// Where browsers reach the controller (`PUBLIC_URL`).
    pub public_url: Option<Url>,
    /// Sign-in at an identity provider.
    pub code_flow: Option<Arc<CodeFlow>>,
    /// Ends the live updates.
    pub shutdown: CancellationToken,
}

/// What the handlers share.
struct UiShared {
    parts: UiParts,
    sessions: Sessions,
    /// The CSRF token of a controller that requires no sign-in: no page of another origin can read it.
    open_csrf: String,
}

type UiState = Arc<UiShared>;

impl std::ops::Deref for UiShared {
    type Target = UiParts;

    fn deref(&self) -> &UiParts {
        &self.parts
    }
}

/// Every page and form, with the role that the API requires for it. `None`: no sign-in is needed.
pub const ROUTES: &[(&str, &str, Option<Role>)] = &[
    ("GET", "/", Some(Role::Viewer)),
    ("GET", "/jobs/{id}", Some(Role::Viewer)),
    ("GET", "/jobs/{id}/cancel", Some(Role::Operator)),
    ("POST", "/jobs/{id}/cancel", Some(Role::Operator)),
    ("GET", "/jobs/{id}/force", Some(Role::Operator)),
    ("POST", "/jobs/{id}/force", Some(Role::Operator)),
    ("GET", "/jobs/{id}/retry", Some(Role::Operator)),
    ("POST", "/jobs/{id}/retry", Some(Role::Operator)),
    ("POST", "/jobs/{id}/bmc", Some(Role::Operator)),
    ("GET", "/servers/{serial}", Some(Role::Viewer)),
    ("POST", "/servers/{serial}/check", Some(Role::Operator)),
    ("POST", "/servers/{serial}/inspect", Some(Role::Operator)),
    ("POST", "/servers/{serial}/protect", Some(Role::Operator)),
    ("POST", "/servers/{serial}/unprotect", Some(Role::Operator)),
    ("GET", "/servers/{serial}/release", Some(Role::Operator)),
    ("POST", "/servers/{serial}/release", Some(Role::Operator)),
    ("GET", "/batches", Some(Role::Viewer)),
    ("GET", "/batches/{id}", Some(Role::Viewer)),
    ("POST", "/batches/{id}/pause", Some(Role::Operator)),
    ("GET", "/batches/{id}/resume", Some(Role::Operator)),
    ("POST", "/batches/{id}/resume", Some(Role::Operator)),
    ("GET", "/batches/{id}/cancel", Some(Role::Operator)),
    ("POST", "/batches/{id}/cancel", Some(Role::Operator)),
    ("GET", "/batches/{id}/retry", Some(Role::Operator)),
    ("POST", "/batches/{id}/retry", Some(Role::Operator)),
    ("GET", "/kickstart", Some(Role::Viewer)),
    ("POST", "/kickstart/lint", Some(Role::Viewer)),
    ("POST", "/kickstart/render", Some(Role::Operator)),
    ("GET", "/audit", Some(Role::Admin)),
    ("GET", "/audit/verify", Some(Role::Admin)),
    ("GET", "/tokens", Some(Role::Admin)),
    ("POST", "/tokens", Some(Role::Admin)),
    ("GET", "/tokens/{id}/revoke", Some(Role::Admin)),
    ("POST", "/tokens/{id}/revoke", Some(Role::Admin)),
    ("GET", "/live", Some(Role::Viewer)),
    ("GET", "/sign-in", None),
    ("POST", "/sign-in", None),
    ("POST", "/sign-out", Some(Role::Viewer)),
    ("GET", "/sign-in/oidc", None),
    ("GET", "/sign-in/oidc/callback", None),
    ("GET", "/assets/{name}", None),
    ("GET", "/favicon.svg", None),
];

/// The routes of the web interface.
pub fn router(parts: UiParts) -> Router {
    let tls = parts.tls;
    let state = Arc::new(UiShared {
        sessions: Sessions::new(&parts),
        open_csrf: parts.world.rng.hex(session::CSRF_BYTES),
        parts,
    });
    let pages = Router::new()
        .route("/", get(fleet::show))
        .route("/jobs/{id}", get(job::show))
        .route("/jobs/{id}/cancel", get(job::confirm_cancel).post(job::cancel))
        .route("/jobs/{id}/force", get(job::confirm_force).post(job::force))
        .route("/jobs/{id}/retry", get(job::confirm_retry).post(job::retry))
        .route("/jobs/{id}/bmc", post(job::bmc))
        .route("/servers/{serial}", get(server::show))
        .route("/servers/{serial}/check", post(server::check))
        .route("/servers/{serial}/inspect", post(server::inspect))
        .route("/servers/{serial}/protect", post(server::protect))
        .route("/servers/{serial}/unprotect", post(server::unprotect))
        .route("/servers/{serial}/release", get(server::confirm_release).post(server::release))
        .route("/batches", get(batches::list))
        .route("/batches/{id}", get(batches::show))
        .route("/batches/{id}/pause", post(batches::pause))
        .route("/batches/{id}/resume", get(batches::confirm_resume).post(batches::resume))
        .route("/batches/{id}/cancel", get(batches::confirm_cancel).post(batches::cancel))
        .route("/batches/{id}/retry", get(batches::confirm_retry).post(batches::retry))
        .route("/kickstart", get(kickstart::show))
        .route("/kickstart/lint", post(kickstart::lint))
        .route("/kickstart/render", post(kickstart::render))
        .route("/audit", get(audit::show))
        .route("/audit/verify", get(audit::verify))
        .route("/tokens", get(tokens::show).post(tokens::create))
        .route("/tokens/{id}/revoke", get(tokens::confirm_revoke).post(tokens::revoke))
        .route("/live", get(live::follow))
        .route("/sign-out", post(sign_in::sign_out))
        .layer(middleware::from_fn_with_state(UiGate(state.clone()), gate::guard));
    let open = Router::new()
        .route("/sign-in", get(sign_in::show).post(sign_in::by_token))
        .route("/sign-in/oidc", get(oidc_sign_in::begin))
        .route("/sign-in/oidc/callback", get(oidc_sign_in::callback))
        .route("/assets/{name}", get(assets::serve))
        .route("/favicon.svg", get(assets::favicon))
        .route("/{*path}", any(gate::unknown_path));
    let routes = pages.merge(open).with_state(state);
    finished(routes.layer(middleware::from_fn(page::finish)), tls)
}
