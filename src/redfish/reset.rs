//! Resetting a host.
//!
//! It chooses no reset type and waits for no state. Invariant: one request, sent once.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::connection::{Call, Connection, Reply};
use super::quirks::Quirk;
use super::system::{ResetType, System};
use super::{Op, RedfishError};

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
        self.accepted(&call, &reply)?;
        match reset {
            ResetType::ForceOff => self.note_off(&system.link),
            ResetType::GracefulShutdown | ResetType::Nmi => {}
            _ => self.note_start(&system.link),
        }
        Ok(())
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

    pub(super) fn accepted(&self, call: &Call<'_>, reply: &Reply) -> Result<(), RedfishError> {
        if reply.status.is_success() { Ok(()) } else { Err(self.refusal(call, reply)) }
    }
}
