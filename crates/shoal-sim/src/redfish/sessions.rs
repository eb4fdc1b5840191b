//! SessionService and its sessions.
//!
//! Invariant: at most [`SESSIONS_MAX`] sessions live, and one that was idle for the time-out does
//! not.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderName, LOCATION};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::faults::{Fault, Faults};
use super::body::{self, Object};
use super::message::Message;
use super::resource::Resource;
use super::{Refusal, Reply, represent};
use shoal_base::world;

/// Real BMCs allow 8 to 64.
const SESSIONS_MAX: usize = 16;
/// The range of `SessionTimeout` in DMTF's schema, in seconds.
const TIMEOUT_SECS: std::ops::RangeInclusive<u64> = 30..=86_400;

/// How long an account stays locked (HPE and Lenovo: minutes, configurable).
const LOCKOUT: Duration = Duration::from_secs(300);

pub struct Sessions {
    live: BTreeMap<String, Session>,
    made: u64,
    timeout: Duration,
}

struct Session {
    token: String,
    user: String,
    created: Timestamp,
    used: Timestamp,
}

impl Sessions {
    pub fn new(faults: &Faults) -> Sessions {
        let timeout = faults.find(|fault| match fault {
            Fault::SessionTimeout(timeout) => Some(*timeout),
            _ => None,
        });
        let timeout = timeout.unwrap_or(Duration::from_secs(1800));
        Sessions { live: BTreeMap::new(), made: 0, timeout }
    }

    /// How many have not been ended, idle ones too.
    pub fn count(&self) -> usize {
        self.live.len()
    }

    pub fn clear(&mut self) {
        self.live.clear();
    }

    /// The user and the id of the session with this token, which is used by that.
    pub fn find(&mut self, token: &str, now: Timestamp) -> Option<(String, Option<String>)> {
        self.expire(now);
        let (id, session) = self.live.iter_mut().find(|(_, session)| session.token == token)?;
        session.used = now;
        Some((session.user.clone(), Some(id.clone())))
    }

    pub fn expire(&mut self, now: Timestamp) {
        self.live.retain(|_, session| world::elapsed(session.used, now) < self.timeout);
    }

    pub fn remove(&mut self, id: &str) -> bool {
        self.live.remove(id).is_some()
    }

    pub fn patch(&mut self, body: Object) -> Result<Vec<Refusal>, Refusal> {
        let mut unknown = body::unknown(
            &body,
            &["SessionTimeout"],
            &["Id", "Name", "ServiceEnabled", "Sessions", "Status"],
        );
        let Some(timeout) = body.get("SessionTimeout") else {
            return Err(unknown.pop().unwrap_or_else(Message::no_operation));
        };
        let secs = timeout.as_u64().ok_or_else(|| Message::property_type("SessionTimeout", timeout))?;
        if !TIMEOUT_SECS.contains(&secs) {
            return Err(Message::property_value("SessionTimeout", &secs.to_string()));
        }
        self.timeout = Duration::from_secs(secs);
        Ok(unknown)
    }
}

impl Bmc {
    pub fn render_session_service(&self) -> Value {
        json!({
            "@odata.id": self.path(&Resource::SessionService),
            "@odata.type": "#SessionService.v1_1_9.SessionService",
            "Id": "SessionService",
            "Name": "Session Service",
            "ServiceEnabled": true,
            "SessionTimeout": self.sessions.timeout.as_secs(),
            "Status": { "State": "Enabled", "Health": "OK" },
            "Sessions": self.link(&Resource::Sessions),
        })
    }

    pub fn render_sessions(&self) -> Value {
        let members: Vec<_> = self.sessions.live.keys().cloned().map(Resource::Session).collect();
        self.collection(&Resource::Sessions, "SessionCollection", "Sessions", &members)
    }

    pub fn render_session(&self, id: &str) -> Option<Value> {
        let session = self.sessions.live.get(id)?;
        Some(json!({
            "@odata.id": self.path(&Resource::Session(id.to_owned())),
            "@odata.type": "#Session.v1_7_1.Session",
            "Id": id,
            "Name": "User Session",
            "UserName": session.user,
            "Password": null,
            "CreatedTime": super::systems::date_time(session.created),
        }))
    }

    /// Whether no token is good, so soon after a start of the host.
    pub fn refuses_tokens(&mut self, now: Timestamp) -> bool {
        let Some(wait) = self.faults.find(|fault| match fault {
            Fault::TokensRefusedAfterStart(wait) => Some(*wait),
            _ => None,
        }) else {
            return false;
        };
        let is_fresh = |started| world::elapsed(started, now) < wait;
        let refuses = !self.calm && self.computer.machine.last_reset().is_some_and(is_fresh);
        if refuses {
            self.note("tokens-refused-after-start");
        }
        refuses
    }

    /// The account that these credentials open, unless too many wrong ones came before.
    pub fn log_in(&mut self, user: &str, password: &str, now: Timestamp) -> Option<String> {
        let limit = self.faults.find(|fault| match fault {
            Fault::Lockout(times) => Some(*times),
            _ => None,
        });
        if self.locked_until.is_some_and(|until| now < until) {
            self.note("lockout");
            return None;
        }
        let account = self.accounts.check(user, password);
        self.wrong_logins = if account.is_some() { 0 } else { self.wrong_logins + 1 };
        if limit.is_some_and(|limit| self.wrong_logins >= limit) {
            self.wrong_logins = 0;
            self.locked_until = Some(world::after(now, LOCKOUT));
        }
        account
    }

    pub fn create_session(&mut self, body: &Object, now: Timestamp) -> Result<Reply, Refusal> {
        let user = body::required_text(body, "UserName")?;
        let password = body::required_text(body, "Password")?;
        if let Some(message) = body::unknown(body, &["UserName", "Password", "SessionType"], &[]).pop() {
            return Err(message);
        }
        let account = self.log_in(user, password, now).ok_or_else(Message::unauthorised)?;
        let warning = self.accounts.must_change_password(&account);
        self.sessions.expire(now);
        if self.sessions.live.len() >= SESSIONS_MAX {
            return Err(Message::session_limit());
        }
        self.sessions.made += 1;
        let (id, token) = (self.sessions.made.to_string(), self.rng.hex(16));
        let session = Session { token: token.clone(), user: user.to_owned(), created: now, used: now };
        self.sessions.live.insert(id.clone(), session);
        let resource = Resource::Session(id.clone());
        let mut made = self.render_session(&id).ok_or_else(Message::internal)?;
        if warning {
            made["@Message.ExtendedInfo"] = json!([Message::password_change_required(&account).entry()]);
        }
        Ok(represent(StatusCode::CREATED, &resource, made)
            .with(LOCATION, self.path(&resource))
            .with(HeaderName::from_static("x-auth-token"), token))
    }
}
