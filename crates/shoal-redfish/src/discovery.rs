//! Finding a BMC's resources by its links, and remembering those that do not move.
//!
//! Invariants: no path is built here but the two that the standard fixes; what is remembered is
//! links and advertised values, never a state, and it is forgotten after a while and whenever a
//! remembered link leads nowhere (a firmware update moves things: iDRAC9 5.x to 6.x).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::connection::{Connection, Reply};
use super::quirks::{Identity, Quirk, Quirks};
use super::service::{Root, Vendor, parse_root};
use super::slots::concerns_all;
use super::system::{
    Boot, SettingsBoot, System, has_clean_reset_types, last_segment, parse_boot, parse_system, reset_types,
};
use super::{ErrorClass, Op, RedfishError, RedfishErrorKind, json};

/// The service root.
pub(super) const ROOT: &str = "/redfish/v1/";
/// Pages of a collection that are read.
const PAGES_MAX: usize = 16;
/// How long links are remembered.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How often a manager is asked who it is. Some answer 500, always.
const MANAGER_ASKED: u32 = 3;

/// What is remembered of one BMC.
#[derive(Default)]
pub(super) struct Discovery {
    since: Option<Instant>,
    vendor: Vendor,
    /// What the quirks follow from.
    pub(super) identity: Identity,
    root: Option<Root>,
    systems: Option<Vec<String>>,
    /// Of a service with one system that names none of them.
    pub(super) managers: Option<Vec<String>>,
    /// Times that the manager was asked who it is; [`MANAGER_ASKED`] once it has answered.
    manager_asked: u32,
    /// Slots by System.
    pub(super) slots: BTreeMap<String, Vec<String>>,
    /// Links of systems for which neither the System nor a manager links to virtual media.
    pub(super) without_media: BTreeSet<String>,
    /// What actions take, by the link of the ActionInfo.
    action_infos: BTreeMap<String, Vec<Parameter>>,
    /// Whether a settings object holds the boot override, by its link.
    settings: BTreeMap<String, bool>,
    /// By System.
    pub(super) hosts: BTreeMap<String, Host>,
}

/// What this client did to a host that the BMC does not show.
#[derive(Clone, Default)]
pub(super) struct Host {
    /// When it was forced off.
    pub(super) off_at: Option<Instant>,
    /// A one-time boot was imported since its last start.
    pub(super) imported: bool,
}

/// One parameter of an ActionInfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) allowed: Vec<String>,
}

