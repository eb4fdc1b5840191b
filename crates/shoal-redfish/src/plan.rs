//! How a BMC would be asked for what an installation needs, before anything is asked.
//!
//! Nothing on the BMC is changed. Invariant: the plan is made by the code that acts, so it says what
//! that would do first; what a refusal would change about it is not known beforehand.

use super::boot::{cd_targets, option_target, planned_place};
use super::insert_form::InsertBody;
use super::quirks::Quirk;
use super::remote_map::refused_protocol;
use super::slot::{InsertMethod, Slot};
use super::slots::SlotsWanted;
use super::system::{ResetType, System};
use super::virtual_media::insert_parameters;
use super::{Bmc, MediaService, RedfishError};

/// What would be done, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Names of the BMC's quirks.
    pub quirks: Vec<&'static str>,
    pub slots: Vec<Slot>,
    /// What has to be switched on first.
    pub media_service: MediaService,
    /// How an image goes into the first usable slot; the error says why none does.
    pub insert: Result<String, String>,
    pub boot: Result<String, String>,
    /// How the host gets to a fresh start.
    pub reset: Result<String, String>,
}

impl Plan {
    /// Slots that take a CD image.
    pub fn cds(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.is_usable_cd())
    }
}

impl Bmc {
    /// How this BMC would be asked for all that an installation needs, with an image at `image_url`.
    pub async fn observe_plan(&self, system: &System, image_url: &str) -> Result<Plan, RedfishError> {
        let mut slots = self.0.slots.slots(system, &SlotsWanted::ALL).await?;
        slots.sort_by_key(|slot| self.0.learned.is_refusing(&slot.link));
        let media_service = self.observe_media_service(system).await?;
        let insert = match slots.iter().find(|slot| slot.is_usable_cd()) {
            Some(slot) => self.planned_insert(slot, image_url).await,
            None if !media_service.is_ready() => Err("virtual media are off".to_owned()),
            None => Err("the BMC has no virtual CD drive that can be given an image".to_owned()),
        };
        Ok(Plan {
            quirks: self.quirks().iter().map(Quirk::name).collect(),
            insert,
            boot: self.planned_boot(system),
            reset: planned_reset(system),
            slots,
            media_service,
        })
    }

    async fn planned_insert(&self, slot: &Slot, image_url: &str) -> Result<String, String> {
        let way = slot.way.unwrap_or(InsertMethod::Action);
        let parameters = match way {
            InsertMethod::Action | InsertMethod::Patch => insert_parameters(&self.0.discovery, slot).await,
            InsertMethod::RemoteMap if let Some(offered) = refused_protocol(image_url) => {
                return Err(format!("the BMC takes images by {offered} only"));
            }
            _ => return Ok(way.name().to_owned()),
        };
        let form =
            InsertBody::new(image_url, parameters, way == InsertMethod::Patch, self.0.learned.insert_form());
        if let Some(offered) = form.refused_protocols() {
            return Err(format!("the BMC takes images by {offered} only"));
        }
        let names: Vec<&str> = form.body.keys().map(String::as_str).collect();
        Ok(format!("{} {{{}}}", way.name(), names.join(", ")))
    }

    /// How the next start of the system would be made to boot from the virtual CD; the error says why it
    /// cannot be.
    pub fn planned_boot(&self, system: &System) -> Result<String, String> {
        let quirks = self.quirks();
        if quirks.has(Quirk::BootByImport) {
            return Ok("VCD-DVD by a configuration import".to_owned());
        }
        let place = planned_place(system, &quirks);
        match (cd_targets(&system.boot, &quirks).first(), option_target(&system.boot)) {
            (Some(target), _) => Ok(format!("{target} {place}")),
            (None, Some(target)) => Ok(format!("{target} of the virtual CD's boot option")),
            (None, None) if !system.boot.is_overridable() => Err(format!(
                "the BMC cannot override the boot source: {} has no BootSourceOverride properties",
                system.link
            )),
            (None, None) => Err(format!(
                "the BMC offers no one-time boot from a virtual CD; its boot override offers {}",
                system.boot.allowed_targets.join(", ")
            )),
        }
    }
}

/// As the workflow goes: a pair of Off and On, a restart only without one.
fn planned_reset(system: &System) -> Result<String, String> {
    use ResetType::*;
    let offered = |reset: &ResetType| system.reset_types.is_empty() || system.reset_types.contains(reset);
    let join = |types: Vec<ResetType>| types.iter().map(|reset| reset.name()).collect::<Vec<_>>().join(", ");
    if !system.can_reset {
        return Err("the BMC offers no reset of this system".to_owned());
    }
    let on = [On, ForceOn].into_iter().find(offered);
    let off: Vec<ResetType> = [GracefulShutdown, ForceOff].into_iter().filter(offered).collect();
    match on {
        Some(on) if !off.is_empty() => Ok(join(off.into_iter().chain([on]).collect())),
        _ => {
            let restart = [ForceRestart, PowerCycle, GracefulRestart].into_iter().find(offered);
            restart.map(|reset| reset.name().to_owned()).ok_or_else(|| "the BMC offers no restart".to_owned())
        }
    }
}
