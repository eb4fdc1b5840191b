//! Finding the virtual media slots of a system, under it, under its managers, or as a quirk has them.
//!
//! It inserts nothing. Invariants: one device that a System and its Manager both show is one slot;
//! a slot's link leads to the same slot after a restart of this controller too.

use serde_json::Value;

use super::connection::Connection;
use super::discovery::is_gone;
use super::quirks::Quirk;
use super::remote_map::REMOTE_MAP;
use super::slot::{InsertMethod, Slot, parse_slot};
use super::system::{Action, System, last_segment};
use super::{Op, RedfishError, RedfishErrorKind, json};

/// Ends the link of a slot that has no resource of its own: the collection's link, and this.
const ISO_CONFIG: &str = "#iso-config";

/// Slots on the way to being found.
#[derive(Default)]
struct Found {
    collections: Vec<String>,
    /// Links, of those too that could not be read.
    members: Vec<String>,
    slots: Vec<Slot>,
}

impl Connection {
    /// The slots of a system: those that the System links to, and where none of those takes a CD
    /// image, those of its managers too. A System and its Manager often show one device under two
    /// names (xFusion, iDRAC9 6.x, Lenovo XCC), which must not pass for two.
    pub(super) async fn observe_slots(&self, system: &System) -> Result<Vec<Slot>, RedfishError> {
        let known = self.remembered().slots.get(&system.link).cloned();
        if let Some(links) = known {
            let read = self.read_slots(&links, system).await;
            if !matches!(&read, Err(error) if is_gone(error)) {
                return read;
            }
        }
        self.discover_slots(system).await
    }

    async fn discover_slots(&self, system: &System) -> Result<Vec<Slot>, RedfishError> {
        let mut found = Found::default();
        if let Some(collection) = &system.virtual_media {
            self.collect_slots(collection, system, &mut found).await?;
        }
        if !found.has_usable() {
            self.collect_from_managers(system, &mut found).await?;
        }
        if !found.has_usable() && self.quirks().has(Quirk::IsoConfig) {
            self.collect_iso_configs(system, &mut found).await?;
        }
        if !found.has_usable() && self.quirks().has(Quirk::RemoteMap) {
            for map in self.find_remote_maps(system).await? {
                let link = format!("{map}{REMOTE_MAP}");
                found.slots.push(self.observe_slot(&link, Some(&system.link)).await?);
                found.members.push(link);
            }
        }
        let mut remembered = self.remembered();
        match found.collections.is_empty() && found.slots.is_empty() {
            true => remembered.without_media.insert(system.link.clone()),
            false => remembered.without_media.remove(&system.link),
        };
        if found.has_usable() {
            remembered.slots.insert(system.link.clone(), found.members);
        }
        drop(remembered);
        Ok(found.slots)
    }

    /// A manager that gives no answer (a GPU baseboard's, while its host is off) is passed over,
    /// unless nothing else has a slot.
    async fn collect_from_managers(&self, system: &System, found: &mut Found) -> Result<(), RedfishError> {
        let mut first_error = None;
        for manager in self.managers_of(system).await? {
            let reply = match self.read(&self.get(Op::Manager, &manager, Some(&system.link))).await {
                Err(error) if concerns_all(&error) || is_timeout(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(path = %manager, kind = %error.kind, "manager skipped: it gives no answer");
                    first_error.get_or_insert(error);
                    continue;
                }
                Ok(reply) => reply,
            };
            self.remembered().identity.learn(&reply.body);
            if let Some(collection) = json::link(&reply.body, "/VirtualMedia") {
                self.collect_slots(&collection, system, found).await?;
            }
        }
        first_error.filter(|_| !found.has_usable()).map_or(Ok(()), Err)
    }

    /// The members of a collection that have not been found yet.
    async fn collect_slots(
        &self,
        collection: &str,
        system: &System,
        found: &mut Found,
    ) -> Result<(), RedfishError> {
        if found.collections.iter().any(|link| link == collection) {
            return Ok(());
        }
        found.collections.push(collection.to_owned());
        let mut members = match self.read_members(Op::Slots, collection, Some(&system.link)).await {
            // A link to a collection that is not there means that there are no slots.
            Err(error) if is_gone(&error) => return Ok(()),
            read => read?,
        };
        members.retain(|link| !found.members.contains(link));
        members.truncate(json::MEMBERS_MAX.saturating_sub(found.members.len()));
        members.sort_by_key(|link| natural_order(link));
        found.slots.extend(self.read_slots(&members, system).await?);
        found.members.extend(members);
        Ok(())
    }

