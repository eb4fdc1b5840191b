//! What is found of a service by its links: systems, their managers, what actions take, settings objects.
//!
//! From the root to a System: the root (read without a login) names the collections; the members of `Systems` are
//! listed once and remembered; each System is read anew for every look, and completed from what it links to: reset
//! types from its ActionInfo, the boot override from its settings object where that holds it, and once per host the
//! Manager, for the firmware that quirks and memory depend on. The slots of virtual media are found by `slots`.
//!
//! Invariants: no path is built here; what is remembered is links and advertised values, never a state, and it
//! expires ([`Expiry`]) after a while and whenever a remembered link leads nowhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::action_info::{Parameter, parse_parameters};
use super::expiry::{Expiry, Remembered};
use super::learned::Learned;
use super::memory::BmcLinks;
use super::quirks::{Quirk, Quirks};
use super::recent::{ReadAge, RecentReads};
use super::service::ROOT;
use super::session::Session;
use super::system::{
    Boot, SettingsBoot, System, has_clean_reset_types, last_segment, parse_boot, parse_system, reset_types,
};
use super::{ErrorClass, Op, RedfishError, RedfishErrorKind, json as read};

/// How often a manager is asked for its firmware. Some answer 500, always.
const MANAGER_ASKED: u32 = 3;

/// The resources of one service.
pub(super) struct Discovery {
    session: Arc<Session>,
    learned: Arc<Learned>,
    found: Remembered<FoundLinks>,
    read: RecentReads<System>,
    /// OEM parts of Systems and managers.
    oem_read: RecentReads<Arc<Value>>,
}

/// Links and advertised values, until they expire.
#[derive(Default)]
struct FoundLinks {
    /// Links of the systems, where there are any.
    systems: Option<Vec<String>>,
    /// Links of the managers of a service with one system that names none of them.
    managers: Option<Vec<String>>,
    /// Times that the manager was asked for its firmware; [`MANAGER_ASKED`] once it has answered.
    manager_asked: u32,
    /// What managers link to and offer, by their links.
    manager_links: BTreeMap<String, Arc<Value>>,
    /// What actions take, by the link of the ActionInfo.
    action_infos: BTreeMap<String, Vec<Parameter>>,
    /// Whether a settings object holds the boot override, by its link.
    settings: BTreeMap<String, bool>,
}

impl Discovery {
    pub(super) fn new(session: Arc<Session>, learned: Arc<Learned>, expiry: &Arc<Expiry>) -> Discovery {
        let (read, oem_read) = (RecentReads::new(&session.turns), RecentReads::new(&session.turns));
        Discovery { session, learned, found: Remembered::new(expiry), read, oem_read }
    }

    /// What this BMC does differently, as far as it has said who it is.
    pub(super) fn quirks(&self) -> Quirks {
        self.session.http.identity.quirks()
    }

    /// Links of all systems.
    pub(super) async fn system_links(&self) -> Result<Vec<String>, RedfishError> {
        if let Some(links) = self.found.with(|found| found.systems.clone()) {
            return Ok(links);
        }
        let root = self.session.root().await?;
        let systems =
            root.systems.ok_or_else(|| RedfishError::unsupported(Op::Systems, ROOT, "has no Systems"))?;
        let links = self.session.read_members(Op::Systems, &systems, None).await?;
        self.session.gate.widen(links.len());
        if !links.is_empty() {
            self.found.with(|found| found.systems = Some(links.clone()));
        }
        Ok(links)
    }

