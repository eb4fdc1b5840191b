//! The one-time boot from the virtual CD.
//!
//! Arming it: the mode is looked up where the BMC may show the wrong one; then `Boot` is patched with `Once` and the
//! target that reaches the virtual CD, the one that worked the last time first. Where no target is taken, the boot
//! option of the virtual CD serves; where every override is refused and the slot has a switch of its own
//! ([`Quirk::BootOnNextReset`]), that; and on iDRACs whose override does not reach the virtual CD
//! ([`Quirk::BootByImport`]), only a configuration import. Each PATCH is changed as refusals ask, within
//! [`PATCHES_MAX`] tries: the mode added or dropped, the settings object in the place of the System.
//!
//! Clearing it goes the same way back. Whether it is armed is read from the System, the slot or the import.
//! Callers need no target words: this module knows which of them reach the virtual CD. It does not read back after
//! a write: the caller looks again. Invariant: the boot mode is sent only as it is, and only to BMCs that lose it
//! otherwise.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::boot_import::BootImport;
use super::boot_options::{BootOption, virtual_cd_option, with_true_mode};
use super::call::Reply;
use super::discovery::Discovery;
use super::hosts::HostNotes;
use super::learned::{How, Learned};
use super::messages;
use super::quirks::{Quirk, Quirks};
use super::recent::ReadAge;
use super::session::Session;
use super::slots::SlotFinder;
use super::system::{Boot, System};
use super::tags::TaggedWriter;
use super::task::TaskFollower;
use super::{Bmc, ErrorClass, Op, RedfishError, RedfishErrorKind, Rooms};

const ENABLED: &str = "BootSourceOverrideEnabled";
const TARGET: &str = "BootSourceOverrideTarget";
const MODE: &str = "BootSourceOverrideMode";

/// The forms in which the override is cleared: with target and mode, by one word, or for a BMC that knows no `None`.
const FULL: &str = "target None";
const ALONE: &str = "Disabled alone";
const LASTING: &str = "target Hdd";

/// Forms of one PATCH that are tried, the first included.
const PATCHES_MAX: usize = 3;

impl Bmc {
    /// Arms a one-time boot from the virtual CD in the slot `cd`, a [`Slot::link`](super::Slot::link); the boot mode
    /// is left as it is.
    pub async fn request_boot_from_cd(&self, system: &System, cd: Option<&str>) -> Result<How, RedfishError> {
        let boot = OneTimeBoot::new(&self.0);
        let _written = boot.session.turns.write_to(&system.link);
        let system = &with_true_mode(boot.session, system).await?;
        let (target, how) = match boot.quirks.has(Quirk::BootByImport) {
            true => {
                // It does not reach the virtual CD, and the start after ours would follow it.
                if names_a_cd(&system.boot) {
                    boot.clear(system).await?;
                }
                (None, boot.import().request(system, true).await?)
            }
            false => match boot.arm(system).await {
                // A self test takes minutes; the slot's own switch works during it. So it does where every override
                // is refused (an iLO 6: libredfish#76), for its value or as such.
                Err(error)
                    if boot.quirks.has(Quirk::BootOnNextReset)
                        && (is_of_post(&error) || is_definite(&error)) =>
                {
                    (None, boot.arm_slot(system, cd, error).await?)
                }
                result => result?,
            },
        };
        boot.learned.keep_boot(target, &how);
        Ok(how)
    }

    /// Whether the next start of the host boots from the virtual CD; `cd` is the link of the slot
    /// that the override may have been set on.
    pub async fn observe_boot_from_cd(
        &self,
        system: &System,
        cd: Option<&str>,
    ) -> Result<bool, RedfishError> {
        let boot = OneTimeBoot::new(&self.0);
        if boot.quirks.has(Quirk::BootByImport) {
            return boot.import().is_armed(system).await;
        }
        if boots_from_cd(&system.boot, &boot.quirks) {
            return Ok(true);
        }
        match cd.filter(|_| boot.quirks.has(Quirk::BootOnNextReset)) {
            Some(cd) => {
                let slot = boot.slots.slot_of(cd, Some(&system.link), ReadAge::JustRead).await?;
                Ok(slot.boot_on_next_reset == Some(true))
            }
            None => Ok(false),
        }
    }