impl Connection {
    pub(super) fn vendor(&self) -> &'static str {
        self.discovery.lock().unwrap_or_else(PoisonError::into_inner).vendor.name()
    }

    /// The quirks that follow from what the BMC has said of itself so far.
    pub(super) fn quirks(&self) -> Quirks {
        let discovery = self.discovery.lock().unwrap_or_else(PoisonError::into_inner);
        Quirks::of(&discovery.identity, &self.limits.quirks_off)
    }

    /// Nobody knows yet whose BMC it is, so whether it can bear a connection that is used again.
    pub(super) fn vendor_unknown(&self) -> bool {
        self.vendor() == Vendor::Unknown.name()
    }

    pub(super) fn remembered(&self) -> MutexGuard<'_, Discovery> {
        let mut discovery = self.discovery.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if discovery.since.is_none_or(|since| now - since > REMEMBERED) {
            let Discovery { vendor, identity, hosts, .. } = std::mem::take(&mut *discovery);
            *discovery = Discovery { since: Some(now), vendor, identity, hosts, ..Discovery::default() };
        }
        discovery
    }

    /// A remembered link led nowhere.
    pub(super) fn forget_if_gone(&self, error: &RedfishError) {
        if let RedfishErrorKind::Refused { status: 404 | 410, .. } = error.kind {
            self.remembered().since = None;
        }
    }

    /// The service root.
    pub(super) async fn root(&self) -> Result<Root, RedfishError> {
        if let Some(root) = self.remembered().root.clone() {
            return Ok(root);
        }
        let mut retries = self.retries(Op::Root, self.limits.retries);
        loop {
            let pass = self.gate.enter(None).await;
            let root = self.root_without_login().await;
            drop(pass);
            match root {
                Ok(Some(root)) => return Ok(root),
                Ok(None) => break,
                Err(error) => retries.after(error).await?,
            }
        }
        let reply = self.read(&self.get(Op::Root, ROOT, None)).await?;
        Ok(self.remember_root(&reply))
    }

    /// The service root, which the standard shows to everybody; `None` where the BMC does not.
    pub(super) async fn root_without_login(&self) -> Result<Option<Root>, RedfishError> {
        if let Some(root) = self.remembered().root.clone() {
            return Ok(Some(root));
        }
        let call = self.get(Op::Root, ROOT, None);
        let reply = self.exchange(&call, None).await?;
        match reply.status.as_u16() {
            401 | 403 => Ok(None),
            200..300 if reply.body.is_object() => Ok(Some(self.remember_root(&reply))),
            200..300 => Err(call.error(RedfishErrorKind::Garbled)),
            _ => Err(self.refusal(&call, &reply)),
        }
    }

    fn remember_root(&self, reply: &Reply) -> Root {
        let root = parse_root(&reply.body);
        let mut remembered = self.remembered();
        remembered.vendor = root.vendor;
        // What managers and systems have said stays when the root is read once more: nobody asks them again
        // for each look, and what the BMC is, does not change.
        if root.vendor != Vendor::Unknown && root.vendor != remembered.identity.vendor {
            remembered.identity = Identity::of(root.vendor);
        }
        remembered.identity.learn(&reply.body);
        // HPE shows the same there, before any login.
        let manager = ["/Oem/Hpe/Manager/0/ManagerType", "/Oem/Hp/Manager/0/ManagerType"];
        let manager = manager.into_iter().find_map(|pointer| json::text(&reply.body, pointer));
        if let Some(manager) = manager {
            remembered.identity.manager = manager;
        }
        remembered.root = Some(root.clone());
        root
    }

    /// Links of all systems.
    pub(super) async fn system_links(&self) -> Result<Vec<String>, RedfishError> {
        if let Some(links) = self.remembered().systems.clone() {
            return Ok(links);
        }
        let root = self.root().await?;
        let systems =
            root.systems.ok_or_else(|| RedfishError::unsupported(Op::Systems, ROOT, "has no Systems"))?;
        let links = self.read_members(Op::Systems, &systems, None).await?;
        self.gate.widen(links.len());
        if !links.is_empty() {
            self.remembered().systems = Some(links.clone());
        }
        Ok(links)
    }

    /// The members of a collection, page by page.
    pub(super) async fn read_members(
        &self,
        op: Op,
        collection: &str,
        system: Option<&str>,
    ) -> Result<Vec<String>, RedfishError> {
        let mut members: Vec<String> = Vec::new();
        let mut page = Some(collection.to_owned());
        for _ in 0..PAGES_MAX {
            let Some(link) = page.take() else { break };
            let reply = self.read(&self.get(op, &link, system)).await?;
            self.remembered().identity.learn(&reply.body);
            let new = json::links(&reply.body, "/Members");
            page = json::link(&reply.body, "/Members@odata.nextLink").filter(|_| !new.is_empty());
            members.extend(new.into_iter().filter(|link| !members.contains(link)).collect::<Vec<_>>());
        }
        members.truncate(json::MEMBERS_MAX);
        Ok(members)
    }

    /// Every system of the service. One that gives no answer is told of and not fatal (GPU
    /// baseboards answer 500 while their host is off), unless there is no other.
    pub(super) async fn observe_systems(&self) -> Result<Vec<System>, RedfishError> {
        let links = self.system_links().await?;
        let quick = if links.len() > 1 { 0 } else { self.limits.retries };
        let mut systems = Vec::with_capacity(links.len());
        let mut first_error = None;
        for link in &links {
            match self.observe_system(link, quick).await {
                Ok(system) => systems.push(system),
                Err(error) if concerns_all(&error) => return Err(error),
                Err(error) => {
                    systems.push(unread(link, &error));
                    first_error.get_or_insert(error);
                }
            }
        }
        if !systems.iter().any(System::is_host) {
            self.read_again(&mut systems).await;
        }
        let any_read = systems.iter().any(|system| system.unread.is_none());
        first_error.filter(|_| !any_read).map_or(Ok(systems), Err)
    }

    /// No host among the systems that answered at once: the others get all their tries.
    async fn read_again(&self, systems: &mut [System]) {
        for system in systems.iter_mut().filter(|system| system.unread.is_some()) {
            if let Ok(read) = self.observe_system(&system.link, self.limits.retries).await {
                *system = read;
            }
        }
    }

    /// One system, with its reset types and the override of its settings object.
    pub(super) async fn observe_system(&self, link: &str, retries: u32) -> Result<System, RedfishError> {
        let reply = self.read_up_to(&self.get(Op::System, link, Some(link)), retries).await;
        let reply = reply.inspect_err(|error| self.forget_if_gone(error))?;
        let mut system = parse_system(link, &reply.body, reply.etag());
        self.learn_system(&system, &reply.body).await;
        self.complete_reset_types(&mut system, &reply.body).await;
        self.complete_boot(&mut system).await?;
        Ok(system)
    }

    /// Who the BMC is, by a host's System and its Manager. A root that names no maker (Supermicro
    /// X10) leaves it to the System.
    async fn learn_system(&self, system: &System, body: &Value) {
        if !system.is_host() {
            return;
        }
        let manager = {
            let mut remembered = self.remembered();
            if let (Vendor::Other | Vendor::Unknown, Some(maker)) = (remembered.vendor, &system.manufacturer)
            {
                remembered.vendor = Vendor::named_in(maker).unwrap_or(remembered.vendor);
            }
            remembered.identity.vendor = remembered.vendor;
            remembered.identity.model = system.model.clone().unwrap_or_default();
            remembered.identity.learn(body);
            system.managed_by.first().filter(|_| remembered.manager_asked < MANAGER_ASKED).cloned()
        };
        let manager = match manager {
            // Some name no manager of a system (Huawei 1288H).
            None if system.managed_by.is_empty() && self.remembered().manager_asked < MANAGER_ASKED => {
                self.managers_of(system).await.ok().and_then(|managers| managers.into_iter().next())
            }
            named => named,
        };
        let Some(manager) = manager else { return };
        let call = self.get(Op::Manager, &manager, Some(&system.link));
        let reply = self.read_up_to(&call, 1).await;
        let mut remembered = self.remembered();
        remembered.manager_asked += 1;
        if let Ok(reply) = reply {
            remembered.manager_asked = MANAGER_ASKED;
            let firmware = json::text(&reply.body, "/FirmwareVersion");
            if let Some(firmware) = &firmware {
                self.learned.note_firmware(firmware);
            }
            remembered.identity.manager = json::text(&reply.body, "/Model").unwrap_or_default();
            remembered.identity.firmware = firmware.unwrap_or_default();
            remembered.identity.learn(&reply.body);
        }
    }

    /// The ActionInfo, where there is no inline list, or one with a word that is no reset type (X12
    /// 01.13.04 runs `GracefulShutdown` and `GracefulRestart` together). One that cannot be read
    /// changes nothing.
    async fn complete_reset_types(&self, system: &mut System, body: &Value) {
        let Some(info) = system.reset.info.clone().filter(|_| !has_clean_reset_types(body)) else { return };
        let Ok(parameters) = self.action_info(&info, Some(&system.link)).await else { return };
        if let Some(parameter) = parameters.iter().find(|parameter| parameter.name == "ResetType") {
            system.reset_types = reset_types(&parameter.allowed);
        }
    }

    /// The parameters that an action takes, by its ActionInfo.
    pub(super) async fn action_info(
        &self,
        link: &str,
        system: Option<&str>,
    ) -> Result<Vec<Parameter>, RedfishError> {
        if let Some(known) = self.remembered().action_infos.get(link).cloned() {
            return Ok(known);
        }
        let reply = self.read(&self.get(Op::ActionInfo, link, system)).await?;
        let parameters = parse_parameters(&reply.body);
        self.remembered().action_infos.insert(link.to_owned(), parameters.clone());
        Ok(parameters)
    }

    /// The override as the settings object holds it, if it does (AMI, NVIDIA; not iDRAC 7.10 or
    /// Lenovo XCC, whose settings objects hold other properties).
    async fn complete_boot(&self, system: &mut System) -> Result<(), RedfishError> {
        let Some(link) = system.settings.clone() else { return Ok(()) };
        let known = self.remembered().settings.get(&link).copied();
        // An override that is pending may show there and at no other time.
        let may_be_pending = self.quirks().has(Quirk::BootInSettings);
        if known == Some(false) && !may_be_pending {
            return Ok(());
        }
        match self.read_up_to(&self.get(Op::Settings, &link, Some(&system.link)), 1).await {
            Ok(reply) => {
                let boot = parse_boot(&reply.body);
                self.remembered().settings.insert(link, boot.is_overridable());
                if boot.is_overridable() {
                    system.boot = merged(boot, &system.boot);
                    system.settings_boot = Some(SettingsBoot { etag: reply.etag() });
                }
            }
            // The System's own override would be the wrong one.
            Err(error) if known == Some(true) => return Err(error),
            Err(error) if may_be_pending && error.class() == ErrorClass::Retry => return Err(error),
            // Absent, as on Lenovo XCC 2.83: the System itself takes the override.
            Err(error) if matches!(error.kind, RedfishErrorKind::Refused { status: 400..500, .. }) => {
                self.remembered().settings.insert(link, false);
            }
            Err(error) => tracing::debug!(path = %error.path, kind = %error.kind, "settings object not read"),
        }
        Ok(())
    }
}

