//! One request to a BMC, its answer, and what the request proves its account with.
//!
//! Data only: `transport` sends a [`Call`] and makes the [`Reply`]. Invariant: a reply is a reply whatever its
//! status; only `session` and the callers decide which statuses are errors.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::error::NOT_READY;
use super::{Op, RedfishError, RedfishErrorKind, json, messages};

/// One request. The builders are [`Session`](super::session::Session)'s, which knows the timeouts.
#[derive(Clone)]
pub(super) struct Call<'a> {
    pub(super) op: Op,
    pub(super) method: Method,
    pub(super) link: &'a str,
    pub(super) body: Option<&'a Value>,
    pub(super) if_match: Option<&'a str>,
    /// Link of the System that it is about, where it is about one: the lane in which it waits for its turn.
    pub(super) system: Option<&'a str>,
    pub(super) timeout: Duration,
}

impl Call<'_> {
    pub(super) fn error(&self, kind: RedfishErrorKind) -> RedfishError {
        RedfishError::new(self.op, self.link, kind)
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// `Null` where there is no body, or none that is JSON.
    pub(super) body: Value,
    pub(super) is_garbled: bool,
    pub(super) retry_after: Option<Duration>,
}

impl Reply {
    /// A header's text, if it is not empty.
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        let text = self.headers.get(name)?.to_str().ok()?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// A 401, except of a service that only reports that it is not ready (iDRAC).
    pub(super) fn refuses_account(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED && !messages::has_id(&self.body, &NOT_READY)
    }

    /// Whether the BMC may answer otherwise later.
    pub(super) fn is_for_now(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED || self.is_not_ready()
    }

    /// Whether the status describes the service and not the resource: it is overloaded, failing or starting.
    pub(super) fn is_not_ready(&self) -> bool {
        self.status.is_server_error()
            || self.status == StatusCode::TOO_MANY_REQUESTS
            || (self.status.is_client_error() && messages::has_id(&self.body, &NOT_READY))
    }

    /// The header, else `@odata.etag`; an empty tag is none (sending it back gives 412, sushy).
    pub(super) fn etag(&self) -> Option<String> {
        let header = self.header(header::ETAG).map(str::to_owned);
        header
            .or_else(|| json::text(&self.body, "/@odata.etag"))
            .filter(|tag| !matches!(tag.as_str(), "\"\"" | "W/\"\""))
    }
}

/// What a request proves its account with: the token of a session, or name and password.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Token(HeaderValue),
    Basic(HeaderValue),
}

impl Credentials {
    pub(super) fn header(&self) -> (HeaderName, HeaderValue) {
        match self {
            Credentials::Token(value) => (HeaderName::from_static("x-auth-token"), value.clone()),
            Credentials::Basic(value) => (header::AUTHORIZATION, value.clone()),
        }
    }
}
