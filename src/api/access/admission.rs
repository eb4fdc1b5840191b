//! Whether somebody who was let in still is: for answers that go on after their request.
//!
//! Not the way in, which is [`super::guard()`]. Invariant: an answer that asks before all that it sends, and waits
//! with [`Admission::may_have_changed`] beside whatever else it waits for, ends with the token that opened it: a
//! revocation by this controller and an expiry are seen immediately, and one by another controller within
//! [`CHECK_EVERY`].

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Who;
use crate::access::{Standing, TokenId};
use crate::store::Store;
use shoal_base::world::{Clock, elapsed};

/// How often the token is looked up.
const CHECK_EVERY: Duration = Duration::from_secs(10);

pub struct Admission {
    /// None where no token of the store was shown.
    token: Option<TokenId>,
    expires_at: Option<Timestamp>,
    store: Store,
    clock: Clock,
    revocations: watch::Receiver<()>,
    checked: Option<Instant>,
}

impl Admission {
    /// Of `who`; `revocations` is sent to whenever a token was revoked.
    pub fn new(who: &Who, store: &Store, clock: &Clock, revocations: watch::Receiver<()>) -> Admission {
        let token = who.actor.id.strip_prefix("token:").and_then(|id| id.parse().ok());
        let expires_at = who.actor.expires_at;
        Admission {
            token,
            expires_at,
            store: store.clone(),
            clock: clock.clone(),
            revocations,
            checked: None,
        }
    }

    /// Whether they may still be answered. A token that cannot be looked up is no admission.
    pub async fn holds(&mut self) -> bool {
        let now = self.clock.wall();
        if self.expires_at.is_some_and(|end| end <= now) {
            return false;
        }
        let is_fresh = self.checked.is_some_and(|checked| checked.elapsed() < CHECK_EVERY);
        let is_unchanged = matches!(self.revocations.has_changed(), Ok(false));
        let Some(token) = self.token.as_ref().filter(|_| !is_fresh || !is_unchanged) else { return true };
        self.revocations.mark_unchanged();
        self.checked = Some(Instant::now());
        match self.store.token(token).await {
            Ok(found) => found.is_some_and(|token| token.standing(now) == Standing::Live),
            Err(error) => {
                tracing::warn!(%token, %error, "a token cannot be looked up: its stream ends");
                false
            }
        }
    }

    /// Waits until the answer of [`Admission::holds`] may be another one.
    pub async fn may_have_changed(&mut self) {
        let until_end = self.expires_at.map_or(CHECK_EVERY, |end| elapsed(self.clock.wall(), end));
        let pause = tokio::time::sleep(until_end.clamp(Duration::from_millis(1), CHECK_EVERY));
        tokio::select! {
            Ok(()) = self.revocations.changed() => self.checked = None,
            () = pause => {}
        }
    }
}
