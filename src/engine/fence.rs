//! How long a worker may go on: until shortly before its lease ends.
//!
//! It is not the lease, which is in the store and says who may *write*; it is what keeps a worker
//! from *acting* on a BMC when it cannot know any more whether the job is still its own. Its keeper
//! is the engine, which moves it on with every renewal. Invariant: a guarded worker takes no step at
//! or after the moment at which its fence closes, and what it was waiting for, a request in flight
//! too, is dropped then. So no request outlives what is left of the lease, however long it was
//! allowed to take when it was sent, and one that has been dropped is like one whose answer a crash
//! has lost: its intent stands without a receipt, and the next worker looks first.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use shoal_base::world::{Clock, after};

/// What follows from `JOB_LEASE_TTL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    pub ttl: Duration,
}

impl LeaseTerms {
    /// How often leases are renewed: two renewals may fail.
    pub fn heartbeat(self) -> Duration {
        self.ttl / 3
    }

    /// A fence closes so long before its lease ends. It covers what the clocks of two controllers
    /// differ by, and the moment that a dropped request may still take on its way.
    pub fn reserve(self) -> Duration {
        self.ttl / 6
    }

    fn fence_closes(self, asked: Moment) -> Moment {
        asked.after(self.ttl - self.reserve())
    }
}

/// A moment by both clocks: the one that the store's leases are written in, which counts on while a machine is
/// suspended, and the one that timers go by.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    wall: Timestamp,
    steady: Instant,
}

impl Moment {
    pub fn now(clock: &Clock) -> Moment {
        Moment { wall: clock.now(), steady: Instant::now() }
    }

    pub fn wall(self) -> Timestamp {
        self.wall
    }

    fn after(self, wait: Duration) -> Moment {
        Moment { wall: after(self.wall, wait), steady: self.steady + wait }
    }

    /// By either clock: the one of timers stands still while a machine is suspended.
    fn is_over(self, clock: &Clock) -> bool {
        Instant::now() >= self.steady || clock.now() >= self.wall
    }
}

/// The keeper's end.
pub struct Fence {
    /// When it closes; `None` once it is closed for good.
    closes_at: watch::Sender<Option<Moment>>,
    clock: Clock,
    terms: LeaseTerms,
}

impl Fence {
    /// Of a lease that was requested at `asked`: the store granted it then or later.
    pub fn new(clock: Clock, terms: LeaseTerms, asked: Moment) -> Fence {
        Fence { closes_at: watch::Sender::new(Some(terms.fence_closes(asked))), clock, terms }
    }

    /// The lease was renewed by a request sent at `asked`.
    pub fn extend(&self, asked: Moment) {
        let later = self.terms.fence_closes(asked);
        self.closes_at.send_if_modified(|closes_at| closes_at.as_mut().map(|at| *at = later).is_some());
    }

    /// Another controller holds the lease.
    pub fn close(&self) {
        self.closes_at.send_replace(None);
    }

    /// `work`, for as long as the fence is open; `None` where it closed before the work was over.
    pub fn guard<W: Future>(&self, work: W) -> impl Future<Output = Option<W::Output>> + use<W> {
        let (closes_at, clock) = (self.closes_at.subscribe(), self.clock.clone());
        async move {
            let (mut work, mut closed) = (pin!(work), pin!(closed(closes_at.clone())));
            poll_fn(|cx| {
                ready!(clock.poll_running(cx));
                // Asked before every step: the timer of `closed` may be late where the machine slept.
                let is_over = closes_at.borrow().is_none_or(|at| at.is_over(&clock));
                if is_over || closed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                work.as_mut().poll(cx).map(Some)
            })
            .await
        }
    }
}

