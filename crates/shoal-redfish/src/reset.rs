//! Resetting a host.
//!
//! It chooses no reset type and waits for no state. Invariant: one request, sent once; what the BMC reports of its
//! outcome, in the answer or by a Task, is not lost.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::connection::{Call, Connection, Reply};
use super::quirks::Quirk;
use super::system::{PowerState, ResetType, System};
use super::{Op, RedfishError};

/// How long the Task of a reset is followed that is over once the host's power shows it: meanwhile it must not be
/// asked for again.
const POWER_TASK_TIMEOUT: Duration = Duration::from_secs(300);
/// The same of one that nothing need show. A shutdown that the system did not heed is followed by force anyway, and a
/// restart is told by more than its Task.
const TASK_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at the power meanwhile.
const POWER_POLL: Duration = Duration::from_secs(5);
/// How long a host with [`Quirk::PauseBeforeOn`] stays off after it was forced off (libredfish).
const PAUSE: Duration = Duration::from_secs(10);

impl Connection {
    /// Asks for one reset.
    pub(super) async fn request_reset(&self, system: &System, reset: ResetType) -> Result<(), RedfishError> {
        let Some(target) = &system.reset.target else {
            return Err(RedfishError::unsupported(Op::Reset, &system.link, "offers no reset of this system"));
        };
        if self.quirks().has(Quirk::PauseBeforeOn) && matches!(reset, ResetType::On | ResetType::ForceOn) {
            self.pause(&system.link).await;
        }
        let body = json!({"ResetType": reset.name()});
        let call = self.post(Op::Reset, target, &body, Some(&system.link));
        let reply = self.write(&call).await?;
        self.follow_reset(&call, &reply, &system.link, reset).await?;
        match reset {
            ResetType::ForceOff => self.note_off(&system.link),
            ResetType::GracefulShutdown | ResetType::Nmi => {}
            _ => self.note_start(&system.link),
        }
        Ok(())
    }

    /// Follows the reset's Task, if it is one, until the host's power shows what was asked for. Only its own failure
    /// is an error: a Task that cannot be read, or that takes longer, says nothing of the host.
    async fn follow_reset(
        &self,
        call: &Call<'_>,
        reply: &Reply,
        system: &str,
        reset: ResetType,
    ) -> Result<(), RedfishError> {
        let shown_by = match reset {
            ResetType::On | ResetType::ForceOn => Some(PowerState::On),
            ResetType::ForceOff => Some(PowerState::Off),
            _ => None,
        };
        let deadline = Instant::now() + if shown_by.is_some() { POWER_TASK_TIMEOUT } else { TASK_TIMEOUT };
        let followed = async {
            tokio::select! {
                biased;
                outcome = self.outcome(call, reply, deadline) => outcome,
                () = self.until_power(system, shown_by) => Ok(()),
            }
        };
        match tokio::time::timeout_at(deadline, followed).await {
            Ok(Err(error)) if !error.accepted || error.is_reported_failure() => Err(error),
            _ => Ok(()),
        }
    }

    /// Until the host's power is this one: never, where nothing is to be shown.
    async fn until_power(&self, system: &str, wanted: Option<PowerState>) {
        let Some(wanted) = wanted else { return std::future::pending().await };
        loop {
            tokio::time::sleep(POWER_POLL).await;
            if self.observe_system(system, 0).await.is_ok_and(|seen| seen.power == Some(wanted)) {
                return;
            }
        }
    }

    async fn pause(&self, system: &str) {
        let off_at = self.remembered().hosts.get(system).and_then(|host| host.off_at);
        if let Some(off_at) = off_at {
            tokio::time::sleep_until(off_at + PAUSE).await;
        }
    }

    fn note_off(&self, system: &str) {
        self.remembered().hosts.entry(system.to_owned()).or_default().off_at = Some(Instant::now());
    }

    /// A start uses up what was armed for it.
    fn note_start(&self, system: &str) {
        self.remembered().hosts.entry(system.to_owned()).or_default().imported = false;
    }
}
