//! The one-time boot of iDRACs whose override does not reach the virtual CD: a configuration import.
//!
//! The Manager's own action takes a configuration with two attributes of the host's boot, and answers with a Task.
//! Whether it is armed, the attributes show; where the firmware has none, what was imported since the host's last
//! start. Invariant: an import changes these two attributes and nothing else, and never restarts the host.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::call::Call;
use super::discovery::Discovery;
use super::error::{Effect, ErrorClass};
use super::hosts::HostNotes;
use super::learned::How;
use super::recent::ReadAge;
use super::session::Session;
use super::system::{Action, System, last_segment};
use super::task::TaskFollower;
use super::{Op, RedfishError, json as read};

/// How long an import job may take (ironic waits 35 × 15 s).
const IMPORT_TIMEOUT: Duration = Duration::from_secs(600);
/// Between two tries while another job of the BMC runs.
const BUSY_PAUSE_FIRST: Duration = Duration::from_secs(1);
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(15);
/// The virtual CD among Dell's boot devices.
const VIRTUAL_DEVICE: &str = "VCD-DVD";

pub(super) struct BootImport<'b> {
    pub(super) session: &'b Session,
    pub(super) discovery: &'b Discovery,
    pub(super) hosts: &'b HostNotes,
}

impl BootImport<'_> {
    /// Imports the one-time boot from the virtual CD (dell-py, sushy-oem-idrac), or takes it back.
    pub(super) async fn request(&self, system: &System, on: bool) -> Result<How, RedfishError> {
        let deadline = Instant::now() + IMPORT_TIMEOUT;
        let manager = self.dell_manager(system).await?;
        let Some(target) = manager.import else {
            let what = "boots once from the virtual CD by a configuration import, and offers none";
            return Err(RedfishError::unsupported(Op::BootImport, &system.link, what));
        };
        let (once, device) = if on { ("Enabled", VIRTUAL_DEVICE) } else { ("Disabled", "Normal") };
        let buffer = format!(
            "<SystemConfiguration><Component FQDD=\"{}\">\
             <Attribute Name=\"ServerBoot.1#BootOnce\">{once}</Attribute>\
             <Attribute Name=\"ServerBoot.1#FirstBootDevice\">{device}</Attribute>\
             </Component></SystemConfiguration>",
            manager.id
        );
        let body = json!({"ShareParameters": {"Target": ["IDRAC"]}, "ImportBuffer": buffer});
        let call = self.session.http.post(Op::BootImport, &target, &body, Some(&system.link));
        self.import(&call, deadline).await?;
        self.hosts.note_import(&system.link, on);
        Ok(How::new(format!("{VIRTUAL_DEVICE} by a configuration import")))
    }

    /// A job of the BMC that has to end first is waited for: it refuses the import meanwhile, without effect.
    async fn import(&self, call: &Call<'_>, deadline: Instant) -> Result<(), RedfishError> {
        let mut pause = BUSY_PAUSE_FIRST;
        loop {
            let error = match TaskFollower(self.session).act(call, deadline).await {
                Err(error) if error.class() == ErrorClass::Retry && error.effect() == Effect::None => error,
                result => return result,
            };
            let wait = self.session.http.jitter(pause).max(error.retry_after.unwrap_or_default());
            if Instant::now() + wait >= deadline {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(BUSY_PAUSE_MAX);
        }
    }

    /// What the attributes say; where there are none, what was imported since the last start.
    pub(super) async fn is_armed(&self, system: &System) -> Result<bool, RedfishError> {
        let manager = self.dell_manager(system).await?;
        let Some(attributes) = manager.attributes else {
            return Ok(self.hosts.has_import(&system.link));
        };
        let armed = &self.hosts.armed;
        if let Some(armed) = armed.get(&attributes, ReadAge::JustRead) {
            return Ok(armed);
        }
        let begun = armed.begin();
        let reply = self.session.read_link(Op::Settings, &attributes, Some(&system.link)).await?;
        let named = reply.body.get("Attributes").unwrap_or(&reply.body);
        let is_armed =
            named.get("ServerBoot.1.FirstBootDevice").and_then(Value::as_str) == Some(VIRTUAL_DEVICE);
        armed.keep(&attributes, &is_armed, begun);
        Ok(is_armed)
    }

    async fn dell_manager(&self, system: &System) -> Result<DellManager, RedfishError> {
        let Some(link) = self.discovery.managers_of(system).await?.into_iter().next() else {
            return Err(RedfishError::unsupported(
                Op::Manager,
                &system.link,
                "shows no manager of its system",
            ));
        };
        let links = self.discovery.manager_links(&link, &system.link).await?;
        Ok(parse_dell_manager(&link, &links))
    }
}

struct DellManager {
    id: String,
    import: Option<String>,
    attributes: Option<String>,
}

fn parse_dell_manager(link: &str, body: &Value) -> DellManager {
    let id = last_segment(link).to_owned();
    let actions = body.pointer("/Actions/Oem").and_then(Value::as_object).into_iter().flatten();
    let mut imports = actions.filter(|(name, _)| name.ends_with("Manager.ImportSystemConfiguration"));
    let attributes = read::links(body, "/Links/Oem/Dell/DellAttributes");
    DellManager {
        import: imports.next().and_then(|(_, action)| Action::of(action).target),
        // Those of the iDRAC itself: `…/DellAttributes/iDRAC.Embedded.1`, or on older firmware
        // `Managers/iDRAC.Embedded.1/Attributes`.
        attributes: attributes.into_iter().find(|link| link.trim_end_matches("/Attributes").ends_with(&id)),
        id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dell_manager_is_read_in_its_old_and_new_forms() {
        for (action, attributes) in [
            (
                "#OemManager.ImportSystemConfiguration",
                "/m/iDRAC.Embedded.1/Oem/Dell/DellAttributes/iDRAC.Embedded.1",
            ),
            ("OemManager.v1_0_0#OemManager.ImportSystemConfiguration", "/m/iDRAC.Embedded.1/Attributes"),
            ("#EID_674_Manager.ImportSystemConfiguration", "/m/iDRAC.Embedded.1/Attributes"),
        ] {
            let manager = parse_dell_manager(
                "/m/iDRAC.Embedded.1",
                &json!({
                    "Actions": {"Oem": {"#OemManager.ImportSystemConfigurationPreview": {"target": "/p"},
                        action: {"target": "/import"}}},
                    "Links": {"Oem": {"Dell": {"DellAttributes": [{"@odata.id": "/m/System.Embedded.1"},
                        {"@odata.id": attributes}]}}},
                }),
            );
            assert_eq!(manager.import.as_deref(), Some("/import"));
            assert_eq!(manager.attributes.as_deref(), Some(attributes));
        }
    }
}
