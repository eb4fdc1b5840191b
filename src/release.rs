//! Frees a server's BMC of what a job may have left on it, without a job: ejects every virtual drive, clears the boot
//! override, deletes the controller's session.
//!
//! It installs nothing, resets nothing, and knows no job; the caller says which images are this controller's
//! and whether it may still act. Invariants: the system's identity is checked before anything is changed; each act is
//! tried independently of the others, and only after [`ReleaseGuard::may_act`]; a host that is not Off, or an image that is
//! not this controller's, is left alone unless the caller says `force`.

mod acts;

use std::sync::Arc;
use strum::IntoStaticStr;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::{HostId, Server};
use crate::flow::identity::{choose_system, host_id};
use shoal_redfish::{Bmc, PowerState, Slot, System};

/// A release request.
#[derive(Clone)]
pub struct Ask {
    /// Also a host that is not Off, and images of others.
    pub force: bool,
    /// Links of slots into which the server's last job inserted, and that it has not seen empty.
    pub known_slots: Vec<String>,
    /// The session that the server's last job had on the BMC.
    pub session: Option<String>,
    pub guard: Arc<dyn ReleaseGuard>,
}

/// What only the owner of the jobs knows.
pub trait ReleaseGuard: Send + Sync {
    /// Asked once, before anything else; `Err` names the job of another record that holds the host.
    fn may_touch(&self, host: HostId) -> BoxFuture<'_, Result<(), String>>;
    /// Asked before each act; `Err` says why nothing more may be done.
    fn may_act(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Whether an image's URL is one of this controller's.
    fn is_ours<'a>(&'a self, image: &'a str) -> BoxFuture<'a, bool>;
}

/// Releases a server of the inventory.
pub type Releaser =
    Arc<dyn Fn(Server, Ask) -> BoxFuture<'static, Result<ReleaseReport, Refused>> + Send + Sync>;

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{}", .reasons.join("; "))]
    NeedsForce { reasons: Vec<String> },
    #[error("{why}")]
    HostInUse { why: String },
}

/// What was done, and what is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseReport {
    pub serial: String,
    /// Every drive is empty and no boot override is armed.
    pub released: bool,
    pub items: Vec<Item>,
}

/// One thing that was to be freed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The id of a slot, or `identity`, `slots`, `boot_override`, `session`.
    pub name: String,
    pub status: ItemStatus,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It was freed.
    Done,
    /// There was nothing to do.
    Clean,
    /// It is not known to be free.
    Left,
}

impl ItemStatus {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Item {
    fn new(name: &str, status: ItemStatus, detail: impl Into<String>) -> Item {
        Item { name: name.to_owned(), status, detail: detail.into() }
    }
}

/// Looks, checks the identity and the guards, and frees what it can.
pub async fn release(bmc: &Bmc, server: &Server, ask: &Ask) -> Result<ReleaseReport, Refused> {
    if let Some(link) = &ask.session {
        bmc.session().inherit(link).await;
    }
    let system = match find(bmc, server).await {
        Ok(system) => system,
        Err(reason) => return Ok(report(server, vec![Item::new("identity", ItemStatus::Left, reason)])),
    };
    if let Err(why) = ask.guard.may_touch(host_id(&server.bmc_address, &system)).await {
        return Err(Refused::HostInUse { why });
    }
    let slots = bmc.observe_slots(&system).await;
    let seen = slots.as_deref().unwrap_or_default();
    let reasons = guarded(&system, seen, ask).await;
    if !reasons.is_empty() && !ask.force {
        return Err(Refused::NeedsForce { reasons });
    }
    let mut items = Vec::new();
    let cd = seen.iter().find(|slot| slot.is_usable_cd()).map(|slot| slot.link.as_str());
    items.push(acts::clear_override(bmc, &system, cd, ask).await);
    for slot in seen {
        items.push(acts::eject(bmc, slot, ask).await);
    }
    match &slots {
        Err(error) => items.push(Item::new("slots", ItemStatus::Left, error.to_string())),
        Ok(slots) => items.extend(unread(slots, ask)),
    }
    bmc.close().await;
    items.push(Item::new(
        "session",
        ItemStatus::Done,
        "the controller's session was deleted, if there was one",
    ));
    Ok(report(server, items))
}

fn report(server: &Server, items: Vec<Item>) -> ReleaseReport {
    let released = items.iter().all(|item| item.status != ItemStatus::Left);
    ReleaseReport { serial: server.serial.to_string(), released, items }
}

async fn find(bmc: &Bmc, server: &Server) -> Result<System, String> {
    bmc.observe_service().await.map_err(|error| error.to_string())?;
    let systems = bmc.observe_systems().await.map_err(|error| error.to_string())?;
    choose_system(systems, server).map_err(|mismatch| mismatch.to_string())
}

/// Everything that requires `force`.
async fn guarded(system: &System, slots: &[Slot], ask: &Ask) -> Vec<String> {
    let mut reasons = Vec::new();
    match system.power {
        Some(PowerState::Off) => {}
        Some(power) => reasons.push(format!("the host is {}: an installer may be running", power.name())),
        None => reasons.push("the BMC reports no PowerState: an installer may be running".to_owned()),
    }
    for slot in slots.iter().filter(|slot| slot.inserted == Some(true)) {
        let image = slot.image.as_deref().filter(|image| !image.is_empty());
        let is_ours = match image {
            Some(image) => ask.guard.is_ours(image).await,
            None => ask.known_slots.contains(&slot.link),
        };
        if !is_ours {
            reasons.push(format!("{} holds an image that is not this controller's", slot.id));
        }
    }
    reasons
}

/// Slots that a job used and that the BMC did not show.
fn unread(slots: &[Slot], ask: &Ask) -> Vec<Item> {
    let missing = ask.known_slots.iter().filter(|link| !slots.iter().any(|slot| slot.link == **link));
    let item = |link: &String| {
        Item::new(link, ItemStatus::Left, "the last job used it, and the BMC does not show it now")
    };
    missing.map(item).collect()
}
