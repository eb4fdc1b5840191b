//! How long links are remembered: each part of the client keeps its own, and all of them forget together.
//!
//! A firmware update moves resources (iDRAC9 5.x to 6.x), so what was found is looked for again after a while, and
//! as soon as one remembered link leads nowhere. The other links cannot be trusted
//! either then, in whichever part of the client they are. Invariant: a value of an earlier generation is never returned.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::RedfishError;

/// How long links are remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The age of what is remembered of one BMC.
#[derive(Default)]
pub(super) struct Expiry(Mutex<Generation>);

#[derive(Default)]
struct Generation {
    number: u64,
    since: Option<Instant>,
}

impl Expiry {
    /// The number of the generation; another one begins where the last has expired.
    fn current(&self) -> u64 {
        let mut generation = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if generation.since.is_none_or(|since| now - since > REMEMBERED) {
            *generation = Generation { number: generation.number + 1, since: Some(now) };
        }
        generation.number
    }

    fn expire(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).since = None;
    }
}

/// What one part of the client remembers until it expires.
pub(super) struct Remembered<T> {
    expiry: Arc<Expiry>,
    held: Mutex<(u64, T)>,
}

impl<T: Default> Remembered<T> {
    pub(super) fn new(expiry: &Arc<Expiry>) -> Remembered<T> {
        Remembered { expiry: expiry.clone(), held: Mutex::default() }
    }

    /// Reads or changes it; an expired value is replaced by an empty one first.
    pub(super) fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        let current = self.expiry.current();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 != current {
            *held = (current, T::default());
        }
        use_it(&mut held.1)
    }

    /// Everything that is remembered may be wrong, in all parts.
    pub(super) fn expire(&self) {
        self.expiry.expire();
    }

    /// A remembered link led to `error`: where it is gone, everything that is remembered expires.
    pub(super) fn expire_if_gone(&self, error: &RedfishError) {
        if error.is_not_found() {
            self.expiry.expire();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Op, RedfishErrorKind};
    use super::*;

    fn refused(status: u16) -> RedfishError {
        let [message_id, message] = [String::new(), String::new()];
        RedfishError::new(Op::Slot, "/x", RedfishErrorKind::Refused { status, message_id, message })
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_part_finds_gone_expires_in_all_of_them() {
        let expiry = Arc::default();
        let (links, slots) = (Remembered::<Vec<u8>>::new(&expiry), Remembered::<Vec<u8>>::new(&expiry));
        links.with(|links| links.push(1));
        slots.with(|slots| slots.push(2));
        slots.expire_if_gone(&refused(500));
        assert_eq!((links.with(|links| links.len()), slots.with(|slots| slots.len())), (1, 1));
        slots.expire_if_gone(&refused(404));
        assert_eq!((links.with(|links| links.len()), slots.with(|slots| slots.len())), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_generation_lasts_ten_minutes() {
        let links = Remembered::<Vec<u8>>::new(&Arc::default());
        links.with(|links| links.push(1));
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(links.with(|links| links.len()), 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(links.with(|links| links.len()), 0);
    }
}
