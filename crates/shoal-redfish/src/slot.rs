//! A virtual media slot as a BMC shows it.
//!
//! Pure: JSON in, facts out. Invariant: `can_insert` is true only of a slot that advertises a way
//! to be given an image, or of one whose BMC has a quirk for it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json;
use super::quirks::{Quirk, Quirks};
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
    /// The BMC keeps it for its own features.
    pub reserved: bool,
    /// It has refused an image for its own sake before.
    pub refusing: bool,
    /// How it is given images, where it is.
    pub(super) way: Option<InsertMethod>,
    pub(super) insert: Action,
    pub(super) eject: Action,
    /// Values that the action itself advertises for `TransferProtocolType`.
    pub(super) protocols: Vec<String>,
    /// What an image's address is written into ([`InsertMethod::IsoConfig`], [`InsertMethod::RemoteMap`]).
    pub(super) config: Option<String>,
    pub(super) etag: Option<String>,
    /// The slot may take a PATCH: `Allow` says so, or there is none.
    pub(super) may_patch: bool,
    /// `Oem.Hpe.BootOnNextServerReset`, where the slot has that switch of its own.
    pub(super) boot_on_next_reset: Option<bool>,
    /// The System that it belongs to, where that is known.
    pub(super) system: Option<String>,
}

/// How a slot is given images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum InsertMethod {
    /// The standard actions.
    Action,
    /// PATCH of the slot, which has no actions (Lenovo XCC).
    Patch,
    /// HPE iLO 4: actions of the same form under another name.
    IloAction,
    /// Huawei, xFusion, H3C: one action for both directions.
    VmmControl,
    /// Supermicro X10, X11: a configuration with actions beside the collection.
    IsoConfig,
    /// Lenovo XCC before 2.50: a list of images that is mounted as a whole.
    RemoteMap,
}

impl InsertMethod {
    /// As operators read it.
    pub(super) fn name(self) -> &'static str {
        match self {
            InsertMethod::Action => "InsertMedia",
            InsertMethod::Patch => "PATCH",
            InsertMethod::IloAction => "InsertVirtualMedia",
            InsertMethod::VmmControl => "VmmControl",
            InsertMethod::IsoConfig => "IsoConfig.Mount",
            InsertMethod::RemoteMap => "RemoteMap.Mount",
        }
    }
}

impl Slot {
    /// Whether it is a virtual CD drive that takes an image on request.
    pub fn is_usable_cd(&self) -> bool {
        self.takes_cd() && self.can_insert && !self.reserved
    }

    /// Whether it is a virtual USB stick that takes an image on request.
    pub fn is_usable_stick(&self) -> bool {
        let is_stick = |kind: &String| kind.eq_ignore_ascii_case("USBStick");
        self.media_types.iter().any(is_stick) && self.can_insert && !self.reserved
    }

    /// How it is given images, as operators read it; empty where it is not.
    pub fn how(&self) -> &'static str {
        self.way.map_or("", InsertMethod::name)
    }

    /// Whether an ISO image belongs into it. DVD without CD exists (Cisco UCS B and X).
    pub fn takes_cd(&self) -> bool {
        self.media_types
            .iter()
            .any(|kind| kind.eq_ignore_ascii_case("CD") || kind.eq_ignore_ascii_case("DVD"))
    }

    /// Whether nothing is in it, as far as the BMC shows: some never clear `Image` (Supermicro).
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
pub(super) fn parse_slot(
    link: &str,
    body: &Value,
    etag: Option<String>,
    allow: Option<&str>,
    quirks: &Quirks,
) -> Slot {
    let (way, insert, eject) = ways(body, allow, quirks);
    let by_action = way != Some(InsertMethod::Patch);
    let id = json::text(body, "/Id").unwrap_or_else(|| last_segment(link).to_owned());
    let protocols = "/Actions/#VirtualMedia.InsertMedia/TransferProtocolType@Redfish.AllowableValues";
    Slot {
        link: link.to_owned(),
        media_types: media_types(body, &id),
        inserted: json::flag(body, "/Inserted"),
        image: json::text(body, "/Image"),
        connected_via: json::text(body, "/ConnectedVia"),
        can_insert: way.is_some_and(|_| !by_action || insert.target.is_some()),
        can_eject: !by_action || eject.target.is_some(),
        reserved: quirks.has(Quirk::ReservedSlots) && is_reserved(&id),
        refusing: false,
        id,
        way,
        insert,
        eject,
        protocols: json::texts(body, protocols),
        config: None,
        etag,
        may_patch: may_patch(allow),
        boot_on_next_reset: json::flag(body, "/Oem/Hpe/BootOnNextServerReset"),
        system: None,
    }
}

