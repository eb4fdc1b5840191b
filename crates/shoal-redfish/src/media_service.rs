//! Virtual media that have to be switched on first (AMI MegaRAC and its kin).
//!
//! Looking and switching are two verbs, and looking changes nothing. Invariant: the number
//! of drives is raised to what is needed and never lowered, and never while a medium is in.

use serde_json::{Value, json};

use super::quirks::Quirk;
use super::recent::ReadAge;
use super::slots::SlotsWanted;
use super::system::{Action, System};
use super::task::TaskFollower;
use super::{Bmc, Op, RedfishError, json as read};

/// Drives that an installation uses.
const CDS_WANTED: u64 = 2;

/// What stands between a BMC and its virtual CD drives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaService {
    /// Virtual media are off; where to switch them on.
    pub(super) enable: Option<String>,
    /// There are fewer drives than two; where to have more.
    pub(super) instances: Option<String>,
    pub(super) system: String,
}

impl MediaService {
    /// Whether there is nothing to switch.
    pub fn is_ready(&self) -> bool {
        self.enable.is_none() && self.instances.is_none()
    }

    /// What [`request_media_service`](super::Bmc::request_media_service) would do, in words.
    pub fn to_do(&self) -> Vec<&'static str> {
        let instances = self.instances.as_ref().map(|_| "ask for two virtual CD drives");
        instances.into_iter().chain(self.enable.as_ref().map(|_| "switch remote media on")).collect()
    }
}

impl Bmc {
    /// Whether virtual media have to be switched on before there are slots.
    pub async fn observe_media_service(&self, system: &System) -> Result<MediaService, RedfishError> {
        let mut service = MediaService { system: system.link.clone(), ..MediaService::default() };
        let rooms = &*self.0;
        let quirks = rooms.discovery.quirks();
        if !quirks.has(Quirk::RemoteMediaSwitch) && !quirks.has(Quirk::CdInstances) {
            return Ok(service);
        }
        let wanted = SlotsWanted { age: ReadAge::JustRead, ..SlotsWanted::ALL };
        let slots = rooms.slots.slots(system, &wanted).await?;
        let usable = slots.iter().filter(|slot| slot.is_usable_cd()).count() as u64;
        if usable >= CDS_WANTED {
            return Ok(service);
        }
        // On the manager; newer firmware has them on the System.
        let managers = rooms.discovery.managers_of(system).await?.into_iter().take(1);
        let managers = managers.map(|link| (Op::Manager, link));
        for (op, link) in managers.chain([(Op::System, system.link.clone())]) {
            let body = rooms.discovery.oem_parts(op, &link, &system.link).await?;
            let target = |name: &str, quirk| oem_action(&body, name).filter(|_| quirks.has(quirk));
            let is_few = cd_instances(&body).is_none_or(|instances| instances < CDS_WANTED);
            let enable = target("VirtualMedia.EnableRMedia", Quirk::RemoteMediaSwitch);
            let instances = target("VirtualMedia.ConfigureCDInstance", Quirk::CdInstances);
            service.enable = service.enable.or(enable.filter(|_| usable == 0));
            service.instances = service.instances.or(instances.filter(|_| is_few));
        }
        Ok(service)
    }

    /// Switches virtual media on, as `service` says. The BMC may restart its media service over it: the slots are
    /// there a while later (4 to 180 s: AMI's document, Lenovo's script).
    pub async fn request_media_service(&self, service: &MediaService) -> Result<(), RedfishError> {
        let rooms = &*self.0;
        // The number first: it is refused while media are redirected.
        let acts = [
            (&service.instances, json!({ "CDInstance": CDS_WANTED })),
            (&service.enable, json!({"RMediaState": "Enable"})),
        ];
        for (target, body) in acts {
            let Some(target) = target else { continue };
            let call = rooms.session.http.post(Op::MediaService, target, &body, Some(&service.system));
            let reply = rooms.session.write(&call).await?;
            TaskFollower(&rooms.session).outcome_before_look(&call, &reply).await?;
        }
        rooms.slots.forget(&service.system);
        Ok(())
    }
}

/// The target of an OEM action of this name: `#AMIVirtualMedia.…` on most, `#VirtualMedia.…` on 12.84 (Gigabyte), below
/// `Actions.Oem` or one member deeper.
fn oem_action(body: &Value, name: &str) -> Option<String> {
    let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let oem = members(body.pointer("/Actions/Oem")?);
    let deeper = oem.values().flat_map(members);
    let mut all = oem.iter().map(|(key, value)| (key.clone(), value.clone())).chain(deeper);
    let is_it = |key: &str| {
        let bare = key.rsplit('#').next().unwrap_or(key);
        bare.strip_prefix("AMI").unwrap_or(bare) == name
    };
    all.find_map(|(key, value)| if is_it(&key) { Action::of(&value).target } else { None })
}

fn cd_instances(body: &Value) -> Option<u64> {
    read::text(body, "/Oem/Ami/VirtualMedia/CDInstances")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_the_switch_are_found() {
        for oem in [
            json!({ "#AMIVirtualMedia.EnableRMedia": { "target": "/x" } }),
            json!({ "#VirtualMedia.EnableRMedia": { "target": "/x" } }),
            json!({ "Ami": { "#VirtualMedia.EnableRMedia": { "target": "/x" } } }),
        ] {
            let body = json!({ "Actions": { "Oem": oem } });
            assert_eq!(oem_action(&body, "VirtualMedia.EnableRMedia").as_deref(), Some("/x"), "{body}");
            assert_eq!(oem_action(&body, "VirtualMedia.ConfigureCDInstance"), None);
        }
        assert_eq!(oem_action(&json!({}), "VirtualMedia.EnableRMedia"), None);
    }
}
