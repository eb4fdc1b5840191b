//! Resetting a host.
//!
//! It chooses no reset type and waits for no state. Invariant: one request, sent once; what the BMC reports of its
//! outcome, in the answer or by a Task, is not lost.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::connection::{Call, Connection, Reply};
use super::messages::Severity;
use super::quirks::Quirk;
use super::system::{ResetType, System};
use super::{Op, RedfishError};

/// How long the Task of a reset is followed. A longer one (a graceful shutdown may take minutes) says no more than
/// the host's power does.
const TASK_TIMEOUT: Duration = Duration::from_secs(60);
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
        self.done(&call, &reply)?;
        self.follow_reset(&reply, &system.link).await?;
        match reset {
            ResetType::ForceOff => self.note_off(&system.link),
            ResetType::GracefulShutdown | ResetType::Nmi => {}
            _ => self.note_start(&system.link),
        }
        Ok(())
    }

    /// Follows the reset's Task, if it is one. Only its own failure is an error: a Task that cannot be read says
    /// nothing of the host.
    async fn follow_reset(&self, reply: &Reply, system: &str) -> Result<(), RedfishError> {
        let deadline = Instant::now() + TASK_TIMEOUT;
        let followed = self.follow_task(reply, Some(system), deadline);
        match tokio::time::timeout_at(deadline, followed).await {
            Ok(Err(error)) if error.is_reported_failure() => Err(error.after_acceptance()),
            _ => Ok(()),
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

    /// As [`accepted`](Self::accepted), and nothing in the answer says that it failed: some answer 200 with a
    /// message of severity Critical. Success, OK and Warning are no failure (xFusion, HPE).
    pub(super) fn done(&self, call: &Call<'_>, reply: &Reply) -> Result<(), RedfishError> {
        self.accepted(call, reply)?;
        let is_task = reply.body.get("TaskState").is_some();
        let complaint = self.complaint(&reply.body);
        match !is_task && complaint.severity == Severity::Critical {
            true => Err(RedfishError::reported_failure(call.op, call.link, complaint)),
            false => Ok(()),
        }
    }

    pub(super) fn accepted(&self, call: &Call<'_>, reply: &Reply) -> Result<(), RedfishError> {
        if reply.status.is_success() { Ok(()) } else { Err(self.refusal(call, reply)) }
    }
}
