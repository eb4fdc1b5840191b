//! The sessions of a BMC, by token, and how they end: by request, idleness or a restart.
//!
//! What is shown of them is in `redfish::sessions`. Invariant: at most [`SESSIONS_MAX`] sessions
//! live, and one that was idle for the time-out does not.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::super::body::{self, Object};
use super::super::faults::{Fault, Faults};
use super::super::message::{Message, Refusal};
use shoal_base::world;

/// Real BMCs allow 8 to 64.
const SESSIONS_MAX: usize = 16;
/// The range of `SessionTimeout` in DMTF's schema, in seconds.
const TIMEOUT_SECS: std::ops::RangeInclusive<u64> = 30..=86_400;

pub struct Sessions {
    live: BTreeMap<String, Session>,
    made: u64,
    /// How long a session lives that is not used.
    pub timeout: Duration,
}

pub struct Session {
    token: String,
    pub user: String,
    pub created: Timestamp,
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

    /// Opens a session for a user whose password was right; its id and its token.
    pub fn open(
        &mut self,
        user: &str,
        new_token: impl FnOnce() -> String,
        now: Timestamp,
    ) -> Result<(String, String), Refusal> {
        self.expire(now);
        if self.live.len() >= SESSIONS_MAX {
            return Err(Message::session_limit());
        }
        self.made += 1;
        let (id, token) = (self.made.to_string(), new_token());
        let session = Session { token: token.clone(), user: user.to_owned(), created: now, used: now };
        self.live.insert(id.clone(), session);
        Ok((id, token))
    }

    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.live.keys()
    }

    pub fn get(&self, id: &str) -> Option<&Session> {
        self.live.get(id)
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
