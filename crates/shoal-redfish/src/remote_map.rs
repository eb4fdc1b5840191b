//! Images that are listed in a map beside the collection, and mounted all at once (Lenovo XCC before
//! 2.50, which has no slots to fill: Lenovo's own scripts).
//!
//! One image at a time is put there, so the map is one slot. Invariants: what an earlier mount left in the
//! list is taken out before another image goes in, for a mount takes all of them; and nothing is called
//! inserted that the list does not call mounted.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::connection::{Call, Connection};
use super::learned::How;
use super::slot::{InsertMethod, Slot};
use super::system::{Action, System};
use super::{Op, RedfishError, json as read};

/// Ends the link of the map's slot: the map's own link, and this.
pub(super) const REMOTE_MAP: &str = "#remote-map";
/// Images of one list that are looked at.
const IMAGES_MAX: usize = 16;
const MOUNT: &str = "#LenovoRemoteMapService.Mount";
const UNMOUNT: &str = "#LenovoRemoteMapService.UMount";

impl Connection {
    /// The maps that the system's managers name.
    pub(super) async fn find_remote_maps(&self, system: &System) -> Result<Vec<String>, RedfishError> {
        let mut maps = Vec::new();
        for manager in self.managers_of(system).await? {
            let body = self.read(&self.get(Op::Manager, &manager, Some(&system.link))).await?.body;
            let makers = body.get("Oem").and_then(Value::as_object).into_iter().flatten();
            maps.extend(makers.filter_map(|(_, oem)| read::link(oem, "/RemoteMap")));
        }
        Ok(maps)
    }

    /// The slot of a map: what the first image is, and whether it is mounted.
    pub(super) async fn observe_remote_map(
        &self,
        link: &str,
        map: &str,
        system: Option<String>,
    ) -> Result<Slot, RedfishError> {
        let of = system.as_deref();
        let reply = self.read(&self.get(Op::Slot, map, of)).await;
        let body = reply.inspect_err(|error| self.forget_if_gone(error))?.body;
        let Some(list) = read::link(&body, "/MountImages") else {
            return Err(RedfishError::unsupported(Op::Slot, map, "names no list of images here"));
        };
        let mut slot = Slot {
            link: link.to_owned(),
            id: "RemoteMap".to_owned(),
            media_types: vec!["CD".to_owned()],
            inserted: Some(false),
            way: Some(InsertMethod::RemoteMap),
            insert: Action::parse(&body, MOUNT),
            eject: Action::parse(&body, UNMOUNT),
            config: Some(list.clone()),
            ..Slot::default()
        };
        slot.can_insert = slot.insert.target.is_some();
        slot.can_eject = slot.eject.target.is_some();
        for image in read::links(&self.read(&self.get(Op::Slots, &list, of)).await?.body, "/Members")
            .iter()
            .take(IMAGES_MAX)
        {
            let body = self.read(&self.get(Op::Slot, image, of)).await?.body;
            if read::flag(&body, "/Mounted").unwrap_or(true) {
                slot.inserted = Some(true);
                slot.image = read::text(&body, "/FilePath");
            }
        }
        Ok(Slot { system, ..slot })
    }

    /// Empties the list, puts the image in, and mounts it.
    pub(super) async fn mount_remote(
        &self,
        slot: &Slot,
        image_url: &str,
        deadline: Instant,
    ) -> Result<How, RedfishError> {
        let list = slot.config.as_deref().unwrap_or(&slot.link);
        let of = slot.system.as_deref();
        if let Some(offered) = refused_protocol(image_url) {
            let what = format!("takes images by {offered} only, and this one has another address");
            return Err(RedfishError::unsupported(Op::Insert, &slot.link, &what));
        }
        for image in read::links(&self.read(&self.get(Op::Slots, list, of)).await?.body, "/Members") {
            let call = Call { system: of, ..self.delete(Op::Insert, &image, self.limits.timeout) };
            // One that cannot be taken out may be in the way; the mount's own answer will tell.
            self.write(&call).await?;
        }
        let entry = json!({
            "FilePath": image_url, "Type": "HTTP", "Username": "", "Password": "", "Domain": "",
            "Readonly": true, "Options": "",
        });
        let call = self.post(Op::Insert, list, &entry, of);
        let reply = self.write(&call).await?;
        self.outcome(&call, &reply, deadline).await?;
        self.mount(slot, deadline).await?;
        Ok(How::new(InsertMethod::RemoteMap.name()))
    }
}

/// The protocol that it takes, where the image's is another one.
pub(super) fn refused_protocol(image_url: &str) -> Option<&'static str> {
    (!image_url.starts_with("http:")).then_some("HTTP")
}
