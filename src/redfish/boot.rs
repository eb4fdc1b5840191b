//! The one-time boot override and the reset.
//!
//! Neither reads back: the caller does. Invariant: the boot mode is never written.

use http::StatusCode;
use serde_json::{Value, json};

use super::connection::{Call, Connection, Reply};
use super::system::{ResetType, System};
use super::{Op, RedfishError};

impl Connection {
    /// Boots from `target` once.
    pub(super) async fn request_boot_once(&self, system: &System, target: &str) -> Result<(), RedfishError> {
        let body = json!({"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": target}});
        let call = self.boot_call(Op::BootOnce, system, &body);
        let reply = self.write_tagged(call.clone(), boot_etag(system)).await?;
        self.accepted(&call, &reply)
    }

    /// Takes the override back. Some want the target along with it.
    pub(super) async fn request_boot_disarm(&self, system: &System) -> Result<(), RedfishError> {
        let body = json!({"Boot": {"BootSourceOverrideEnabled": "Disabled"}});
        let call = self.boot_call(Op::BootDisarm, system, &body);
        let reply = self.write_tagged(call.clone(), boot_etag(system)).await?;
        if reply.status != StatusCode::BAD_REQUEST {
            return self.accepted(&call, &reply);
        }
        let body =
            json!({"Boot": {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}});
        let call = self.boot_call(Op::BootDisarm, system, &body);
        let reply = self.write_tagged(call.clone(), boot_etag(system)).await?;
        self.accepted(&call, &reply)
    }

    /// Asks for one reset.
    pub(super) async fn request_reset(&self, system: &System, reset: ResetType) -> Result<(), RedfishError> {
        let Some(target) = &system.reset.target else {
            return Err(RedfishError::unsupported(Op::Reset, &system.link, "offers no reset of this system"));
        };
        let body = json!({"ResetType": reset.name()});
        let call = self.post(Op::Reset, target, &body, Some(&system.link));
        let reply = self.write(&call).await?;
        self.accepted(&call, &reply)
    }

    /// To the settings object where that holds the override, else to the System.
    fn boot_call<'a>(&self, op: Op, system: &'a System, body: &'a Value) -> Call<'a> {
        let settings = system.settings.as_deref().filter(|_| system.settings_boot.is_some());
        self.patch(op, settings.unwrap_or(&system.link), body, Some(&system.link))
    }

    fn accepted(&self, call: &Call<'_>, reply: &Reply) -> Result<(), RedfishError> {
        if reply.status.is_success() { Ok(()) } else { Err(self.refusal(call, reply)) }
    }

    /// Sends a PATCH with `etag`. Where the BMC finds the tag wrong (412, so nothing was done): with
    /// a fresh tag, then with that as a strong one (a weak tag stems from compression; sushy), then
    /// without; and where it demands a tag that it never gave, with `*` (AMI).
    pub(super) async fn write_tagged(
        &self,
        call: Call<'_>,
        etag: Option<String>,
    ) -> Result<Reply, RedfishError> {
        let mut reply = self.write_with(&call, etag.as_deref()).await?;
        if !wants_another_tag(&reply) {
            return Ok(reply);
        }
        let fresh = self.fresh_etag(&call).await?;
        let strong = fresh.as_deref().and_then(|tag| tag.strip_prefix("W/")).map(str::to_owned);
        let star = fresh.is_none().then(|| "*".to_owned());
        let mut tried = vec![etag];
        for tag in [fresh, strong, None, star] {
            if wants_another_tag(&reply) && !tried.contains(&tag) {
                reply = self.write_with(&call, tag.as_deref()).await?;
                tried.push(tag);
            }
        }
        Ok(reply)
    }

    async fn write_with(&self, call: &Call<'_>, tag: Option<&str>) -> Result<Reply, RedfishError> {
        self.write(&Call { if_match: tag, ..call.clone() }).await
    }

    async fn fresh_etag(&self, call: &Call<'_>) -> Result<Option<String>, RedfishError> {
        let op = if matches!(call.op, Op::Insert | Op::Eject) { Op::Slot } else { Op::System };
        Ok(self.read(&self.get(op, call.link, call.system)).await?.etag())
    }
}

fn wants_another_tag(reply: &Reply) -> bool {
    matches!(reply.status, StatusCode::PRECONDITION_FAILED | StatusCode::PRECONDITION_REQUIRED)
}

fn boot_etag(system: &System) -> Option<String> {
    match &system.settings_boot {
        Some(settings) => settings.etag.clone(),
        None => system.etag.clone(),
    }
}
