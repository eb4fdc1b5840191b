//! The one session that all work on a (BMC, account) shares.
//!
//! Invariants: logins are one at a time; a refused login is not tried again before a cool-down, so
//! that many jobs with one wrong password do not lock the account (Supermicro X13 locks after three
//! bad logins, AMI after five); a token that the BMC no longer knows causes one new login.
//!
//! A session outlives a controller that crashed, and on many BMCs it outlives the 401 that its token met. Both kinds
//! are remembered and deleted once a request of a later login has succeeded; BMCs have few sessions, and forget
//! idle ones late. Where fresh tokens meet 401 too, logins are spaced, so that they do not use up the sessions.
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
use super::error::{NOT_READY, SESSIONS_FULL};
use super::messages::{self, Complaint};
use super::{Account, Op, RedfishError, RedfishErrorKind, json};
use shoal_base::Password;

/// How long a refused login is remembered.
const COOL_DOWN: Duration = Duration::from_secs(120);
/// A logout is a courtesy; it must not hold up a shutdown.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a BMC without a free session is asked with the password itself, before another login; and how long
/// Basic authentication is not tried again after it was refused then.
const WITHOUT_SESSION: Duration = Duration::from_secs(300);
/// The first wait before another login where a fresh token was refused; it doubles.
const LOGIN_DELAY_FIRST: Duration = Duration::from_secs(30);
/// The longest of those waits.
const LOGIN_DELAY_MAX: Duration = Duration::from_secs(240);
/// Abandoned sessions that are remembered.
const ABANDONED_MAX: usize = 8;
/// Tries to delete one of them.
const DELETIONS_MAX: u32 = 5;
/// Where sessions are by the standard, for a BMC that shows its root to nobody without a login.
const SESSIONS_BY_STANDARD: &str = "/redfish/v1/SessionService/Sessions";

#[derive(Default)]
pub(super) struct Session {
    held: Option<Held>,
    refusal: Option<Refusal>,
    /// The BMC refused Basic authentication where no session was free: it is not tried before this.
    basic_refused_until: Option<Instant>,
    /// Links of our sessions that the BMC may still count: of a controller that is gone, or of refused tokens.
    abandoned: Vec<Abandoned>,
    /// A fresh token was refused: when the next login may be, and how long after the last one.
    spaced: Option<(Instant, Duration)>,
}

struct Abandoned {
    link: String,
    /// How often its deletion has failed.
    failed: u32,
}

