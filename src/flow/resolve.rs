//! `resolve-server`: find the one system that the job means, and make sure that it is that one.
//!
//! Look only, but for virtual media that have to be switched on before there are any slots; and that
//! only once the system is known to be the right one, and no other job's. Invariant: a job gets past
//! this step only with a system whose serial number, or, where the service reports none, whose UUID or
//! id equals the server's record, and which no other active job holds.

use std::time::Duration;

use serde_json::json;

use super::identity::{self, SystemMismatch, choose_system, host_id};
use super::layout::{self, Chosen, LayoutFault};
use super::media_base::protocol_remedy;
use super::{Context, Services, StepError, StepOutcome};
use crate::domain::FailureCode as Code;
use crate::domain::{JobSpec, MediaLayout, Server, SystemFacts};
use shoal_base::world::after;
use shoal_redfish::{Bmc, MediaService, PowerState, System};

/// Drives for CD images that a job uses at most.
const CDS_WANTED: usize = 2;
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Times that virtual media are switched on before the BMC is given up. Each is followed by looks for
/// three minutes: a media service takes up to that long to come back (AMI's document, Lenovo's script).
const SWITCHES_MAX: u32 = 2;
const LOOKS_A_SWITCH: u32 = 36;

pub(super) async fn ensure(cx: &mut Context<'_>) -> Result<StepOutcome, StepError> {
    cx.path.check(cx.services, cx.server, cx.spec()?).await?;
    let resolved = resolve(cx.services, cx.bmc, cx.server, cx.spec()?).await?;
    let (message, detail) = (resolved.message(), resolved.detail());
    let host = Some(host_id(&cx.server.bmc_address, &resolved.system));
    let Resolved { vendor, system, drives, media_service } = resolved;
    if drives.is_some() {
        cx.bmc.remember_links(&system);
    }
    cx.take_host(SystemFacts { link: system.link, vendor, model: system.model, host }).await?;
    let Some(drives) = drives else { return switch_on(cx, &media_service).await };
    let facts = &mut cx.job.facts;
    facts.mounts.set_layout(drives.layout);
    facts.mounts.boot.slot = Some(drives.cd1.link);
    facts.mounts.task.slot = drives.cd2.map(|slot| slot.link);
    Ok(StepOutcome::Done { message, detail })
}

/// Virtual media that are off are switched on, and looked at again until they are there.
async fn switch_on(cx: &mut Context<'_>, service: &MediaService) -> Result<StepOutcome, StepError> {
    let (serial, to_do) = (&cx.server.serial, service.to_do().join(" and "));
    let looks = cx.job.cursor.looks;
    if looks >= SWITCHES_MAX * LOOKS_A_SWITCH {
        let why = format!(
            "the BMC of server {serial} was asked to {to_do} {SWITCHES_MAX} times and still has no virtual CD drives"
        );
        return Err(StepError::permanent(Code::VirtualMediaNotEnabled, why));
    }
    if looks.is_multiple_of(LOOKS_A_SWITCH) {
        let message = format!("the BMC has to {to_do}: asking it to");
        let doing = format!("asking the BMC of server {serial} to {to_do}");
        cx.report("media.switch-on", message, json!({ "to_do": service.to_do() })).await?;
        cx.bmc.request_media_service(service).await.map_err(|error| StepError::bmc(doing, error))?;
    }
    cx.job.cursor.looks += 1;
    let why = "virtual media were switched on and are not there yet".to_owned();
    Ok(StepOutcome::Wait { until: after(cx.now(), cx.services.world.rng.jitter(LOOK_AGAIN)), why })
}

/// A BMC that fetches images by HTTPS alone refuses every URL of ours that is not, and no slot is to blame.
async fn check_protocol(
    services: &Services,
    bmc: &Bmc,
    server: &Server,
    drives: &Chosen,
) -> Result<(), StepError> {
    // Without a base the next step fails, and says why.
    let Ok(base) = (services.setup.media_base)(server.bmc_address.clone()).await else { return Ok(()) };
    let image = format!("{base}x.iso");
    for slot in std::iter::once(&drives.cd1).chain(&drives.cd2) {
        if let Some(offered) = bmc.observe_refused_protocols(slot, &image).await {
            let why = format!(
                "the BMC of server {} takes images by {offered} only, and the media are served at {base}: {}",
                server.serial,
                protocol_remedy(base.scheme(), &offered)
            );
            return Err(StepError::permanent(Code::MediaProtocolRefused, why));
        }
    }
    Ok(())
}

/// With what is known of such a BMC, and with what else stands in the way.
fn without_drives(bmc: &Bmc, system: &System, fault: LayoutFault) -> StepError {
    let code = match &fault {
        LayoutFault::NoDrive(_) => Code::VirtualMediaMissing,
        LayoutFault::NotOffered(_) => Code::MediaLayoutUnavailable,
    };
    let known = bmc.without_drives(system).map(str::to_owned);
    let all: Vec<String> =
        std::iter::once(fault.to_string()).chain(known).chain(bmc.planned_boot(system).err()).collect();
    StepError::permanent(code, all.join("; "))
}