/// `MediaTypes`, or where that is absent (AMI 12.84 on Gigabyte H262-Z63) what `Id` and `Name` say: a drive that
/// names itself a floppy, a hard disk or a stick is that, and any other is taken for a CD drive.
fn media_types(body: &Value, id: &str) -> Vec<String> {
    let listed = json::texts(body, "/MediaTypes");
    if !listed.is_empty() || body.get("MediaTypes").is_some_and(Value::is_array) {
        return listed;
    }
    let name = json::text(body, "/Name").unwrap_or_default();
    let mut said = words(id);
    said.extend(words(&name));
    let says = |known: &[&str]| said.iter().any(|word| known.contains(&word.as_str()));
    let kinds: &[&str] = match () {
        () if says(&["cd", "vcd", "cdrom", "dvd", "vdvd", "dvdrom", "cddvd", "optical"]) => &["CD", "DVD"],
        () if says(&["floppy", "fd", "vfd", "fdd"]) => &["Floppy"],
        () if says(&["usb", "stick", "removable", "hd", "vhd", "hdd", "hard", "harddisk"]) => &["USBStick"],
        () => &["CD", "DVD"],
    };
    kinds.iter().map(|kind| (*kind).to_owned()).collect()
}

/// The words of a name, in lower case: they end where letters do, and where a capital begins the next one
/// (`VirtualCD1`, `Slot_CD_2`, `BCDrive`: BC and Drive).
fn words(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, char) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| chars.get(before));
        let is_before = |is: fn(&char) -> bool| before.is_some_and(is);
        let begins = char.is_uppercase()
            && (is_before(|before| before.is_lowercase())
                || (is_before(|before| before.is_uppercase())
                    && chars.get(at + 1).is_some_and(|next| next.is_lowercase())));
        if begins || !char.is_alphabetic() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| char.is_alphabetic()) {
            word.extend(char.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The standard actions, else an OEM's, else PATCH; with the actions of that way.
fn ways(body: &Value, allow: Option<&str>, quirks: &Quirks) -> (Option<InsertMethod>, Action, Action) {
    let insert = Action::parse(body, "#VirtualMedia.InsertMedia");
    let eject = Action::parse(body, "#VirtualMedia.EjectMedia");
    if insert.target.is_some() {
        return (Some(InsertMethod::Action), insert, eject);
    }
    if quirks.has(Quirk::IloAction) {
        let insert = Action::parse_oem(body, "#HpiLOVirtualMedia.InsertVirtualMedia");
        if insert.target.is_some() {
            let eject = Action::parse_oem(body, "#HpiLOVirtualMedia.EjectVirtualMedia");
            return (Some(InsertMethod::IloAction), insert, eject);
        }
    }
    if quirks.has(Quirk::VmmControl) {
        let both = Action::parse_oem(body, "#VirtualMedia.VmmControl");
        if both.target.is_some() {
            return (Some(InsertMethod::VmmControl), both.clone(), both);
        }
    }
    let by_patch = eject.target.is_none() && may_patch(allow);
    (by_patch.then_some(InsertMethod::Patch), insert, eject)
}

/// Lenovo's uploads and consoles (sushy, community.general).
fn is_reserved(id: &str) -> bool {
    id.starts_with("RDOC") || id.starts_with("Remote")
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

    use super::super::quirks::Identity;
    use super::*;

    fn parse(body: Value, allow: Option<&str>) -> Slot {
        let quirks = Quirks::of(&Identity::default(), &[]);
        parse_slot("/redfish/v1/Managers/1/VirtualMedia/CD1", &body, None, allow, &quirks)
    }

    fn action(name: &str) -> Value {
        json!({ name: {"target": format!("/x/Actions/{}", &name[1..])} })
    }

    #[test]
    fn a_slot_takes_an_image_by_action_or_by_patch() {
        for (body, allow, can_insert, way) in [
            (
                json!({"Actions": action("#VirtualMedia.InsertMedia")}),
                Some("GET"),
                true,
                Some(InsertMethod::Action),
            ),
            (json!({"Actions": action("#VirtualMedia.EjectMedia")}), None, false, None),
            (json!({}), Some("GET, HEAD, PATCH"), true, Some(InsertMethod::Patch)),
            (json!({}), Some("GET, HEAD"), false, None),
            (json!({"Actions": null}), None, true, Some(InsertMethod::Patch)),
        ] {
            let slot = parse(body.clone(), allow);
            assert_eq!((slot.can_insert, slot.way), (can_insert, way), "{body} {allow:?}");
        }
    }

    #[test]
    fn an_oems_action_serves_where_the_standard_one_is_missing() {
        let vmm = "#VirtualMedia.VmmControl";
        let mut body = json!({"Oem": {"Huawei": {"Actions": action(vmm)}}});
        let mut identity = Identity::default();
        identity.learn(&body);
        let parse = |body: &Value| parse_slot("/slot", body, None, Some("GET"), &Quirks::of(&identity, &[]));
        let slot = parse(&body);
        assert_eq!((slot.way, slot.can_insert, slot.can_eject), (Some(InsertMethod::VmmControl), true, true));
        assert_eq!(slot.insert.target.as_deref(), Some("/x/Actions/VirtualMedia.VmmControl"));
        body["Actions"] = action("#VirtualMedia.InsertMedia");
        assert_eq!(parse(&body).way, Some(InsertMethod::Action));
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
    fn a_slot_without_media_types_is_what_its_name_says() {
        for (id, name, cd, stick) in [
            ("CD1", "Virtual CD", true, false),
            ("1", "Virtual Removable Media", false, true),
            ("HD1", "HD", false, true),
            ("FD1", "FD", false, false),
            ("Slot_0", "VirtualMedia Slot", true, false),
            ("USB1", "CD-ROM by USB", true, false),
            ("VCD", "USB drive", true, false),
            ("Slot_CD_2", "USB", true, false),
            ("cd-0", "USB", true, false),
            ("VirtualCDROM", "USB", true, false),
            ("vCD1", "USB", true, false),
            ("BCDrive", "USB", false, true),
            ("abcd", "Removable", false, true),
            ("Shard_1", "Virtual Media", true, false),
            ("FDD0", "Virtual Media", false, false),
            ("VirtualHD", "Virtual Media", false, true),
        ] {
            let insert = action("#VirtualMedia.InsertMedia");
            let slot = parse(json!({"Id": id, "Name": name, "Actions": insert}), Some("GET"));
            assert_eq!((slot.is_usable_cd(), slot.is_usable_stick()), (cd, stick), "{id} {name}");
        }
        assert!(
            !parse(json!({"Id": "CD1", "MediaTypes": []}), None).takes_cd(),
            "an empty list is an answer"
        );
    }

    #[test]
    fn debug_shows_no_image() {
        let shown = format!("{:?}", parse(json!({"Image": "http://h/media/tasks/secret/task.iso"}), None));
        assert!(!shown.contains("secret") && shown.contains("has_image: true"), "{shown}");
    }
}