struct Held {
    credentials: Credentials,
    /// The session's own resource, where the BMC named it.
    link: Option<String>,
    /// When a session is to be asked for again: Basic authentication for want of a free one.
    makeshift_until: Option<Instant>,
    /// Sessions of ours are among those that take all places: once they are deleted, one is free.
    is_worth_a_login: bool,
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
        if let Some(held) = session.held.as_ref().filter(|held| held.credentials != *stale) {
            return Ok(held.credentials.clone());
        }
        if let Some(wait) = session.login_wait() {
            let Complaint { message_id, message, .. } = self.complaint(&reply.body);
            let kind = RedfishErrorKind::Unauthorised { message_id, message };
            return Err(RedfishError { retry_after: Some(wait), ..call.error(kind) });
        }
        let held = session.held.take();
        match stale {
            Credentials::Token(_) => {
                session.abandon(held.and_then(|held| held.link));
                self.login(&mut session).await
            }
            // Not the account, but Basic authentication.
            Credentials::Basic(_) if held.is_some_and(|held| held.makeshift_until.is_some()) => {
                session.basic_refused_until = Some(Instant::now() + WITHOUT_SESSION);
                self.login(&mut session).await
            }
            // Basic: the account itself was refused.
            Credentials::Basic(_) => Err(session.refuse(call.link, self.complaint(&reply.body))),
        }
    }

    /// The BMC refused credentials that it has just given out: another login would leave one more session.
    pub(super) async fn note_fresh_refused(&self, fresh: &Credentials) {
        let mut session = self.session.lock().await;
        let is_held = session.held.as_ref().is_some_and(|held| held.credentials == *fresh);
        if is_held && matches!(fresh, Credentials::Token(_)) && session.login_wait().is_none() {
            let delay = session.spaced.map_or(LOGIN_DELAY_FIRST, |(_, last)| (last * 2).min(LOGIN_DELAY_MAX));
            session.spaced = Some((Instant::now() + delay, delay));
        }
    }

    /// The BMC took these credentials: sessions of before are deleted with them. Nobody waits for that with the lock,
    /// and whoever does the deleting not for long; what is left comes with the next request.
    pub(super) async fn note_accepted(&self, credentials: &Credentials, reply: &Reply) {
        if reply.is_for_now() {
            return;
        }
        let Some(links) = self.session.lock().await.abandoned_before(credentials) else { return };
        let until = Instant::now() + LOGOUT_TIMEOUT;
        for link in links {
            if Instant::now() >= until {
                return;
            }
            // Another login may have been given its number meanwhile.
            let is_safe = self.session.lock().await.holds_another_than(&link, credentials);
            if !is_safe {
                return;
            }
            let is_over = self.end_abandoned(&link, credentials).await;
            self.session.lock().await.note_deletion(&link, is_over);
        }
        self.session.lock().await.want_login_if_free(credentials);
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
        session.abandon(Some(link.to_owned()).filter(|_| !is_ours));
    }

    /// Deletes a session of before, if it is there and this account's: a BMC that was restarted gives
    /// its numbers out again. False where it may still be there.
    async fn end_abandoned(&self, link: &str, credentials: &Credentials) -> bool {
        let timeout = LOGOUT_TIMEOUT.min(self.limits.timeout);
        let call = Call { timeout, ..self.get(Op::Logout, link, None) };
        let Ok(found) = self.exchange(&call, Some(credentials)).await else { return false };
        let user = json::text(&found.body, "/UserName");
        if !found.status.is_success() || user.is_some_and(|user| user != self.account.username) {
            return !found.is_for_now();
        }
        let call = self.delete(Op::Logout, link, timeout);
        match self.exchange(&call, Some(credentials)).await {
            Ok(reply) => !reply.is_for_now(),
            Err(error) => {
                tracing::debug!(path = %error.path, kind = %error.kind, "an earlier session is not deleted yet");
                false
            }
        }
    }

    async fn create_session(&self, sessions: &str, session: &mut Session) -> Result<Held, RedfishError> {
        let body = json!({"UserName": self.account.username, "Password": self.password()?.expose()});
        let call = self.post(Op::Login, sessions, &body, None);
        let reply = self.exchange(&call, None).await?;
        match reply.status.as_u16() {
            200..300 => self.held(&call, &reply),
            404 | 405 | 501 => self.without_session(),
            _ if messages::has_id(&reply.body, &SESSIONS_FULL) && session.may_use_basic() => {
                tracing::warn!(
                    path = sessions,
                    "no session is free on the BMC: Basic authentication for a while"
                );
                let until = Instant::now() + WITHOUT_SESSION;
                let is_worth_a_login = !session.abandoned.is_empty();
                Ok(Held { makeshift_until: Some(until), is_worth_a_login, ..self.without_session()? })
            }
            // Not the account, whatever the status.
            _ if messages::has_id(&reply.body, &NOT_READY) => Err(self.refusal(&call, &reply)),
            401 | 403 => Err(session.refuse(sessions, self.complaint(&reply.body))),
            _ => Err(self.refusal(&call, &reply)),
        }
    }

    /// The session of a successful login; one without a token is of no use (DMTF mockup server).
    fn held(&self, call: &Call<'_>, reply: &Reply) -> Result<Held, RedfishError> {
        let Some(mut token) = reply.headers.get("x-auth-token").filter(|token| !token.is_empty()).cloned()
        else {
            return self.without_session();
        };
        token.set_sensitive(true);
        let named = reply.header(header::LOCATION).map(str::to_owned);
        let named = named.into_iter().chain(json::text(&reply.body, "/@odata.id"));
        // Some name its id alone.
        let collection = format!("{}/", call.link.trim_end_matches('/'));
        let base = |name: &str| if name.contains('/') { call.link } else { collection.as_str() };
        let mut links = named.filter_map(|link| self.origin.own_path(base(&link), &link));
        let link = links.find(|link| link.trim_end_matches('/') != call.link.trim_end_matches('/'));
        let credentials = Credentials::Token(token);
        Ok(Held { credentials, link, makeshift_until: None, is_worth_a_login: false })
    }

    fn without_session(&self) -> Result<Held, RedfishError> {
        let pair = format!("{}:{}", self.account.username, self.password()?.expose());
        let text = format!("Basic {}", BASE64_STANDARD.encode(pair));
        let mut value = HeaderValue::from_str(&text).expect("base64 fits a header");
        value.set_sensitive(true);
        let credentials = Credentials::Basic(value);
        Ok(Held { credentials, link: None, makeshift_until: None, is_worth_a_login: false })
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
        // Its turn, but within a limit: a slow insert may hold the gate.
        let _pass = tokio::time::timeout(LOGOUT_TIMEOUT, self.gate.enter(None)).await;
        let call = self.delete(Op::Logout, &link, LOGOUT_TIMEOUT.min(self.limits.timeout));
        if let Err(error) = self.exchange(&call, Some(&held.credentials)).await {
            tracing::debug!(path = %error.path, kind = %error.kind, "session left to its timeout");
        }
    }
}

