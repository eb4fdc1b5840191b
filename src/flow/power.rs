//! How a host is brought from whatever it does to a fresh start. Pure.
//!
//! Off → `On`. On → `GracefulShutdown`, a bounded wait, else `ForceOff`, then `On`. A restart in
//! one request is for BMCs that offer no such pair. Invariant: a restart type is never requested
//! once a graceful request is pending, because the shutdown would then hit the freshly started
//! installer.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{Act, Intent};
use shoal_base::world::after;
use shoal_redfish::{PowerState, ResetType};

/// How long a host may take to go off once it is forced, or to show that it started.
pub const POWER_GRACE: Duration = Duration::from_secs(60);

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    Request {
        act: Act,
        reset: ResetType,
    },
    /// Look again later, because of this.
    Wait(&'static str),
    /// The BMC offers no way on.
    Stuck(&'static str),
}

/// Decides from the host's power, what the BMC offers (`types`, empty where it does not say) and
/// the last act of this sequence.
pub fn next_move(
    power: PowerState,
    types: &[ResetType],
    last: Option<&Intent>,
    graceful_timeout: Duration,
    now: Timestamp,
) -> Move {
    match power {
        PowerState::Off => first_of(types, &[ResetType::On, ResetType::ForceOn, ResetType::PushPowerButton])
            .map_or(Move::Stuck("the BMC offers no way to power the host on"), |reset| Move::Request {
                act: Act::PowerOn,
                reset,
            }),
        PowerState::On => from_on(types, last, graceful_timeout, now),
        _ => Move::Wait("the host's power is changing"),
    }
}

fn from_on(types: &[ResetType], last: Option<&Intent>, graceful_timeout: Duration, now: Timestamp) -> Move {
    let force_off = first_of(types, &[ResetType::ForceOff]);
    let graceful = first_of(types, &[ResetType::GracefulShutdown]);
    let can_start = first_of(types, &[ResetType::On, ResetType::ForceOn]).is_some();
    let force = |reset| Move::Request { act: Act::ForceOff, reset };
    match last.map(|intent| (intent.act, intent.at)) {
        Some((Act::GracefulShutdown, at)) if now < after(at, graceful_timeout) => {
            Move::Wait("the host was asked to shut down")
        }
        Some((Act::GracefulShutdown, _)) => force_off
            .map_or(Move::Stuck("the host did not shut down, and the BMC cannot force it off"), force),
        Some((Act::ForceOff, at)) if now < after(at, POWER_GRACE) => Move::Wait("the host was forced off"),
        Some((Act::ForceOff, _)) => force_off.map_or(Move::Stuck("the BMC cannot force the host off"), force),
        _ if !can_start || (force_off.is_none() && graceful.is_none()) => restart(types),
        _ => match (graceful, force_off) {
            (Some(reset), _) => Move::Request { act: Act::GracefulShutdown, reset },
            (None, Some(reset)) => force(reset),
            (None, None) => restart(types),
        },
    }
}

fn restart(types: &[ResetType]) -> Move {
    let wanted = [ResetType::ForceRestart, ResetType::PowerCycle, ResetType::GracefulRestart];
    first_of(types, &wanted).map_or(Move::Stuck("the BMC offers no way to restart the host"), |reset| {
        Move::Request { act: Act::Restart, reset }
    })
}

/// The first of `wanted` that the BMC offers; one that does not say is taken to offer all.
fn first_of(types: &[ResetType], wanted: &[ResetType]) -> Option<ResetType> {
    wanted.iter().find(|reset| types.is_empty() || types.contains(reset)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResetType::*;

    const ALL: [ResetType; 5] = [On, ForceOff, GracefulShutdown, GracefulRestart, ForceRestart];

    fn check(power: PowerState, types: &[ResetType], last: Option<(Act, u64)>, expected: Move) {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let now = after(start, Duration::from_secs(1000));
        let last = last.map(|(act, ago)| Intent {
            act,
            at: after(start, Duration::from_secs(1000 - ago)),
            receipt_at: None,
            tries: 1,
        });
        let found = next_move(power, types, last.as_ref(), Duration::from_secs(180), now);
        assert_eq!(found, expected, "{power:?} {types:?} {last:?}");
    }

    fn request(act: Act, reset: ResetType) -> Move {
        Move::Request { act, reset }
    }

    #[test]
    fn an_off_host_is_switched_on() {
        check(PowerState::Off, &ALL, None, request(Act::PowerOn, On));
        check(PowerState::Off, &[], Some((Act::GracefulShutdown, 5)), request(Act::PowerOn, On));
        check(PowerState::Off, &[ForceOff], None, Move::Stuck("the BMC offers no way to power the host on"));
    }

    #[test]
    fn a_running_host_is_asked_first_and_forced_later() {
        check(PowerState::On, &ALL, None, request(Act::GracefulShutdown, GracefulShutdown));
        let asked = Move::Wait("the host was asked to shut down");
        check(PowerState::On, &ALL, Some((Act::GracefulShutdown, 179)), asked);
        check(PowerState::On, &ALL, Some((Act::GracefulShutdown, 180)), request(Act::ForceOff, ForceOff));
        check(PowerState::On, &ALL, Some((Act::ForceOff, 59)), Move::Wait("the host was forced off"));
        check(PowerState::On, &ALL, Some((Act::ForceOff, 60)), request(Act::ForceOff, ForceOff));
    }

    #[test]
    fn no_restart_follows_a_pending_graceful_request() {
        let types = [GracefulShutdown, On, ForceRestart];
        let stuck = Move::Stuck("the host did not shut down, and the BMC cannot force it off");
        check(PowerState::On, &types, Some((Act::GracefulShutdown, 500)), stuck);
    }

    #[test]
    fn restart_types_are_for_bmcs_without_the_pair() {
        check(PowerState::On, &[ForceRestart], None, request(Act::Restart, ForceRestart));
        check(PowerState::On, &[ForceOff, GracefulRestart], None, request(Act::Restart, GracefulRestart));
        check(PowerState::On, &[Nmi], None, Move::Stuck("the BMC offers no way to restart the host"));
        check(PowerState::PoweringOff, &ALL, None, Move::Wait("the host's power is changing"));
    }
}
