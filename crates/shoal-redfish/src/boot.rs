//! The one-time boot from the virtual CD.
//!
//! Callers need no target words: this module knows which of them reach the virtual CD. It does not
//! read back by itself: the caller looks again. Invariant: the boot mode is sent only as it is, and
//! only to BMCs that lose it otherwise.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::connection::{Connection, Reply};
use super::learned::How;
use super::messages;
use super::quirks::{Quirk, Quirks};
use super::system::{Boot, System};
use super::{ErrorClass, Op, RedfishError, RedfishErrorKind};

const ENABLED: &str = "BootSourceOverrideEnabled";
const TARGET: &str = "BootSourceOverrideTarget";
const MODE: &str = "BootSourceOverrideMode";

/// Forms of one PATCH that are tried, the first included.
const PATCHES_MAX: usize = 3;

impl Connection {
    /// Arms a one-time boot from the virtual CD; `cd` is the link of the slot that holds it.
    pub(super) async fn request_boot_from_cd(
        &self,
        system: &System,
        cd: Option<&str>,
    ) -> Result<How, RedfishError> {
        let quirks = self.quirks();
        let system = &self.with_true_mode(system).await?;
        let (target, how) = match quirks.has(Quirk::BootByImport) {
            true => (None, self.import_boot(system, true).await?),
            false => match self.boot_by_override(system, &quirks).await {
                // A self test takes minutes; the slot's own switch works during it. So it does where every override
                // is refused (an iLO 6: libredfish#76), for its value or as such.
                Err(error)
                    if quirks.has(Quirk::BootOnNextReset) && (is_of_post(&error) || is_definite(&error)) =>
                {
                    (None, self.boot_by_slot(system, cd, error).await?)
                }
                result => result?,
            },
        };
        self.learned.keep_boot(target, &how);
        Ok(how)
    }

    /// The targets one after the other, that which worked the last time first; then the boot option.
    async fn boot_by_override(
        &self,
        system: &System,
        quirks: &Quirks,
    ) -> Result<(Option<&'static str>, How), RedfishError> {
        let mut targets = cd_targets(&system.boot, quirks);
        let worked = self.learned.boot_target();
        targets.sort_by_key(|target| worked.as_deref() != Some(*target));
        let mut refused = None;
        for target in targets {
            let body = override_body("Once", target, mode_to_send(&system.boot, quirks));
            match self.patch_boot(Op::BootOnce, system, body, quirks).await {
                Err(error) if is_of_value(&error) => refused = Some(error),
                result => return result.map(|how| (Some(target), How::new(format!("{target} {how}")))),
            }
        }
        match self.virtual_cd_option(system).await? {
            Some(option) => Ok((None, self.boot_by_option(system, &option, quirks).await?)),
            None => Err(refused.unwrap_or_else(|| cannot_boot(system))),
        }
    }

    /// By the boot option of the virtual CD, which is there only once a medium has been in it during
    /// a self test (libredfish).
    async fn boot_by_option(
        &self,
        system: &System,
        option: &BootOption,
        quirks: &Quirks,
    ) -> Result<How, RedfishError> {
        let target = option_target(&system.boot).ok_or_else(|| cannot_boot(system))?;
        let mut body = override_body("Once", target, mode_to_send(&system.boot, quirks));
        match target {
            "UefiBootNext" => body.insert("BootNext".to_owned(), json!(option.reference)),
            _ => body.insert("UefiTargetBootSourceOverride".to_owned(), json!(option.path)),
        };
        let how = self.patch_boot(Op::BootOnce, system, body, quirks).await?;
        Ok(How::new(format!("{target} {} {how}", option.reference)))
    }

    /// Whether the next start of the host boots from the virtual CD.
    pub(super) async fn observe_boot_from_cd(
        &self,
        system: &System,
        cd: Option<&str>,
    ) -> Result<bool, RedfishError> {
        let quirks = self.quirks();
        if quirks.has(Quirk::BootByImport) {
            return self.observe_import(system).await;
        }
        if boots_from_cd(&system.boot, &quirks) {
            return Ok(true);
        }
        match cd.filter(|_| quirks.has(Quirk::BootOnNextReset)) {
            Some(cd) => Ok(self.observe_slot(cd, Some(&system.link)).await?.boot_on_next_reset == Some(true)),
            None => Ok(false),
        }
    }