/// A host whose next start cannot be made to boot from the virtual CD is refused before anything is changed.
fn check_boot(bmc: &Bmc, server: &Server, system: &System) -> Result<(), StepError> {
    bmc.planned_boot(system).map(|_| ()).map_err(|why| {
        let why = format!(
            "server {} at {} cannot be installed: {why}; update the BMC's firmware, or install this host by other \
             means",
            server.serial, server.bmc_address
        );
        StepError::permanent(Code::BootFromCdUnsupported, why)
    })
}

fn code_of_mismatch(mismatch: &SystemMismatch) -> Code {
    match mismatch {
        SystemMismatch::NotThere(_) => Code::SystemNotFound,
        SystemMismatch::NoSerial(_) => Code::SerialNotReported,
        SystemMismatch::Several(_) => Code::SystemAmbiguous,
        SystemMismatch::OtherSerial(_) => Code::SerialMismatch,
    }
}

/// What the step found.
pub struct Resolved {
    pub vendor: String,
    pub system: System,
    /// `None` where virtual media have to be switched on first.
    pub drives: Option<Chosen>,
    pub media_service: MediaService,
}

impl Resolved {
    pub fn message(&self) -> String {
        let model = self.system.model.as_deref().unwrap_or("a system of unknown model");
        let media = match &self.drives {
            Some(drives) => format!("media layout {}", drives.layout.name()),
            None => format!("the BMC has to {} first", self.media_service.to_do().join(" and ")),
        };
        format!("{model} ({}) is the job's server; {media}", self.system.id)
    }

    pub fn detail(&self) -> serde_json::Value {
        let drives = self.drives.as_ref();
        json!({
            "vendor": self.vendor,
            "system": self.system.link,
            "model": self.system.model,
            "power": self.system.power.map(PowerState::name),
            "media_layout": drives.map(|drives| drives.layout.name()),
            "cd1": drives.map(|drives| &drives.cd1.link),
            "cd2": drives.and_then(|drives| drives.cd2.as_ref()).map(|slot| &slot.link),
            "media_service_to_do": self.media_service.to_do(),
        })
    }
}

/// All checks that need the BMC and change nothing; a dry run ends here.
pub async fn resolve(
    services: &Services,
    bmc: &Bmc,
    server: &Server,
    spec: &JobSpec,
) -> Result<Resolved, StepError> {
    let policy = &services.policy;
    if server.protected {
        let serial = &server.serial;
        let why = format!(
            "server {serial} is protected from jobs: `shoal server set '{serial}' --no-protected` takes the protection away"
        );
        return Err(StepError::permanent(Code::ServerProtected, why));
    }
    let doing = || format!("looking for server {} at its BMC {}", server.serial, server.bmc_address);
    let service = bmc.observe_service().await.map_err(|error| StepError::bmc(doing(), error))?;
    let systems = bmc.observe_systems().await.map_err(|error| StepError::bmc(doing(), error))?;
    let mut unread = identity::unread(&systems);
    let mut chosen = choose_system(systems, server);
    // What earlier jobs have found may be somewhere else now.
    if chosen.is_err() && bmc.forget_links() {
        let systems = bmc.observe_systems().await.map_err(|error| StepError::bmc(doing(), error))?;
        unread = identity::unread(&systems);
        chosen = choose_system(systems, server);
    }
    let system = chosen.map_err(|mismatch| match unread {
        Some(unread) => StepError::transient(Code::SystemUnreadable, format!("{mismatch}; {unread}")),
        None => StepError::permanent(code_of_mismatch(&mismatch), mismatch.to_string()),
    })?;
    if system.power == Some(PowerState::On) && !policy.allow_powered_on && !spec.allow_powered_on {
        let why = format!(
            "server {} is powered on and ALLOW_POWERED_ON is false: power it off, or say allow_powered_on in the recipe",
            server.serial
        );
        return Err(StepError::permanent(Code::HostPoweredOn, why));
    }
    let media_service =
        bmc.observe_media_service(&system).await.map_err(|error| StepError::bmc(doing(), error))?;
    let mut drives = None;
    if media_service.is_ready() {
        let wanted = spec.media_layout.or(policy.layout);
        // A stick may be in any slot; of drives for CDs there need not be more than two.
        let slots = match wanted {
            Some(MediaLayout::CdUsb) => bmc.observe_slots(&system).await,
            _ => bmc.observe_drives(&system, CDS_WANTED).await,
        };
        let slots = slots.map_err(|error| StepError::bmc(doing(), error))?;
        let chosen = layout::choose(slots, wanted).map_err(|why| without_drives(bmc, &system, why))?;
        check_protocol(services, bmc, server, &chosen).await?;
        drives = Some(chosen);
    }
    check_boot(bmc, server, &system)?;
    Ok(Resolved { vendor: service.vendor, system, drives, media_service })
}
