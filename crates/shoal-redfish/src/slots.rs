//! The virtual media slots of a system: under it, under its managers, or as a quirk has them.
//!
//! They are looked for in the System's own collection, in those of its managers where that has no usable CD drive,
//! and last where a quirk says that the maker keeps them: a configuration beside the collection
//! ([`Quirk::IsoConfig`]) or a list of images in the Manager ([`Quirk::RemoteMap`]), each of which is shown as one
//! slot. What was found is remembered as links; each slot is read anew for every look. It inserts nothing.
//!
//! Invariants: one device that a System and its Manager both show is one slot; a slot's link leads to the same slot
//! after a restart of this controller too, so links of slots without a resource of their own end in a fragment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::discovery::{Discovery, concerns_all};
use super::expiry::{Expiry, Remembered};
use super::learned::Learned;
use super::quirks::{Quirk, Quirks};
use super::recent::{ReadAge, RecentReads};
use super::remote_map::{self, REMOTE_MAP};
use super::session::Session;
use super::slot::{InsertMethod, Slot, parse_slot};
use super::system::{Action, System, last_segment};
use super::{Op, RedfishError, RedfishErrorKind, json};

/// Ends the link of a slot that has no resource of its own: the collection's link, and this.
const ISO_CONFIG: &str = "#iso-config";

/// Finds and reads slots.
pub(super) struct SlotFinder {
    session: Arc<Session>,
    discovery: Arc<Discovery>,
    learned: Arc<Learned>,
    known: Remembered<KnownSlots>,
    read: RecentReads<Slot>,
}

/// Which slots a caller wants.
pub(super) struct SlotsWanted {
    /// So many drives for CD images are enough.
    pub(super) cds: usize,
    /// Links of slots that do not count among them.
    pub(super) refusing: BTreeSet<String>,
    /// How old the reading of each may be.
    pub(super) age: ReadAge,
}

impl SlotsWanted {
    pub(super) const ALL: SlotsWanted =
        SlotsWanted { cds: usize::MAX, refusing: BTreeSet::new(), age: ReadAge::New };

    /// Whether these are enough. Only a slot with the standard action is certainly no console's; where a quirk
    /// separates those, others count too.
    fn are_enough(&self, slots: &[Slot], quirks: &Quirks) -> bool {
        let is_drive = |slot: &&Slot| {
            let is_known = slot.way == Some(InsertMethod::Action) || quirks.has(Quirk::ReservedSlots);
            is_known && slot.is_usable_cd() && !self.refusing.contains(&slot.link)
        };
        slots.iter().filter(is_drive).count() >= self.cds
    }
}

/// What was found, by the links of systems.
#[derive(Default)]
struct KnownSlots {
    slots: BTreeMap<String, Vec<String>>,
    /// Systems for which neither the System nor a manager links to virtual media.
    without_media: BTreeSet<String>,
}

/// What a search has found so far.
struct SlotSearch<'w> {
    wanted: &'w SlotsWanted,
    collections: Vec<String>,
    /// Links of slots, including those that could not be read.
    members: Vec<String>,
    slots: Vec<Slot>,
}

impl SlotFinder {
    pub(super) fn new(
        session: Arc<Session>,
        discovery: Arc<Discovery>,
        learned: Arc<Learned>,
        expiry: &Arc<Expiry>,
    ) -> SlotFinder {
        let read = RecentReads::new(&session.turns);
        SlotFinder { session, discovery, learned, known: Remembered::new(expiry), read }
    }

    /// The slots of a system: those that the System links to, and where none of those takes a CD
    /// image, those of its managers too. A System and its Manager often show one device under two
    /// names (xFusion, iDRAC9 6.x, Lenovo XCC), which must not pass for two.
    pub(super) async fn slots(
        &self,
        system: &System,
        wanted: &SlotsWanted,
    ) -> Result<Vec<Slot>, RedfishError> {
        let known = self.known.with(|known| known.slots.get(&system.link).cloned());
        if let Some(links) = known.or_else(|| self.remembered_slots(system)) {
            let read = self.read_slots(&links, system, wanted).await;
            if !matches!(&read, Err(error) if error.is_not_found()) {
                return read;
            }
            self.discovery.forget_links();
        }
        self.search(system, wanted).await
    }

