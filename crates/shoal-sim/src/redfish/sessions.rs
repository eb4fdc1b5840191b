//! SessionService: logins, and what is shown of the sessions that they open.
//!
//! The sessions themselves are in [`bmc`](super::super::bmc). Invariant: a token is given out once,
//! in the answer to its login.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderName, LOCATION};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::bmc::Bmc;
use super::super::body::{self, Object};
use super::super::faults::Fault;
use super::super::message::{Message, Refusal};
use super::resource::Resource;
use super::systems::date_time;
use super::{Reply, represent};
use shoal_base::world;

/// How long an account stays locked (HPE and Lenovo: minutes, configurable).
const LOCKOUT: Duration = Duration::from_secs(300);

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
        let members: Vec<_> = self.sessions.ids().cloned().map(Resource::Session).collect();
        self.collection(&Resource::Sessions, "SessionCollection", "Sessions", &members)
    }

    pub fn render_session(&self, id: &str) -> Option<Value> {
        let session = self.sessions.get(id)?;
        Some(json!({
            "@odata.id": self.path(&Resource::Session(id.to_owned())),
            "@odata.type": "#Session.v1_7_1.Session",
            "Id": id,
            "Name": "User Session",
            "UserName": session.user,
            "Password": null,
            "CreatedTime": date_time(session.created),
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
        let (id, token) = self.sessions.open(user, || self.rng.hex(16), now)?;
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