    /// Takes the one-time boot back. Some want the target along with it, some the mode.
    pub(super) async fn request_boot_disarm(
        &self,
        system: &System,
        cd: Option<&str>,
    ) -> Result<(), RedfishError> {
        let quirks = self.quirks();
        if quirks.has(Quirk::BootByImport) {
            return self.import_boot(system, false).await.map(|_| ());
        }
        let system = &self.with_true_mode(system).await?;
        if let Some(cd) = cd.filter(|_| quirks.has(Quirk::BootOnNextReset)) {
            let slot = self.observe_slot(cd, Some(&system.link)).await?;
            if slot.boot_on_next_reset == Some(true) {
                self.patch_slot_boot(Op::BootDisarm, system, cd, slot.etag, false).await?;
                // The override is refused during a self test, and was not what was armed.
                if !boots_from_cd(&system.boot, &quirks) {
                    return Ok(());
                }
            }
        }
        let alone = Map::from_iter([(ENABLED.to_owned(), json!("Disabled"))]);
        let mode = mode_to_send(&system.boot, &quirks);
        let wants_mode = mode.is_some();
        let full = override_body("Disabled", "None", mode);
        let forms = if wants_mode { [full, alone] } else { [alone, full] };
        let mut refused = None;
        for mut body in forms {
            match self.patch_boot(Op::BootDisarm, system, body.clone(), &quirks).await {
                // The sushy emulator knows no `None`, and no override that does not last.
                Err(error) if body.contains_key(TARGET) && knows_no_none(&error, &system.boot) => {
                    body.insert(TARGET.to_owned(), json!("Hdd"));
                    return self.patch_boot(Op::BootDisarm, system, body, &quirks).await.map(|_| ());
                }
                // Either form is refused by some: alone as incomplete, with a target for its value (metal-operator#998).
                Err(error) if is_definite(&error) => {
                    refused.get_or_insert(error);
                }
                result => return result.map(|_| ()),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    async fn boot_by_slot(
        &self,
        system: &System,
        cd: Option<&str>,
        refused: RedfishError,
    ) -> Result<How, RedfishError> {
        let Some(cd) = cd else { return Err(refused) };
        let slot = self.observe_slot(cd, Some(&system.link)).await?;
        if slot.boot_on_next_reset.is_none() {
            return Err(refused);
        }
        self.patch_slot_boot(Op::BootOnce, system, cd, slot.etag, true).await?;
        Ok(How::new("BootOnNextServerReset of the slot"))
    }

    async fn patch_slot_boot(
        &self,
        op: Op,
        system: &System,
        cd: &str,
        etag: Option<String>,
        on: bool,
    ) -> Result<(), RedfishError> {
        let body = json!({"Oem": {"Hpe": {"BootOnNextServerReset": on}}});
        let call = self.patch(op, cd, &body, Some(&system.link));
        let reply = self.write_tagged(call.clone(), etag).await?;
        self.outcome_before_look(&call, &reply).await
    }

    /// One PATCH of `Boot`, changed as refusals ask: the mode added or dropped once, and sent to the
    /// settings object once where the System's own override is read-only.
    async fn patch_boot(
        &self,
        op: Op,
        system: &System,
        mut boot: Map<String, Value>,
        quirks: &Quirks,
    ) -> Result<How, RedfishError> {
        let mut place = Place::of(system, quirks);
        let mut mode_changed = false;
        let mut refused = None;
        let mut tries = 0;
        loop {
            let body = json!({ "Boot": boot });
            let call = self.patch(op, place.link(system), &body, Some(&system.link));
            let reply = self.write_tagged(call.clone(), place.etag(system)).await?;
            tries += 1;
            let is_last = tries >= PATCHES_MAX;
            if reply.status.is_success() {
                self.outcome_before_look(&call, &reply).await?;
                return Ok(described(&boot, place));
            } else if !is_last && is_read_only(&reply) && place == Place::System && system.settings.is_some()
            {
                place = Place::Settings;
            } else if !is_last && !mode_changed && change_mode(&mut boot, system, &reply) {
                mode_changed = true;
            } else if !is_last && drop_enabled(&mut boot, &reply) {
                // Sent without it from here on; there is nothing more to drop.
            } else {
                // The other of the two resources is asked once; what the first said is what operators should read.
                let error = self.refusal(&call, &reply);
                let other =
                    place.other(system).filter(|_| refused.is_none() && !is_last && is_definite(&error));
                match (other, refused.take()) {
                    (Some(other), _) => (place, refused) = (other, Some(error)),
                    (None, first) => return Err(first.unwrap_or(error)),
                }
            }
        }
    }
}

/// The resource that takes the override.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    System,
    Settings,
}

impl Place {
    /// The settings object where that holds the override, or where a quirk says so.
    fn of(system: &System, quirks: &Quirks) -> Place {
        let forced = quirks.has(Quirk::BootInSettings) && system.settings.is_some();
        if system.settings_boot.is_some() || forced { Place::Settings } else { Place::System }
    }

    /// The one that was not asked, where there is a settings object.
    fn other(self, system: &System) -> Option<Place> {
        system.settings.as_ref().map(|_| match self {
            Place::System => Place::Settings,
            Place::Settings => Place::System,
        })
    }

    fn link(self, system: &System) -> &str {
        let settings = system.settings.as_deref().filter(|_| self == Place::Settings);
        settings.unwrap_or(&system.link)
    }

    fn etag(self, system: &System) -> Option<String> {
        match self {
            Place::System => system.etag.clone(),
            Place::Settings => system.settings_boot.as_ref().and_then(|settings| settings.etag.clone()),
        }
    }
}

/// Where the override would be set, and whether with the mode, in words.
pub(super) fn planned_place(system: &System, quirks: &Quirks) -> String {
    let body = override_body("Once", "Cd", mode_to_send(&system.boot, quirks));
    described(&body, Place::of(system, quirks)).0
}

fn described(boot: &Map<String, Value>, place: Place) -> How {
    let mode = if boot.contains_key(MODE) { " with the mode" } else { "" };
    let place = match place {
        Place::System => "on the System",
        Place::Settings => "on its settings object",
    };
    How::new(format!("{place}{mode}"))
}

fn override_body(enabled: &str, target: &str, mode: Option<String>) -> Map<String, Value> {
    let mut body = Map::from_iter([(ENABLED.to_owned(), json!(enabled)), (TARGET.to_owned(), json!(target))]);
    body.extend(mode.map(|mode| (MODE.to_owned(), json!(mode))));
    body
}

/// The targets that reach the virtual CD, the best first; empty where only a boot option does.
pub(super) fn cd_targets(boot: &Boot, quirks: &Quirks) -> Vec<&'static str> {
    let offered = |target: &&'static str| boot.allowed_targets.iter().any(|allowed| allowed == target);
    let usb = ["UefiUsbCd", "UsbCd"].into_iter().filter(offered).collect::<Vec<_>>();
    if quirks.has(Quirk::BootByImport) || !boot.is_overridable() {
        return Vec::new();
    }
    if quirks.has(Quirk::UsbCd) && !usb.is_empty() {
        let is_legacy = boot.mode.as_deref() == Some("Legacy");
        return if is_legacy { usb.into_iter().rev().collect() } else { usb };
    }
    match boot.allowed_targets.is_empty() || offered(&"Cd") {
        true => vec!["Cd"],
        false => usb,
    }
}

/// Whether `boot` is armed for the virtual CD.
pub(super) fn boots_from_cd(boot: &Boot, quirks: &Quirks) -> bool {
    let armed = matches!(boot.enabled.as_deref(), Some("Once" | "Continuous"));
    let targets = cd_targets(boot, quirks);
    let by_option = match boot.target.as_deref() {
        Some("UefiBootNext") => boot.next.as_ref().is_some_and(Option::is_some),
        Some("UefiTarget") => boot.uefi_target.is_some(),
        _ => false,
    };
    armed
        && match boot.target.as_deref() {
            Some(target) => targets.contains(&target) || (targets.is_empty() && by_option),
            None => false,
        }
}

/// The mode as it is, for BMCs that reset it when a PATCH leaves it out; the only one there is, where
/// the BMC shows none (AMI).
pub(super) fn mode_to_send(boot: &Boot, quirks: &Quirks) -> Option<String> {
    let only = match boot.allowed_modes.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    };
    boot.mode.clone().or(only).filter(|_| quirks.has(Quirk::BootWantsMode))
}

