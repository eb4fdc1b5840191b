//! Resetting a host.
//!
//! A POST of the reset action, after a pause on hosts that hang when they are switched on too soon. Where the BMC
//! answers with a Task, that is followed while the System is looked at beside it: the power that was asked for ends the
//! wait, because Tasks of resets outlive their effect on some BMCs, and never end on others. The caller decides by what
//! it sees of the host afterwards.
//!
//! It chooses no reset type and waits for no state. Invariant: one request, sent once; what the BMC reports of its
//! outcome, in the answer or by a Task, is not lost.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::call::{Call, Reply};
use super::discovery::Discovery;
use super::quirks::Quirk;
use super::session::Session;
use super::system::{PowerState, ResetType, System};
use super::task::TaskFollower;
use super::{Bmc, Op, RedfishError};

/// How long the Task of a reset is followed that is over once the host's power shows it: meanwhile it must not be
/// asked for again.
const POWER_TASK_TIMEOUT: Duration = Duration::from_secs(300);
/// The same where the power need not show it. A shutdown that the system did not heed is followed by force anyway, and
/// a restart shows by more than its Task.
const TASK_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at the power meanwhile.
const POWER_POLL: Duration = Duration::from_secs(5);
/// How long a host with [`Quirk::PauseBeforeOn`] stays off after it was forced off (libredfish).
const PAUSE: Duration = Duration::from_secs(10);

impl Bmc {
    /// Requests one reset of the system.
    pub async fn request_reset(&self, system: &System, reset: ResetType) -> Result<(), RedfishError> {
        let rooms = &*self.0;
        let Some(target) = &system.reset.target else {
            return Err(RedfishError::unsupported(Op::Reset, &system.link, "offers no reset of this system"));
        };
        let is_on = matches!(reset, ResetType::On | ResetType::ForceOn);
        if is_on && rooms.discovery.quirks().has(Quirk::PauseBeforeOn) {
            pause_since(rooms.hosts.forced_off_at(&system.link)).await;
        }
        let body = json!({"ResetType": reset.name()});
        let call = rooms.session.http.post(Op::Reset, target, &body, Some(&system.link));
        let _written = rooms.session.turns.write_to(&system.link);
        let reply = rooms.session.write(&call).await?;
        let (session, discovery) = (&*rooms.session, &*rooms.discovery);
        ResetFollower { session, discovery, system: &system.link }.follow(&call, &reply, reset).await?;
        match reset {
            ResetType::ForceOff => rooms.hosts.note_off(&system.link),
            ResetType::GracefulShutdown | ResetType::Nmi => {}
            _ => rooms.hosts.note_start(&system.link),
        }
        Ok(())
    }
}

/// Waits for the outcome of one reset.
struct ResetFollower<'b> {
    session: &'b Session,
    discovery: &'b Discovery,
    /// Link of the System.
    system: &'b str,
}

impl ResetFollower<'_> {
    /// Follows the reset's Task, if it is one, until the host's power shows what was asked for. Only its own failure
    /// is an error: a Task that cannot be read, or that takes longer, says nothing of the host.
    async fn follow(&self, call: &Call<'_>, reply: &Reply, reset: ResetType) -> Result<(), RedfishError> {
        let shown_by = match reset {
            ResetType::On | ResetType::ForceOn => Some(PowerState::On),
            ResetType::ForceOff => Some(PowerState::Off),
            _ => None,
        };
        let deadline = Instant::now() + if shown_by.is_some() { POWER_TASK_TIMEOUT } else { TASK_TIMEOUT };
        let tasks = TaskFollower(self.session);
        let followed = async {
            tokio::select! {
                biased;
                outcome = tasks.outcome(call, reply, deadline) => outcome,
                () = self.until_power(shown_by) => Ok(()),
            }
        };
        match tokio::time::timeout_at(deadline, followed).await {
            Ok(Err(error)) if !error.accepted || error.is_reported_failure() => Err(error),
            _ => Ok(()),
        }
    }

    /// Until the host's power is this one: never, where nothing is to be shown.
    async fn until_power(&self, wanted: Option<PowerState>) {
        let Some(wanted) = wanted else { return std::future::pending().await };
        loop {
            tokio::time::sleep(POWER_POLL).await;
            self.session.turns.pause();
            if self.discovery.system(self.system, 0).await.is_ok_and(|seen| seen.power == Some(wanted)) {
                return;
            }
        }
    }
}

/// Waits until the host has been off for long enough.
async fn pause_since(off_at: Option<Instant>) {
    if let Some(off_at) = off_at {
        tokio::time::sleep_until(off_at + PAUSE).await;
    }
}
