//! Deadlines, back-off and the choices an operator made for all jobs. Pure.
//!
//! `config` builds one [`Policy`] at the start; nothing changes it afterwards. Invariant: every
//! wait of a job takes its bound from here.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::domain::{Confidence, MediaLayout, Step};

/// The settings that jobs obey, named after those of the public contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub stable_window: Duration,
    pub install_timeout: Duration,
    pub boot_timeout: Duration,
    pub ks_timeout: Duration,
    pub poll_interval: Duration,
    pub detection: Detection,
    pub min_install_time: Duration,
    /// No installer gets from the read of its kickstart to its `%post` sooner.
    pub proof_floor: Duration,
    pub min_confidence: Confidence,
    pub final_reset: FinalReset,
    pub graceful_timeout: Duration,
    pub allow_powered_on: bool,
    /// `MEDIA_LAYOUT`; `None`: by what the BMC offers.
    pub layout: Option<MediaLayout>,
    /// A job that makes no progress for so long is failed.
    pub stuck_timeout: Duration,
    /// Of a Linux or Windows installation, from its start.
    pub maintenance_timeout: Duration,
    /// From the start to the read of the recipe.
    pub maintenance_boot_timeout: Duration,
}

impl Default for Policy {
    /// The defaults of the public contract.
    fn default() -> Policy {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Policy {
            stable_window: Duration::from_secs(90),
            install_timeout: minutes(90),
            boot_timeout: minutes(30),
            ks_timeout: minutes(20),
            poll_interval: Duration::from_secs(10),
            detection: Detection::Evidence,
            min_install_time: minutes(10),
            proof_floor: minutes(1),
            min_confidence: Confidence::Assumed,
            final_reset: FinalReset::Auto,
            graceful_timeout: minutes(3),
            allow_powered_on: true,
            layout: None,
            stuck_timeout: minutes(240),
            maintenance_timeout: minutes(120),
            maintenance_boot_timeout: minutes(30),
        }
    }
}

/// How the end of an installation is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    Evidence,
    /// The plain rule: `On` without a break for the window.
    Power,
}

/// Whether the host is reset once its media are ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalReset {
    /// Off → `On`; seen to have booted what it installed → nothing; on power alone → reset.
    Auto,
    Always,
    /// Only a host left Off is powered on.
    Never,
}

/// How the vendor's ISO reaches the BMC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Direct where the image needs no change and the BMC can fetch it, else served.
    Auto,
    /// The BMC is given the URL as configured.
    Direct,
    /// The controller serves the image with its boot options set.
    Served,
}

/// A word that is none of a setting's values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use one of {}", .allowed.join(", "))]
pub struct UnknownWord {
    pub allowed: &'static [&'static str],
}

/// Gives an enum its words, for `FromStr` and `Display`.
macro_rules! words {
    ($name:ident, $($variant:ident = $word:literal),+) => {
        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok($name::$variant),)+
                    _ => Err(UnknownWord { allowed: &[$($word),+] }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$variant => $word),+ })
            }
        }
    };
}

words!(Detection, Evidence = "evidence", Power = "power");
words!(FinalReset, Auto = "auto", Always = "always", Never = "never");
words!(Delivery, Auto = "auto", Direct = "direct", Served = "served");

/// How long a step's tries may all fail for a passing reason before the step has failed.
///
/// While nothing on a BMC has been changed, an error is reported soon; later, a BMC that restarts
/// (minutes) must not cost a job; and a cleanup is worth the longest wait.
pub fn retry_budget(step: Step) -> Duration {
    match step {
        Step::ValidateRecipe | Step::ResolveServer | Step::BuildTaskIso => Duration::from_secs(30),
        Step::CleanupUnmountTask | Step::CleanupUnmountMaintenance | Step::CleanupReset => {
            Duration::from_secs(30 * 60)
        }
        _ => Duration::from_secs(10 * 60),
    }
}

/// The longest that a BMC is left alone because it asks for that (AMI asks for minutes after a self test).
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// How long to wait after a failed try, `failing` after the first of those that have all failed since: as long
/// again, at least 1 s and at most 30 s.
pub fn retry_delay(failing: Duration) -> Duration {
    failing.clamp(Duration::from_secs(1), Duration::from_secs(30))
}

/// How long to wait before the next look at what an act of `waiting` ago leads to: half as long again, at least
/// [`LOOK_DELAY_MIN`] and at most 10 s, so that a BMC that takes minutes is not asked again and again.
pub fn look_delay(waiting: Duration) -> Duration {
    (waiting / 2).clamp(LOOK_DELAY_MIN, Duration::from_secs(10))
}

pub const LOOK_DELAY_MIN: Duration = Duration::from_secs(2);

/// How long to wait before the next look at a BMC, `polls` looks after the watch began: it starts
/// at a second and backs off to the configured interval.
pub fn poll_delay(polls: u32, interval: Duration) -> Duration {
    Duration::from_secs(1u64 << polls.min(10)).min(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_bounds() {
        let delay = |secs| retry_delay(Duration::from_secs(secs)).as_secs();
        assert_eq!([0, 1, 2, 4, 99].map(delay), [1, 1, 2, 4, 30]);
        let delay = |secs| look_delay(Duration::from_secs(secs)).as_millis();
        assert_eq!([0, 1, 3, 9, 180].map(delay), [2000, 2000, 2000, 4500, 10_000]);
        let interval = Duration::from_secs(10);
        assert_eq!([0, 1, 3, 4, 99].map(|n| poll_delay(n, interval).as_secs()), [1, 2, 8, 10, 10]);
    }

    #[test]
    fn words_read_back() {
        for word in ["auto", "always", "never"] {
            assert_eq!(word.parse::<FinalReset>().unwrap().to_string(), word);
        }
        assert_eq!("x".parse::<Detection>().unwrap_err().to_string(), "use one of evidence, power");
    }
}
