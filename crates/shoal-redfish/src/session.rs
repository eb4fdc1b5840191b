//! One session by one account on one BMC: every request that needs a login goes through here.
//!
//! It knows the service root and the collection of sessions, and no other resource. A request
//!
//! 1. waits for its turn ([`RequestGate`]: one request in flight a System);
//! 2. takes the credentials in use, or logs in: it reads the root without a login, creates a session, and keeps the
//!    token of the answer and the link of the session. Logins are one at a time, because all requests share one;
//! 3. is sent. A 401 means that the token is not known any more (the BMC restarted, or the session idled out): one
//!    new login, and the request is sent once more, which is safe for a write, since a request that was refused so
//!    had no effect;
//! 4. is repeated where it is a read that failed for a while, within `REDFISH_RETRIES`. A write is sent once; its
//!    caller decides by [`RedfishError::effect`] what a lost answer means.
//!
//! A session outlives a controller that crashed, and on many BMCs it outlives the 401 that its token met. Both kinds
//! are remembered ([`Session::inherit`]) and deleted once a request of a later login has succeeded; BMCs have few
//! sessions, and forget idle ones late. Where fresh tokens meet 401 too, logins are spaced, so that they do not use
//! up the sessions.
//!
//! Basic authentication is used where the service offers no sessions, or none that work, and for a while where all
//! of them are taken: what a tool leaves behind that logs in and never out (or a controller that is killed between
//! the BMC's answer and its note of it) must not stop an installation.
//!
//! Invariants: a refused login is not tried again before a cool-down, so that many jobs with one wrong password do
//! not lock the account (Supermicro X13 locks after three bad logins, AMI after five); a token that the BMC no
//! longer knows causes one new login.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tokio::time::Instant;

use super::call::{Call, Credentials, Reply};
use super::error::{NOT_READY, SESSIONS_FULL};
use super::expiry::Expiry;
use super::gate::RequestGate;
use super::logins::{HeldLogin, Logins, WITHOUT_SESSION};
use super::messages::{self, Complaint};
use super::recent::Turns;
use super::root::RootReader;
use super::service::{ROOT, Root};
use super::transport::Transport;
use super::{Account, Op, RedfishError, RedfishErrorKind, json};
use shoal_base::Password;

/// A logout is a courtesy; it must not hold up a shutdown.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);
/// Where sessions are by the standard, for a BMC that does not show its root without a login.
const SESSIONS_BY_STANDARD: &str = "/redfish/v1/SessionService/Sessions";
/// Pages of a collection that are read.
const PAGES_MAX: usize = 16;

/// The session that all requests of a (BMC, account) share.
pub struct Session {
    pub(super) http: Transport,
    /// Of the BMC: other accounts on it wait there too.
    pub(super) gate: Arc<RequestGate>,
    root: RootReader,
    logins: tokio::sync::Mutex<Logins>,
    /// How long readings count as current. Of the BMC too, whichever account writes to it.
    pub(super) turns: Arc<Turns>,
}

impl Session {
    pub(super) fn new(
        http: Transport,
        gate: Arc<RequestGate>,
        turns: Arc<Turns>,
        expiry: &Arc<Expiry>,
    ) -> Session {
        Session { http, gate, root: RootReader::new(expiry), logins: tokio::sync::Mutex::default(), turns }
    }

    /// Reads a resource; repeated within the limits.
    pub(super) async fn read(&self, call: &Call<'_>) -> Result<Reply, RedfishError> {
        self.read_up_to(call, self.http.limits.retries).await
    }

    /// Reads the resource at `link`, which is about `system`; repeated within the limits.
    pub(super) async fn read_link(
        &self,
        op: Op,
        link: &str,
        system: Option<&str>,
    ) -> Result<Reply, RedfishError> {
        self.read(&self.http.get(op, link, system)).await
    }

    /// As [`read`](Self::read), with so many tries after the first.
    pub(super) async fn read_up_to(&self, call: &Call<'_>, retries: u32) -> Result<Reply, RedfishError> {
        let mut retries = self.http.retries(call.op, retries);
        loop {
            match self.attempt_apart(call).await.and_then(|reply| self.expect_json(call, reply)) {
                Ok(reply) => return Ok(reply),
                Err(error) => retries.after(error).await?,
            }
        }
    }

    /// Sends a write once and gives the answer, whatever its status.
    pub(super) async fn write(&self, call: &Call<'_>) -> Result<Reply, RedfishError> {
        self.attempt_apart(call).await
    }

