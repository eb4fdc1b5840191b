//! A bounded number of seats, of all holders together and of one.
//!
//! What sits there is the caller's matter. Invariant: a seat is given back when it is dropped, and a
//! holder without any is not remembered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Clone)]
pub struct Seats<Holder: Ord> {
    counts: Arc<Mutex<Counts<Holder>>>,
    max: usize,
}

struct Counts<Holder> {
    all: usize,
    by_holder: BTreeMap<Holder, usize>,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSeat {
    /// All are taken.
    Full,
    /// This holder has as many as one may.
    Holder,
}

impl<Holder: Ord + Clone> Seats<Holder> {
    /// `max` of them, of all holders together.
    pub fn new(max: usize) -> Seats<Holder> {
        let counts = Counts { all: 0, by_holder: BTreeMap::new() };
        Seats { counts: Arc::new(Mutex::new(counts)), max }
    }

    /// A seat for a holder that may have `of_one_max`.
    pub fn take(&self, holder: Holder, of_one_max: usize) -> Result<Seat<Holder>, NoSeat> {
        let mut counts = self.counts();
        if counts.by_holder.get(&holder).is_some_and(|held| *held >= of_one_max) {
            return Err(NoSeat::Holder);
        }
        if counts.all >= self.max {
            return Err(NoSeat::Full);
        }
        counts.all += 1;
        *counts.by_holder.entry(holder.clone()).or_default() += 1;
        Ok(Seat { seats: self.clone(), holder })
    }
}

impl<Holder: Ord> Seats<Holder> {
    fn counts(&self) -> MutexGuard<'_, Counts<Holder>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Given back when it is dropped.
pub struct Seat<Holder: Ord> {
    seats: Seats<Holder>,
    holder: Holder,
}

impl<Holder: Ord> Drop for Seat<Holder> {
    fn drop(&mut self) {
        let mut counts = self.seats.counts();
        counts.all -= 1;
        if let Some(held) = counts.by_holder.get_mut(&self.holder) {
            *held -= 1;
            if *held == 0 {
                counts.by_holder.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_leaves_seats_to_the_others_and_gets_its_own_back() {
        let seats = Seats::new(5);
        let mut held: Vec<Seat<&str>> = (0..2).map(|_| seats.take("a", 2).ok().unwrap()).collect();
        assert_eq!(seats.take("a", 2).err(), Some(NoSeat::Holder));
        held.push(seats.take("b", 2).ok().unwrap());
        held.remove(0);
        held.push(seats.take("a", 2).ok().unwrap());
        held.extend((0..2).map(|_| seats.take("c", usize::MAX).ok().unwrap()));
        assert_eq!(seats.take("a", 2).err(), Some(NoSeat::Holder), "although all are taken");
        for other in ["c", "d"] {
            assert_eq!(seats.take(other, usize::MAX).err(), Some(NoSeat::Full));
        }
        drop(held);
        let counts = seats.counts();
        assert_eq!((counts.all, counts.by_holder.len()), (0, 0));
    }
}