/// A refusal that names the mode: it is sent as it is, or dropped. False where it names none.
fn change_mode(boot: &mut Map<String, Value>, system: &System, refusal: &Reply) -> bool {
    if refusal.status != StatusCode::BAD_REQUEST || !messages::names(&refusal.body, MODE) {
        return false;
    }
    match (boot.remove(MODE), &system.boot.mode) {
        (Some(_), _) => true,
        (None, Some(mode)) => {
            boot.insert(MODE.to_owned(), json!(mode));
            true
        }
        (None, None) => false,
    }
}

/// Older iDRACs refuse `Enabled` beside a `UefiTarget`, which is for one boot there anyway
/// (community.general). False of any other refusal.
fn drop_enabled(boot: &mut Map<String, Value>, refusal: &Reply) -> bool {
    let is_for_target = boot.get(TARGET).and_then(Value::as_str) == Some("UefiTarget");
    is_for_target
        && refusal.status == StatusCode::BAD_REQUEST
        && messages::names(&refusal.body, ENABLED)
        && boot.remove(ENABLED).is_some()
}

/// A target for a boot option, where one is offered.
pub(super) fn option_target(boot: &Boot) -> Option<&'static str> {
    let offered = |target: &&str| boot.allowed_targets.iter().any(|allowed| allowed == target);
    ["UefiBootNext", "UefiTarget"].into_iter().find(|target| offered(target))
}