    /// In memory of its own, so that what waits for one request among many does not hold the room for each of them.
    async fn attempt_apart(&self, call: &Call<'_>) -> Result<Reply, RedfishError> {
        Box::pin(self.attempt(call)).await
    }

    /// Sends one request with credentials. A 401 is answered by one new login and one more try: a
    /// request that was refused so had no effect.
    async fn attempt(&self, call: &Call<'_>) -> Result<Reply, RedfishError> {
        let _pass = self.gate.enter(call.system).await;
        if call.method == Method::GET {
            return self.exchange_logged_in(call).await;
        }
        // What is read meanwhile by others may show either side of it.
        self.turns.note_write(call.link);
        let reply = self.exchange_logged_in(call).await;
        self.turns.note_write(call.link);
        reply
    }

    async fn exchange_logged_in(&self, call: &Call<'_>) -> Result<Reply, RedfishError> {
        let credentials = self.credentials().await?;
        let reply = self.http.exchange(call, Some(&credentials)).await?;
        if !reply.refuses_account() {
            self.note_accepted(&credentials, &reply).await;
            return Ok(reply);
        }
        let fresh = Box::pin(self.renew(&credentials, call, &reply)).await?;
        let reply = self.http.exchange(call, Some(&fresh)).await?;
        if !reply.refuses_account() {
            self.note_accepted(&fresh, &reply).await;
            return Ok(reply);
        }
        self.note_fresh_refused(&fresh).await;
        let Complaint { message_id, message, .. } = self.http.complaint(&reply.body);
        Err(call.error(RedfishErrorKind::Unauthorised { message_id, message }))
    }

    fn expect_json(&self, call: &Call<'_>, reply: Reply) -> Result<Reply, RedfishError> {
        if !reply.status.is_success() {
            return Err(self.http.refusal(call, &reply));
        }
        if reply.is_garbled || !reply.body.is_object() {
            return Err(call.error(RedfishErrorKind::Garbled));
        }
        Ok(reply)
    }

    /// The service root; with a login where the BMC hides it without one.
    pub(super) async fn root(&self) -> Result<Root, RedfishError> {
        if let Some(root) = self.root.known() {
            return Ok(root);
        }
        let mut retries = self.http.retries(Op::Root, self.http.limits.retries);
        loop {
            let pass = self.gate.enter(None).await;
            let root = self.root.read_without_login(&self.http).await;
            drop(pass);
            match root {
                Ok(Some(root)) => return Ok(root),
                Ok(None) => break,
                Err(error) => retries.after(error).await?,
            }
        }
        let reply = self.read_link(Op::Root, ROOT, None).await?;
        Ok(self.root.remember(&self.http, &reply))
    }

    /// The root's JSON, for [`recall_root`](Self::recall_root) after a restart.
    pub(super) fn root_text(&self) -> Option<String> {
        self.root.text()
    }

    pub(super) fn recall_root(&self, text: &str) {
        self.root.recall(&self.http, text);
    }

    /// The members of a collection, page by page.
    pub(super) async fn read_members(
        &self,
        op: Op,
        collection: &str,
        system: Option<&str>,
    ) -> Result<Vec<String>, RedfishError> {
        let mut members: Vec<String> = Vec::new();
        let mut page = Some(collection.to_owned());
        for _ in 0..PAGES_MAX {
            let Some(link) = page.take() else { break };
            let reply = self.read_link(op, &link, system).await?;
            self.http.identity.learn(&reply.body);
            let new = json::links(&reply.body, "/Members");
            page = json::link(&reply.body, "/Members@odata.nextLink").filter(|_| !new.is_empty());
            members.extend(new.into_iter().filter(|link| !members.contains(link)).collect::<Vec<_>>());
        }
        members.truncate(json::MEMBERS_MAX);
        Ok(members)
    }

    /// The credentials in use, after a login where there are none.
    async fn credentials(&self) -> Result<Credentials, RedfishError> {
        let mut logins = self.logins.lock().await;
        match &logins.held {
            Some(held) if !held.has_passed() => Ok(held.credentials.clone()),
            _ => self.login(&mut logins).await,
        }
    }

