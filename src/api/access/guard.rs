//! The one place where requests are let in: before every route, by the table of [`super::roles`].
//!
//! It judges no content. Invariant: a handler behind it runs only for a caller whose role the table
//! allows, and knows who that is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Extensions, HeaderValue, Method, header};
use jiff::Timestamp;

use super::roles::{self, Need};
use super::{Access, Admission, MediaReads, SignedIn, check_same_site};
use crate::access::{Act, Actor, Role};
use crate::api::error::ApiError;
use crate::api::query::QueryTable;
use crate::media::OperatorPass;
use crate::store::Store;

/// So much of a path is recorded.
const PATH_CHARS_MAX: usize = 200;

/// Where a request came from. An extractor of handlers that anybody may call.
pub struct RequestSource(pub Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for RequestSource {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<RequestSource, Self::Rejection> {
        Ok(RequestSource(source(&parts.extensions)))
    }
}

/// What stands before the routes of one listener.
#[derive(Clone)]
pub struct AccessGuard {
    pub access: Access,
    /// `/metrics` requires no token.
    pub open_metrics: bool,
    /// The query parameters of each route.
    pub queries: Arc<QueryTable>,
    /// Records operators' reads of task media.
    pub reads: Arc<MediaReads>,
}

/// Who asks, and from where. An extractor of handlers behind the guard.
#[derive(Clone, Debug)]
pub struct Who {
    pub actor: Actor,
    /// Unknown where no socket is in between.
    pub source: Option<IpAddr>,
}

impl Who {
    /// The audit entry of one of its acts, still without the object.
    pub fn act(&self, at: Timestamp, action: &str) -> Act {
        Act {
            at,
            actor: self.actor.clone(),
            source: self.source.map(|source| source.to_string()),
            action: action.to_owned(),
            server: None,
            job: None,
            detail: serde_json::json!({}),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Who, ApiError> {
        // Absent where the route requires no caller; a handler that asks for one anyway rejects the request.
        parts.extensions.get::<Who>().cloned().ok_or(ApiError::Unauthorised)
    }
}

/// Lets a request through to its route, or says why not.
pub async fn guard(
    State(guard): State<AccessGuard>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let need = match need(&request) {
        Ok(need) => need,
        Err(refusal) => return Ok(refusal),
    };
    let role = match need {
        Need::Nothing | Need::OwnProof => {
            guard.check_query(&request)?;
            return Ok(next.run(request).await);
        }
        Need::Metrics if guard.open_metrics && !matches!(guard.access, Access::Open) => {
            return Ok(next.run(request).await);
        }
        Need::Metrics => Role::Viewer,
        Need::Role(role) => role,
    };
    let source = source(request.extensions());
    let actor = match request.extensions().get::<SignedIn>() {
        Some(SignedIn(actor)) => actor.clone(),
        None => guard.access.actor(request.headers(), source).await?,
    };
    if matches!(guard.access, Access::Open) {
        check_same_site(request.method(), request.headers())?;
    }
    let who = Who { actor, source };
    guard.count(&request, &who)?;
    if who.actor.role < role {
        record(guard.denied(&request, &who)).await?;
        tracing::warn!(actor = who.actor.id, %role, "a request was refused for its role");
        let detail = format!("this needs the role {role}; {} is {}", who.actor.name, who.actor.role);
        return Err(ApiError::Forbidden(detail));
    }
    guard.check_query(&request)?;
    if who.actor.role >= Role::Operator {
        request.extensions_mut().insert(OperatorPass);
    }
    let Some(read) = guard.reads.read_of(&request, &who) else {
        request.extensions_mut().insert(who);
        return Ok(next.run(request).await);
    };
    guard.reads.record(read).await?;
    let admission = Admission::new(&who, &guard.access);
    request.extensions_mut().insert(who);
    let is_download = request.method() == Method::GET;
    let response = next.run(request).await;
    // A slow download ends when its token does.
    Ok(if is_download { response.map(|body| admission.cut(body)) } else { response })
}

impl AccessGuard {
    fn check_query(&self, request: &Request) -> Result<(), ApiError> {
        let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
        self.queries.check(request.method(), matched, request.uri().query())
    }

    /// Counts a write of this token.
    fn count(&self, request: &Request, who: &Who) -> Result<(), ApiError> {
        match &self.access {
            Access::Tokens(tokens) if !request.method().is_safe() => tokens.limits.count_write(&who.actor.id),
            _ => Ok(()),
        }
    }

    /// The audit entry of a refused write, which no handler records.
    fn denied(&self, request: &Request, who: &Who) -> Option<(Store, Act)> {
        let Access::Tokens(tokens) = &self.access else { return None };
        if request.method().is_safe() {
            return None;
        }
        let path: String = request.uri().path().chars().take(PATH_CHARS_MAX).collect();
        let asked = serde_json::json!({ "method": request.method().as_str(), "path": path });
        Some((tokens.store.clone(), who.act(tokens.clock.now(), "access.denied").with(asked)))
    }
}

async fn record(denied: Option<(Store, Act)>) -> Result<(), ApiError> {
    match denied {
        Some((store, act)) => Ok(store.record(act).await?),
        None => Ok(()),
    }
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
            return ApiError::Forbidden("no role may use this route".to_owned()).into_response();
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

/// The peer's address.
pub fn source(extensions: &Extensions) -> Option<IpAddr> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(peer)| peer.ip().to_canonical())
}
