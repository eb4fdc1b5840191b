//! How many event streams are open at once, of all tokens and of one.
//!
//! It knows no events. Invariant: a seat is given back when its stream is dropped, and one token never holds so
//! many that the others find none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of all tokens together.
const STREAMS_MAX: usize = 1_000;
/// Of one token.
const OF_ONE_TOKEN_MAX: usize = 100;

/// The seats of one controller.
#[derive(Clone, Default)]
pub struct StreamSeats(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    all: usize,
    by_token: BTreeMap<String, usize>,
}

/// Why a stream got no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSeat {
    /// The controller holds as many as it can.
    Full,
    /// This token holds as many as one may.
    Token,
}

impl StreamSeats {
    pub fn take(&self, token: &str) -> Result<StreamSeat, NoSeat> {
        let mut counts = self.counts();
        if counts.by_token.get(token).is_some_and(|held| *held >= OF_ONE_TOKEN_MAX) {
            return Err(NoSeat::Token);
        }
        if counts.all >= STREAMS_MAX {
            return Err(NoSeat::Full);
        }
        counts.all += 1;
        *counts.by_token.entry(token.to_owned()).or_default() += 1;
        Ok(StreamSeat { seats: self.clone(), token: token.to_owned() })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// FieldPatch back when it is dropped.
pub struct StreamSeat {
    seats: StreamSeats,
    token: String,
}

impl Drop for StreamSeat {
    fn drop(&mut self) {
        let mut counts = self.seats.counts();
        counts.all -= 1;
        if let Some(held) = counts.by_token.get_mut(&self.token) {
            *held -= 1;
            if *held == 0 {
                counts.by_token.remove(&self.token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_leaves_seats_to_the_others_and_gets_its_own_back() {
        let seats = StreamSeats::default();
        let mut held: Vec<StreamSeat> =
            (0..OF_ONE_TOKEN_MAX).map(|_| seats.take("a").ok().unwrap()).collect();
        assert_eq!(seats.take("a").err(), Some(NoSeat::Token));
        held.push(seats.take("b").ok().unwrap());
        held.remove(0);
        held.push(seats.take("a").ok().unwrap());
        for token in 0..9 {
            let room = OF_ONE_TOKEN_MAX.min(STREAMS_MAX - held.len());
            held.extend((0..room).map(|_| seats.take(&format!("t{token}")).ok().unwrap()));
        }
        assert_eq!(seats.take("another").err(), Some(NoSeat::Full));
        drop(held);
        let counts = seats.counts();
        assert_eq!((counts.all, counts.by_token.len()), (0, 0));
    }
}
