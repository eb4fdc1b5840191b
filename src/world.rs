//! The three doors through which everything that is not a pure function of its input comes in:
//! the clock, randomness, and outbound HTTP.
//!
//! It is not a place for helpers. `main` builds the real [`World`]; a simulation builds one from a
//! seed, and then the whole program is a function of that seed. Invariant: no other module reads a
//! clock, draws a random number or opens an outbound connection (`clippy.toml` bans the ways
//! around). Waiting is `tokio::time`, which a simulation pauses.

mod secrets;
mod transport;

use std::sync::{Arc, Mutex, PoisonError};
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

/// Clock, randomness and outbound HTTP, handed to whatever needs them.
#[derive(Clone)]
pub struct World {
    pub clock: Clock,
    pub rng: Rng,
    pub transport: Transport,
}

/// Tells the time of day, and never goes back.
#[derive(Clone, Debug)]
pub struct Clock(ClockKind);

#[derive(Clone, Debug)]
enum ClockKind {
    System(Arc<Mutex<Steady>>),
    /// Follows Tokio's (pausable) time from a fixed start, and whoever set it ahead.
    Virtual {
        start: Timestamp,
        origin: tokio::time::Instant,
        ahead: Arc<Mutex<Duration>>,
    },
}

/// The machine's clock without its steps back: jobs compare times. Where that clock was set back, this one goes
/// on from where it was, a tenth slower than time passes, until the other one has caught up. Where it was set
/// ahead, this one follows at once; to a job that is a time in which nobody looked.
#[derive(Debug)]
struct Steady {
    told: Timestamp,
    at: tokio::time::Instant,
    /// It was said that this clock is ahead of the machine's.
    is_ahead: bool,
}

/// Of which the log tells; a machine's clock is corrected by less all the time.
const STEP_BACK: Duration = Duration::from_secs(5);

impl Steady {
    fn tell(&mut self, system: Timestamp, now: tokio::time::Instant) -> Timestamp {
        let passed = now.saturating_duration_since(self.at);
        let told = system.max(after(self.told, passed * 9 / 10));
        let ahead = elapsed(system, told);
        if ahead > STEP_BACK && !self.is_ahead {
            tracing::warn!(
                seconds = ahead.as_secs(),
                "the machine's clock was set back: times are told from where it was, and slowly meet it again"
            );
        }
        *self = Steady { told, at: now, is_ahead: ahead > STEP_BACK };
        told
    }
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Clock {
        let steady = Steady { told: Timestamp::MIN, at: tokio::time::Instant::now(), is_ahead: false };
        Clock(ClockKind::System(Arc::new(Mutex::new(steady))))
    }

    /// A clock that reads `start` now and follows Tokio's time from here on.
    /// Must be called inside a Tokio runtime.
    pub fn virtual_from(start: Timestamp) -> Clock {
        Clock(ClockKind::Virtual { start, origin: tokio::time::Instant::now(), ahead: Arc::default() })
    }

    /// Somebody sets the clock ahead. Simulations only: the machine's own is set by whoever runs the machine.
    pub fn set_ahead(&self, by: Duration) {
        if let ClockKind::Virtual { ahead, .. } = &self.0 {
            *ahead.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }

    /// The time now, to the millisecond (the precision that the store keeps).
    pub fn now(&self) -> Timestamp {
        let now = match &self.0 {
            ClockKind::System(steady) => {
                let mut steady = steady.lock().unwrap_or_else(PoisonError::into_inner);
                steady.tell(system_now(), tokio::time::Instant::now())
            }
            ClockKind::Virtual { start, origin, ahead } => {
                let ahead = *ahead.lock().unwrap_or_else(PoisonError::into_inner);
                after(*start, origin.elapsed() + ahead)
            }
        };
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
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

    /// The same numbers for the same seed, for ever.
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
        crate::job::hex(&raw)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ChaCha12Rng> {
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

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_is_waited_for_and_one_that_is_set_ahead_is_followed() {
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let begin = tokio::time::Instant::now();
        let mut steady = Steady { told: Timestamp::MIN, at: begin, is_ahead: false };
        let mut tell = |system: i64, secs: u64| {
            let system = noon + SignedDuration::from_secs(system);
            elapsed(noon, steady.tell(system, begin + Duration::from_secs(secs))).as_secs()
        };
        assert_eq!((tell(0, 0), tell(10, 10)), (0, 10));
        // An hour back: nine seconds are told in ten, and time is met again after ten hours.
        assert_eq!((tell(-3580, 20), tell(-3570, 30)), (19, 28));
        assert_eq!(tell(32_380, 35_980), 32_383);
        assert_eq!((tell(32_410, 36_010), tell(32_420, 36_020)), (32_410, 32_420));
        // An hour ahead.
        assert_eq!((tell(36_030, 36_030), tell(36_040, 36_040)), (36_030, 36_040));
    }

    #[tokio::test(start_paused = true)]
    async fn a_virtual_clock_follows_paused_time() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Clock::virtual_from(start);
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(elapsed(start, clock.now()), Duration::from_secs(90));
    }
}