impl Session {
    /// The sessions to delete, where these credentials are the ones that stand.
    fn abandoned_before(&mut self, credentials: &Credentials) -> Option<Vec<String>> {
        let held = self.held.as_ref().filter(|held| held.credentials == *credentials)?;
        let own = held.link.clone();
        self.spaced = None;
        self.abandoned.retain(|abandoned| own.as_ref() != Some(&abandoned.link));
        Some(self.abandoned.iter().map(|abandoned| abandoned.link.clone()).collect())
    }

    fn holds_another_than(&self, link: &str, credentials: &Credentials) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.credentials == *credentials && held.link.as_deref() != Some(link))
    }

    fn note_deletion(&mut self, link: &str, is_over: bool) {
        for abandoned in self.abandoned.iter_mut().filter(|abandoned| abandoned.link == link) {
            abandoned.failed += 1;
        }
        self.abandoned
            .retain(|abandoned| abandoned.link != link || (!is_over && abandoned.failed < DELETIONS_MAX));
    }

    /// A session is free now, unless somebody else was quicker.
    fn want_login_if_free(&mut self, credentials: &Credentials) {
        let held = self.held.as_mut().filter(|held| held.credentials == *credentials);
        if let Some(held) = held.filter(|held| held.is_worth_a_login) {
            held.makeshift_until = Some(Instant::now());
            held.is_worth_a_login = false;
        }
    }

    fn abandon(&mut self, link: Option<String>) {
        let is_known = |link: &String| self.abandoned.iter().any(|known| known.link == *link);
        let Some(link) = link.filter(|link| !is_known(link)) else { return };
        if self.abandoned.len() >= ABANDONED_MAX {
            self.abandoned.remove(0);
        }
        self.abandoned.push(Abandoned { link, failed: 0 });
    }

    /// How long there must be no login yet.
    fn login_wait(&self) -> Option<Duration> {
        let (at, _) = self.spaced?;
        let wait = at.saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some(wait)
    }

    fn may_use_basic(&self) -> bool {
        self.basic_refused_until.is_none_or(|until| until <= Instant::now())
    }

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
