//! The one place where requests are let in: before every route, by the table of [`super::roles`].
//!
//! It judges no content. Invariant: a handler behind it runs only for somebody whose role the table
//! allows, and knows who that is.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};

use super::roles::{self, Need};
use super::{Access, check_same_site};
use crate::access::{Actor, Role};
use crate::api::error::ApiError;
use crate::media::OperatorPass;

/// What stands before the routes of one listener.
#[derive(Clone)]
pub struct Guard {
    pub access: Access,
    /// `/metrics` is for everybody.
    pub open_metrics: bool,
}

/// Who asks, and from where. An extractor of handlers behind the guard.
#[derive(Clone, Debug)]
pub struct Who {
    pub actor: Actor,
    /// Unknown where no socket is in between.
    pub source: Option<IpAddr>,
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Who, ApiError> {
        // Not there: the route's need says that nobody has to be known, and its handler asks who it is.
        parts.extensions.get::<Who>().cloned().ok_or(ApiError::Unauthorised)
    }
}

/// Lets a request through to its route, or says why not.
pub async fn guard(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let need = match need(&request) {
        Ok(need) => need,
        Err(refusal) => return Ok(refusal),
    };
    let role = match need {
        Need::Nothing | Need::OwnProof => return Ok(next.run(request).await),
        Need::Metrics if guard.open_metrics && !matches!(guard.access, Access::Open) => {
            return Ok(next.run(request).await);
        }
        Need::Metrics => Role::Viewer,
        Need::Role(role) => role,
    };
    let source = source(&request);
    let actor = guard.access.actor(request.headers(), source).await?;
    if matches!(guard.access, Access::Open) {
        check_same_site(request.method(), request.headers())?;
    }
    if actor.role < role {
        let detail = format!("this needs the role {role}; {} is {}", actor.name, actor.role);
        tracing::warn!(actor = actor.id, %role, "a request was refused for its role");
        return Err(ApiError::Forbidden(detail));
    }
    if actor.role >= Role::Operator {
        request.extensions_mut().insert(OperatorPass);
    }
    request.extensions_mut().insert(Who { actor, source });
    Ok(next.run(request).await)
}

/// What the table says of this request, or the answer where it says nothing.
#[expect(clippy::result_large_err, reason = "the refusal is a whole answer")]
fn need(request: &Request) -> Result<Need, Response> {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    if matched == "/media/{*rest}" {
        return Ok(Need::OwnProof);
    }
    let path = roles::table_path(matched, request.uri().path());
    roles::need(request.method(), path).map_err(|methods| {
        if methods.is_empty() {
            tracing::error!(path, "a route is not in the table of roles");
            return ApiError::Forbidden("nobody may use this route".to_owned()).into_response();
        }
        let mut refusal = ApiError::MethodNotAllowed.into_response();
        let head = methods.contains(&"GET").then_some("HEAD");
        let allow: Vec<&str> = methods.into_iter().chain(head).collect();
        if let Ok(allow) = HeaderValue::from_str(&allow.join(", ")) {
            refusal.headers_mut().insert(header::ALLOW, allow);
        }
        refusal
    })
}

fn source(request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(peer)| peer.ip().to_canonical())
}