    /// Those of an earlier job on this host.
    fn remembered_slots(&self, system: &System) -> Option<Vec<String>> {
        let slots = self.learned.links(|links| {
            let is_it = links.system.as_ref() == Some(&system.link) && links.uuid == system.uuid;
            (is_it && !links.slots.is_empty()).then(|| links.slots.clone())
        })?;
        self.known.with(|known| known.slots.insert(system.link.clone(), slots.clone()));
        Some(slots)
    }

    /// The links of the slots, for later jobs.
    pub(super) fn links_of(&self, system: &System) -> Vec<String> {
        self.known.with(|known| known.slots.get(&system.link).cloned()).unwrap_or_default()
    }

    /// Whether a search found neither slots nor a link to a collection of them.
    pub(super) fn has_none(&self, system: &System) -> bool {
        self.known.with(|known| known.without_media.contains(&system.link))
    }

    /// The next look searches again: the system's slots have changed.
    pub(super) fn forget(&self, system: &str) {
        self.learned.forget_links();
        self.known.with(|known| known.slots.remove(system));
    }

    /// Looks through the System, its managers and the makers' own places, until there is a usable CD drive.
    async fn search(&self, system: &System, wanted: &SlotsWanted) -> Result<Vec<Slot>, RedfishError> {
        let mut found = SlotSearch::new(wanted);
        if let Some(collection) = &system.virtual_media {
            self.collect_slots(collection, system, &mut found).await?;
        }
        if !found.has_usable() {
            self.collect_from_managers(system, &mut found).await?;
        }
        if !found.has_usable() && self.discovery.quirks().has(Quirk::IsoConfig) {
            self.collect_iso_configs(system, &mut found).await?;
        }
        if !found.has_usable() && self.discovery.quirks().has(Quirk::RemoteMap) {
            for map in remote_map::find(&self.session, &self.discovery, system).await? {
                let link = format!("{map}{REMOTE_MAP}");
                found.slots.push(self.slot(&link, Some(&system.link)).await?);
                found.members.push(link);
            }
        }
        let is_usable = found.has_usable();
        self.known.with(|known| {
            match found.collections.is_empty() && found.slots.is_empty() {
                true => known.without_media.insert(system.link.clone()),
                false => known.without_media.remove(&system.link),
            };
            if is_usable {
                known.slots.insert(system.link.clone(), found.members);
            }
        });
        Ok(found.slots)
    }