    /// Every system of the service. One that gives no answer has [`System::unread`] set (GPU
    /// baseboards answer 500 while their host is off); if none answers, that is the error.
    pub(super) async fn systems(&self) -> Result<Vec<System>, RedfishError> {
        if let Some(host) = self.remembered_host().await? {
            return Ok(vec![host]);
        }
        let links = self.system_links().await?;
        let quick = if links.len() > 1 { 0 } else { self.session.http.limits.retries };
        let mut systems = Vec::with_capacity(links.len());
        let mut first_error = None;
        for link in &links {
            match self.system(link, quick).await {
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

    /// The host that is remembered, if it is still there, by its UUID; else everything is looked for again. Systems
    /// that were listed in this process are known better.
    async fn remembered_host(&self) -> Result<Option<System>, RedfishError> {
        let remembered = self.learned.links(|links| links.system.clone().zip(links.uuid.clone()));
        let Some((link, uuid)) = remembered else { return Ok(None) };
        if self.found.with(|found| found.systems.is_some()) {
            return Ok(None);
        }
        match self.system(&link, self.session.http.limits.retries).await {
            Ok(system) if system.is_host() && system.uuid.as_ref() == Some(&uuid) => Ok(Some(system)),
            Err(error) if !error.is_not_found() => Err(error),
            _ => {
                self.forget_links();
                Ok(None)
            }
        }
    }

    /// Links are looked for again, those of earlier jobs too. Whether such were remembered.
    pub(super) fn forget_links(&self) -> bool {
        self.found.expire();
        self.learned.forget_links()
    }

    /// What is to be remembered for later jobs on this host; its slots are known elsewhere.
    pub(super) fn links_of(&self, system: &System) -> BmcLinks {
        let known = self.learned.links(BmcLinks::clone);
        let is_same = known.uuid == system.uuid;
        let (action_infos, settings) =
            self.found.with(|found| (found.action_infos.clone(), found.settings.clone()));
        BmcLinks {
            root: self.session.root_text().or(known.root),
            system: Some(system.link.clone()),
            uuid: system.uuid.clone(),
            action_infos: if is_same {
                known.action_infos.into_iter().chain(action_infos).collect()
            } else {
                action_infos
            },
            settings: if is_same { known.settings.into_iter().chain(settings).collect() } else { settings },
            slots: Vec::new(),
        }
    }

    /// No host among the systems that answered the first try: the others get all their tries.
    async fn read_again(&self, systems: &mut [System]) {
        for system in systems.iter_mut().filter(|system| system.unread.is_some()) {
            if let Ok(read) = self.system(&system.link, self.session.http.limits.retries).await {
                *system = read;
            }
        }
    }

    /// One system, from a reading that may be so old. It is read anew until its Manager has answered: what a BMC does
    /// differently is not known before.
    pub(super) async fn system_of(&self, link: &str, age: ReadAge) -> Result<System, RedfishError> {
        match self.read.get(link, age) {
            Some(read) if self.is_manager_known() => Ok(read),
            _ => self.system(link, self.session.http.limits.retries).await,
        }
    }

    /// One system, with its reset types and the override of its settings object.
    pub(super) async fn system(&self, link: &str, retries: u32) -> Result<System, RedfishError> {
        let begun = self.read.begin();
        let reply =
            self.session.read_up_to(&self.session.http.get(Op::System, link, Some(link)), retries).await;
        let reply = reply.inspect_err(|error| self.found.expire_if_gone(error))?;
        let mut system = parse_system(link, &reply.body, reply.etag());
        self.learn_system(&system, &reply.body).await;
        self.keep_oem_parts(link, &reply.body, begun);
        self.complete_reset_types(&mut system, &reply.body).await;
        self.complete_boot(&mut system).await?;
        self.read.keep(link, &system, begun);
        Ok(system)
    }

    /// Who the BMC is, by a host's System and its Manager. The Manager is asked until it has answered, at most
    /// [`MANAGER_ASKED`] times.
    async fn learn_system(&self, system: &System, body: &Value) {
        if !system.is_host() {
            return;
        }
        let identity = &self.session.http.identity;
        identity.learn_system(system.manufacturer.as_deref(), system.model.as_deref(), body);
        if self.is_manager_known() {
            return;
        }
        let manager = match system.managed_by.first() {
            Some(named) => Some(named.clone()),
            // Some name no manager of a system (Huawei 1288H).
            None => self.managers_of(system).await.ok().and_then(|managers| managers.into_iter().next()),
        };
        self.found.with(|found| found.manager_asked += 1);
        let Some(manager) = manager else { return };
        let call = self.session.http.get(Op::Manager, &manager, Some(&system.link));
        let begun = self.oem_read.begin();
        let reply = self.session.read_up_to(&call, 1).await;
        if let Ok(reply) = reply {
            self.found.with(|found| found.manager_asked = MANAGER_ASKED);
            self.keep_manager_links(&manager, &reply.body);
            let firmware = read::text(&reply.body, "/FirmwareVersion");
            if let Some(firmware) = &firmware
                && self.learned.note_firmware(firmware)
            {
                self.found.expire();
            }
            identity.learn_manager(firmware, &reply.body);
            // Whether they are of use, the manager has just shown.
            self.keep_oem_parts(&manager, &reply.body, begun);
        }
    }

    /// Whether the Manager has said who it is, or will not.
    fn is_manager_known(&self) -> bool {
        self.found.with(|found| found.manager_asked >= MANAGER_ASKED)
    }

    /// What a manager links to and offers: neither changes while links are remembered.
    pub(super) async fn manager_links(
        &self,
        manager: &str,
        system: &str,
    ) -> Result<Arc<Value>, RedfishError> {
        if let Some(known) = self.found.with(|found| found.manager_links.get(manager).cloned()) {
            return Ok(known);
        }
        let reply = self.session.read_link(Op::Manager, manager, Some(system)).await?;
        self.session.http.identity.learn(&reply.body);
        Ok(self.keep_manager_links(manager, &reply.body))
    }

    /// `Oem` and the OEM actions of a System or a manager, as they are now.
    pub(super) async fn oem_parts(
        &self,
        op: Op,
        link: &str,
        system: &str,
    ) -> Result<Arc<Value>, RedfishError> {
        if let Some(parts) = self.oem_read.get(link, ReadAge::JustRead) {
            return Ok(parts);
        }
        let begun = self.oem_read.begin();
        let reply = self.session.read_link(op, link, Some(system)).await?;
        Ok(self.keep_oem_parts(link, &reply.body, begun))
    }

    fn keep_oem_parts(&self, link: &str, body: &Value, begun: u64) -> Arc<Value> {
        let oem_actions = part(body, "/Actions/Oem");
        let parts = Arc::new(json!({ "Actions": { "Oem": oem_actions }, "Oem": part(body, "/Oem") }));
        let quirks = self.quirks();
        if quirks.has(Quirk::RemoteMediaSwitch) || quirks.has(Quirk::CdInstances) {
            self.oem_read.keep(link, &parts, begun);
        }
        parts
    }

    fn keep_manager_links(&self, manager: &str, body: &Value) -> Arc<Value> {
        let links = Arc::new(json!({
            "VirtualMedia": part(body, "/VirtualMedia"),
            "Actions": { "Oem": part(body, "/Actions/Oem") },
            "Links": { "Oem": part(body, "/Links/Oem") },
        }));
        self.found.with(|found| found.manager_links.insert(manager.to_owned(), links.clone()));
        links
    }

    /// The managers of a system: `Links.ManagedBy`, or where that is missing (Huawei 1288H) every
    /// manager, of several systems those that name this one.
    pub(super) async fn managers_of(&self, system: &System) -> Result<Vec<String>, RedfishError> {
        if !system.managed_by.is_empty() {
            return Ok(system.managed_by.clone());
        }
        if let Some(managers) = self.found.with(|found| found.managers.clone()) {
            return Ok(managers);
        }
        let Some(managers) = self.session.root().await?.managers else { return Ok(Vec::new()) };
        let all = self.session.read_members(Op::Manager, &managers, None).await?;
        if self.system_links().await?.len() == 1 {
            self.found.with(|found| found.managers = Some(all.clone()));
            return Ok(all);
        }
        let mut naming = Vec::new();
        for manager in all {
            let call = self.session.http.get(Op::Manager, &manager, None);
            let read = self.session.read_up_to(&call, 0).await;
            if read.is_ok_and(|reply| manages(&reply.body, &system.link)) {
                naming.push(manager);
            }
        }
        Ok(naming)
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
        let known = self.found.with(|found| found.action_infos.get(link).cloned());
        if let Some(known) =
            known.or_else(|| self.learned.links(|links| links.action_infos.get(link).cloned()))
        {
            return Ok(known);
        }
        let reply = self.session.read_link(Op::ActionInfo, link, system).await?;
        let parameters = parse_parameters(&reply.body);
        self.found.with(|found| found.action_infos.insert(link.to_owned(), parameters.clone()));
        Ok(parameters)
    }

    /// The override as the settings object holds it, if it does (AMI, NVIDIA; not iDRAC 7.10 or
    /// Lenovo XCC, whose settings objects hold other properties).
    async fn complete_boot(&self, system: &mut System) -> Result<(), RedfishError> {
        let Some(link) = system.settings.clone() else { return Ok(()) };
        let known = self.found.with(|found| found.settings.get(&link).copied());
        let known = known.or_else(|| self.learned.links(|links| links.settings.get(&link).copied()));
        // An override that is pending may show there and at no other time.
        let may_be_pending = self.quirks().has(Quirk::BootInSettings);
        if known == Some(false) && !may_be_pending {
            return Ok(());
        }
        let call = self.session.http.get(Op::Settings, &link, Some(&system.link));
        match self.session.read_up_to(&call, 1).await {
            Ok(reply) => {
                let boot = parse_boot(&reply.body);
                self.found.with(|found| found.settings.insert(link.clone(), boot.is_overridable()));
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
                self.found.with(|found| found.settings.insert(link.clone(), false));
            }
            Err(error) => tracing::debug!(path = %error.path, kind = %error.kind, "settings object not read"),
        }
        Ok(())
    }
}

fn part(body: &Value, pointer: &str) -> Value {
    body.pointer(pointer).cloned().unwrap_or_default()
}

fn manages(manager: &Value, system: &str) -> bool {
    read::links(manager, "/Links/ManagerForServers").iter().any(|link| link == system)
}

/// An error that every other member would meet too.
pub(super) fn concerns_all(error: &RedfishError) -> bool {
    use RedfishErrorKind as Kind;
    matches!(error.kind, Kind::Unreachable | Kind::Certificate | Kind::Unauthorised { .. })
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
