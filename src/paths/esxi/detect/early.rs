//! Failures that the reads of the media show, long before the install timeout. Pure.
//!
//! Invariant: only a medium whose reads are the host's counts against it.

use std::time::Duration;

use jiff::Timestamp;

use super::{Judgement, WatchContext, failed, install_deadline, shifted};
use crate::domain::FailureCode as Code;
use crate::domain::{Deadline, DeadlineKind, MediaMode, MediumTrace, WatchFacts};
use crate::flow::policy::Detection;
use shoal_base::world::after;

/// How long a BMC whose fetches of CD1 fail may go on trying.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// What the reads of the media say is wrong, long before the install timeout.
pub(super) fn early_failure(
    watch: &WatchFacts,
    context: &WatchContext<'_>,
    now: Timestamp,
) -> Option<Judgement> {
    let policy = context.policy;
    let late = |from: Timestamp, timeout: Duration| now >= shifted(watch, policy, after(from, timeout));
    let unread = is_unread(context);
    if unread && late(context.started_at, policy.boot_timeout) {
        let reason = "the host never read CD1 after the reset: the BMC cannot fetch it, or the host did not boot from it";
        let code = match context.installer.fault_at {
            Some(_) => Code::MediaFetchRefused,
            None => Code::InstallerNotBooted,
        };
        return Some(failed(code, with_fault(reason, context.installer)));
    }
    if unread && context.installer.fault_at.is_some_and(|at| late(at, FETCH_TIMEOUT)) {
        let reason = with_fault("the BMC's fetches of CD1 fail since the reset", context.installer);
        return Some(failed(Code::MediaFetchRefused, reason));
    }
    let last_new = last_new_read(context)?;
    let unread = context.trace_shows_reads() && context.ks_read_at().is_none();
    (unread && late(last_new, policy.ks_timeout)).then(|| {
        let reason = "the kickstart was not read: the host did not boot the installer, or the installer waits at a prompt; \
                      look at the console";
        failed(Code::KickstartNotRead, with_fault(reason, context.kickstart))
    })
}

/// A read of the installer would have been seen, and none was.
fn is_unread(context: &WatchContext<'_>) -> bool {
    context.serves_installer
        && context.installer.first_read_at.is_none()
        && context.installer.mode != MediaMode::Prefetched
}

/// From when on the kickstart's read is waited for, as far as reads can show that.
fn last_new_read(context: &WatchContext<'_>) -> Option<Timestamp> {
    match context.installer.mode {
        // Who gives the installer to the host is not seen: it has had its time to be read.
        _ if !context.serves_installer => Some(after(context.started_at, context.policy.boot_timeout)),
        MediaMode::Streamed => context.installer.last_new_read_at,
        MediaMode::Prefetched | MediaMode::None => None,
    }
}

/// The next moment at which the wait for the host ends: that of an early failure, or of the whole installation.
pub fn next_deadline(watch: &WatchFacts, context: &WatchContext<'_>) -> Deadline {
    let policy = context.policy;
    let by = |from: Timestamp, timeout: Duration| shifted(watch, policy, after(from, timeout));
    let whole = Deadline {
        kind: DeadlineKind::InstallationEnd,
        at: install_deadline(watch, policy, context.started_at),
    };
    let ks_unread = context.trace_shows_reads() && context.ks_read_at().is_none();
    let early = match policy.detection {
        Detection::Power => None,
        Detection::Evidence if is_unread(context) => Some(Deadline {
            kind: DeadlineKind::InstallerRead,
            at: by(context.started_at, policy.boot_timeout),
        }),
        Detection::Evidence => last_new_read(context)
            .filter(|_| ks_unread)
            .map(|from| Deadline { kind: DeadlineKind::KickstartRead, at: by(from, policy.ks_timeout) }),
    };
    early.filter(|early| early.at < whole.at).unwrap_or(whole)
}

fn with_fault(reason: &str, trace: &MediumTrace) -> String {
    match &trace.fault {
        Some(fault) => format!("{reason} (the last fetch: {fault})"),
        None => reason.to_owned(),
    }
}
