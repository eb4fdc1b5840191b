//! `resolve-server`: find the one system that the job means, and make sure that it is that one.
//!
//! Look only: nothing on the BMC is changed. Invariant: a job gets past this step only with a
//! system whose serial number, or, where the service reports none, whose UUID or id equals the
//! server's record.

use serde_json::json;

use super::Answer;
use crate::job::{JobSpec, Server, SystemFacts};
use crate::redfish::{Bmc, PowerState, System};
use crate::workflow::layout::{self, Chosen};
use crate::workflow::policy::Policy;
use crate::workflow::{Context, Kit, StepError};

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<Answer, StepError> {
    check_management_address(cx.kit, cx.server, cx.spec()?).await?;
    let resolved = resolve(cx.bmc, cx.server, cx.spec()?, &cx.kit.policy).await?;
    let (message, detail) = (resolved.message(), resolved.detail());
    let facts = &mut cx.job.facts;
    facts.layout = resolved.drives.layout;
    facts.cd1.slot = Some(resolved.drives.cd1.link);
    facts.cd2.slot = resolved.drives.cd2.map(|slot| slot.link);
    facts.system = Some(SystemFacts {
        link: resolved.system.link,
        vendor: resolved.vendor,
        model: resolved.system.model,
    });
    Ok(Answer::Done { message, detail })
}

/// Which of two hosts answers at one address nobody could tell.
pub async fn check_management_address(kit: &Kit, server: &Server, spec: &JobSpec) -> Result<(), StepError> {
    let Some(address) = spec.management_address(server) else { return Ok(()) };
    match kit.store.other_server_at(address, &server.serial).await? {
        None => Ok(()),
        Some(other) => Err(StepError::permanent(format!(
            "management address {address} is also that of server {other}: correct one of the two"
        ))),
    }
}

/// What the step found.
pub struct Resolved {
    pub vendor: String,
    pub system: System,
    pub drives: Chosen,
}

impl Resolved {
    pub fn message(&self) -> String {
        let model = self.system.model.as_deref().unwrap_or("a system of unknown model");
        format!(
            "{model} ({}) is the job's server; media layout {}",
            self.system.id,
            self.drives.layout.name()
        )
    }

    pub fn detail(&self) -> serde_json::Value {
        json!({
            "vendor": self.vendor,
            "system": self.system.link,
            "model": self.system.model,
            "power": self.system.power.map(PowerState::name),
            "media_layout": self.drives.layout.name(),
            "cd1": self.drives.cd1.link,
            "cd2": self.drives.cd2.as_ref().map(|slot| &slot.link),
        })
    }
}

/// All checks that need the BMC and change nothing; a dry run ends here.
pub async fn resolve(
    bmc: &Bmc,
    server: &Server,
    spec: &JobSpec,
    policy: &Policy,
) -> Result<Resolved, StepError> {
    if server.protected {
        return Err(StepError::permanent(format!(
            "server {} is protected: lift that before a job",
            server.serial
        )));
    }
    let doing = || format!("looking for server {} at its BMC {}", server.serial, server.bmc_address);
    let service = bmc.observe_service().await.map_err(|error| StepError::bmc(doing(), error))?;
    let systems = bmc.observe_systems().await.map_err(|error| StepError::bmc(doing(), error))?;
    let unread = unread(&systems);
    let system = choose_system(systems, server).map_err(|reason| match unread {
        Some(unread) => StepError::passing(format!("{reason}; {unread}")),
        None => StepError::permanent(reason),
    })?;
    if system.power == Some(PowerState::On) && !policy.allow_powered_on && !spec.allow_powered_on {
        return Err(StepError::permanent(format!(
            "server {} is powered on and ALLOW_POWERED_ON is false: power it off, or say allow_powered_on in the recipe",
            server.serial
        )));
    }
    let slots = bmc.observe_slots(&system).await.map_err(|error| StepError::bmc(doing(), error))?;
    let drives = layout::choose(slots, spec.media_layout.or(policy.layout)).map_err(StepError::permanent)?;
    Ok(Resolved { vendor: service.vendor, system, drives })
}

/// The system that the record means. Systems that cannot be reset (GPU baseboards) are none.
fn choose_system(systems: Vec<System>, server: &Server) -> Result<System, String> {
    let (serial, address) = (&server.serial, &server.bmc_address);
    let hosts: Vec<System> = systems.into_iter().filter(|system| system.can_reset).collect();
    let found = describe(&hosts);
    let meant: Vec<System> = hosts.into_iter().filter(|system| is_meant(system, server)).collect();
    if meant.is_empty() {
        return Err(format!(
            "the BMC at {address} has no system with the id or UUID of server {serial}; it has {found}"
        ));
    }
    let (named, unnamed): (Vec<System>, Vec<System>) =
        meant.into_iter().partition(|system| system.serial.is_some());
    let mut matching: Vec<System> =
        named.into_iter().filter(|system| system.serial.as_deref() == Some(serial.as_str())).collect();
    if matching.is_empty() && !unnamed.is_empty() {
        if server.system_id.is_none() && server.system_uuid.is_none() {
            return Err(format!(
                "the BMC at {address} reports no serial number: give server {serial} a system_uuid or system_id; it has {found}"
            ));
        }
        matching = unnamed;
    }
    match (matching.pop(), matching.is_empty()) {
        (Some(system), true) => Ok(system),
        (Some(_), false) => Err(format!(
            "the BMC at {address} has several systems that could be server {serial}: give it a system_id; it has {found}"
        )),
        (None, _) => Err(format!("the BMC at {address} is not that of server {serial}: it has {found}")),
    }
}

/// A system that gave no answer may be the one that is looked for.
fn unread(systems: &[System]) -> Option<String> {
    let (system, why) = systems.iter().find_map(|system| Some((system, system.unread.as_ref()?)))?;
    Some(format!("system {} could not be read ({why})", system.id))
}

/// Whether the system is the one that `system_id` and `system_uuid` name, where they are given.
fn is_meant(system: &System, server: &Server) -> bool {
    let uuid = system.uuid.as_deref().unwrap_or_default();
    server.system_id.as_ref().is_none_or(|id| *id == system.id)
        && server.system_uuid.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(uuid))
}

fn describe(systems: &[System]) -> String {
    let list: Vec<String> = systems
        .iter()
        .take(8)
        .map(|system| {
            format!("{} (serial number {})", system.id, system.serial.as_deref().unwrap_or("not reported"))
        })
        .collect();
    if list.is_empty() { "no system that can be reset".to_owned() } else { list.join(", ") }
}
