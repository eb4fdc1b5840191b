//! A virtual media slot as a BMC shows it.
//!
//! Pure: JSON in, facts out. Invariant: `can_insert` is true only of a slot that advertises a way
//! to be given an image.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json;
use super::system::{Action, last_segment};

/// A VirtualMedia resource, read.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slot {
    /// `@odata.id`.
    pub link: String,
    pub id: String,
    /// Such as `CD`, `DVD`, `USBStick`, `Floppy`.
    pub media_types: Vec<String>,
    pub inserted: Option<bool>,
    /// The image's URL, or what the BMC makes of it; it may hold a media token.
    pub image: Option<String>,
    /// Such as `URI`, `Applet`, `NotConnected`.
    pub connected_via: Option<String>,
    /// The slot takes an image, by action or by PATCH.
    pub can_insert: bool,
    /// Some (Supermicro X13) advertise it only while an image is inserted.
    pub can_eject: bool,
    pub(super) insert: Action,
    pub(super) eject: Action,
    /// Values that the action itself advertises for `TransferProtocolType`.
    pub(super) protocols: Vec<String>,
    pub(super) etag: Option<String>,
    /// The slot is changed by PATCH, for it has no actions (Lenovo XCC).
    pub(super) by_patch: bool,
    /// The System that it belongs to, where that is known.
    pub(super) system: Option<String>,
}

impl Slot {
    /// Whether an ISO image belongs into it. DVD without CD exists (Cisco UCS B and X).
    pub fn takes_cd(&self) -> bool {
        self.media_types
            .iter()
            .any(|kind| kind.eq_ignore_ascii_case("CD") || kind.eq_ignore_ascii_case("DVD"))
    }

    /// Whether nothing is in it, as far as the BMC tells: some never clear `Image` (Supermicro).
    pub fn is_empty(&self) -> bool {
        match self.inserted {
            Some(inserted) => !inserted,
            None => self.image.is_none(),
        }
    }
}

/// Shows of the image only whether there is one.
impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("link", &self.link)
            .field("media_types", &self.media_types)
            .field("inserted", &self.inserted)
            .field("has_image", &self.image.is_some())
            .field("can_insert", &self.can_insert)
            .field("can_eject", &self.can_eject)
            .finish_non_exhaustive()
    }
}

/// Reads a slot. `allow` is the `Allow` header of the answer.
pub(super) fn parse_slot(link: &str, body: &Value, etag: Option<String>, allow: Option<&str>) -> Slot {
    let insert = Action::parse(body, "#VirtualMedia.InsertMedia");
    let eject = Action::parse(body, "#VirtualMedia.EjectMedia");
    let by_patch = insert.target.is_none() && eject.target.is_none() && may_patch(allow);
    let protocols = "/Actions/#VirtualMedia.InsertMedia/TransferProtocolType@Redfish.AllowableValues";
    Slot {
        link: link.to_owned(),
        id: json::text(body, "/Id").unwrap_or_else(|| last_segment(link).to_owned()),
        media_types: json::texts(body, "/MediaTypes"),
        inserted: json::flag(body, "/Inserted"),
        image: json::text(body, "/Image"),
        connected_via: json::text(body, "/ConnectedVia"),
        can_insert: insert.target.is_some() || by_patch,
        can_eject: eject.target.is_some() || by_patch,
        insert,
        eject,
        protocols: json::texts(body, protocols),
        etag,
        by_patch,
        system: None,
    }
}

/// A slot that has an action for one direction only (the KVM slot of OpenBMC: eject alone) is not
/// one to PATCH. A BMC that sends no `Allow` at all may still take a PATCH; one that does not
/// answers 405, which does no harm.
fn may_patch(allow: Option<&str>) -> bool {
    allow.is_none_or(|allow| allow.split(',').any(|method| method.trim().eq_ignore_ascii_case("PATCH")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: Value, allow: Option<&str>) -> Slot {
        parse_slot("/redfish/v1/Managers/1/VirtualMedia/CD1", &body, None, allow)
    }

    fn action(name: &str) -> Value {
        json!({ name: {"target": format!("/x/Actions/{}", &name[1..])} })
    }

    #[test]
    fn a_slot_takes_an_image_by_action_or_by_patch() {
        for (body, allow, can_insert, by_patch) in [
            (json!({"Actions": action("#VirtualMedia.InsertMedia")}), Some("GET"), true, false),
            (json!({"Actions": action("#VirtualMedia.EjectMedia")}), None, false, false),
            (json!({}), Some("GET, HEAD, PATCH"), true, true),
            (json!({}), Some("GET, HEAD"), false, false),
            (json!({"Actions": null}), None, true, true),
        ] {
            let slot = parse(body.clone(), allow);
            assert_eq!((slot.can_insert, slot.by_patch), (can_insert, by_patch), "{body} {allow:?}");
        }
    }

    #[test]
    fn media_types_and_states_are_read_leniently() {
        let slot =
            parse(json!({"MediaTypes": "DVD", "Inserted": "false", "Image": "http://left/over.iso"}), None);
        assert!(slot.takes_cd());
        assert!(slot.is_empty());
        assert!(parse(json!({"MediaTypes": ["Floppy"], "Inserted": null, "Image": ""}), None).is_empty());
        assert!(!parse(json!({"Inserted": null, "Image": "http://a/b.iso"}), None).is_empty());
    }

    #[test]
    fn debug_shows_no_image() {
        let shown = format!("{:?}", parse(json!({"Image": "http://h/media/tasks/secret/task.iso"}), None));
        assert!(!shown.contains("secret") && shown.contains("has_image: true"), "{shown}");
    }
}
