//! What is remembered of the logins of one account on one BMC. No requests: `session` makes those.
//!
//! The states, each with what ends it:
//!
//! - nothing held: the next request logs in;
//! - a token held: until a 401, the logout, or the end of this process;
//! - Basic held because the service has no sessions: until it is refused, which refuses the account;
//! - Basic held because all sessions were taken (`makeshift_until`): for [`WITHOUT_SESSION`], then another login is
//!   tried; sooner where sessions of ours were among those and have been deleted since;
//! - the account refused (`refusal`): for [`COOL_DOWN`] every request gets the same error, without a login;
//! - a fresh token refused (`spaced`): the next login waits, and doubles that wait.
//!
//! Beside these, sessions of ours that the BMC may still count (`abandoned`) are kept to be deleted.
//! Invariant: every list and every wait is bounded.

use std::time::Duration;

use tokio::time::Instant;

use super::call::Credentials;
use super::messages::Complaint;
use super::{Op, RedfishError, RedfishErrorKind};

/// How long a refused login is remembered.
const COOL_DOWN: Duration = Duration::from_secs(120);
/// How long a BMC without a free session is asked with the password itself, before another login; and how long
/// Basic authentication is not tried again after it was refused then.
pub(super) const WITHOUT_SESSION: Duration = Duration::from_secs(300);
/// The first wait before another login where a fresh token was refused; it doubles.
const LOGIN_DELAY_FIRST: Duration = Duration::from_secs(30);
/// The longest of those waits.
const LOGIN_DELAY_MAX: Duration = Duration::from_secs(240);
/// Abandoned sessions that are remembered.
const ABANDONED_MAX: usize = 8;
/// Tries to delete one of them.
const DELETIONS_MAX: u32 = 5;

#[derive(Default)]
pub(super) struct Logins {
    pub(super) held: Option<HeldLogin>,
    refusal: Option<LoginRefusal>,
    /// The BMC refused Basic authentication where no session was free: it is not tried before this.
    pub(super) basic_refused_until: Option<Instant>,
    /// Links of our sessions that the BMC may still count: of a controller that is gone, or of refused tokens.
    pub(super) abandoned: Vec<Abandoned>,
    /// A fresh token was refused: when the next login may be, and how long after the last one.
    spaced: Option<(Instant, Duration)>,
}

pub(super) struct Abandoned {
    link: String,
    /// How often its deletion has failed.
    failed: u32,
}

pub(super) struct HeldLogin {
    pub(super) credentials: Credentials,
    /// The session's own resource, where the BMC named it.
    pub(super) link: Option<String>,
    /// When a session is to be asked for again: Basic authentication for want of a free one.
    pub(super) makeshift_until: Option<Instant>,
    /// Sessions of ours are among those that take all places: once they are deleted, one is free.
    pub(super) is_worth_a_login: bool,
}

impl HeldLogin {
    pub(super) fn has_passed(&self) -> bool {
        self.makeshift_until.is_some_and(|until| Instant::now() >= until)
    }
}

struct LoginRefusal {
    until: Instant,
    path: String,
    complaint: Complaint,
}

impl Logins {
    /// The sessions to delete, where these credentials are the ones that stand.
    pub(super) fn abandoned_before(&mut self, credentials: &Credentials) -> Option<Vec<String>> {
        let held = self.held.as_ref().filter(|held| held.credentials == *credentials)?;
        let own = held.link.clone();
        self.spaced = None;
        self.abandoned.retain(|abandoned| own.as_ref() != Some(&abandoned.link));
        Some(self.abandoned.iter().map(|abandoned| abandoned.link.clone()).collect())
    }

    pub(super) fn holds_another_than(&self, link: &str, credentials: &Credentials) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.credentials == *credentials && held.link.as_deref() != Some(link))
    }

    pub(super) fn note_deletion(&mut self, link: &str, is_over: bool) {
        for abandoned in self.abandoned.iter_mut().filter(|abandoned| abandoned.link == link) {
            abandoned.failed += 1;
        }
        self.abandoned
            .retain(|abandoned| abandoned.link != link || (!is_over && abandoned.failed < DELETIONS_MAX));
    }

    /// A session is free now, unless another client was quicker.
    pub(super) fn want_login_if_free(&mut self, credentials: &Credentials) {
        let held = self.held.as_mut().filter(|held| held.credentials == *credentials);
        if let Some(held) = held.filter(|held| held.is_worth_a_login) {
            held.makeshift_until = Some(Instant::now());
            held.is_worth_a_login = false;
        }
    }

    pub(super) fn abandon(&mut self, link: Option<String>) {
        let is_known = |link: &String| self.abandoned.iter().any(|known| known.link == *link);
        let Some(link) = link.filter(|link| !is_known(link)) else { return };
        if self.abandoned.len() >= ABANDONED_MAX {
            self.abandoned.remove(0);
        }
        self.abandoned.push(Abandoned { link, failed: 0 });
    }

    /// A fresh token was refused: the next login waits, and the one after that longer.
    pub(super) fn space(&mut self, fresh: &Credentials) {
        let is_held = self.held.as_ref().is_some_and(|held| held.credentials == *fresh);
        if is_held && matches!(fresh, Credentials::Token(_)) && self.login_wait().is_none() {
            let delay = self.spaced.map_or(LOGIN_DELAY_FIRST, |(_, last)| (last * 2).min(LOGIN_DELAY_MAX));
            self.spaced = Some((Instant::now() + delay, delay));
        }
    }

    /// How long there must be no login yet.
    pub(super) fn login_wait(&self) -> Option<Duration> {
        let (at, _) = self.spaced?;
        let wait = at.saturating_duration_since(Instant::now());
        (!wait.is_zero()).then_some(wait)
    }

    pub(super) fn may_use_basic(&self) -> bool {
        self.basic_refused_until.is_none_or(|until| until <= Instant::now())
    }

    /// Remembers that the account was refused.
    pub(super) fn refuse(&mut self, path: &str, complaint: Complaint) -> RedfishError {
        let refusal = LoginRefusal { until: Instant::now() + COOL_DOWN, path: path.to_owned(), complaint };
        let error = refusal.error();
        (self.held, self.refusal) = (None, Some(refusal));
        error
    }

    pub(super) fn check_refusal(&mut self) -> Result<(), RedfishError> {
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

impl LoginRefusal {
    fn error(&self) -> RedfishError {
        let Complaint { message_id, message, .. } = self.complaint.clone();
        RedfishError::new(Op::Login, &self.path, RedfishErrorKind::Unauthorised { message_id, message })
    }
}
