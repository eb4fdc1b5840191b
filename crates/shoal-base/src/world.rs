//! The three doors through which everything that is not a pure function of its input comes in:
//! the clock, randomness, and outbound HTTP.
//!
//! It is not a place for helpers. `main` builds the real [`World`]; a simulation builds one from a
//! seed, and then the whole program is a function of that seed. Invariant: no other module reads a
//! clock, draws a random number or opens an outbound connection (`clippy.toml` bans the ways
//! around). Waiting is `tokio::time`, which a simulation pauses.

mod secrets;
mod transport;
mod upload;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::{Rng as _, SeedableRng, TryRng, rngs::SysRng};
use rand_chacha::ChaCha12Rng;
use sha2::{Digest, Sha256};

pub use secrets::{SecretError, Secrets, VARIABLES, reference};
pub use transport::{
    HttpRequest, HttpResponse, OnlyTls13, PeerCertificate, PinError, ShownChain, TlsPolicy, TlsPolicyError,
    Transport, TransportError, TransportErrorKind, pooled_transport, real_transport, root_store,
};
pub use upload::StreamedBody;

/// Clock, randomness and outbound HTTP, handed to whatever needs them.
#[derive(Clone)]
pub struct World {
    pub clock: Clock,
    pub rng: Rng,
    pub transport: Transport,
}

/// The time of day as this process counts it: from the machine's clock at the start, by the steady clock
/// from then on. It never goes back, and cannot be set. Jobs compare its times, so several controllers of one database
/// follow that database's clock ([`Clock::follow`]).
#[derive(Clone, Debug)]
pub struct Clock {
    kind: ClockKind,
    steady: Arc<Mutex<Steady>>,
}

#[derive(Clone, Debug)]
enum ClockKind {
    System,
    /// Follows Tokio's (pausable) time from a fixed start; the machine's clock is what it is set ahead by.
    Virtual {
        start: Timestamp,
        origin: tokio::time::Instant,
        ahead: Arc<Mutex<Duration>>,
    },
}

/// The time returned last, and when by the steady clock. If the machine's clock is set meanwhile, it is followed only
/// where no job is active (a deadline that is stored as a time would move with it): ahead in one step, back by
/// counting nine seconds in ten until both meet.
#[derive(Debug, Default)]
struct Steady {
    returned: Option<(Timestamp, Duration)>,
    /// What another clock read, and when by the steady clock: it is followed instead of the machine's.
    followed: Option<(Timestamp, Duration)>,
    is_idle: bool,
    /// It was logged that the machine's clock is another one.
    is_apart: bool,
    /// The process is suspended; with the tasks to poll when it resumes.
    suspended: Option<Vec<Waker>>,
}

/// A difference that the log reports; a machine's clock is corrected by less all the time.
const APART: Duration = Duration::from_secs(5);

impl Steady {
    fn read(&mut self, wall: Timestamp, now: Duration) -> Timestamp {
        let wall = self.followed.map_or(wall, |(theirs, at)| after(theirs, now.saturating_sub(at)));
        let read = match self.returned {
            None => wall,
            Some((returned, at)) => {
                let passed = now.saturating_sub(at);
                let exact = after(returned, passed);
                match self.is_idle {
                    true => after(returned, passed * 9 / 10).max(wall),
                    false => exact,
                }
            }
        };
        let apart = elapsed(wall, read).max(elapsed(read, wall));
        if apart > APART && !self.is_apart {
            tracing::warn!(
                seconds = apart.as_secs(),
                "the machine's clock was set: times go on as before, and meet it when no job is active or at the next start"
            );
        }
        self.is_apart = apart > APART;
        self.returned = Some((read, now));
        read
    }
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Clock {
        Clock { kind: ClockKind::System, steady: Arc::default() }
    }

    /// A clock that reads `start` now and follows Tokio's time from here on.
    /// Must be called inside a Tokio runtime.
    pub fn virtual_from(start: Timestamp) -> Clock {
        let kind = ClockKind::Virtual { start, origin: tokio::time::Instant::now(), ahead: Arc::default() };
        Clock { kind, steady: Arc::default() }
    }

    /// Follows another clock, which reads `theirs` now, instead of the machine's: the first time in one step, later as
    /// the machine's own is followed when that is set. In between the steady clock counts on.
    pub fn follow(&self, theirs: Timestamp) {
        let now = self.steady();
        let mut steady = self.lock();
        if steady.followed.replace((theirs, now)).is_none() {
            steady.returned = Some((theirs, now));
        }
    }

