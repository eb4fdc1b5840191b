//! The limits of open event streams: in total, and per token.
//!
//! It knows no events. Invariant: one token never holds so many that the others find none.

use shoal_base::{NoSeat, Seat, Seats};

/// Of all tokens together.
const STREAMS_MAX: usize = 1_000;
/// Of one token.
const OF_ONE_TOKEN_MAX: usize = 100;

/// The seats of one controller, by token.
#[derive(Clone)]
pub struct StreamSeats(Seats<String>);

pub type StreamSeat = Seat<String>;

impl Default for StreamSeats {
    fn default() -> StreamSeats {
        StreamSeats(Seats::new(STREAMS_MAX))
    }
}

impl StreamSeats {
    pub fn take(&self, token: &str) -> Result<StreamSeat, NoSeat> {
        self.0.take(token.to_owned(), OF_ONE_TOKEN_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_bound_and_all_have_theirs() {
        let seats = StreamSeats::default();
        let of_token = |token: usize| (0..OF_ONE_TOKEN_MAX).map(move |_| token.to_string());
        let held: Vec<StreamSeat> = (0..STREAMS_MAX / OF_ONE_TOKEN_MAX)
            .flat_map(of_token)
            .map(|token| seats.take(&token).ok().unwrap())
            .collect();
        assert_eq!(held.len(), STREAMS_MAX);
        assert_eq!(seats.take("0").err(), Some(NoSeat::Holder));
        assert_eq!(seats.take("another").err(), Some(NoSeat::Full));
    }
}
