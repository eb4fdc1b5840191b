//! How many wrong tokens an address may send, and how often a token may write.
//!
//! A caller with a valid token is never refused because of others: only failures are counted against
//! an address, so that an attacker behind the same one locks no caller out. Invariant: what is remembered
//! is bounded, however many addresses or tokens come.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::api::error::ApiError;

/// Addresses, and holders of tokens, that are distinguished at any time.
const KEYS_MAX: usize = 4_096;
/// All failures together may be so many times as frequent as those of one address.
const ALL_FACTOR: u32 = 30;

/// Lines of the log about wrong tokens and secrets, of all addresses together.
const FAILURE_LINES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("it is not 0");

/// How much is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Of requests with a wrong token or secret, from one address.
    pub failures_per_minute: NonZeroU32,
    /// Of one token.
    pub writes_per_minute: NonZeroU32,
}

type Limiter<K, S> = RateLimiter<K, S, Ticks, NoOpMiddleware<Duration>>;

pub struct Limits {
    ticks: Ticks,
    failures: Keyed<IpAddr>,
    all_failures: Limiter<NotKeyed, InMemoryState>,
    writes: Keyed<String>,
    failure_log: Limiter<NotKeyed, InMemoryState>,
    /// Failures since the last line of the log about one.
    unlogged: AtomicU64,
}

impl Limits {
    pub fn new(rates: Rates) -> Limits {
        let all = Quota::per_minute(
            rates
                .failures_per_minute
                .saturating_mul(NonZeroU32::new(ALL_FACTOR).expect("the factor is not 0")),
        );
        let ticks = Ticks::start();
        Limits {
            failures: Keyed::new(rates.failures_per_minute, &ticks),
            all_failures: RateLimiter::new(all, InMemoryState::default(), ticks.clone()),
            writes: Keyed::new(rates.writes_per_minute, &ticks),
            failure_log: RateLimiter::new(
                Quota::per_minute(FAILURE_LINES_PER_MINUTE),
                InMemoryState::default(),
                ticks.clone(),
            ),
            unlogged: AtomicU64::new(0),
            ticks,
        }
    }

    /// Counts a wrong token or secret; refuses where there were too many.
    pub fn count_failure(&self, source: Option<IpAddr>) -> Result<(), ApiError> {
        let of_source = self.failures.check(source.map_or_else(IpAddr::others, network), &self.ticks);
        let of_all = self.all_failures.check().map_err(|until| until.wait_time_from(self.ticks.now()));
        of_source.and(of_all).map_err(|wait| ApiError::TooMany { what: "wrong tokens", wait })
    }

    /// Logs a wrong token or secret, at a bounded rate, so that they cannot fill the disk.
    pub fn log_failure(&self, source: Option<IpAddr>, reason: &'static str) {
        if self.failure_log.check().is_err() {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let unlogged = self.unlogged.swap(0, Ordering::Relaxed);
        let source = source.map_or_else(|| "unknown".to_owned(), |source| source.to_string());
        tracing::warn!(source, reason, unlogged, "authentication failed");
    }

    /// Counts a write; refuses where there were too many.
    pub fn count_write(&self, actor: &str) -> Result<(), ApiError> {
        let counted = self.writes.check(actor.to_owned(), &self.ticks);
        counted.map_err(|wait| ApiError::TooMany { what: "writes with this token", wait })
    }
}

/// The holder of one address of an IPv6 network holds the whole network.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// One limit for each of many.
struct Keyed<K: Hash + Eq + Clone>(Limiter<K, HashMapStateStore<K>>);

impl<K: Hash + Eq + Clone + Catchall> Keyed<K> {
    fn new(per_minute: NonZeroU32, ticks: &Ticks) -> Keyed<K> {
        let state = HashMapStateStore::default();
        Keyed(RateLimiter::new(Quota::per_minute(per_minute), state, ticks.clone()))
    }

    /// How long to wait, where it was too often. Those beyond the bound share one place.
    fn check(&self, key: K, ticks: &Ticks) -> Result<(), Duration> {
        if self.0.len() >= KEYS_MAX {
            self.0.retain_recent();
        }
        let key = if self.0.len() < KEYS_MAX { key } else { K::others() };
        self.0.check_key(&key).map_err(|until| until.wait_time_from(ticks.now()))
    }
}

/// Stands for all that there is no place for.
trait Catchall {
    fn others() -> Self;
}

impl Catchall for IpAddr {
    fn others() -> IpAddr {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    }
}

impl Catchall for String {
    fn others() -> String {
        String::new()
    }
}

/// Tokio's time, which a simulation pauses.
#[derive(Clone, Debug)]
struct Ticks(tokio::time::Instant);

impl Ticks {
    fn start() -> Ticks {
        Ticks(tokio::time::Instant::now())
    }
}

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(failures: u32, writes: u32) -> Limits {
        let [failures_per_minute, writes_per_minute] =
            [failures, writes].map(|number| NonZeroU32::new(number).unwrap());
        Limits::new(Rates { failures_per_minute, writes_per_minute })
    }

    fn wait(refusal: Result<(), ApiError>) -> Option<Duration> {
        match refusal {
            Ok(()) => None,
            Err(ApiError::TooMany { wait, .. }) => Some(wait),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_address_has_its_own_tries_and_gets_new_ones() {
        let limits = limits(3, 1);
        let (one, other) = ("10.0.0.1".parse().ok(), "10.0.0.2".parse().ok());
        for _ in 0..3 {
            assert_eq!(wait(limits.count_failure(one)), None);
        }
        assert_eq!(wait(limits.count_failure(one)), Some(Duration::from_secs(20)));
        assert_eq!(wait(limits.count_failure(other)), None);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(wait(limits.count_failure(one)), None);
        assert!(wait(limits.count_failure(one)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_together_are_limited_too_and_a_whole_network_is_one() {
        let limits = limits(1, 1);
        let refused = (0..100).filter(|n| {
            let source = Some(IpAddr::from([10, 0, 0, *n]));
            wait(limits.count_failure(source)).is_some()
        });
        assert_eq!(refused.count(), 100 - ALL_FACTOR as usize);
        let address = |text: &str| network(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:2"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_ne!(address("::ffff:10.0.0.1"), address("::ffff:10.0.0.2"));
    }

    /// Issue 15, kind 26.
    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_are_logged_at_a_bounded_rate_and_counted_meanwhile() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let limits = limits(1, 1);
        for _ in 0..1_000 {
            limits.log_failure("10.0.0.1".parse().ok(), "unknown");
        }
        assert_eq!(log.lines().len(), 10);
        assert!(log.lines()[0].contains("WARN") && log.lines()[0].contains("10.0.0.1"), "{:?}", log.lines());
        tokio::time::advance(Duration::from_secs(6)).await;
        limits.log_failure(None, "expired");
        assert_eq!(log.lines().len(), 11);
        assert!(log.lines()[10].contains("unlogged=990"), "{:?}", log.lines());
    }

    #[derive(Clone, Default)]
    struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Log {
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_those_beyond_share_one_place() {
        let limits = limits(1_000_000, 2);
        for n in 0..2 * KEYS_MAX {
            let _counted = limits.count_write(&n.to_string());
        }
        assert!(limits.writes.0.len() <= KEYS_MAX + 1, "{}", limits.writes.0.len());
        assert!(wait(limits.count_write("one more")).is_some(), "the common place is full");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(wait(limits.count_write("one more")), None);
        assert!(limits.writes.0.len() <= 2, "who has not come for a minute is forgotten");
    }
}
