//! Images that are listed in a map of the Manager, and mounted together (Lenovo XCC before 2.50, which has no
//! slots to fill: Lenovo's own scripts).
//!
//! One image at a time is put there, so the map is one slot. Invariants: what an earlier mount left in the
//! list is taken out before another image goes in, for a mount takes all of them; and nothing is called
//! inserted that the list does not call mounted.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::call::Call;
use super::discovery::Discovery;
use super::session::Session;
use super::slot::{InsertMethod, Slot};
use super::system::{Action, System};
use super::task::TaskFollower;
use super::{Op, RedfishError, json as read};

/// Ends the link of the map's slot: the map's own link, and this.
pub(super) const REMOTE_MAP: &str = "#remote-map";
/// Images of one list that are looked at.
const IMAGES_MAX: usize = 16;
const MOUNT: &str = "#LenovoRemoteMapService.Mount";
const UNMOUNT: &str = "#LenovoRemoteMapService.UMount";

/// The maps that the system's managers name.
pub(super) async fn find(
    session: &Session,
    discovery: &Discovery,
    system: &System,
) -> Result<Vec<String>, RedfishError> {
    let mut maps = Vec::new();
    for manager in discovery.managers_of(system).await? {
        let body = session.read_link(Op::Manager, &manager, Some(&system.link)).await?.body;
        let makers = body.get("Oem").and_then(Value::as_object).into_iter().flatten();
        maps.extend(makers.filter_map(|(_, oem)| read::link(oem, "/RemoteMap")));
    }
    Ok(maps)
}

/// The slot of a map: what the first image is, and whether it is mounted.
pub(super) async fn map_slot(
    session: &Session,
    map: &str,
    body: &Value,
    system: Option<String>,
) -> Result<Slot, RedfishError> {
    let of = system.as_deref();
    let Some(list) = read::link(body, "/MountImages") else {
        return Err(RedfishError::unsupported(Op::Slot, map, "names no list of images here"));
    };
    let mut slot = Slot {
        link: format!("{map}{REMOTE_MAP}"),
        id: "RemoteMap".to_owned(),
        media_types: vec!["CD".to_owned()],
        inserted: Some(false),
        way: Some(InsertMethod::RemoteMap),
        insert: Action::parse(body, MOUNT),
        eject: Action::parse(body, UNMOUNT),
        config: Some(list.clone()),
        ..Slot::default()
    };
    slot.can_insert = slot.insert.target.is_some();
    slot.can_eject = slot.eject.target.is_some();
    for image in images(session, &list, of).await?.iter().take(IMAGES_MAX) {
        let body = session.read_link(Op::Slot, image, of).await?.body;
        if read::flag(&body, "/Mounted").unwrap_or(true) {
            slot.inserted = Some(true);
            slot.image = read::text(&body, "/FilePath");
        }
    }
    Ok(Slot { system, ..slot })
}

async fn images(session: &Session, list: &str, system: Option<&str>) -> Result<Vec<String>, RedfishError> {
    Ok(read::links(&session.read_link(Op::Slots, list, system).await?.body, "/Members"))
}

/// Empties the list and puts the image in, to be mounted next.
pub(super) async fn list_image(
    session: &Session,
    slot: &Slot,
    image_url: &str,
    deadline: Instant,
) -> Result<(), RedfishError> {
    let list = slot.config.as_deref().unwrap_or(&slot.link);
    let of = slot.system.as_deref();
    if let Some(offered) = refused_protocol(image_url) {
        let what = format!("takes images by {offered} only, and this one has another address");
        return Err(RedfishError::unsupported(Op::Insert, &slot.link, &what));
    }
    for image in images(session, list, of).await? {
        let timeout = session.http.limits.timeout;
        let call = Call { system: of, ..session.http.delete(Op::Insert, &image, timeout) };
        // One that cannot be taken out may be in the way; the answer to the mount shows it.
        session.write(&call).await?;
    }
    let entry = json!({
        "FilePath": image_url, "Type": "HTTP", "Username": "", "Password": "", "Domain": "",
        "Readonly": true, "Options": "",
    });
    let call = session.http.post(Op::Insert, list, &entry, of);
    let reply = session.write(&call).await?;
    TaskFollower(session).outcome(&call, &reply, deadline).await
}

/// The protocol that it takes, where the image's is another one.
pub(super) fn refused_protocol(image_url: &str) -> Option<&'static str> {
    (!image_url.starts_with("http:")).then_some("HTTP")
}