impl Boot {
    /// An override that makes a start of the host boot something else than it would, as `Once/Cd`.
    pub fn armed(&self) -> Option<String> {
        let is_plain = |target: &&str| matches!(*target, "None" | "Hdd");
        let enabled = self.enabled.as_deref().filter(|enabled| matches!(*enabled, "Once" | "Continuous"))?;
        let target = self.target.as_deref().filter(|target| !is_plain(target))?;
        Some(format!("{enabled}/{target}"))
    }
}

/// One entry of the firmware's boot menu.
pub(super) struct BootOption {
    pub(super) reference: String,
    pub(super) path: String,
}

fn cannot_boot(system: &System) -> RedfishError {
    let offered = match system.boot.allowed_targets.is_empty() {
        true => "nothing".to_owned(),
        false => system.boot.allowed_targets.join(", "),
    };
    let what = format!("cannot boot once from the virtual CD; it offers {offered}");
    RedfishError::unsupported(Op::BootOnce, &system.link, &what)
}

fn knows_no_none(error: &RedfishError, boot: &Boot) -> bool {
    let offered = |target: &str| boot.allowed_targets.iter().any(|allowed| allowed == target);
    (is_status(error, 400) || is_status(error, 500)) && offered("Hdd") && !offered("None")
}

fn is_status(error: &RedfishError, wanted: u16) -> bool {
    matches!(error.kind, RedfishErrorKind::Refused { status, .. } if status == wanted)
}

fn is_of_value(error: &RedfishError) -> bool {
    matches!(&error.kind, RedfishErrorKind::Refused { status: 400, message_id, .. }
        if message_id.contains("PropertyValue"))
}

/// A refusal for good, of the request as such or of a property in it: another way may be taken.
fn is_definite(error: &RedfishError) -> bool {
    let RedfishErrorKind::Refused { status: 400..=499 | 501, message_id, .. } = &error.kind else {
        return false;
    };
    let is_of_property = message_id.contains("Property") && error.class() != ErrorClass::Retry;
    is_of_property || error.class() == ErrorClass::Permanent
}

fn is_of_post(error: &RedfishError) -> bool {
    matches!(&error.kind, RedfishErrorKind::Refused { status: 400, message_id, .. }
        if message_id.contains("DuringSystemPOST") || message_id.contains("InvalidOperationForSystemState"))
}

fn is_read_only(reply: &Reply) -> bool {
    reply.status == StatusCode::METHOD_NOT_ALLOWED
        || (reply.status.is_client_error() && messages::has_id(&reply.body, &["PropertyNotWritable"]))
}

#[cfg(test)]
mod tests;