/// Until the fence closes, wherever its keeper moves it meanwhile.
async fn closed(mut closes_at: watch::Receiver<Option<Moment>>) {
    loop {
        let Some(at) = *closes_at.borrow_and_update() else { return };
        tokio::select! {
            biased;
            kept = closes_at.changed() => if kept.is_err() { return },
            () = tokio::time::sleep_until(at.steady) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    const TERMS: LeaseTerms = LeaseTerms { ttl: Duration::from_secs(60) };

    fn clock() -> Clock {
        Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap())
    }

    /// Counts the seconds for which it is let.
    async fn work(done: Arc<AtomicU32>) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            done.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_whose_lease_is_not_renewed_stops_before_the_lease_ends() {
        let clock = clock();
        let fence = Fence::new(clock.clone(), TERMS, Moment::now(&clock));
        let done = Arc::new(AtomicU32::new(0));
        let started = Instant::now();
        assert_eq!(fence.guard(work(done.clone())).await, None);
        assert_eq!(started.elapsed(), TERMS.ttl - TERMS.reserve());
        assert_eq!(done.load(Ordering::SeqCst), 49);
    }

    #[tokio::test(start_paused = true)]
    async fn one_long_request_lives_as_long_as_its_lease_is_renewed() {
        let clock = clock();
        let fence = Fence::new(clock.clone(), TERMS, Moment::now(&clock));
        let (insert, started) = (Duration::from_secs(900), Instant::now());
        let request = tokio::spawn(fence.guard(tokio::time::sleep(insert)));
        while !request.is_finished() {
            tokio::time::sleep(TERMS.heartbeat()).await;
            fence.extend(Moment::now(&clock));
        }
        assert_eq!(request.await.unwrap(), Some(()));
        assert!(started.elapsed() >= insert);
    }

    /// A renewal that takes long counts from when it was requested, since the store counted so.
    #[tokio::test(start_paused = true)]
    async fn a_slow_renewal_gives_no_time_of_its_own() {
        let clock = clock();
        let asked = Moment::now(&clock);
        let fence = Fence::new(clock.clone(), TERMS, asked);
        tokio::time::sleep(Duration::from_secs(30)).await;
        fence.extend(asked);
        let started = Instant::now();
        assert_eq!(fence.guard(std::future::pending::<()>()).await, None);
        assert_eq!(started.elapsed(), Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fence_that_was_closed_stays_so() {
        let clock = clock();
        let fence = Fence::new(clock.clone(), TERMS, Moment::now(&clock));
        fence.close();
        fence.extend(Moment::now(&clock));
        assert_eq!(fence.guard(std::future::ready(())).await, None);
    }

    /// While a machine sleeps its steady clock stands still, and no lease is renewed.
    #[tokio::test(start_paused = true)]
    async fn a_worker_that_slept_through_its_lease_does_not_send_what_it_was_about_to() {
        let clock = clock();
        let slept = Moment { wall: clock.now(), steady: Instant::now() + TERMS.ttl };
        let fence = Fence::new(clock.clone(), TERMS, slept);
        tokio::time::sleep(TERMS.ttl).await;
        assert_eq!(fence.guard(std::future::ready(())).await, None);
    }

    /// As SIGSTOP and SIGCONT: what it waited for has happened meanwhile, and so has the end of its lease.
    #[tokio::test(start_paused = true)]
    async fn a_worker_that_was_suspended_beyond_its_lease_goes_no_further() {
        let clock = clock();
        let fence = Fence::new(clock.clone(), TERMS, Moment::now(&clock));
        let done = Arc::new(AtomicU32::new(0));
        let worker = tokio::spawn(fence.guard(work(done.clone())));
        tokio::time::sleep(Duration::from_millis(2500)).await;
        clock.suspend();
        tokio::time::sleep(TERMS.ttl).await;
        assert!(!worker.is_finished());
        clock.resume();
        assert_eq!(worker.await.unwrap(), None);
        assert_eq!(done.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_without_a_keeper_stops() {
        let clock = clock();
        let fence = Fence::new(clock.clone(), TERMS, Moment::now(&clock));
        let worker = fence.guard(std::future::pending::<()>());
        drop(fence);
        assert_eq!(worker.await, None);
    }
}