pub(super) fn parse_parameters(body: &Value) -> Vec<Parameter> {
    let parameters = json::list(body, "/Parameters").iter();
    let named = parameters.filter_map(|parameter| {
        let name = json::text(parameter, "/Name")?;
        let required = json::flag(parameter, "/Required").unwrap_or(false);
        Some(Parameter { name, required, allowed: json::texts(parameter, "/AllowableValues") })
    });
    named.collect()
}

/// The settings object's override; what it leaves out stands in the System.
fn merged(settings: Boot, system: &Boot) -> Boot {
    let allowed = if settings.allowed_targets.is_empty() {
        system.allowed_targets.clone()
    } else {
        settings.allowed_targets
    };
    Boot {
        mode: settings.mode.or_else(|| system.mode.clone()),
        allowed_targets: allowed,
        options: settings.options.or_else(|| system.options.clone()),
        next: settings.next.or_else(|| system.next.clone()),
        ..settings
    }
}

fn unread(link: &str, error: &RedfishError) -> System {
    tracing::warn!(path = link, kind = %error.kind, "system skipped: it gives no answer");
    System {
        link: link.to_owned(),
        id: last_segment(link).to_owned(),
        unread: Some(error.kind.to_string()),
        ..System::default()
    }
}

pub(super) fn is_gone(error: &RedfishError) -> bool {
    matches!(error.kind, RedfishErrorKind::Refused { status: 404 | 410, .. })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_action_info_is_read_leniently() {
        let body = json!({"Parameters": [
            {"Name": "ResetType", "Required": "true", "AllowableValues": "On"}, {"Required": true}, null, 3,
        ]});
        let want = Parameter { name: "ResetType".into(), required: true, allowed: vec!["On".into()] };
        assert_eq!(parse_parameters(&body), [want]);
    }
}