    /// A manager that gives no answer (a GPU baseboard's, while its host is off) is passed over,
    /// unless nothing else has a slot.
    async fn collect_from_managers(
        &self,
        system: &System,
        found: &mut SlotSearch<'_>,
    ) -> Result<(), RedfishError> {
        let mut first_error = None;
        for manager in self.discovery.managers_of(system).await? {
            let links = match self.discovery.manager_links(&manager, &system.link).await {
                Err(error) if concerns_all(&error) || is_timeout(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(path = %manager, kind = %error.kind, "manager skipped: it gives no answer");
                    first_error.get_or_insert(error);
                    continue;
                }
                Ok(links) => links,
            };
            if let Some(collection) = json::link(&links, "/VirtualMedia") {
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
        found: &mut SlotSearch<'_>,
    ) -> Result<(), RedfishError> {
        if found.collections.iter().any(|link| link == collection) {
            return Ok(());
        }
        found.collections.push(collection.to_owned());
        let mut members = match self.session.read_members(Op::Slots, collection, Some(&system.link)).await {
            // A link to a collection that is not there means that there are no slots.
            Err(error) if error.is_not_found() => return Ok(()),
            read => read?,
        };
        members.retain(|link| !found.members.contains(link));
        members.truncate(json::MEMBERS_MAX.saturating_sub(found.members.len()));
        members.sort_by_key(|link| natural_order(link));
        found.slots.extend(self.read_slots(&members, system, found.wanted).await?);
        found.members.extend(members);
        Ok(())
    }

    /// One slot for each collection that names a configuration (Supermicro X10, older X11).
    async fn collect_iso_configs(
        &self,
        system: &System,
        found: &mut SlotSearch<'_>,
    ) -> Result<(), RedfishError> {
        for collection in found.collections.clone() {
            let link = format!("{collection}{ISO_CONFIG}");
            match self.slot(&link, Some(&system.link)).await {
                Err(error) if matches!(error.kind, RedfishErrorKind::Unsupported { .. }) => {}
                read => {
                    found.slots.push(read?);
                    found.members.push(link);
                }
            }
        }
        Ok(())
    }

    /// Reads slots until there are enough; one that gives no answer is left out unless none does.
    async fn read_slots(
        &self,
        links: &[String],
        system: &System,
        wanted: &SlotsWanted,
    ) -> Result<Vec<Slot>, RedfishError> {
        let quirks = self.discovery.quirks();
        let mut slots = Vec::with_capacity(links.len());
        let mut first_error = None;
        for link in links {
            if wanted.are_enough(&slots, &quirks) {
                break;
            }
            match self.slot_of(link, Some(&system.link), wanted.age).await {
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

    /// One slot, from a reading that may be so old.
    pub(super) async fn slot_of(
        &self,
        link: &str,
        system: Option<&str>,
        age: ReadAge,
    ) -> Result<Slot, RedfishError> {
        match self.read.get(link, age) {
            Some(read) => Ok(read),
            None => self.slot(link, system).await,
        }
    }

    pub(super) async fn slot(&self, link: &str, system: Option<&str>) -> Result<Slot, RedfishError> {
        let begun = self.read.begin();
        let slot = self.read_slot(link, system).await?;
        self.read.keep(link, &slot, begun);
        Ok(slot)
    }

    /// Reads one slot. A link that ends in a fragment is that of a maker's configuration or map. Where the caller does
    /// not know the System, it is the one whose slots were listed with this one.
    async fn read_slot(&self, link: &str, system: Option<&str>) -> Result<Slot, RedfishError> {
        let system = system.map(str::to_owned).or_else(|| self.system_of_slot(link));
        if let Some(collection) = link.strip_suffix(ISO_CONFIG) {
            return self.iso_config(link, collection, system).await;
        }
        if let Some(map) = link.strip_suffix(REMOTE_MAP) {
            let reply = self.session.read_link(Op::Slot, map, system.as_deref()).await;
            let reply = reply.inspect_err(|error| self.known.expire_if_gone(error))?;
            return remote_map::map_slot(&self.session, map, &reply.body, system).await;
        }
        let reply = self.session.read_link(Op::Slot, link, system.as_deref()).await;
        let reply = reply.inspect_err(|error| self.known.expire_if_gone(error))?;
        self.session.http.identity.learn(&reply.body);
        let allow = reply.header(http::header::ALLOW);
        Ok(Slot { system, ..parse_slot(link, &reply.body, reply.etag(), allow, &self.discovery.quirks()) })
    }

    /// The slot of a configuration: what it names, and whether that is mounted, which only the
    /// members of the collection show. They come and go with the mount (badfish).
    async fn iso_config(
        &self,
        link: &str,
        collection: &str,
        system: Option<String>,
    ) -> Result<Slot, RedfishError> {
        let of = system.as_deref();
        let reply = self.session.read_link(Op::Slot, collection, of).await;
        let reply = reply.inspect_err(|error| self.known.expire_if_gone(error))?;
        self.session.http.identity.learn(&reply.body);
        let named = ["/Oem/Supermicro/VirtualMediaConfig", "/Oem/VirtualMediaConfig"];
        let config = named.into_iter().find_map(|pointer| json::link(&reply.body, pointer));
        let config = config.ok_or_else(|| {
            RedfishError::unsupported(Op::Slot, collection, "names no configuration of virtual media here")
        })?;
        let mut mounted = false;
        for member in json::links(&reply.body, "/Members").iter().take(MOUNTS_MAX) {
            mounted |= is_mounted(&self.session.read_link(Op::Slot, member, of).await?.body);
        }
        let (body, etag) = match self.session.read_link(Op::Slot, &config, of).await {
            // It can be written all the same.
            Err(error) if error.is_not_found() => (Value::Null, None),
            read => read.map(|reply| (reply.body.clone(), reply.etag()))?,
        };
        Ok(Slot { system, ..parse_iso_config(link, &config, &body, etag, mounted) })
    }

    /// The System whose slots were listed with this one.
    fn system_of_slot(&self, link: &str) -> Option<String> {
        self.known.with(|known| {
            let of = known.slots.iter().find(|(_, slots)| slots.iter().any(|slot| slot == link));
            of.map(|(system, _)| system.clone())
        })
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

impl<'w> SlotSearch<'w> {
    fn new(wanted: &'w SlotsWanted) -> SlotSearch<'w> {
        SlotSearch { wanted, collections: Vec::new(), members: Vec::new(), slots: Vec::new() }
    }

    /// Whether the search may end: a CD drive takes images.
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

/// The slot that a configuration is.
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