    /// The same machine's clock, read by a process that starts now.
    pub fn restarted(&self) -> Clock {
        Clock { kind: self.kind.clone(), steady: Arc::default() }
    }

    /// Sets the machine's clock ahead. Simulations only: the real one is set by its operator.
    pub fn set_ahead(&self, by: Duration) {
        if let ClockKind::Virtual { ahead, .. } = &self.kind {
            *ahead.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }

    /// Whether no job is active, so that times may meet the machine's clock.
    pub fn set_idle(&self, is_idle: bool) {
        self.now();
        self.lock().is_idle = is_idle;
    }

    /// Suspends the process that has this clock, as SIGSTOP does: time goes on without it. Simulations only.
    pub fn suspend(&self) {
        self.lock().suspended.get_or_insert_default();
    }

    /// Ends the suspension.
    pub fn resume(&self) {
        let wakers = self.lock().suspended.take();
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub fn is_suspended(&self) -> bool {
        self.lock().suspended.is_some()
    }

    /// Asked before a task of the process is polled: `Pending` while the process is suspended.
    pub fn poll_running(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.lock().suspended {
            Some(wakers) => {
                wakers.push(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Steady> {
        self.steady.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time now, to the millisecond (the precision that the store keeps).
    pub fn now(&self) -> Timestamp {
        let (wall, now) = (self.wall(), self.steady());
        let now = self.lock().read(wall, now);
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// The machine's clock, for what is compared with times that others have written: tokens, certificates, a
    /// BMC's own clock.
    pub fn wall(&self) -> Timestamp {
        match &self.kind {
            ClockKind::System => system_now(),
            ClockKind::Virtual { start, origin, ahead } => {
                let ahead = *ahead.lock().unwrap_or_else(PoisonError::into_inner);
                after(*start, origin.elapsed() + ahead)
            }
        }
    }

    /// Counts on while a machine is suspended, where its system counts that.
    fn steady(&self) -> Duration {
        match &self.kind {
            ClockKind::System => since_boot(),
            ClockKind::Virtual { origin, .. } => origin.elapsed(),
        }
    }
}

/// By the clock since the system's start, which cannot be set.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "the one door to the system's clock")]
    ORIGIN.get_or_init(std::time::Instant::now).elapsed()
}

#[expect(clippy::disallowed_methods, reason = "the one door to the system's clock")]
fn system_now() -> Timestamp {
    Timestamp::now()
}

/// How long from `earlier` to `later`; zero where the clock went backwards.
pub fn elapsed(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// `at` plus `wait`, held at the end of time.
pub fn after(at: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// A source of random bytes that can be split: each child depends on the seed and its label only,
/// never on how much its siblings have drawn.
#[derive(Clone)]
pub struct Rng {
    seed: [u8; 32],
    state: Arc<Mutex<ChaCha12Rng>>,
}

impl Rng {
    /// Seeded from the operating system; what production uses.
    pub fn from_system() -> Rng {
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed).expect("the operating system gives random bytes");
        Rng::from_bytes(seed)
    }

    /// The same numbers for the same seed, in every release.
    pub fn from_seed(seed: u64) -> Rng {
        Rng::from_bytes(Sha256::digest(seed.to_le_bytes()).into())
    }

    fn from_bytes(seed: [u8; 32]) -> Rng {
        Rng { seed, state: Arc::new(Mutex::new(ChaCha12Rng::from_seed(seed))) }
    }

    /// The generator of one job, machine or purpose.
    pub fn child(&self, label: &str) -> Rng {
        let hash = Sha256::new().chain_update(self.seed).chain_update(label.as_bytes());
        Rng::from_bytes(hash.finalize().into())
    }

    pub fn fill(&self, bytes: &mut [u8]) {
        self.lock().fill_bytes(bytes);
    }

    pub fn u64(&self) -> u64 {
        self.lock().next_u64()
    }

    /// A number in `0..bound`; 0 for a bound of 0. The bias of the remainder is below one in 2^32
    /// for the small bounds it is used with.
    pub fn below(&self, bound: u64) -> u64 {
        self.u64().checked_rem(bound).unwrap_or(0)
    }

    /// `wait` stretched or shortened by up to a quarter, so that many jobs do not march in step.
    pub fn jitter(&self, wait: Duration) -> Duration {
        let permille = 750 + self.below(501);
        wait.mul_f64(permille as f64 / 1000.0)
    }

    /// `bytes * 2` lower-case hex digits.
    pub fn hex(&self, bytes: usize) -> String {
        let mut raw = vec![0; bytes];
        self.fill(&mut raw);
        crate::hex(&raw)
    }

    fn lock(&self) -> MutexGuard<'_, ChaCha12Rng> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_depend_on_seed_and_label_only() {
        let (a, b) = (Rng::from_seed(7), Rng::from_seed(7));
        a.u64();
        assert_eq!(a.child("job").u64(), b.child("job").u64());
        assert_ne!(b.child("job").u64(), b.child("machine").u64());
        assert_ne!(b.child("job").u64(), Rng::from_seed(8).child("job").u64());
    }

    /// Reads the clock, in seconds since noon.
    fn reads(steady: &mut Steady, wall: i64, secs: u64) -> u64 {
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        elapsed(noon, steady.read(noon + SignedDuration::from_secs(wall), Duration::from_secs(secs)))
            .as_secs()
    }

    #[test]
    fn a_clock_that_is_set_is_not_followed_while_jobs_are_active() {
        let mut steady = Steady::default();
        assert_eq!((reads(&mut steady, 100, 0), reads(&mut steady, 110, 10)), (100, 110));
        assert_eq!((reads(&mut steady, 3720, 20), reads(&mut steady, 7330, 30)), (120, 130));
        assert_eq!((reads(&mut steady, 0, 40), reads(&mut steady, 10, 50)), (140, 150));
    }

    #[test]
    fn where_no_job_is_active_both_clocks_meet_and_none_goes_back() {
        let mut steady = Steady { is_idle: true, ..Steady::default() };
        assert_eq!((reads(&mut steady, 100, 0), reads(&mut steady, 3710, 10)), (100, 3710));
        // An hour back: nine seconds are counted in ten, and both clocks meet after ten hours.
        assert_eq!((reads(&mut steady, 120, 20), reads(&mut steady, 130, 30)), (3719, 3728));
        assert_eq!(reads(&mut steady, 36_080, 35_980), 36_083);
        assert_eq!(
            (reads(&mut steady, 36_110, 36_010), reads(&mut steady, 36_120, 36_020)),
            (36_110, 36_120)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_starts_reads_the_machines_clock() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::virtual_from(start);
        clock.now();
        clock.set_ahead(Duration::from_secs(3600));
        assert_eq!((clock.now(), clock.wall()), (start, after(start, Duration::from_secs(3600))));
        assert_eq!(clock.restarted().now(), clock.wall());
        clock.set_idle(true);
        assert_eq!(clock.now(), clock.wall());
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_followed_is_read_instead_of_the_machines() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let minutes = |count: u64| after(start, Duration::from_secs(60 * count));
        // The machine is ten minutes ahead of the database.
        let clock = Clock::virtual_from(minutes(10));
        clock.follow(start);
        assert_eq!((clock.now(), clock.wall()), (start, minutes(10)));
        tokio::time::sleep(Duration::from_secs(60)).await;
        clock.follow(minutes(2));
        assert_eq!(clock.now(), minutes(1), "a job is active: its deadlines stay where they are");
        clock.set_idle(true);
        assert_eq!(clock.now(), minutes(2));
        clock.set_ahead(Duration::from_secs(3600));
        assert_eq!(clock.now(), minutes(2), "the machine's own clock is of no account");
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspended_process_is_not_polled_until_it_resumes() {
        let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
        let (suspended, other) = (clock.restarted(), clock.restarted());
        suspended.suspend();
        let task = tokio::spawn({
            let suspended = suspended.clone();
            async move { std::future::poll_fn(|cx| suspended.poll_running(cx)).await }
        });
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!task.is_finished() && suspended.is_suspended() && !other.is_suspended());
        suspended.resume();
        task.await.unwrap();
        assert_eq!(suspended.now(), clock.now(), "time went on");
    }

    #[test]
    fn the_steady_clock_runs() {
        let clock = Clock::system();
        let (first, second) = (clock.now(), clock.now());
        assert!(first <= second && elapsed(clock.wall(), second) < Duration::from_secs(5));
        assert!(since_boot() > Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_virtual_clock_follows_paused_time() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::virtual_from(start);
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(elapsed(start, clock.now()), Duration::from_secs(90));
    }
}
