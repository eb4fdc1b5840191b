//! The one session that all work on a (BMC, account) shares.
//!
//! Invariants: logins are one at a time; a refused login is not tried again before a cool-down, so
//! that many jobs with one wrong password do not lock the account (Supermicro X13 locks after three
//! bad logins, AMI after five); a token that the BMC no longer knows causes one new login.
//!
//! A session outlives a controller that crashed. Its successor is told where it was and deletes it with
//! its first login; BMCs have few sessions, and forget idle ones late.
//!
//! Basic authentication is used where the service offers no sessions, or none that work, and for a
//! while where all of them are taken: what a tool that logs in and never out (or a controller that is
//! killed between the BMC's answer and its note of it) leaves behind must not stop an installation.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::time::Instant;

use super::connection::{Call, Connection, Reply};
use super::error::SESSIONS_FULL;
use super::messages::{self, Complaint};
use super::{Account, Op, RedfishError, RedfishErrorKind, json};
use crate::job::Password;

/// How long a refused login is remembered.
const COOL_DOWN: Duration = Duration::from_secs(120);
/// A logout is a courtesy; it must not hold up a shutdown.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a BMC without a free session is asked with the password itself, before another login.
const WITHOUT_SESSION: Duration = Duration::from_secs(300);
/// Where sessions are by the standard, for a BMC that shows its root to nobody without a login.
const SESSIONS_BY_STANDARD: &str = "/redfish/v1/SessionService/Sessions";

#[derive(Default)]
pub(super) struct Session {
    held: Option<Held>,
    refusal: Option<Refusal>,
    /// The BMC refused Basic authentication where no session was free.
    basic_refused: bool,
    /// That of a controller that is gone.
    inherited: Option<String>,
}

struct Held {
    credentials: Credentials,
    /// The session's own resource, where the BMC named it.
    link: Option<String>,
    /// When a session is to be asked for again: Basic authentication for want of a free one.
    makeshift_until: Option<Instant>,
}

impl Held {
    fn has_passed(&self) -> bool {
        self.makeshift_until.is_some_and(|until| Instant::now() >= until)
    }
}

struct Refusal {
    until: Instant,
    path: String,
    complaint: Complaint,
}

/// What a request proves its account with.
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

impl Connection {
    /// The credentials that stand, after a login where there are none.
    pub(super) async fn credentials(&self) -> Result<Credentials, RedfishError> {
        let mut session = self.session.lock().await;
        match &session.held {
            Some(held) if !held.has_passed() => Ok(held.credentials.clone()),
            _ => self.login(&mut session).await,
        }
    }

    /// Other credentials than `stale`, which the BMC refused to `call` with `reply`: those of
    /// somebody else's login since, or of one new login.
    pub(super) async fn renew(
        &self,
        stale: &Credentials,
        call: &Call<'_>,
        reply: &Reply,
    ) -> Result<Credentials, RedfishError> {
        let mut session = self.session.lock().await;
        let held = match session.held.take() {
            Some(held) if held.credentials != *stale => {
                return Ok(session.held.insert(held).credentials.clone());
            }
            held => held,
        };
        match stale {
            Credentials::Token(_) => self.login(&mut session).await,
            // Not the account, but Basic authentication.
            Credentials::Basic(_) if held.is_some_and(|held| held.makeshift_until.is_some()) => {
                session.basic_refused = true;
                self.login(&mut session).await
            }
            // Basic: the account itself was refused.
            Credentials::Basic(_) => Err(session.refuse(call.link, self.complaint(&reply.body))),
        }
    }

    /// Whether requests carry the password itself, for want of a session.
    pub(super) async fn is_basic(&self) -> bool {
        let session = self.session.lock().await;
        session.held.as_ref().is_some_and(|held| matches!(held.credentials, Credentials::Basic(_)))
    }

    async fn login(&self, session: &mut Session) -> Result<Credentials, RedfishError> {
        session.check_refusal()?;
        let held = match self.sessions_link().await? {
            Some(sessions) => self.create_session(&sessions, session).await?,
            None => self.without_session()?,
        };
        if let Some(link) = session.inherited.take() {
            self.end_inherited(&link, &held).await;
        }
        let credentials = held.credentials.clone();
        session.held = Some(held);
        Ok(credentials)
    }

    /// Where the session is, unless somebody is at it.
    pub(super) fn session_link(&self) -> Option<String> {
        self.session.try_lock().ok()?.held.as_ref()?.link.clone()
    }

    pub(super) async fn inherit_session(&self, link: &str) {
        let mut session = self.session.lock().await;
        let is_ours = session.held.as_ref().is_some_and(|held| held.link.as_deref() == Some(link));
        session.inherited = Some(link.to_owned()).filter(|_| !is_ours);
    }

    /// Deletes a session of before, if it is there and this account's: a BMC that was restarted gives
    /// its numbers out again.
    async fn end_inherited(&self, link: &str, held: &Held) {
        if held.link.as_deref() == Some(link) {
            return;
        }
        let timeout = LOGOUT_TIMEOUT.min(self.limits.timeout);
        let call = Call { timeout, ..self.get(Op::Logout, link, None) };
        let Ok(found) = self.exchange(&call, Some(&held.credentials)).await else { return };
        let user = json::text(&found.body, "/UserName");
        if !found.status.is_success() || user.is_some_and(|user| user != self.account.username) {
            return;
        }
        let call = self.delete(Op::Logout, link, timeout);
        if let Err(error) = self.exchange(&call, Some(&held.credentials)).await {
            tracing::debug!(path = %error.path, kind = %error.kind, "an earlier session left to its timeout");
        }
    }