    /// Other credentials than `stale`, which the BMC refused to `call` with `reply`: those of
    /// another request's login since, or of one new login.
    async fn renew(
        &self,
        stale: &Credentials,
        call: &Call<'_>,
        reply: &Reply,
    ) -> Result<Credentials, RedfishError> {
        let mut logins = self.logins.lock().await;
        if let Some(held) = logins.held.as_ref().filter(|held| held.credentials != *stale) {
            return Ok(held.credentials.clone());
        }
        if let Some(wait) = logins.login_wait() {
            let Complaint { message_id, message, .. } = self.http.complaint(&reply.body);
            let kind = RedfishErrorKind::Unauthorised { message_id, message };
            return Err(RedfishError { retry_after: Some(wait), ..call.error(kind) });
        }
        let held = logins.held.take();
        match stale {
            Credentials::Token(_) => {
                logins.abandon(held.and_then(|held| held.link));
                self.login(&mut logins).await
            }
            // Not the account, but Basic authentication.
            Credentials::Basic(_) if held.is_some_and(|held| held.makeshift_until.is_some()) => {
                logins.basic_refused_until = Some(Instant::now() + WITHOUT_SESSION);
                self.login(&mut logins).await
            }
            // Basic: the account itself was refused.
            Credentials::Basic(_) => Err(logins.refuse(call.link, self.http.complaint(&reply.body))),
        }
    }

    /// The BMC refused credentials that it has just given out: another login would leave one more session.
    async fn note_fresh_refused(&self, fresh: &Credentials) {
        self.logins.lock().await.space(fresh);
    }

    /// The BMC took these credentials: sessions of before are deleted with them. No other request waits for that,
    /// and the one that deletes not for long; what is left is deleted with the next request.
    async fn note_accepted(&self, credentials: &Credentials, reply: &Reply) {
        if reply.is_for_now() {
            return;
        }
        let Some(links) = self.logins.lock().await.abandoned_before(credentials) else { return };
        let until = Instant::now() + LOGOUT_TIMEOUT;
        for link in links {
            if Instant::now() >= until {
                return;
            }
            // Another login may have been given its number meanwhile.
            let is_safe = self.logins.lock().await.holds_another_than(&link, credentials);
            if !is_safe {
                return;
            }
            let is_over = self.end_abandoned(&link, credentials).await;
            self.logins.lock().await.note_deletion(&link, is_over);
        }
        self.logins.lock().await.want_login_if_free(credentials);
    }

    /// Whether requests carry the password itself, for want of a session.
    pub(super) async fn is_basic(&self) -> bool {
        let logins = self.logins.lock().await;
        logins.held.as_ref().is_some_and(|held| matches!(held.credentials, Credentials::Basic(_)))
    }

    async fn login(&self, logins: &mut Logins) -> Result<Credentials, RedfishError> {
        logins.check_refusal()?;
        let held = match self.sessions_link().await? {
            Some(sessions) => match self.create_session(&sessions, logins).await {
                // A firmware update may have moved them since the root was remembered.
                Ok(held)
                    if matches!(held.credentials, Credentials::Basic(_)) && self.root.forget_recalled() =>
                {
                    self.log_in_anew(logins).await?
                }
                result => result?,
            },
            None => self.without_session()?,
        };
        let credentials = held.credentials.clone();
        logins.held = Some(held);
        Ok(credentials)
    }

    async fn log_in_anew(&self, logins: &mut Logins) -> Result<HeldLogin, RedfishError> {
        match self.sessions_link().await? {
            Some(sessions) => self.create_session(&sessions, logins).await,
            None => self.without_session(),
        }
    }

    /// Where the session is on the BMC, if there is one: for the controller that follows a crash. `None` too while a
    /// request logs in.
    pub fn link(&self) -> Option<String> {
        self.logins.try_lock().ok()?.held.as_ref()?.link.clone()
    }

    /// Remembers a session of a controller that is gone: it is deleted after the next login.
    pub async fn inherit(&self, link: &str) {
        let mut logins = self.logins.lock().await;
        let is_ours = logins.held.as_ref().is_some_and(|held| held.link.as_deref() == Some(link));
        logins.abandon(Some(link.to_owned()).filter(|_| !is_ours));
    }

    /// Deletes a session of before, if it is there and this account's: a BMC that was restarted gives
    /// its numbers out again. False where it may still be there.
    async fn end_abandoned(&self, link: &str, credentials: &Credentials) -> bool {
        let timeout = LOGOUT_TIMEOUT.min(self.http.limits.timeout);
        let call = Call { timeout, ..self.http.get(Op::Logout, link, None) };
        let Ok(found) = self.http.exchange(&call, Some(credentials)).await else { return false };
        let user = json::text(&found.body, "/UserName");
        if !found.status.is_success() || user.is_some_and(|user| user != self.http.account.username) {
            return !found.is_for_now();
        }
        let call = self.http.delete(Op::Logout, link, timeout);
        match self.http.exchange(&call, Some(credentials)).await {
            Ok(reply) => !reply.is_for_now(),
            Err(error) => {
                tracing::debug!(path = %error.path, kind = %error.kind, "an earlier session is not deleted yet");
                false
            }
        }
    }

