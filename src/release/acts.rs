//! The two acts of a release, each tried a few times and looked at afterwards.
//!
//! Invariant: "done" is claimed only of what the BMC has shown since.

use std::time::Duration;

use super::{Ask, Item, ItemStatus};
use shoal_redfish::{Bmc, RedfishError, Slot, System};

const TRIES: u32 = 3;
/// How long a slot may take to show that it is empty, and an override that it is cleared.
const LOOKS: u32 = 15;
const LOOK_AGAIN: Duration = Duration::from_secs(2);

pub(super) async fn eject(bmc: &Bmc, slot: &Slot, ask: &Ask) -> Item {
    let item = |status, detail: String| Item::new(&slot.id, status, detail);
    if slot.inserted == Some(false) {
        return item(ItemStatus::Clean, "empty".to_owned());
    }
    let mut why = String::new();
    for _ in 0..TRIES {
        if let Err(reason) = ask.guard.may_act().await {
            return item(ItemStatus::Left, reason);
        }
        match eject_once(bmc, slot).await {
            Ok(true) => return item(ItemStatus::Done, "ejected".to_owned()),
            // A slot that reports nothing is asked once.
            Ok(false) if slot.inserted.is_none() => {
                return item(
                    ItemStatus::Done,
                    "asked to eject; the BMC does not report whether it holds an image".to_owned(),
                );
            }
            Ok(false) => why = "the BMC accepted the eject and still shows an image".to_owned(),
            Err(error) => why = error.to_string(),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    item(ItemStatus::Left, format!("{why}; eject it by hand in the BMC's own interface"))
}

async fn eject_once(bmc: &Bmc, slot: &Slot) -> Result<bool, RedfishError> {
    bmc.request_eject(slot).await?;
    for _ in 0..LOOKS {
        match bmc.observe_slot(&slot.link).await?.inserted {
            Some(false) => return Ok(true),
            None => return Ok(false),
            Some(true) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
    Ok(false)
}

pub(super) async fn clear_override(bmc: &Bmc, system: &System, cd: Option<&str>, ask: &Ask) -> Item {
    let item = |status, detail: String| Item::new("boot_override", status, detail);
    let mut why = String::new();
    for number in 0..TRIES {
        match clear_once(bmc, &system.link, cd, ask).await {
            Ok(Cleared::Unarmed) if number == 0 => return item(ItemStatus::Clean, "not armed".to_owned()),
            Ok(Cleared::Unarmed | Cleared::Now) => return item(ItemStatus::Done, "cleared".to_owned()),
            Ok(Cleared::Shown(shown)) => {
                why = format!("the BMC accepted the request and still shows {shown}")
            }
            Ok(Cleared::Forbidden(reason)) => return item(ItemStatus::Left, reason),
            Err(error) => why = error.to_string(),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    item(ItemStatus::Left, format!("{why}; set the one-time boot to none in the BMC's own interface"))
}

enum Cleared {
    Unarmed,
    Now,
    Shown(String),
    Forbidden(String),
}

async fn clear_once(bmc: &Bmc, link: &str, cd: Option<&str>, ask: &Ask) -> Result<Cleared, RedfishError> {
    let system = bmc.observe_system(link).await?;
    if armed(bmc, &system, cd).await?.is_none() {
        return Ok(Cleared::Unarmed);
    }
    if let Err(reason) = ask.guard.may_act().await {
        return Ok(Cleared::Forbidden(reason));
    }
    bmc.request_boot_disarm(&system, cd).await?;
    let system = bmc.observe_system(link).await?;
    Ok(armed(bmc, &system, cd).await?.map_or(Cleared::Now, Cleared::Shown))
}

/// What the next start boots from, if it is not what it always boots from.
async fn armed(bmc: &Bmc, system: &System, cd: Option<&str>) -> Result<Option<String>, RedfishError> {
    if bmc.observe_boot_from_cd(system, cd).await? {
        return Ok(Some("a boot from the virtual CD".to_owned()));
    }
    Ok(system.boot.armed())
}
