//! Whether a caller that was admitted still is: for answers that go on after their request.
//!
//! Not the way in, which is [`super::guard()`]. Invariant: an answer that asks before all that it sends, and waits
//! with [`Admission::may_have_changed`] beside whatever else it waits for, ends with the token that opened it: a
//! revocation by this controller and an expiry are seen immediately, and one by another controller within
//! [`CHECK_EVERY`].

use std::time::Duration;

use axum::body::Body;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use shoal_base::with_causes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Access, Who};
use crate::access::{Standing, TokenId};
use crate::store::Store;
use shoal_base::world::{Clock, elapsed};

/// How often the token is looked up.
const CHECK_EVERY: Duration = Duration::from_secs(10);

pub struct Admission {
    expires_at: Option<Timestamp>,
    /// None where no token of the store was shown.
    kept: Option<HeldToken>,
    clock: Option<Clock>,
}

/// A token of the store, and who knows of its end.
struct HeldToken {
    token: TokenId,
    store: Store,
    revocations: watch::Receiver<()>,
    checked: Option<Instant>,
}

impl Admission {
    /// Of `who`, who was let in by `access`.
    pub fn new(who: &Who, access: &Access) -> Admission {
        let Access::Tokens(tokens) = access else {
            return Admission { expires_at: None, kept: None, clock: None };
        };
        let token = who.actor.id.strip_prefix("token:").and_then(|id| id.parse().ok());
        let kept = token.map(|token| HeldToken {
            token,
            store: tokens.store.clone(),
            revocations: tokens.revocations.subscribe(),
            checked: None,
        });
        Admission { expires_at: who.actor.expires_at, kept, clock: Some(tokens.clock.clone()) }
    }

    /// Whether they may still be answered. A token that cannot be looked up is no admission.
    pub async fn holds(&mut self) -> bool {
        let Some(clock) = &self.clock else { return true };
        let now = clock.wall();
        if self.expires_at.is_some_and(|end| end <= now) {
            return false;
        }
        match &mut self.kept {
            Some(kept) => kept.holds(now).await,
            None => true,
        }
    }

    /// Waits until the answer of [`Admission::holds`] may be another one.
    pub async fn may_have_changed(&mut self) {
        let now = self.clock.as_ref().map(Clock::wall);
        let until_end = self.expires_at.zip(now).map_or(CHECK_EVERY, |(end, now)| elapsed(now, end));
        let pause = tokio::time::sleep(until_end.clamp(Duration::from_millis(1), CHECK_EVERY));
        let Some(kept) = &mut self.kept else { return pause.await };
        tokio::select! {
            Ok(()) = kept.revocations.changed() => kept.checked = None,
            () = pause => {}
        }
    }

    /// The same body, cut off where the admission ends.
    pub fn cut(self, body: Body) -> Body {
        let all = (body.into_data_stream(), self);
        Body::from_stream(stream::unfold(Some(all), |left| async move {
            let (mut body, mut admission) = left?;
            loop {
                if !admission.holds().await {
                    let ended = std::io::Error::other("the token that opened it has ended");
                    return Some((Err(axum::Error::new(ended)), None));
                }
                tokio::select! {
                    slice = body.next() => return slice.map(|slice| (slice, Some((body, admission)))),
                    () = admission.may_have_changed() => {}
                }
            }
        }))
    }
}

impl HeldToken {
    async fn holds(&mut self, now: Timestamp) -> bool {
        let is_fresh = self.checked.is_some_and(|checked| checked.elapsed() < CHECK_EVERY);
        if is_fresh && matches!(self.revocations.has_changed(), Ok(false)) {
            return true;
        }
        self.revocations.mark_unchanged();
        self.checked = Some(Instant::now());
        match self.store.token(&self.token).await {
            Ok(found) => found.is_some_and(|token| token.standing(now) == Standing::Live),
            Err(error) => {
                tracing::warn!(token = %self.token, error = %with_causes(&error), "a token cannot be looked up: its stream ends");
                false
            }
        }
    }
}