    async fn create_session(&self, sessions: &str, session: &mut Session) -> Result<Held, RedfishError> {
        let body = json!({"UserName": self.account.username, "Password": self.password()?.expose()});
        let call = self.post(Op::Login, sessions, &body, None);
        let reply = self.exchange(&call, None).await?;
        match reply.status.as_u16() {
            200..300 => self.held(&reply),
            404 | 405 | 501 => self.without_session(),
            _ if messages::has_id(&reply.body, &SESSIONS_FULL) && !session.basic_refused => {
                tracing::warn!(
                    path = sessions,
                    "no session is free on the BMC: Basic authentication for a while"
                );
                let until = Instant::now() + WITHOUT_SESSION;
                Ok(Held { makeshift_until: Some(until), ..self.without_session()? })
            }
            401 | 403 => Err(session.refuse(sessions, self.complaint(&reply.body))),
            _ => Err(self.refusal(&call, &reply)),
        }
    }

    /// The session of a successful login; one without a token is of no use (DMTF mockup server).
    fn held(&self, reply: &Reply) -> Result<Held, RedfishError> {
        let Some(mut token) = reply.headers.get("x-auth-token").filter(|token| !token.is_empty()).cloned()
        else {
            return self.without_session();
        };
        token.set_sensitive(true);
        let location = reply.header(header::LOCATION).map(str::to_owned);
        let link = location.or_else(|| json::text(&reply.body, "/@odata.id"));
        Ok(Held { credentials: Credentials::Token(token), link, makeshift_until: None })
    }

    fn without_session(&self) -> Result<Held, RedfishError> {
        let pair = format!("{}:{}", self.account.username, self.password()?.expose());
        let text = format!("Basic {}", BASE64_STANDARD.encode(pair));
        let mut value = HeaderValue::from_str(&text).expect("base64 fits a header");
        value.set_sensitive(true);
        Ok(Held { credentials: Credentials::Basic(value), link: None, makeshift_until: None })
    }

    /// As it is now, where it is kept elsewhere.
    fn password(&self) -> Result<Password, RedfishError> {
        let Account { password, secrets, .. } = &self.account;
        secrets.resolve(password).map_err(|error| {
            let why = error.sentence();
            RedfishError::new(Op::Login, SESSIONS_BY_STANDARD, RedfishErrorKind::NoPassword { why })
        })
    }

    /// Where to log in; `None` where the service has no sessions.
    async fn sessions_link(&self) -> Result<Option<String>, RedfishError> {
        let Some(root) = self.root_without_login().await? else {
            return Ok(Some(SESSIONS_BY_STANDARD.to_owned()));
        };
        if root.sessions.is_some() {
            return Ok(root.sessions);
        }
        let Some(service) = root.session_service else { return Ok(None) };
        let call = self.get(Op::Root, &service, None);
        let reply = self.exchange(&call, None).await?;
        Ok(match reply.status {
            StatusCode::UNAUTHORIZED => Some(SESSIONS_BY_STANDARD.to_owned()),
            status if status.is_success() && reply.is_garbled => {
                return Err(call.error(RedfishErrorKind::Garbled));
            }
            _ => json::link(&reply.body, "/Sessions"),
        })
    }

    /// Deletes the session, if there is one. What goes wrong is left to the session's timeout.
    pub(super) async fn logout(&self) {
        let Some(held) = self.session.lock().await.held.take() else { return };
        let Some(link) = held.link else { return };
        // Its turn, but not for ever: a slow insert may hold the gate.
        let _pass = tokio::time::timeout(LOGOUT_TIMEOUT, self.gate.enter(None)).await;
        let call = self.delete(Op::Logout, &link, LOGOUT_TIMEOUT.min(self.limits.timeout));
        if let Err(error) = self.exchange(&call, Some(&held.credentials)).await {
            tracing::debug!(path = %error.path, kind = %error.kind, "session left to its timeout");
        }
    }
}

impl Session {
    /// Remembers that the account was refused.
    fn refuse(&mut self, path: &str, complaint: Complaint) -> RedfishError {
        let refusal = Refusal { until: Instant::now() + COOL_DOWN, path: path.to_owned(), complaint };
        let error = refusal.error();
        (self.held, self.refusal) = (None, Some(refusal));
        error
    }

    fn check_refusal(&mut self) -> Result<(), RedfishError> {
        let now = Instant::now();
        match &self.refusal {
            Some(refusal) if refusal.until > now => {
                Err(RedfishError { retry_after: Some(refusal.until - now), ..refusal.error() })
            }
            _ => {
                self.refusal = None;
                Ok(())
            }
        }
    }
}

impl Refusal {
    fn error(&self) -> RedfishError {
        let Complaint { message_id, message, .. } = self.complaint.clone();
        RedfishError::new(Op::Login, &self.path, RedfishErrorKind::Unauthorised { message_id, message })
    }
}