    /// Whether anything that was armed for the virtual CD still is, also what does not reach it: an override that was
    /// set before the BMC had said who it is.
    pub async fn observe_boot_armed(&self, system: &System, cd: Option<&str>) -> Result<bool, RedfishError> {
        Ok(names_a_cd(&system.boot) || self.observe_boot_from_cd(system, cd).await?)
    }

    /// Clears the one-time boot.
    pub async fn request_boot_disarm(&self, system: &System, cd: Option<&str>) -> Result<(), RedfishError> {
        let boot = OneTimeBoot::new(&self.0);
        let _written = boot.session.turns.write_to(&system.link);
        if boot.quirks.has(Quirk::BootByImport) {
            if system.boot.armed().is_some() {
                boot.clear(system).await?;
            }
            return boot.import().request(system, false).await.map(|_| ());
        }
        let system = &with_true_mode(boot.session, system).await?;
        if let Some(cd) = cd.filter(|_| boot.quirks.has(Quirk::BootOnNextReset)) {
            let slot = boot.slots.slot(cd, Some(&system.link)).await?;
            if slot.boot_on_next_reset == Some(true) {
                boot.patch_slot(Op::BootDisarm, system, cd, slot.etag, false).await?;
                // The override is refused during a self test, and was not what was armed.
                if !boots_from_cd(&system.boot, &boot.quirks) {
                    return Ok(());
                }
            }
        }
        boot.clear(system).await
    }
}

/// The one-time boot of one BMC, by the override that the standard has.
struct OneTimeBoot<'b> {
    session: &'b Session,
    discovery: &'b Discovery,
    slots: &'b SlotFinder,
    learned: &'b Learned,
    hosts: &'b HostNotes,
    /// As they were when the act began.
    quirks: Quirks,
}

impl<'b> OneTimeBoot<'b> {
    fn new(rooms: &'b Rooms) -> OneTimeBoot<'b> {
        let Rooms { session, discovery, slots, learned, hosts } = rooms;
        OneTimeBoot { session, discovery, slots, learned, hosts, quirks: discovery.quirks() }
    }

    fn import(&self) -> BootImport<'b> {
        BootImport { session: self.session, discovery: self.discovery, hosts: self.hosts }
    }