    /// One slot for each collection that names a configuration (Supermicro X10, older X11).
    async fn collect_iso_configs(&self, system: &System, found: &mut Found) -> Result<(), RedfishError> {
        for collection in found.collections.clone() {
            let link = format!("{collection}{ISO_CONFIG}");
            match self.observe_slot(&link, Some(&system.link)).await {
                Err(error) if matches!(error.kind, RedfishErrorKind::Unsupported { .. }) => {}
                read => {
                    found.slots.push(read?);
                    found.members.push(link);
                }
            }
        }
        Ok(())
    }

    /// Reads slots; one that gives no answer is left out unless none does.
    async fn read_slots(&self, links: &[String], system: &System) -> Result<Vec<Slot>, RedfishError> {
        let mut slots = Vec::with_capacity(links.len());
        let mut first_error = None;
        for link in links {
            match self.observe_slot(link, Some(&system.link)).await {
                Ok(slot) => slots.push(slot),
                Err(error) if concerns_all(&error) || is_timeout(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(path = link, kind = %error.kind, "slot skipped: it gives no answer");
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.filter(|_| slots.is_empty()).map_or(Ok(slots), Err)
    }

    pub(super) async fn observe_slot(&self, link: &str, system: Option<&str>) -> Result<Slot, RedfishError> {
        let system = system.map(str::to_owned).or_else(|| self.system_of_slot(link));
        if let Some(collection) = link.strip_suffix(ISO_CONFIG) {
            return self.observe_iso_config(link, collection, system).await;
        }
        if let Some(map) = link.strip_suffix(REMOTE_MAP) {
            return self.observe_remote_map(link, map, system).await;
        }
        let reply = self.read(&self.get(Op::Slot, link, system.as_deref())).await;
        let reply = reply.inspect_err(|error| self.forget_if_gone(error))?;
        self.remembered().identity.learn(&reply.body);
        let allow = reply.header(http::header::ALLOW);
        Ok(Slot { system, ..parse_slot(link, &reply.body, reply.etag(), allow, &self.quirks()) })
    }

    /// The slot of a configuration: what it names, and whether that is mounted, which only the
    /// members of the collection tell. They come and go with the mount (badfish).
    async fn observe_iso_config(
        &self,
        link: &str,
        collection: &str,
        system: Option<String>,
    ) -> Result<Slot, RedfishError> {
        let of = system.as_deref();
        let reply = self.read(&self.get(Op::Slot, collection, of)).await;
        let reply = reply.inspect_err(|error| self.forget_if_gone(error))?;
        self.remembered().identity.learn(&reply.body);
        let named = ["/Oem/Supermicro/VirtualMediaConfig", "/Oem/VirtualMediaConfig"];
        let config = named.into_iter().find_map(|pointer| json::link(&reply.body, pointer));
        let config = config.ok_or_else(|| {
            RedfishError::unsupported(Op::Slot, collection, "names no configuration of virtual media here")
        })?;
        let mut mounted = false;
        for member in json::links(&reply.body, "/Members").iter().take(MOUNTS_MAX) {
            mounted |= is_mounted(&self.read(&self.get(Op::Slot, member, of)).await?.body);
        }
        let (body, etag) = match self.read(&self.get(Op::Slot, &config, of)).await {
            // It can be written all the same.
            Err(error) if is_gone(&error) => (Value::Null, None),
            read => read.map(|reply| (reply.body.clone(), reply.etag()))?,
        };
        Ok(Slot { system, ..parse_iso_config(link, &config, &body, etag, mounted) })
    }

    fn system_of_slot(&self, link: &str) -> Option<String> {
        let remembered = self.remembered();
        let of = remembered.slots.iter().find(|(_, slots)| slots.iter().any(|slot| slot == link));
        of.map(|(system, _)| system.clone())
    }

    /// The managers of a system: `Links.ManagedBy`, or where that is missing (Huawei 1288H) every
    /// manager, of several systems those that name this one.
    pub(super) async fn managers_of(&self, system: &System) -> Result<Vec<String>, RedfishError> {
        if !system.managed_by.is_empty() {
            return Ok(system.managed_by.clone());
        }
        if let Some(managers) = self.remembered().managers.clone() {
            return Ok(managers);
        }
        let Some(managers) = self.root().await?.managers else { return Ok(Vec::new()) };
        let all = self.read_members(Op::Manager, &managers, None).await?;
        if self.system_links().await?.len() == 1 {
            self.remembered().managers = Some(all.clone());
            return Ok(all);
        }
        let mut naming = Vec::new();
        for manager in all {
            let read = self.read_up_to(&self.get(Op::Manager, &manager, None), 0).await;
            if read.is_ok_and(|reply| manages(&reply.body, &system.link)) {
                naming.push(manager);
            }
        }
        Ok(naming)
    }
}

/// Among slots that have the standard action, one without any action is a console's (UCSX: the vKVM's, connected by
/// an applet), and takes no PATCH either.
pub(super) fn rule_out_consoles(slots: &mut [Slot]) {
    if slots.iter().any(|slot| slot.way == Some(InsertMethod::Action) && slot.can_insert) {
        let others = slots.iter_mut().filter(|slot| slot.way == Some(InsertMethod::Patch));
        others.for_each(|slot| (slot.way, slot.can_insert) = (None, false));
    }
}

impl Found {
    fn has_usable(&self) -> bool {
        self.slots.iter().any(Slot::is_usable_cd)
    }
}

/// Mounts of one configuration that are looked at.
const MOUNTS_MAX: usize = 4;

/// `ConnectedVia`, or as some firmware spells it.
fn is_mounted(body: &Value) -> bool {
    let via = json::text(body, "/ConnectedVia").or_else(|| json::text(body, "/ConnecteVia"));
    json::flag(body, "/Inserted").unwrap_or_else(|| via.is_some_and(|via| via != "NotConnected"))
}

fn parse_iso_config(link: &str, config: &str, body: &Value, etag: Option<String>, mounted: bool) -> Slot {
    // The standard fixes where an action is; older firmware does not say it.
    let action = |name: &str| {
        let found = Action::parse(body, &format!("#IsoConfig.{name}"));
        let target = found.target.unwrap_or_else(|| format!("{config}/Actions/IsoConfig.{name}"));
        Action { target: Some(target), info: None }
    };
    let [host, path] = ["/Host", "/Path"].map(|part| json::text(body, part));
    Slot {
        link: link.to_owned(),
        id: last_segment(config).to_owned(),
        media_types: vec!["CD".to_owned()],
        inserted: Some(mounted),
        image: host.filter(|_| mounted).map(|host| host + &path.unwrap_or_default()),
        can_insert: true,
        can_eject: true,
        way: Some(InsertMethod::IsoConfig),
        insert: action("Mount"),
        eject: action("UnMount"),
        config: Some(config.to_owned()),
        etag,
        ..Slot::default()
    }
}

fn manages(manager: &Value, system: &str) -> bool {
    json::links(manager, "/Links/ManagerForServers").iter().any(|link| link == system)
}

/// An error that every other member would meet too.
pub(super) fn concerns_all(error: &RedfishError) -> bool {
    use RedfishErrorKind as Kind;
    matches!(error.kind, Kind::Unreachable | Kind::Certificate | Kind::Unauthorised { .. })
}

/// A BMC that is silent would be waited for once a slot.
fn is_timeout(error: &RedfishError) -> bool {
    matches!(error.kind, RedfishErrorKind::TimedOut { .. })
}

/// CD2 before CD10, and the lists of BMCs, which come in any order, always in the same.
fn natural_order(link: &str) -> (usize, String) {
    let name = last_segment(link);
    (name.len(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_without_actions_beside_one_with_actions_is_no_drive() {
        let slot = |way| Slot { way: Some(way), can_insert: true, ..Slot::default() };
        let usable = |slots: &[Slot]| slots.iter().map(|slot| slot.can_insert).collect::<Vec<_>>();
        let mut mixed = [slot(InsertMethod::Patch), slot(InsertMethod::Action)];
        rule_out_consoles(&mut mixed);
        assert_eq!(usable(&mixed), [false, true]);
        let mut lenovo = [slot(InsertMethod::Patch), slot(InsertMethod::Patch)];
        rule_out_consoles(&mut lenovo);
        assert_eq!(usable(&lenovo), [true, true]);
    }

    #[test]
    fn slots_come_in_natural_order() {
        let mut links = ["/v/CD10", "/v/CD2", "/v/CD1"].map(str::to_owned);
        links.sort_by_key(|link| natural_order(link));
        assert_eq!(links, ["/v/CD1", "/v/CD2", "/v/CD10"]);
    }
}