    async fn create_session(&self, sessions: &str, logins: &mut Logins) -> Result<HeldLogin, RedfishError> {
        let body = json!({"UserName": self.http.account.username, "Password": self.password()?.expose()});
        let call = self.http.post(Op::Login, sessions, &body, None);
        let reply = self.http.exchange(&call, None).await?;
        match reply.status.as_u16() {
            200..300 => self.held(&call, &reply),
            404 | 405 | 501 => self.without_session(),
            _ if messages::has_id(&reply.body, &SESSIONS_FULL) && logins.may_use_basic() => {
                tracing::warn!(
                    path = sessions,
                    "no session is free on the BMC: Basic authentication for a while"
                );
                let until = Instant::now() + WITHOUT_SESSION;
                let is_worth_a_login = !logins.abandoned.is_empty();
                Ok(HeldLogin { makeshift_until: Some(until), is_worth_a_login, ..self.without_session()? })
            }
            // Not the account, whatever the status.
            _ if messages::has_id(&reply.body, &NOT_READY) => Err(self.http.refusal(&call, &reply)),
            401 | 403 => Err(logins.refuse(sessions, self.http.complaint(&reply.body))),
            _ => Err(self.http.refusal(&call, &reply)),
        }
    }

    /// The session of a successful login; one without a token is of no use (DMTF mockup server).
    fn held(&self, call: &Call<'_>, reply: &Reply) -> Result<HeldLogin, RedfishError> {
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
        let mut links = named.filter_map(|link| self.http.origin.own_path(base(&link), &link));
        let link = links.find(|link| link.trim_end_matches('/') != call.link.trim_end_matches('/'));
        let credentials = Credentials::Token(token);
        Ok(HeldLogin { credentials, link, makeshift_until: None, is_worth_a_login: false })
    }

    fn without_session(&self) -> Result<HeldLogin, RedfishError> {
        let pair = format!("{}:{}", self.http.account.username, self.password()?.expose());
        let text = format!("Basic {}", BASE64_STANDARD.encode(pair));
        let mut value = HeaderValue::from_str(&text).expect("base64 fits a header");
        value.set_sensitive(true);
        let credentials = Credentials::Basic(value);
        Ok(HeldLogin { credentials, link: None, makeshift_until: None, is_worth_a_login: false })
    }

    /// As it is now, where it is kept elsewhere.
    fn password(&self) -> Result<Password, RedfishError> {
        let Account { password, secrets, .. } = &self.http.account;
        secrets.resolve(password).map_err(|error| {
            let why = error.sentence();
            RedfishError::new(Op::Login, SESSIONS_BY_STANDARD, RedfishErrorKind::NoPassword { why })
        })
    }

    /// Where to log in; `None` where the service has no sessions.
    async fn sessions_link(&self) -> Result<Option<String>, RedfishError> {
        let Some(root) = self.root.read_without_login(&self.http).await? else {
            return Ok(Some(SESSIONS_BY_STANDARD.to_owned()));
        };
        if root.sessions.is_some() {
            return Ok(root.sessions);
        }
        let Some(service) = root.session_service else { return Ok(None) };
        let call = self.http.get(Op::Root, &service, None);
        let reply = self.http.exchange(&call, None).await?;
        Ok(match reply.status {
            StatusCode::UNAUTHORIZED => Some(SESSIONS_BY_STANDARD.to_owned()),
            status if status.is_success() && reply.is_garbled => {
                return Err(call.error(RedfishErrorKind::Garbled));
            }
            _ => json::link(&reply.body, "/Sessions"),
        })
    }

    /// Deletes the session, if there is one. What goes wrong is left to the session's timeout. The next request
    /// creates another.
    pub async fn close(&self) {
        // Its turn, but within a limit: who holds the gate for longer is at work in this session.
        let Ok(_pass) = tokio::time::timeout(LOGOUT_TIMEOUT, self.gate.enter(None)).await else { return };
        let Some(held) = self.logins.lock().await.held.take() else { return };
        let Some(link) = held.link else { return };
        let call = self.http.delete(Op::Logout, &link, LOGOUT_TIMEOUT.min(self.http.limits.timeout));
        if let Err(error) = self.http.exchange(&call, Some(&held.credentials)).await {
            tracing::debug!(path = %error.path, kind = %error.kind, "session left to its timeout");
        }
    }
}