    fn writer(&self) -> TaggedWriter<'b> {
        TaggedWriter { session: self.session, learned: self.learned }
    }

    /// The targets one after the other, that which worked the last time first; then the boot option.
    async fn arm(&self, system: &System) -> Result<(Option<&'static str>, How), RedfishError> {
        let mut targets = cd_targets(&system.boot, &self.quirks);
        let worked = self.learned.boot_target();
        targets.sort_by_key(|target| worked.as_deref() != Some(*target));
        let mut refused = None;
        for target in targets {
            let body = override_body("Once", target, mode_to_send(&system.boot, &self.quirks));
            match self.patch(Op::BootOnce, system, body).await {
                Err(error) if is_of_value(&error) => refused = Some(error),
                result => return result.map(|how| (Some(target), How::new(format!("{target} {how}")))),
            }
        }
        match virtual_cd_option(self.session, system).await? {
            Some(option) => Ok((None, self.arm_option(system, &option).await?)),
            None => Err(refused.unwrap_or_else(|| cannot_boot(system))),
        }
    }

    /// By the boot option of the virtual CD, which is there only once a medium has been in it during
    /// a self test (libredfish).
    async fn arm_option(&self, system: &System, option: &BootOption) -> Result<How, RedfishError> {
        let target = option_target(&system.boot).ok_or_else(|| cannot_boot(system))?;
        let mut body = override_body("Once", target, mode_to_send(&system.boot, &self.quirks));
        match target {
            "UefiBootNext" => body.insert("BootNext".to_owned(), json!(option.reference)),
            _ => body.insert("UefiTargetBootSourceOverride".to_owned(), json!(option.path)),
        };
        let how = self.patch(Op::BootOnce, system, body).await?;
        Ok(How::new(format!("{target} {} {how}", option.reference)))
    }

    /// By the slot's own switch; `refused` is the error where there is none.
    async fn arm_slot(
        &self,
        system: &System,
        cd: Option<&str>,
        refused: RedfishError,
    ) -> Result<How, RedfishError> {
        let Some(cd) = cd else { return Err(refused) };
        let slot = self.slots.slot(cd, Some(&system.link)).await?;
        if slot.boot_on_next_reset.is_none() {
            return Err(refused);
        }
        self.patch_slot(Op::BootOnce, system, cd, slot.etag, true).await?;
        Ok(How::new("BootOnNextServerReset of the slot"))
    }

    /// Clears the override. Some want the target along with it, some the mode.
    async fn clear(&self, system: &System) -> Result<(), RedfishError> {
        let alone = Map::from_iter([(ENABLED.to_owned(), json!("Disabled"))]);
        let mode = mode_to_send(&system.boot, &self.quirks);
        let wants_mode = mode.is_some();
        let full = override_body("Disabled", "None", mode);
        let mut lasting = full.clone();
        lasting.insert(TARGET.to_owned(), json!("Hdd"));
        let (full, alone) = ((FULL, full), (ALONE, alone));
        let mut forms = if wants_mode { vec![full, alone] } else { vec![alone, full] };
        if let Some(worked) = self.learned.boot_clear() {
            forms.extend((worked == LASTING).then(|| (LASTING, lasting.clone())));
            forms.sort_by_key(|(name, _)| *name != worked);
        }
        let mut refused = None;
        for (name, body) in forms {
            match self.patch(Op::BootDisarm, system, body).await {
                Ok(_) => {
                    self.learned.keep_boot_clear(name);
                    return Ok(());
                }
                // The sushy emulator knows no `None`, and no override that does not last.
                Err(error) if name == FULL && knows_no_none(&error, &system.boot) => {
                    self.patch(Op::BootDisarm, system, lasting).await?;
                    self.learned.keep_boot_clear(LASTING);
                    return Ok(());
                }
                // Either form is refused by some: alone as incomplete, with a target for its value (metal-operator#998).
                Err(error) if is_definite(&error) => {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Turns the slot's own switch.
    async fn patch_slot(
        &self,
        op: Op,
        system: &System,
        cd: &str,
        etag: Option<String>,
        on: bool,
    ) -> Result<(), RedfishError> {
        let body = json!({"Oem": {"Hpe": {"BootOnNextServerReset": on}}});
        let call = self.session.http.patch(op, cd, &body, Some(&system.link));
        let reply = self.writer().write(&call, etag).await?;
        TaskFollower(self.session).outcome_before_look(&call, &reply).await
    }

    /// One PATCH of `Boot`, changed as refusals ask: the mode added or dropped once, and sent to the
    /// settings object once where the System's own override is read-only.
    async fn patch(
        &self,
        op: Op,
        system: &System,
        mut boot: Map<String, Value>,
    ) -> Result<How, RedfishError> {
        let mut place = BootResource::of(system, &self.quirks);
        let mut mode_changed = false;
        let mut refused = None;
        let mut tries = 0;
        loop {
            let body = json!({ "Boot": boot });
            let call = self.session.http.patch(op, place.link(system), &body, Some(&system.link));
            let reply = self.writer().write(&call, place.etag(system)).await?;
            tries += 1;
            let is_last = tries >= PATCHES_MAX;
            if reply.status.is_success() {
                TaskFollower(self.session).outcome_before_look(&call, &reply).await?;
                return Ok(described(&boot, place));
            } else if !is_last
                && is_read_only(&reply)
                && place == BootResource::System
                && system.settings.is_some()
            {
                place = BootResource::Settings;
            } else if !is_last && !mode_changed && change_mode(&mut boot, system, &reply) {
                mode_changed = true;
            } else if !is_last && drop_enabled(&mut boot, &reply) {
                // Sent without it from here on; there is nothing more to drop.
            } else {
                // The other of the two resources is asked once; what the first said is what operators should read.
                let error = self.session.http.refusal(&call, &reply);
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
enum BootResource {
    System,
    Settings,
}

impl BootResource {
    /// The settings object where that holds the override, or where a quirk says so.
    fn of(system: &System, quirks: &Quirks) -> BootResource {
        let forced = quirks.has(Quirk::BootInSettings) && system.settings.is_some();
        if system.settings_boot.is_some() || forced { BootResource::Settings } else { BootResource::System }
    }

    /// The one that was not asked, where there is a settings object.
    fn other(self, system: &System) -> Option<BootResource> {
        system.settings.as_ref().map(|_| match self {
            BootResource::System => BootResource::Settings,
            BootResource::Settings => BootResource::System,
        })
    }

    fn link(self, system: &System) -> &str {
        let settings = system.settings.as_deref().filter(|_| self == BootResource::Settings);
        settings.unwrap_or(&system.link)
    }

    fn etag(self, system: &System) -> Option<String> {
        match self {
            BootResource::System => system.etag.clone(),
            BootResource::Settings => {
                system.settings_boot.as_ref().and_then(|settings| settings.etag.clone())
            }
        }
    }
}

/// Where the override would be set, and whether with the mode, in words.
pub(super) fn planned_place(system: &System, quirks: &Quirks) -> String {
    let body = override_body("Once", "Cd", mode_to_send(&system.boot, quirks));
    described(&body, BootResource::of(system, quirks)).0
}

/// How the override was set, as operators read it.
fn described(boot: &Map<String, Value>, place: BootResource) -> How {
    let mode = if boot.contains_key(MODE) { " with the mode" } else { "" };
    let place = match place {
        BootResource::System => "on the System",
        BootResource::Settings => "on its settings object",
    };
    How::new(format!("{place}{mode}"))
}

/// The members of `Boot`.
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

/// Whether `boot` is armed for a CD, whichever that is.
fn names_a_cd(boot: &Boot) -> bool {
    boot.armed().is_some_and(|shown| shown.ends_with("Cd"))
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

/// The error where neither a target nor a boot option reaches the virtual CD.
fn cannot_boot(system: &System) -> RedfishError {
    let offered = match system.boot.allowed_targets.is_empty() {
        true => "nothing".to_owned(),
        false => system.boot.allowed_targets.join(", "),
    };
    let what = format!("cannot boot once from the virtual CD; it offers {offered}");
    RedfishError::unsupported(Op::BootOnce, &system.link, &what)
}

/// Whether a refusal of the target `None` may only mean that the BMC does not know that word.
fn knows_no_none(error: &RedfishError, boot: &Boot) -> bool {
    let offered = |target: &str| boot.allowed_targets.iter().any(|allowed| allowed == target);
    (is_status(error, 400) || is_status(error, 500)) && offered("Hdd") && !offered("None")
}

fn is_status(error: &RedfishError, wanted: u16) -> bool {
    matches!(error.kind, RedfishErrorKind::Refused { status, .. } if status == wanted)
}

/// A refusal of the target for its value: another target may be taken.
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

/// A refusal because the host is in its self test.
fn is_of_post(error: &RedfishError) -> bool {
    matches!(&error.kind, RedfishErrorKind::Refused { status: 400, message_id, .. }
        if message_id.contains("DuringSystemPOST") || message_id.contains("InvalidOperationForSystemState"))
}

/// A refusal of the resource as one that takes no override.
fn is_read_only(reply: &Reply) -> bool {
    reply.status == StatusCode::METHOD_NOT_ALLOWED
        || (reply.status.is_client_error() && messages::has_id(&reply.body, &["PropertyNotWritable"]))
}

#[cfg(test)]
mod tests;
